{#- The language of metrics: what the vars windows, category_groups and metrics say. What cannot be is refused by
    segmentation_assets/rules/metrics.py, which tells the rest of the product the same of each metric. -#}

{#- Metrics that are published under any rules: numbers first, then what is none. -#}
{% macro published_numeric_metrics() %}
    {{ return([
        'total_transactions', 'lifetime_value', 'avg_transaction_value', 'tenure_months', 'spend_last_90_days',
        'spend_prior_90_days', 'spend_change_pct', 'avg_monthly_spend', 'travel_spend_pct', 'necessities_spend_pct',
        'lifetime_travel_spend_pct', 'lifetime_necessities_spend_pct',
    ]) }}
{% endmacro %}

{% macro published_metrics() %}
    {{ return(published_numeric_metrics() + ['is_active', 'first_transaction_date', 'last_transaction_date']) }}
{% endmacro %}

{#- The groups of the published shares are there under any rules, with or without categories. -#}
{% macro category_group_names() %}
    {{ return((['travel', 'necessities'] + var('category_groups').keys() | list) | unique | list) }}
{% endmacro %}

{#- The two shares that every group gives. -#}
{% macro group_shares() %}
    {% set shares = {} %}
    {% for group in category_group_names() %}
        {% do shares.update({
            group ~ '_spend_pct': {'kind': 'share', 'group': group, 'window': 'last_90_days'},
            'lifetime_' ~ group ~ '_spend_pct': {'kind': 'share', 'group': group},
        }) %}
    {% endfor %}
    {{ return(shares) }}
{% endmacro %}

{#- Name -> definition, of every metric. -#}
{% macro metric_definitions() %}
    {% set definitions = {} %}
    {% do definitions.update(var('metrics')) %}
    {% do definitions.update(group_shares()) %}
    {{ return(definitions) }}
{% endmacro %}

{#- The metrics that are no published column of the contract, in the order of their columns. -#}
{% macro further_metrics() %}
    {{ return(metric_definitions().keys() | reject('in', published_metrics()) | list) }}
{% endmacro %}

{#- What the rules say beyond what is the same for everybody, for the hashes: the same as Rules._further in
    segmentation_assets/rules/load.py. -#}
{% macro further_definitions() %}
    {% set further, metrics, windows = {}, {}, {} %}
    {% for name, definition in var('metrics').items() if name not in published_metrics() %}
        {% do metrics.update({name: definition}) %}
    {% endfor %}
    {% for name, window in var('windows').items() if name not in ['last_90_days', 'prior_90_days'] %}
        {% do windows.update({name: window}) %}
    {% endfor %}
    {% if metrics %}{% do further.update({'metrics': metrics}) %}{% endif %}
    {% if windows %}{% do further.update({'windows': windows}) %}{% endif %}
    {{ return(further) }}
{% endmacro %}

{#- The metrics that one is built on. -#}
{% macro metric_operands(definition) %}
    {% set kind = definition.kind %}
    {% if kind == 'flag' %}
        {{ return(definition.criteria | map(attribute='metric') | list) }}
    {% elif kind in ('ntile', 'relative_change', 'ratio') or definition.of %}
        {% set others = [definition.of, definition['from'], definition['in'], definition.to] %}
        {{ return(others | select('string') | list) }}
    {% endif %}
    {{ return([]) }}
{% endmacro %}

{#- Lists of names: first the metrics that are built on none, then those built on these, and so on. -#}
{% macro metric_levels(definitions) %}
    {% set levels, placed = [], [] %}
    {% for _ in range(definitions | length) if placed | length < definitions | length %}
        {% set level = [] %}
        {% for name, definition in definitions.items() if name not in placed %}
            {% if metric_operands(definition) | reject('in', placed) | list | length == 0 %}
                {% do level.append(name) %}
            {% endif %}
        {% endfor %}
        {% do placed.extend(level) %}
        {% do levels.append(level) %}
    {% endfor %}
    {{ return(levels | select | list) }}
{% endmacro %}

{#- A whole number or money, and no double: added up and divided in cents. -#}
{% macro is_exact(definition) %}
    {{ return(definition.kind in [
        'sum', 'count', 'min', 'max', 'active_months', 'recency', 'tenure', 'ntile',
    ]) }}
{% endmacro %}
