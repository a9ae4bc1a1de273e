{#- Optional tables of the source that say who may be contacted by what: what to select from, and how far a row of one
    reaches. -#}

{#- What to select a table of the contract from; none where there is no such table. -#}
{% macro optional_source(table) %}
    {%- set relation = source('star_schema', table) -%}
    {%- if not execute -%}{{ return(none) }}{%- endif -%}
    {%- if star_table(table) is none -%}
        {{ return(adapter.get_relation(relation.database, relation.schema, relation.identifier)) }}
    {%- endif -%}
    {{ return(star_schema(table) if star_table_exists(table) else none) }}
{% endmacro %}

{#- A column of such a table as SQL: a table that is as the contract has it may be without it. -#}
{% macro optional_column(table, column, type='varchar') %}
    {%- if star_table(table) is not none -%}{{ return(column) }}{%- endif -%}
    {%- set relation = optional_source(table) -%}
    {%- set found = columns_before(relation) | map(attribute='name') | map('lower') | list -%}
    {{ return(column if column in found else 'cast(null as ' ~ type ~ ')') }}
{% endmacro %}

{#- The campaign or the channel that a row is limited to, as the rules spell it (case and blanks around it do not
    count); NULL where it is limited to none. One that names a campaign or a channel that there is none of is limited to
    none either: to leave somebody out is the safe side, and an audit tells of it. -#}
{% macro scope(table, column) %}
    {%- set campaign = optional_column(table, 'campaign') -%}
    {%- set channel = optional_column(table, 'channel') if 'channel' in star_contract()[table] else 'null' -%}
    {%- set value = campaign if column == 'campaign' else channel -%}
    {%- if value.startswith('cast(null') or value == 'null' -%}{{ return('cast(null as varchar)') }}{%- endif -%}
    {{ return(
        'case when ' ~ is_known_scope(table, campaign, channel) ~ " then nullif(" ~ code(value) ~ ", '') end"
    ) }}
{% endmacro %}

{#- True where a row names campaigns and channels that there are, or none. -#}
{% macro is_known_scope(table, campaign, channel) %}
    {%- set conditions = [] -%}
    {%- for value, known in [
        (campaign, var('campaigns') | map(attribute='name') | list), (channel, channels() | list),
    ] if not (value.startswith('cast(null') or value == 'null') -%}
        {%- do conditions.append(
            "coalesce(" ~ code(value) ~ ", '') in ('', " ~ quoted_list(known) ~ ")"
        ) -%}
    {%- endfor -%}
    {{ return(conditions | join(' and ') or 'true') }}
{% endmacro %}

{#- One row: how many objections and exclusions from offers name a campaign or a channel that there is none of. -#}
{% macro unknown_limits() %}
    {%- set counted = [] %}
    {%- for table in ['marketing_suppressions', 'campaign_eligibility'] %}
        {%- set relation = optional_source(table) %}
        {%- if relation %}
            {%- set channel = optional_column(table, 'channel') if 'channel' in star_contract()[table] else 'null' %}
            {%- set known = is_known_scope(table, optional_column(table, 'campaign'), channel) %}
            {%- if known != 'true' %}
                {%- do counted.append("(select count(*) from " ~ relation ~ " where not (" ~ known ~ "))") %}
            {%- endif %}
        {%- endif %}
    {%- endfor %}
    select {{ counted | join(' + ') or '0' }} as n
{% endmacro %}

{#- One row per campaign and customer who may not get its offer (campaign_eligibility), with the reason. An offer is
    made to a person: somebody else at the same mailbox may get it. -#}
{% macro ineligible_customers() %}
    {%- set relation = optional_source('campaign_eligibility') %}
    {%- if relation %}
    select
        campaigns.campaign,
        told.customer_id,
        min(told.reason) as reason
    from (
        select
            {{ trimmed('customer_id') }} as customer_id,
            {{ scope('campaign_eligibility', 'campaign') }} as campaign,
            nullif({{ trimmed(optional_column('campaign_eligibility', 'reason')) }}, '') as reason
        from {{ relation }}
        where {{ trimmed('customer_id') }} <> ''
    ) as told
    inner join ({{ campaigns_as_rows() }}) as campaigns
        on told.campaign is null or told.campaign = campaigns.campaign
    group by campaigns.campaign, told.customer_id
    {%- else %}
    select
        cast(null as varchar) as campaign,
        cast(null as varchar) as customer_id,
        cast(null as varchar) as reason
    where 1 = 0
    {%- endif %}
{% endmacro %}

{#- One row per campaign: its name and its channel. -#}
{% macro campaigns_as_rows() %}
    {%- for campaign in var('campaigns') %}
    select
        {{ string_literal(campaign.name) }} as campaign,
        {{ string_literal(campaign.get('channel', campaign_default('channel'))) }} as channel
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}
{% endmacro %}
