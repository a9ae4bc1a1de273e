{#- Metrics as SQL, of the measures or of the metrics that they are built on. -#}

{#- `measures` and `metrics` are what the columns of transaction_window_metrics, and those of other metrics, are
    selected from. -#}
{% macro metric_sql(definition, definitions, measures='window_metrics', metrics='measured') %}
    {%- set kind, group, window = definition.kind, definition.get('group'), definition.get('window') -%}
    {%- set parts = [] -%}
    {%- for measure in measures_of(definition) -%}
        {%- do parts.append(measures ~ '.' ~ measure_column(measure[0], measure[1], measure[2])) -%}
    {%- endfor -%}
    {%- if kind in ('sum', 'count', 'min', 'max', 'active_months', 'first_date', 'last_date') -%}
        {{ parts[0] }}
    {%- elif kind == 'avg' -%}
        case when {{ parts[1] }} > 0 then {{ ratio(parts[0], parts[1]) }} end
    {%- elif kind == 'recency' or (kind == 'tenure' and definition.get('unit') == 'days') -%}
        cast({{ dbt.datediff(parts[0], measures ~ '.as_of_date', 'day') }} as bigint)
    {%- elif kind == 'tenure' -%}
        cast({{ completed_months(parts[0], measures ~ '.as_of_date') }} as bigint)
    {%- elif kind == 'share' and group -%}
        {{ share_pct(parts[0], parts[1]) }}
    {%- elif kind == 'change' and window -%}
        {{ share_pct('(' ~ parts[0] ~ ' - ' ~ parts[1] ~ ')', parts[1]) }}
    {%- else -%}
        {{ metric_upon_metrics(definition, definitions, metrics) }}
    {%- endif -%}
{% endmacro %}

{% macro metric_upon_metrics(definition, definitions, metrics) %}
    {%- set kind = definition.kind -%}
    {%- set of, other = metrics ~ '.' ~ definition.of, definition['from'] or definition['in'] or definition.to -%}
    {%- set exact = kind != 'flag' and is_exact(definitions[definition.of])
        and (other is not string or is_exact(definitions[other])) -%}
    {%- set whole = metrics ~ '.' ~ other if other is string else other -%}
    {%- if kind == 'share' -%}
        case when {{ whole }} > 0 then {{ quotient(of, whole, exact, 100) }} end
    {%- elif kind == 'change' -%}
        case when {{ whole }} > 0 then {{ quotient('(' ~ of ~ ' - ' ~ whole ~ ')', whole, exact, 100) }} end
    {%- elif kind == 'ratio' and other is string -%}
        case when {{ whole }} > 0 then {{ quotient(of, whole, exact) }} end
    {%- elif kind == 'ratio' -%}
        {{ quotient(of, whole, exact and (other * 100) | int == other * 100) }}
    {%- elif kind == 'relative_change' -%}
        {{ relative_change(of, whole, metrics ~ '.snapshot_month') }}
    {%- elif kind == 'ntile' -%}
        {{ bucket(of, definition.buckets, definition.get('order', 'lowest_first'), metrics ~ '.snapshot_month') }}
    {%- elif kind == 'flag' -%}
        coalesce({{ criteria_sql(definition.criteria, metrics ~ '.') }}, false)
    {%- endif -%}
{% endmacro %}

{#- Whole cents on both sides where both are money or whole numbers; else a division of doubles. -#}
{% macro quotient(part, whole, exact, factor=1) -%}
    {%- if exact -%}
        {{ ratio(part, whole, part_factor=factor) }}
    {%- else -%}
        cast({{ part }} as double){{ ' * ' ~ factor if factor != 1 }} / cast({{ whole }} as double)
    {%- endif -%}
{%- endmacro %}

{#- By how many percent a customer's change from one sum to another lies beyond that of all customers of the month:
    (of / from) / (all of / all from) - 1. Whole cents up to the one division. -#}
{% macro relative_change(of, whole, month) -%}
    {%- set one = cents_exactly(of) -%}
    {%- set other = cents_exactly(whole) -%}
    {%- set all_one = 'sum(' ~ cents_exactly(of) ~ ') over (partition by ' ~ month ~ ')' -%}
    {%- set all_other = 'sum(' ~ cents_exactly(whole) ~ ') over (partition by ' ~ month ~ ')' -%}
    case
        when
            {{ whole }} > 0
            and {{ all_other }} > 0
            and {{ all_one }} > 0
            then cast(
                ({{ one }} * cast({{ all_other }} as decimal(38, 0))
                - {{ other }} * cast({{ all_one }} as decimal(38, 0))) * 100
                as double
            )
            / cast({{ other }} * cast({{ all_one }} as decimal(38, 0)) as double)
    end
{%- endmacro %}

{% macro cents_exactly(value) %}cast(cast({{ value }} as decimal(38, 2)) * 100 as decimal(38, 0)){% endmacro %}

{#- The bucket of NTILE for the first of those with the same value, so that equal customers are treated alike: the first
    `more` buckets hold one more than the others, as there are not `buckets` times as many customers. -#}
{% macro bucket(value, buckets, order, month) -%}
    {%- set place = 'rank() over (partition by ' ~ month ~ ' order by ' ~ value
        ~ (' asc' if order == 'lowest_first' else ' desc') ~ ' nulls last)' -%}
    {%- set number = 'count(' ~ value ~ ') over (partition by ' ~ month ~ ')' -%}
    {%- set fewer = 'floor(' ~ number ~ ' / ' ~ buckets ~ '.0)' -%}
    {%- set more = 'mod(' ~ number ~ ', ' ~ buckets ~ ')' -%}
    case
        when {{ value }} is not null
            then cast(
                case
                    when {{ place }} <= {{ more }} * ({{ fewer }} + 1)
                        then floor(({{ place }} - 1) / ({{ fewer }} + 1)) + 1
                    else {{ more }} + 1
                        + floor(({{ place }} - 1 - {{ more }} * ({{ fewer }} + 1)) / nullif({{ fewer }}, 0))
                end as bigint
            )
    end
{%- endmacro %}
