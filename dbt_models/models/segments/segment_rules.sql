{{ config(materialized='log_table', group='segments_candidate') }}

-- Every set of rules a month was ever computed under, so that a published month is explained by its own rules.
with rules as (

    {%- set segments = var('segments') %}
    {%- for segment in segments %}
    {%- set priority = loop.index %}
    {%- set last_segment = loop.last %}
    {%- for criterion in segment.criteria or [{'metric': none}] %}
    select
        {{ priority }} as segment_priority,
        {{ string_literal(segment.name) }} as customer_segment,
        {{ loop.index if criterion.metric else 0 }} as criterion_number,
        {%- if criterion.metric %}
        {%- set operator = operator_of(criterion) %}
        {{ string_literal(criterion.metric) }} as metric,
        {{ string_literal(operator) }} as operator,
        {{ bound_as_number(criterion[operator]) }} as bound
        {%- else %}
        null as metric,
        null as operator,
        null as bound
        {%- endif %}
    {{- "\n    union all" if not (last_segment and loop.last) }}
    {%- endfor %}
    {%- endfor %}

)

select
    cast('{{ rules_hash() }}' as varchar(32)) as rules_hash,
    cast(segment_priority as integer) as segment_priority,
    cast(customer_segment as varchar) as customer_segment,
    cast(criterion_number as integer) as criterion_number,
    cast(metric as varchar) as metric,
    cast(operator as varchar) as operator,
    cast(bound as double) as bound
from rules
{#- Not is_incremental(), which is false for whatever is no incremental model. -#}
{% if execute and load_cached_relation(this) %}
where '{{ rules_hash() }}' not in (select rules_hash from {{ this }})
{% endif %}
