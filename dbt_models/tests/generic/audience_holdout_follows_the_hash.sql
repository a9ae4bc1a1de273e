{% test audience_holdout_follows_the_hash(model) %}
{{ config(
    meta={'description':
        "Catches a mailbox, or a customer where the channel needs no address, on the other side than last month, by "
        "which the holdout would stop measuring anything, and somebody held out would be written to under another "
        "name; and a third treatment group. Failing rows name the customer, never the address."
    },
) }}
with members as (

    select
        snapshot_month,
        campaign,
        customer_id,
        treatment_group,
        coalesce(lower(email), 'customer:' || customer_id) as contact_unit,
        coalesce(holdout_unit, customer_id) as holdout_unit,
        coalesce(holdout_epoch, 'never') as holdout_epoch
    from {{ model }}

),

-- Who decided when the mailbox, or the customer where the channel needs none, was first listed.
decided as (

    select
        contact_unit,
        holdout_unit
    from members
    qualify row_number() over (partition by contact_unit order by snapshot_month, holdout_unit) = 1

)

select
    members.snapshot_month,
    members.customer_id,
    members.treatment_group
from members
left join decided on members.contact_unit = decided.contact_unit
where
    {{ is_asked_month('members.snapshot_month') }}
    and (
        members.treatment_group
        <> {{ treatment_group('members.campaign', 'members.holdout_unit', 'members.holdout_epoch') }}
        or members.holdout_unit <> decided.holdout_unit
    )
{% endtest %}
