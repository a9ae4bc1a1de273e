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

{#- NULL without spend in the last 90 days: there is nothing to be focused on, nor anything to balance. -#}
{% macro spending_profile(travel_spend_pct, necessities_spend_pct) %}
    case
        when {{ travel_spend_pct }} >= {{ insight_bound('focus_at_least_pct', 'travel') }} then 'travel-focused'
        when {{ necessities_spend_pct }} >= {{ insight_bound('focus_at_least_pct', 'necessities') }}
            then 'necessities-focused'
        when {{ travel_spend_pct }} is not null then 'balanced'
    end
{%- endmacro %}

{#- The label of the total rows of hero_metrics. -#}
{% macro all_customers() %}{{ return('All customers') }}{% endmacro %}
