{{ config(materialized='view') }}

-- Explained by the rules the month was published under, not by today's.
with history as (

    select * from {{ ref('customer_segment_history') }}

),

published_rules as (

    select
        snapshot_month,
        rules_hash
    from {{ ref('segment_publications') }}
    qualify row_number() over (partition by snapshot_month order by version desc) = 1

),

rules as (

    select
        published_rules.snapshot_month,
        segment_rules.segment_priority,
        segment_rules.customer_segment as segment,
        segment_rules.criterion_number,
        segment_rules.metric,
        segment_rules.operator,
        segment_rules.bound
    from published_rules
    inner join {{ ref('segment_rules') }} as segment_rules on published_rules.rules_hash = segment_rules.rules_hash

),

valued as (

    select
        history.snapshot_month,
        history.customer_id,
        history.customer_segment,
        rules.segment_priority,
        rules.segment,
        rules.criterion_number,
        rules.metric,
        rules.operator,
        rules.bound,
        case rules.metric
            {%- for metric in published_numeric_metrics() %}
            when '{{ metric }}' then cast(history.{{ metric }} as double)
            {%- endfor %}
            when 'is_active' then case when history.is_active then 1.0 else 0.0 end
            {%- for column in further_columns_of_history() if column.dtype != 'date' %}
            {%- if column.dtype == 'boolean' %}
            when '{{ column.name }}'
                then case when history.{{ column.name }} then 1.0 when not history.{{ column.name }} then 0.0 end
            {%- else %}
            when '{{ column.name }}' then cast(history.{{ column.name }} as double)
            {%- endif %}
            {%- endfor %}
        end as value  -- noqa: RF04
    from history
    inner join rules on history.snapshot_month = rules.snapshot_month

),

measured as (

    select
        *,
        case
            when operator in ('at_least', 'above') then value - bound
            when operator in ('at_most', 'below') then bound - value
        end as margin,
        coalesce(
            case operator
                when 'at_least' then value >= bound
                when 'above' then value > bound
                when 'at_most' then value <= bound
                when 'below' then value < bound
                when 'is' then value = bound
            end,
            metric is null
        ) as passed
    from valued

),

satisfied as (

    select
        *,
        min(case when passed then 1 else 0 end) over (
            partition by snapshot_month, customer_id, segment_priority
        ) = 1 as is_satisfied
    from measured

),

ranked as (

    select
        *,
        min(case when is_satisfied then segment_priority end) over (
            partition by snapshot_month, customer_id
        ) as winning_priority
    from satisfied

)

select
    snapshot_month,
    customer_id,
    customer_segment,
    segment_priority,
    segment,
    criterion_number,
    metric,
    operator,
    bound,
    value,
    margin,
    passed,
    is_satisfied,
    segment_priority = winning_priority as is_winner,
    is_satisfied and segment_priority > winning_priority as is_outranked
from ranked
