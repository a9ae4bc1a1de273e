{% test audience_addresses_are_deliverable(model) %}
{{ config(
    where='__asked_months__',
    meta={'description':
        "Catches an address that is missing, malformed or padded with blanks, and one in a list whose channel needs "
        "none. Failing rows name the customer, never the address: they end up in logs and, with store_failures, in a "
        "table."
    },
) }}
select
    snapshot_month,
    customer_id
from {{ model }}
where
    case
        when {{ is_by_address('campaign') }} then not coalesce({{ is_deliverable('email') }}, false)
        else email is not null
    end
{% endtest %}
