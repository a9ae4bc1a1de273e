{% test audience_size_is_near_last_months(model) %}
{{ config(
    severity='warn',
    meta={'description':
        "Catches a list half or one and a half times as long as the month before: half is where a campaign's "
        "budget and its reading stop being comparable. Asked of a list against its own of the month before: not where "
        "that month was not published, or where the campaign had nobody then, as in its first month; a warning."
    },
) }}
with published as (

    select distinct snapshot_month
    from {{ other_model('customer_segment_history') }}

),

sizes as (

    select
        published.snapshot_month,
        count(members.customer_id) as customers
    from published
    left join {{ model }} as members on published.snapshot_month = members.snapshot_month
    group by published.snapshot_month

)

select
    this_month.snapshot_month,
    this_month.customers,
    month_before.customers as customers_of_the_month_before
from sizes as this_month
inner join sizes as month_before
    on this_month.snapshot_month = cast({{ dbt.dateadd('month', 1, 'month_before.snapshot_month') }} as date)
where
    {{ is_asked_month('this_month.snapshot_month') }}
    and month_before.customers > 0
    and abs(this_month.customers - month_before.customers) * 2 > month_before.customers
{% endtest %}
