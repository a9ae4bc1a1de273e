{% test audience_addresses_are_deliverable(model) %}
{{ config(
    where='__asked_months__',
    meta={'description':
        "Catches an address that is missing, malformed or padded with blanks. Failing rows name the customer, "
        "never the address: they end up in logs and, with store_failures, in a table."
    },
) }}
select
    snapshot_month,
    customer_id
from {{ model }}
where not coalesce({{ is_deliverable('email') }}, false)
{% endtest %}
