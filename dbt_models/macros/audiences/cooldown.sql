{#- Who rests because the same campaign had them on its list lately, holdout included: if only the target rested, the
    held-out customers would pile up in the next list and the two groups could no longer be compared.
    A list so depends on the lists before it, published or
    of the same run; the published ones are read straight from their tables, as a ref would close a circle. -#}

{% macro campaigns_with_cooldown() %}
    {% set campaigns = [] %}
    {% for campaign in var('campaigns') if campaign.get('cooldown_months', campaign_default('cooldown_months')) > 0 %}
        {% do campaigns.append(campaign) %}
    {% endfor %}
    {{ return(campaigns) }}
{% endmacro %}

{#- The asked months in the batches they can be computed in: all at once, or one after the other when a month has to
    know whom the one before it contacted. -#}
{% macro audience_batches() %}
    {% if not campaigns_with_cooldown() %}{{ return([asked_month_list()]) }}{% endif %}
    {% set batches = [] %}
    {% for month in asked_month_list() %}{% do batches.append([month]) %}{% endfor %}
    {{ return(batches) }}
{% endmacro %}

{#- One row per customer and month in which a campaign with a cooldown contacted them, before the asked months. -#}
{% macro published_contacts() %}
    {%- set first = asked_month_list()[0] -%}
    {%- for campaign in campaigns_with_cooldown() %}
    {%- set published = existing_relation_of('audience_' ~ campaign.name) %}
    {%- if published %}
    select
        snapshot_month,
        campaign,
        customer_id
    from {{ published }}
    where
        snapshot_month >= {{ date_literal(months_before(first, campaign.cooldown_months)) }}
        and snapshot_month < {{ date_literal(first) }}
    union all
    {%- endif %}
    {%- endfor %}
    select
        cast(null as date) as snapshot_month,
        cast(null as varchar) as campaign,
        cast(null as varchar) as customer_id
    where 1 = 0
{% endmacro %}

{#- Of all contacts so far, those whose cooldown reaches into `month`; `batches` are the run's earlier batches. -#}
{% macro resting_in(month, batches) %}
    select distinct
        campaign,
        customer_id
    from (
        select
            snapshot_month,
            campaign,
            customer_id
        from published_contacts
        {%- for batch in batches %}
        union all
        select
            snapshot_month,
            campaign,
            customer_id
        from grouped_{{ batch }}
        where treatment_group is not null
        {%- endfor %}
    ) as contacts
    where
        1 = 0
        {%- for campaign in campaigns_with_cooldown() %}
        or (
            campaign = {{ string_literal(campaign.name) }}
            and snapshot_month >= {{ date_literal(months_before(month, campaign.cooldown_months)) }}
        )
        {%- endfor %}
{% endmacro %}
