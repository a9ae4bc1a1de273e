{% test audience_holdout_follows_the_hash(model) %}
{{ config(
    where='__asked_months__',
    meta={'description':
        "Catches a customer on the other side than last month, by which the holdout would stop measuring anything; "
        "and a third treatment group."
    },
) }}
select
    snapshot_month,
    customer_id,
    treatment_group
from {{ model }}
where treatment_group <> {{ treatment_group('campaign', 'customer_id') }}
{% endtest %}
