{#- How a campaign reaches people, and by what its unit of contact is known: the mailbox, or the customer where the
    channel needs no address. -#}

{#- The same as CHANNELS in segmentation_assets/rules/schema.py: whether each needs an address. -#}
{% macro channels() %}
    {{ return({'email': true, 'ads': true, 'mail': false, 'phone': false, 'app': false}) }}
{% endmacro %}

{% macro needs_address(campaign) %}
    {% set channel = campaign.get('channel', campaign_default('channel')) %}
    {% if channel not in channels() %}
        {% do exceptions.raise_compiler_error(
            "channel of campaign " ~ campaign.name ~ " is " ~ channel ~ "; known: " ~ channels() | join(', ') ~ "."
        ) %}
    {% endif %}
    {{ return(channels()[channel]) }}
{% endmacro %}

{#- Names, as a list. -#}
{% macro campaigns_without_address() %}
    {% set names = [] %}
    {% for campaign in var('campaigns') if not needs_address(campaign) %}
        {% do names.append(campaign.name) %}
    {% endfor %}
    {{ return(names) }}
{% endmacro %}

{#- True for a row of a campaign whose channel needs an address. -#}
{% macro is_by_address(campaign) %}
    {%- set names = campaigns_without_address() -%}
    {{ campaign ~ " not in (" ~ quoted_list(names) ~ ")" if names else "true" }}
{%- endmacro %}

{#- A colon stands in no deliverable address: no customer is taken for a mailbox. -#}
{% macro contact_unit(campaign, mailbox, customer_id) %}
    {%- if campaigns_without_address() -%}
    case when {{ is_by_address(campaign) }} then {{ mailbox }} else 'customer:' || {{ customer_id }} end
    {%- else -%}
    {{ mailbox }}
    {%- endif -%}
{% endmacro %}

{#- Pre-hook of an audience: its table may have been made while the campaign was sent by e-mail, of which every row has
    an address. -#}
{% macro let_addresses_be_missing(campaign_name) %}
    {%- if execute and not needs_address(campaign_named(campaign_name)) and load_cached_relation(this) -%}
    alter table {{ this }} alter column email drop not null
    {%- endif -%}
{% endmacro %}
