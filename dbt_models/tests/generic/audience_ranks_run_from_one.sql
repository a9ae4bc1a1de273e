{% test audience_ranks_run_from_one(model) %}
{{ config(
    where='__asked_months__',
    meta={'description':
        "Catches a gap, a rank given twice and a list that does not begin at 1: rows lost or added after the "
        "ranking."
    },
) }}
select
    snapshot_month,
    count(*) as customers,
    count(distinct audience_rank) as ranks,
    min(audience_rank) as first_rank,
    max(audience_rank) as last_rank
from {{ model }}
group by snapshot_month
having min(audience_rank) <> 1 or max(audience_rank) <> count(*) or count(distinct audience_rank) <> count(*)
{% endtest %}
