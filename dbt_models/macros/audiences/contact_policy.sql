{#- How often anybody may be contacted, over all campaigns (the rules' contact_policy), and by which campaign first. A
    list is chosen after those of the campaigns before it, so with a policy each month and campaign is a batch of its
    own (batches.sql). Held out or not, who is on a list has used up a turn: else the held-out would be the only ones
    left for the next campaign, and no comparison would hold. -#}

{% macro contact_policy() %}{{ return(var('contact_policy', none)) }}{% endmacro %}

{#- Names of the campaigns as they choose: as the policy's `order` says, those that it leaves out after them by name, so
    that the order of the entries decides nothing; without an `order` it is that of the entries. The same as
    ContactPolicy.in_turn in segmentation_assets/rules/schema.py. -#}
{% macro campaigns_in_turn() %}
    {% set names = var('campaigns') | map(attribute='name') | list %}
    {% set order = (contact_policy() or {}).get('order', []) %}
    {% if not order %}{{ return(names) }}{% endif %}
    {% set unknown = order | reject('in', names) | list %}
    {% if unknown %}
        {% do exceptions.raise_compiler_error(
            "order of contact_policy names " ~ unknown | join(', ') ~ ", and the campaigns are " ~ names | join(', ')
            ~ ". Correct it."
        ) %}
    {% endif %}
    {{ return(order + (names | reject('in', order) | sort)) }}
{% endmacro %}

{#- Names of the campaigns that there ever were, as far as the log of the lists remembers them: whoever was on a list of
    a campaign that is gone was contacted all the same. -#}
{% macro campaigns_ever() %}
    {% set names = var('campaigns') | map(attribute='name') | list %}
    {% set log = existing_relation_of('audience_log') if execute and contact_policy() else none %}
    {% if log %}
        {% for row in run_query("select distinct campaign from " ~ log ~ " order by campaign").rows %}
            {% if row[0] not in names %}{% do names.append(row[0]) %}{% endif %}
        {% endfor %}
    {% endif %}
    {{ return(names) }}
{% endmacro %}

{#- What other systems sent, one row per contact and customer or mailbox that it reached. A contact of a day counts in
    the list of the month that the day is in; one of a campaign of ours is on our own list already. Who is named by an
    address alone is everybody at it; who is named by an id was reached at their mailbox, unless the channel needs no
    address. -#}
{% macro contacts_of_others(contacts, known) %}
    {%- set relation = optional_source('contact_history') if contact_policy() else none %}
    {%- if relation %}
    {%- set months = asked_month_list() %}
    {%- set own = var('campaigns') | map(attribute='name') | list %}
    {%- set no_address = [] %}
    {%- for channel, needs_one in channels().items() if not needs_one %}{% do no_address.append(channel) %}{% endfor %}
    select
        'other|' || coalesce(told.customer_id, '') || '|' || coalesce(told.mailbox, '') || '|' || told.told_key
            as contact_key,
        told.snapshot_month,
        told.campaign,
        coalesce(told.customer_id, there.customer_id) as customer_id,
        coalesce(
            told.mailbox, case when told.channel not in ({{ quoted_list(no_address) }}) then here.mailbox end
        ) as mailbox
    from (
        select distinct
            cast(date_trunc('month', contacted_at) as date) as snapshot_month,
            nullif({{ trimmed(optional_column('contact_history', 'customer_id')) }}, '') as customer_id,
            case
                when {{ is_deliverable(trimmed(optional_column('contact_history', 'email'))) }}
                    then {{ normalised_email(optional_column('contact_history', 'email')) }}
            end as mailbox,
            coalesce({{ code(optional_column('contact_history', 'channel')) }}, '') as channel,
            coalesce(
                nullif({{ trimmed(optional_column('contact_history', 'campaign')) }}, ''), 'contact_history'
            ) as campaign,
            {{ date_text('cast(contacted_at as date)') }} || '|'
            || coalesce({{ trimmed(optional_column('contact_history', 'channel')) }}, '') || '|'
            || coalesce({{ trimmed(optional_column('contact_history', 'campaign')) }}, '') as told_key
        from {{ relation }}
        where
            contacted_at >= {{ date_literal(months_before(months[0], contact_policy().per_months - 1)) }}
            and contacted_at < {{ date_literal(month_after(months[-1])) }}
            and coalesce({{ code(optional_column('contact_history', 'campaign')) }}, '') not in (
                {{ quoted_list(own) }}
            )
    ) as told
    left join {{ contacts }} as here on told.customer_id = here.customer_id
    left join {{ known }} as there
        on
            told.customer_id is null
            and told.mailbox = there.mailbox
    where told.customer_id is not null or told.mailbox is not null
    {%- else %}
    select
        cast(null as varchar) as contact_key,
        cast(null as date) as snapshot_month,
        cast(null as varchar) as campaign,
        cast(null as varchar) as customer_id,
        cast(null as varchar) as mailbox
    where 1 = 0
    {%- endif %}
{% endmacro %}

{#- The later the larger: six digits of the month, three of the campaign's place in it, the campaign. Other systems' are
    before ours, as they come before the list is made. -#}
{% macro turn_taken(month, campaign) -%}
    cast(extract(year from {{ month }}) * 100 + extract(month from {{ month }}) as varchar)
    || case {{ campaign }}
        {%- for name in campaigns_in_turn() %}
        when {{ string_literal(name) }} then '{{ '%03d' | format(loop.index) }}'
        {%- endfor %}
        else '000'
    end
    || {{ campaign }}
{%- endmacro %}
