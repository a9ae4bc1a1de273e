{#- Money on its way through the pipeline. The source contract refuses what does not fit (sources/contract.py). -#}

{#- One amount, or the sum of a period: four decimals, so that amounts of finer scale are added up before they are
    rounded, and 14 digits before the point. Eight bytes on DuckDB: a decimal of 38 digits takes twice the memory and
    time. -#}
{% macro money() %}decimal(18, 4){% endmacro %}

{#- A sum as it is published: rounded once, to two decimals. -#}
{% macro rounded_sum(total) %}cast({{ total }} as decimal(18, 2)){% endmacro %}
