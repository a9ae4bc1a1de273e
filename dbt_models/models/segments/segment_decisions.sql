{{ config(materialized='log_table', group='segments_candidate') }}

-- Every decision a month was ever computed under, so that a published month tells the bounds and statuses of its day.
with decision as (

    {%- for entry, value in decision_entries() %}
    select
        {{ string_literal(entry) }} as entry,
        {{ string_literal(value) }} as entry_value
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}

)

select
    cast('{{ decision_hash() }}' as varchar(32)) as decision_hash,
    cast('{{ rules_hash() }}' as varchar(32)) as rules_hash,
    cast(entry as varchar) as entry,
    cast(entry_value as varchar) as entry_value
from decision
{#- Not is_incremental(), which is false for whatever is no incremental model. -#}
{% if execute and load_cached_relation(this) %}
where '{{ decision_hash() }}' not in (select decision_hash from {{ this }})
{% endif %}
