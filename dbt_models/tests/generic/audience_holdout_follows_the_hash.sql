{% test audience_holdout_follows_the_hash(model) %}
{{ config(
    meta={'description':
        "Catches a mailbox on the other side than last month, by which the holdout would stop measuring anything, and "
        "somebody held out would be written to under another name; and a third treatment group. Failing rows name the "
        "customer, never the address."
    },
) }}
with members as (

    select
        snapshot_month,
        campaign,
        customer_id,
        treatment_group,
        lower(email) as mailbox,
        coalesce(holdout_unit, customer_id) as holdout_unit
    from {{ model }}

),

-- Who decided when the mailbox was first listed.
decided as (

    select
        mailbox,
        holdout_unit
    from members
    where mailbox is not null
    qualify row_number() over (partition by mailbox order by snapshot_month, holdout_unit) = 1

)

select
    members.snapshot_month,
    members.customer_id,
    members.treatment_group
from members
left join decided on members.mailbox = decided.mailbox
where
    {{ is_asked_month('members.snapshot_month') }}
    and (
        members.treatment_group <> {{ treatment_group('members.campaign', 'members.holdout_unit') }}
        or members.holdout_unit <> decided.holdout_unit
    )
{% endtest %}
