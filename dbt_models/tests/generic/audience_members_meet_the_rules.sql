{% test audience_members_meet_the_rules(model) %}
{{ config(
    where='__asked_months__',
    meta={'description':
        "Catches a member of another segment, or one who misses a criterion: a list left behind when its month was "
        "published anew. The published history decides, not the metrics the list shows."
    },
) }}
with members as (

    select
        snapshot_month,
        campaign,
        customer_id
    from {{ model }}

)

select
    members.snapshot_month,
    members.customer_id
from members
left join {{ other_model('customer_segment_history') }} as history
    on
        members.snapshot_month = history.snapshot_month
        and members.customer_id = history.customer_id
where not coalesce({{ meets_campaign_rules() }}, false)
{% endtest %}
