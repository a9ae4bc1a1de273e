{#- What a row of audience_feed says: one JSON object as text, its keys in one order and its numbers with two decimals,
    so that the same content is the same text on either engine and a stamp moves with the content alone. -#}

{#- Of a member of a campaign's list; `relation` has the list's columns. -#}
{% macro listed_payload(campaign, relation) %}
    {{- feed_payload_start(
        string_literal(campaign.name), audience_code(campaign), 'listed'
    ) }} || ', "rank": ' || cast({{ relation }}.audience_rank as varchar)
    {%- for metric in campaign.get('shows', []) %}
    || ', "{{ metric }}": ' || coalesce({{ json_of_metric(metric, relation) }}, 'null')
    {%- endfor %}
    || '}'
{%- endmacro %}

{#- Of somebody who was listed and is no more. -#}
{% macro left_payload(campaign, code) %}{{ feed_payload_start(campaign, code, 'left') }} || '}'{% endmacro %}

{#- Names of campaigns and codes hold letters, digits, _ and - only (segmentation_assets/rules/validators.py). -#}
{% macro feed_payload_start(campaign, code, status) -%}
    '{"campaign": "' || {{ campaign }} || '", "audience_code": "' || {{ code }} || '", "status": "{{ status }}"'
{%- endmacro %}

{#- A date as text, true or false as such, a whole number as one, and anything else with two decimals. -#}
{% macro json_of_metric(metric, relation) -%}
    {%- set column = relation ~ '.' ~ metric -%}
    {%- set kind = metric_definitions().get(metric, {}).get('kind') -%}
    {%- if metric == 'is_active' or kind == 'flag' -%}
        case when {{ column }} then 'true' when not {{ column }} then 'false' end
    {%- elif metric in ('first_transaction_date', 'last_transaction_date') or kind in ('first_date', 'last_date') -%}
        '"' || {{ date_text(column) }} || '"'
    {%- elif metric in ('total_transactions', 'tenure_months')
        or kind in ('count', 'active_months', 'recency', 'tenure', 'ntile')
    -%}
        cast({{ column }} as varchar)
    {%- else -%}
        cast(cast({{ column }} as decimal(38, 2)) as varchar)
    {%- endif -%}
{%- endmacro %}

{#- What an ad platform knows the list by. Where the rules leave it out: the same as neutral_code in
    segmentation_assets/rules/validators.py. -#}
{% macro audience_code(campaign) -%}
    {%- if campaign.get('audience_code') -%}
        {{ string_literal(campaign.audience_code) }}
    {%- else -%}
        'audience-' || substr({{ sha256_hex(string_literal(campaign.name)) }}, 1, 6)
    {%- endif -%}
{%- endmacro %}

{#- Lower-case hexadecimal digits. -#}
{% macro sha256_hex(text) %}{{ return(adapter.dispatch('sha256_hex', 'segmentation')(text)) }}{% endmacro %}

{% macro default__sha256_hex(text) %}sha256({{ text }}){% endmacro %}

{% macro snowflake__sha256_hex(text) %}sha2({{ text }}, 256){% endmacro %}

{#- The newest row of each campaign and person, whether they are listed or left. -#}
{% macro newest_of_feed(feed) %}
    select
        campaign,
        audience_code,
        external_id,
        payload,
        is_listed
    from {{ feed }}
    qualify row_number() over (partition by campaign, external_id order by updated_at desc) = 1
{% endmacro %}
