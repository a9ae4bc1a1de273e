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

{#- Of all contacts so far (`listed`, from before the asked months, and the run's earlier `batches`), those whose
    cooldown reaches into `month`. -#}
{% macro resting_in(month, batches, listed) %}
    {%- set first = asked_month_list()[0] %}
    select distinct
        campaign,
        customer_id,
        contact_unit
    from (
        select
            snapshot_month,
            campaign,
            customer_id,
            mailbox as contact_unit
        from {{ listed }}
        where snapshot_month < {{ date_literal(first) }}
        {%- for batch in batches %}
        union all
        select
            snapshot_month,
            campaign,
            customer_id,
            contact_unit
        from grouped_{{ batch.index }}
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
