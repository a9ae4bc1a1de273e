{% test audience_ranks_follow_the_rules(model) %}
{{ config(
    where='__asked_months__',
    meta={'description':
        "Catches a list in another order than its campaign asks for: with a cap, the wrong customers are then in "
        "it."
    },
) }}
with members as (

    select
        snapshot_month,
        campaign,
        customer_id,
        audience_rank
    from {{ model }}

),

ranked as (

    select
        members.snapshot_month,
        members.customer_id,
        members.audience_rank,
        row_number() over (
            partition by members.snapshot_month
            order by {{ ranked_worth('members.campaign', 'history') }} desc nulls last, members.customer_id
        ) as expected_rank
    from members
    inner join {{ other_model('customer_segment_history') }} as history
        on
            members.snapshot_month = history.snapshot_month
            and members.customer_id = history.customer_id

)

select
    snapshot_month,
    customer_id,
    audience_rank,
    expected_rank
from ranked
where audience_rank <> expected_rank
{% endtest %}
