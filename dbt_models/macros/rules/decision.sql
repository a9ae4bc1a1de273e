{#- Everything that decides which segment a customer gets and whether a month may be published. -#}

{#- The vars that decide, those of them that are set. Rules.decision_hash in segmentation_assets/rules/load.py names the
    same. -#}
{% macro decision() %}
    {% set decided = {} %}
    {% for key in [
        'approved_statuses', 'audits', 'category_groups', 'other_statuses', 'segments', 'star_schema',
        'unknown_customers',
    ] %}
        {% set value = var(key, none) %}
        {% if value is not none %}{% do decided.update({key: value}) %}{% endif %}
    {% endfor %}
    {% do decided.update(further_definitions()) %}
    {{ return(decided) }}
{% endmacro %}

{#- What the views of staging say of their rules. A view is of whoever built it last: what is made of it keeps that. -#}
{% macro staging_rules_hash() %}
    {% set read = {} %}
    {% for key in ['approved_statuses', 'category_groups', 'other_statuses', 'unknown_customers'] %}
        {% do read.update({key: var(key, none)}) %}
    {% endfor %}
    {% if var('star_schema', none) is not none %}{% do read.update({'star_schema': var('star_schema')}) %}{% endif %}
    {{ return(local_md5(tojson(read, sort_keys=true))) }}
{% endmacro %}

{#- In one word: what binds a candidate, its audits and what is logged of it. -#}
{% macro decision_hash() %}{{ return(local_md5(tojson(decision(), sort_keys=true))) }}{% endmacro %}

{#- The decision as entries, [name, value]: one per bound of the audits, `audits.<bound>`, and per bound that a segment
    has of its own, which can then be compared with that of another decision; of every other key its whole value as
    JSON. -#}
{% macro decision_entries() %}
    {% set entries = [] %}
    {% for key, value in decision() | dictsort %}
        {% if key == 'audits' %}
            {% for bound, number in value | dictsort %}{% do entries.append(['audits.' ~ bound, number]) %}{% endfor %}
        {% else %}
            {% do entries.append([key, tojson(value, sort_keys=true)]) %}
        {% endif %}
    {% endfor %}
    {% for name, bound in own_bounds('minimum_share_pct') %}
        {% do entries.append([own_bound_entry(name), bound]) %}
    {% endfor %}
    {{ return(entries) }}
{% endmacro %}
