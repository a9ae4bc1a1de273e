{#- Ratios. Both sides are whole cents before they become doubles, and there is one division: then the result is the
    double nearest to the true ratio, and a bound that is hit exactly is hit in SQL too. Divided as written,
    (1434.51 - 2049.30) / 2049.30 * 100 is -29.999999999999993. -#}

{% macro ratio(part, whole, part_factor=1, whole_factor=1) -%}
    {{ cents(part, part_factor) }} / {{ cents(whole, whole_factor) }}
{%- endmacro %}

{% macro cents(value, factor=1) %}cast(cast({{ value }} as decimal(38, 2)) * {{ 100 * factor }} as double){% endmacro %}

{#- 0-100 (refunds in one category can push it outside), NULL when the whole is not positive. -#}
{% macro share_pct(part, whole) -%}
    case when {{ whole }} > 0 then {{ ratio(part, whole, part_factor=100) }} end
{%- endmacro %}
