{#- The order in which the lists of a run are made. A batch is the lists that can be chosen at once: all of them, unless
    a list has to know whom another one has. With a cooldown each month knows the ones before it; with a contact policy
    each campaign of a month knows those that choose before it, too. -#}

{#- Each with its place, its months and its campaigns' names, in order. -#}
{% macro audience_batches() %}
    {% set names = campaigns_in_turn() %}
    {% set parts = [] %}
    {% if contact_policy() %}
        {% for month in asked_month_list() %}
            {% for name in names %}{% do parts.append(([month], [name])) %}{% endfor %}
        {% endfor %}
    {% elif campaigns_with_cooldown() %}
        {% for month in asked_month_list() %}{% do parts.append(([month], names)) %}{% endfor %}
    {% else %}
        {% do parts.append((asked_month_list(), names)) %}
    {% endif %}
    {% set batches = [] %}
    {% for months, campaigns in parts %}
        {% do batches.append({'index': loop.index0, 'months': months, 'campaigns': campaigns}) %}
    {% endfor %}
    {{ return(batches) }}
{% endmacro %}

{#- Of the run's `batches`, those with lists that the cooldown of one of `batch` may reach back to. -#}
{% macro batches_in_cooldown(batch, batches) %}
    {% set found = [] %}
    {% for campaign in campaigns_with_cooldown() if campaign.name in batch.campaigns %}
        {% for earlier in batches if earlier.months[0] < batch.months[0]
            and earlier.months[0] >= months_before(batch.months[0], campaign.cooldown_months)
            and campaign.name in earlier.campaigns and earlier not in found %}
            {% do found.append(earlier) %}
        {% endfor %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}
