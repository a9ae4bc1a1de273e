{% test audience_is_within_its_cap(model) %}
{{ config(
    where='__asked_months__',
    meta={'description':
        "Catches a list longer than the campaign pays for, and one of a campaign the rules do not know."
    },
) }}
select
    snapshot_month,
    campaign,
    count(*) as customers
from {{ model }}
group by snapshot_month, campaign
having count(*) > coalesce({{ number_of_campaign('cap') }}, 0)
{% endtest %}
