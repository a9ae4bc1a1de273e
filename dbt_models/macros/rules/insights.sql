{#- What customer_360_profile calls a customer, from the var `insights` of dbt_project.yml. -#}

{% macro insight_bound(key, name) %}
    {% set bound = (var('insights').get(key) or {}).get(name) %}
    {% if bound is not number %}
        {% do exceptions.raise_compiler_error(
            "insights." ~ key ~ "." ~ name ~ " of dbt_project.yml must be a number; found " ~ bound ~ "."
        ) %}
    {% endif %}
    {{ return(bound) }}
{% endmacro %}

{#- Without transactions there is no last one, and the customer is inactive. -#}
{% macro recency_status(last_transaction_date, as_of_date) %}
    case
        {%- for name in ['active', 'recent', 'at_risk'] %}
        when {{ dbt.datediff(last_transaction_date, as_of_date, 'day') }} <= {{ insight_bound('recency_days', name) }}
            then '{{ name | replace("_", " ") }}'
        {%- endfor %}
        else 'inactive'
    end
{%- endmacro %}

{#- The category groups that a customer can be focused on: those of insights that there are, in the order of it. -#}
{% macro focus_groups() %}
    {% set groups = [] %}
    {% for group in var('insights').get('focus_at_least_pct') or {} if group in var('category_groups') %}
        {% do groups.append(group) %}
    {% endfor %}
    {{ return(groups) }}
{% endmacro %}

{#- NULL without spend in the last 90 days: there is nothing to be focused on, nor anything to balance. -#}
{% macro spending_profile(relation) %}
    case
        {%- for group in focus_groups() %}
        when {{ relation }}.{{ group }}_spend_pct >= {{ insight_bound('focus_at_least_pct', group) }}
            then '{{ group }}-focused'
        {%- endfor %}
        when {{ relation }}.spend_last_90_days > 0 then 'balanced'
    end
{%- endmacro %}

{#- The label of the total rows of hero_metrics. -#}
{% macro all_customers() %}{{ return('All customers') }}{% endmacro %}
