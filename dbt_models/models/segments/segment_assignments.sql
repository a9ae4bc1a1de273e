{{ config(
    group='segments_candidate',
    schema='silver',
    on_schema_change='append_new_columns',
    meta={'invalidates': 'segment_audits'},
) }}

{% set definitions = metric_definitions() %}
{%- set levels = metric_levels(definitions) %}
with window_metrics as (

    select * from {{ ref('transaction_window_metrics') }}
    where {{ is_asked_month('snapshot_month') }}

),

category_shares as (

    select * from {{ ref('category_shares') }}
    where {{ is_asked_month('snapshot_month') }}

),

measured as (

    select
        window_metrics.snapshot_month,
        window_metrics.customer_id,
        window_metrics.customer_key,
        window_metrics.as_of_date as segment_assigned_date,
        {%- for name in levels[0] %}
        {%- if name in group_shares() %}
        category_shares.{{ name }},
        {%- else %}
        {{ metric_sql(definitions[name], definitions) }} as {{ name }},
        {%- endif %}
        {%- endfor %}
        window_metrics.rollup_hash
    from window_metrics
    inner join category_shares
        on
            window_metrics.snapshot_month = category_shares.snapshot_month
            and window_metrics.customer_id = category_shares.customer_id

),

{% for level in levels[1:] -%}
measured_upon_{{ loop.index }} as (

    select
        {%- for name in level %}
        {{ metric_sql(definitions[name], definitions) }} as {{ name }},
        {%- endfor %}
        measured.*
    from {{ 'measured' if loop.first else 'measured_upon_' ~ (loop.index - 1) }} as measured

),

{% endfor -%}
assigned as (

    select
        snapshot_month,
        cast(customer_id as varchar) as customer_id,
        cast(customer_key as bigint) as customer_key,
        case
            {% for segment in var('segments') if segment.criteria %}
            when {{ criteria_sql(segment.criteria) }} then {{ string_literal(segment.name) }}
            {% endfor %}
            else {{ string_literal(var('segments')[-1].name) }}
        end as customer_segment,
        segment_assigned_date,
        total_transactions,
        lifetime_value,
        avg_transaction_value,
        first_transaction_date,
        last_transaction_date,
        cast(tenure_months as bigint) as tenure_months,
        spend_last_90_days,
        spend_prior_90_days,
        spend_change_pct,
        avg_monthly_spend,
        travel_spend_pct,
        necessities_spend_pct,
        lifetime_travel_spend_pct,
        lifetime_necessities_spend_pct,
        is_active,
        {%- for name in further_metrics() %}
        {{ name }},
        {%- endfor %}
        rollup_hash
    from {{ 'measured_upon_' ~ (levels | length - 1) if levels | length > 1 else 'measured' }}

),

-- What the audits judge and publication logs is told by these rows, not by their month.
sealed as (

    select
        snapshot_month,
        {{ history_hash(further_metrics()) }} as content_hash
    from assigned
    group by snapshot_month

)

select
    assigned.snapshot_month,
    assigned.customer_id,
    assigned.customer_key,
    assigned.customer_segment,
    assigned.segment_assigned_date,
    assigned.total_transactions,
    assigned.lifetime_value,
    assigned.avg_transaction_value,
    assigned.first_transaction_date,
    assigned.last_transaction_date,
    assigned.tenure_months,
    assigned.spend_last_90_days,
    assigned.spend_prior_90_days,
    assigned.spend_change_pct,
    assigned.avg_monthly_spend,
    assigned.travel_spend_pct,
    assigned.necessities_spend_pct,
    assigned.lifetime_travel_spend_pct,
    assigned.lifetime_necessities_spend_pct,
    assigned.is_active,
    {%- for name in further_metrics() %}
    assigned.{{ name }},
    {%- endfor %}
    cast(sealed.content_hash as varchar) as content_hash,
    cast('{{ decision_hash() }}' as varchar) as decision_hash,
    cast(assigned.rollup_hash as varchar) as rollup_hash
from assigned
inner join sealed on assigned.snapshot_month = sealed.snapshot_month
