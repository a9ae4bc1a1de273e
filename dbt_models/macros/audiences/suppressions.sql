{#- Who has objected, and whether that list can be believed. -#}

{#- Who must not be contacted by a campaign in a month, by the id that the list gives, without blanks around it: one row
    per month of `months` (snapshot_month, as_of_date), campaign and customer. An objection holds for every campaign
    unless it names one or a channel, and until the day of expires_at where it has one; that day is compared with the
    month's as-of date, so that a month made again has the same. Without the table there is nobody; whether that may be
    so, the audits below say. -#}
{% macro suppressed_customers(months) %}
    {%- set suppressions = optional_source('marketing_suppressions') %}
    {%- if suppressions %}
    select distinct
        months.snapshot_month,
        campaigns.campaign,
        objections.customer_id
    from (
        select
            {{ trimmed('customer_id') }} as customer_id,
            {{ scope('marketing_suppressions', 'campaign') }} as campaign,
            {{ scope('marketing_suppressions', 'channel') }} as channel,
            {{ optional_column('marketing_suppressions', 'expires_at', 'date') }} as expires_at
        from {{ suppressions }}
        where {{ trimmed('customer_id') }} <> ''
    ) as objections
    inner join {{ months }} as months
        on objections.expires_at is null or objections.expires_at > months.as_of_date
    inner join ({{ campaigns_as_rows() }}) as campaigns
        on
            (objections.campaign is null or objections.campaign = campaigns.campaign)
            and (objections.channel is null or objections.channel = campaigns.channel)
    {%- else %}
    select
        cast(null as date) as snapshot_month,
        cast(null as varchar) as campaign,
        cast(null as varchar) as customer_id
    where 1 = 0
    {%- endif %}
{% endmacro %}

{#- One row: how many objections there are (an empty id is one, of nobody knows whom), how many name no customer, and of
    these how many name one but for the case of their letters. -#}
{% macro suppression_counts() %}
    {%- set suppressions = optional_source('marketing_suppressions') %}
    {%- set erased = erased_customers() %}
    {%- if suppressions %}
    select
        count(ids.customer_id) + count(case when ids.is_empty = 1 then 1 end) as suppressions,
        count(
            case when customers.customer_id is null{{ ' and erased.erased_hash is null' if erased }} then 1 end
        ) as unmatched,
        count(case when customers.customer_id is null and folded.folded_id is not null then 1 end) as misspelt
    from (
        select distinct
            nullif({{ trimmed('customer_id') }}, '') as customer_id,
            0 as is_empty
        from {{ suppressions }}
        where {{ trimmed('customer_id') }} <> ''
        union all
        select
            cast(null as varchar) as customer_id,
            1 as is_empty
        from {{ suppressions }}
        where coalesce({{ trimmed('customer_id') }}, '') = ''
    ) as ids
    left join (select distinct customer_id from {{ ref('stg_customers') }}) as customers
        on ids.customer_id = customers.customer_id
    left join (select distinct lower(customer_id) as folded_id from {{ ref('stg_customers') }}) as folded
        on lower(ids.customer_id) = folded.folded_id
    {{- join_erased(erased, 'ids.customer_id') }}
    {%- else %}
    select
        0 as suppressions,
        0 as unmatched,
        0 as misspelt
    {%- endif %}
{% endmacro %}

{#- The audits of what the lists of a month are made of besides the month itself, judged as those of the segments are:
    one row per asked month and audit. A failed one keeps the month from having lists, never from being published. -#}
{% macro audience_audits() %}
    {%- set is_optional = var('suppressions', 'required') == 'none' %}
    {%- set log = existing_relation_of('audience_log') %}
    {%- set audit_bounds = [
        {'audit': 'suppressions_are_there', 'severity': 'error', 'at_most': 1 if is_optional else 0},
        {'audit': 'suppressions_did_not_shrink', 'severity': 'error',
         'at_most': audit_bound('suppressions_max_loss_pct')},
        {'audit': 'suppressions_match_customers', 'severity': 'error',
         'at_most': audit_bound('suppressions_max_unmatched_pct')},
        {'audit': 'suppressions_are_spelt_as_customers', 'severity': 'error', 'at_most': 0},
        {'audit': 'earlier_lists_are_there', 'severity': 'error', 'at_most': 0},
        {'audit': 'limits_name_known_campaigns', 'severity': 'warn', 'at_most': 0},
    ] + limit_bounds() %}
    with months as (

        {{ asked_months() }}

    ),

    bounds as (

        {{ bounds_as_rows(audit_bounds) }}

    ),

    counts as (

        {{ suppression_counts() }}

    ),

    -- What the lists were last made with, whichever month they were of.
    last_counts as (

        {%- if log %}
        select suppressions
        from {{ log }}
        qualify row_number() over (order by made_at desc, suppressions desc) = 1
        {%- else %}
        select 0 as suppressions
        where 1 = 0
        {%- endif %}

    ),

    -- Of which customers they were, too.
    lost_objections as (

        {{ lost_objections() }}

    ),

    -- By their number alone where an earlier version made the last lists.
    compared as (

        select
            counts.suppressions,
            counts.unmatched,
            counts.misspelt,
            case
                when lost_objections.n_before > 0 then lost_objections.n_before
                else coalesce(last_counts.suppressions, 0)
            end as suppressions_before,
            case
                when lost_objections.n_before > 0 then lost_objections.lost
                when counts.suppressions < coalesce(last_counts.suppressions, 0)
                    then coalesce(last_counts.suppressions, 0) - counts.suppressions
                else 0
            end as lost,
            lost_objections.lost_hash
        from counts
        cross join lost_objections
        left join last_counts on 1 = 1

    ),

    {% for table in limit_tables_in_use() -%}
    compared_{{ table }} as (

        {{ compared_limit(table) }}

    ),

    {% endfor -%}
    lost_lists as (

        {{ lost_lists() }}

    ),

    unknown_limits as (

        {{ unknown_limits() }}

    ),

    findings as (

        select
            months.snapshot_month,
            'suppressions_are_there' as audit,
            cast(null as varchar) as customer_segment,
            {{ 0 if optional_source('marketing_suppressions') else 1 }} as measured,
            1 as affected_rows
        from months
        union all
        select
            months.snapshot_month,
            'suppressions_did_not_shrink' as audit,
            cast(null as varchar) as customer_segment,
            coalesce({{ share_pct('compared.lost', 'compared.suppressions_before') }}, 0) as measured,
            compared.lost as affected_rows
        from months
        cross join compared
        union all
        select
            months.snapshot_month,
            'suppressions_match_customers' as audit,
            cast(null as varchar) as customer_segment,
            coalesce({{ share_pct('compared.unmatched', 'compared.suppressions') }}, 0) as measured,
            compared.unmatched as affected_rows
        from months
        cross join compared
        union all
        select
            months.snapshot_month,
            'suppressions_are_spelt_as_customers' as audit,
            cast(null as varchar) as customer_segment,
            compared.misspelt as measured,
            compared.misspelt as affected_rows
        from months
        cross join compared
        union all
        select
            months.snapshot_month,
            'earlier_lists_are_there' as audit,
            cast(null as varchar) as customer_segment,
            coalesce(lost_lists.lists, 0) as measured,
            coalesce(lost_lists.lists, 0) as affected_rows
        from months
        left join lost_lists on months.snapshot_month = lost_lists.snapshot_month
        union all
        select
            months.snapshot_month,
            'limits_name_known_campaigns' as audit,
            cast(null as varchar) as customer_segment,
            unknown_limits.n as measured,
            unknown_limits.n as affected_rows
        from months
        cross join unknown_limits
        union all
        {{ limit_findings('months') }}

    ),

    verdicts as (

        {{ judged('findings') }}

    ),

    versions as (

        {{ newest_versions() }}

    )

    select
        verdicts.snapshot_month,
        cast(audit as varchar) as audit,
        cast(customer_segment as varchar) as customer_segment,
        measured,
        lower_bound,
        upper_bound,
        cast(failed_rows as bigint) as failed_rows,
        cast(severity as varchar) as severity,
        failed_rows = 0 as passed,
        versions.content_hash,
        cast('{{ decision_hash() }}' as varchar) as decision_hash,
        cast(null as decimal(38, 2)) as affected_spend,
        cast(
            case
                when verdicts.audit = 'suppressions_did_not_shrink' and verdicts.failed_rows > 0 then compared.lost_hash
            end as varchar
        ) as facts_hash
    from verdicts
    cross join compared
    left join versions on verdicts.snapshot_month = versions.snapshot_month
{% endmacro %}

{#- How many earlier lists that a month has to know are gone: those in reach of a cooldown, and the lists of a campaign
    that have all gone, as they say on which side of the holdout a mailbox is. The log says which were made. -#}
{% macro lost_lists() %}
    {%- set log = existing_relation_of('audience_log') -%}
    {%- set first = asked_month_list()[0] -%}
    {%- if log %}
    select
        months.snapshot_month,
        count(*) as lists
    from months
    inner join (
        select
            made.snapshot_month,
            made.campaign,
            case made.campaign
                {%- for campaign in var('campaigns') %}
                when {{ string_literal(campaign.name) }}
                    then {{ [campaign.get('cooldown_months', campaign_default('cooldown_months')),
                        (contact_policy() or {'per_months': 1}).per_months - 1] | max }}
                {%- endfor %}
                else 0
            end as cooldown_months,
            max(
                case when found.snapshot_month is null then 0 else 1 end
            ) over (partition by made.campaign) as is_any_found,
            found.snapshot_month is null as is_lost
        from (
            select
                snapshot_month,
                campaign,
                listed
            from {{ log }}
            where snapshot_month < {{ date_literal(first) }}
            qualify row_number() over (partition by snapshot_month, campaign order by made_at desc) = 1
        ) as made
        left join (
            {%- for campaign in var('campaigns') %}
            {%- set published = existing_relation_of('audience_' ~ campaign.name) %}
            {%- if published %}
            select distinct
                snapshot_month,
                {{ string_literal(campaign.name) }} as campaign
            from {{ published }}
            union all
            {%- endif %}
            {%- endfor %}
            select
                cast(null as date) as snapshot_month,
                cast(null as varchar) as campaign
            where 1 = 0
        ) as found
            on
                made.snapshot_month = found.snapshot_month
                and made.campaign = found.campaign
        where made.listed > 0 and made.campaign in ({{ quoted_list(var('campaigns') | map(attribute='name')) }})
    ) as earlier
        on
            earlier.is_lost
            and (
                earlier.is_any_found = 0
                or earlier.snapshot_month
                >= {{ dbt.dateadd('month', '-earlier.cooldown_months', 'months.snapshot_month') }}
            )
    group by months.snapshot_month
    {%- else %}
    select
        cast(null as date) as snapshot_month,
        0 as lists
    where 1 = 0
    {%- endif %}
{% endmacro %}

{#- Has no model of its own in the graph: the lists of the campaigns are made later in the same run, so who looks back
    on them reads the tables. Post-hook of audience_candidates: what its months were made with, once per run. -#}
{% macro log_audiences_sql() %}
    {%- set log = existing_relation_of('audience_log') %}
    {%- if log %}
    insert into {{ log }} (
        snapshot_month, campaign, made_at, run_id, content_hash, suppressions, unmatched_suppressions, listed, held_out
        {%- for table in limit_tables() %}, {{ table }}_rows, unmatched_{{ table }}_rows{% endfor %}
    )
    with counts as (

        {{ suppression_counts() }}

    ),

    {% for table in limit_tables() -%}
    {{ table }}_counts as (

        {{ limit_counts(table) }}

    ),

    {% endfor -%}
    made as (

        select
            snapshot_month,
            max(content_hash) as content_hash
        from {{ this }}
        where {{ is_asked_month('snapshot_month') }} and run_id = {{ publishing_run() }}
        group by snapshot_month

    ),

    campaigns as (

        {%- for campaign in var('campaigns') %}
        select {{ string_literal(campaign.name) }} as campaign
        {{- "\n        union all" if not loop.last }}
        {%- endfor %}

    )

    select
        made.snapshot_month,
        campaigns.campaign,
        cast('{{ run_started_at.strftime("%Y-%m-%d %H:%M:%S") }}' as {{ naive_timestamp() }}),
        {{ publishing_run() }},
        made.content_hash,
        max(counts.suppressions),
        max(counts.unmatched),
        count(candidates.treatment_group),
        count(case when candidates.treatment_group = 'holdout' then 1 end)
        {%- for table in limit_tables() %},
        max({{ table }}_counts.n),
        max(case when {{ table }}_counts.n is not null then {{ table }}_counts.unmatched end)
        {%- endfor %}
    from made
    cross join campaigns
    cross join counts
    {%- for table in limit_tables() %}
    cross join {{ table }}_counts
    {%- endfor %}
    left join {{ this }} as candidates
        on
            made.snapshot_month = candidates.snapshot_month
            and campaigns.campaign = candidates.campaign
    left join {{ log }} as told
        on
            made.snapshot_month = told.snapshot_month
            and campaigns.campaign = told.campaign
            and told.run_id = {{ publishing_run() }}
    where told.snapshot_month is null
    group by made.snapshot_month, made.content_hash, campaigns.campaign
    {%- endif %}
{% endmacro %}
