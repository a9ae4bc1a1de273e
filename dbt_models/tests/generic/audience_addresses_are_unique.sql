{% test audience_addresses_are_unique(model) %}
{{ config(
    where='__asked_months__',
    meta={'description':
        "Catches two members behind one mailbox, who would get the message twice; capitals and blanks do not tell "
        "them apart. Where the channel needs no address, it is the customer who stands there once. Failing rows name "
        "the customer, never the address."
    },
) }}
with members as (

    select
        snapshot_month,
        customer_id,
        count(*) over (
            partition by snapshot_month, {{ contact_unit('campaign', normalised_email('email'), 'customer_id') }}
        ) as sharers
    from {{ model }}

)

select
    snapshot_month,
    customer_id
from members
where sharers > 1
{% endtest %}
