{#- Who rests because the same campaign had them or their unit of contact on its list lately, holdout included: if only
    the target rested, the held-out customers would pile up in the next list and the two groups could no longer be
    compared. By customer too: who moves to another address has been written to all the same. A list so depends on the
    lists before it, published or of the same run; the published ones are read straight from their tables, as a ref
    would close a circle. -#}

{% macro campaigns_with_cooldown() %}
    {% set campaigns = [] %}
    {% for campaign in var('campaigns') if campaign.get('cooldown_months', campaign_default('cooldown_months')) > 0 %}
        {% do campaigns.append(campaign) %}
    {% endfor %}
    {{ return(campaigns) }}
{% endmacro %}

{#- True for a contact of the candidate's own campaign in its months before. -#}
{% macro is_within_cooldown(batch) %}
    {%- set whens = [] -%}
    {%- for campaign in campaigns_with_cooldown() if campaign.name in batch.campaigns -%}
        {%- do whens.append(
            "(campaign = " ~ string_literal(campaign.name) ~ " and contact_month >= "
            ~ date_literal(months_before(batch.months[0], campaign.cooldown_months)) ~ ")"
        ) -%}
    {%- endfor -%}
    {{ return(
        "contact_campaign = campaign and contact_month < " ~ date_literal(batch.months[0])
        ~ " and (" ~ whens | join(" or ") ~ ")" if whens else "1 = 0"
    ) }}
{% endmacro %}
