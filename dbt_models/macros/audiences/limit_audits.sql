{#- Whether the tables that leave somebody out besides the objections can be believed. They are optional, so one that is
    not there says nothing by itself: the log of the lists (audience_log) says whether it was there when lists were last
    made, and of how many rows. Who never had one is asked for none. -#}

{% macro limit_tables() %}{{ return(['campaign_eligibility', 'contact_history']) }}{% endmacro %}

{#- Those that lists are made of: what other systems sent counts under a contact policy alone. -#}
{% macro limit_tables_in_use() %}
    {{ return(limit_tables() if contact_policy() else limit_tables() | reject('equalto', 'contact_history') | list) }}
{% endmacro %}

{#- One row: how many rows the table has, how many of them name nobody, and how many name a customer but for the case of
    the letters. NULL rows where there is no such table. Whoever was erased may be named still; a contact at an address
    reached somebody, whatever its id. -#}
{% macro limit_counts(table) %}
    {%- set relation = optional_source(table) %}
    {%- set erased = erased_customers() %}
    {%- if relation %}
    select
        cast(coalesce(sum(told.n), 0) as bigint) as n,
        cast(
            coalesce(
                sum(
                    case
                        when customers.customer_id is null and told.is_at_address = 0
                            {{- ' and erased.erased_hash is null' if erased }} then told.n
                    end
                ), 0
            ) as bigint
        ) as unmatched,
        cast(
            coalesce(sum(case when customers.customer_id is null and folded.folded_id is not null then told.n end), 0)
            as bigint
        ) as misspelt
    from (
        select
            customer_id,
            is_at_address,
            count(*) as n
        from (
            select
                nullif({{ trimmed(optional_column(table, 'customer_id')) }}, '') as customer_id,
                {%- if 'email' in star_contract()[table] %}
                case when {{ is_deliverable(trimmed(optional_column(table, 'email'))) }} then 1 else 0 end
                    as is_at_address
                {%- else %}
                0 as is_at_address
                {%- endif %}
            from {{ relation }}
        ) as named
        group by customer_id, is_at_address
    ) as told
    left join (select distinct customer_id from {{ ref('stg_customers') }}) as customers
        on told.customer_id = customers.customer_id
    left join (select distinct lower(customer_id) as folded_id from {{ ref('stg_customers') }}) as folded
        on lower(told.customer_id) = folded.folded_id
    {{- join_erased(erased, 'told.customer_id') }}
    {%- else %}
    select
        cast(null as bigint) as n,
        cast(0 as bigint) as unmatched,
        cast(0 as bigint) as misspelt
    {%- endif %}
{% endmacro %}

{#- Their bounds, which are those of the objections: what is lost of either, somebody is contacted who must not be. -#}
{% macro limit_bounds() %}
    {%- set bounds = [] %}
    {%- for table in limit_tables() %}
        {%- for named, at_most in [
            ('is_there', 0),
            ('did_not_shrink', audit_bound('suppressions_max_loss_pct')),
            ('matches_customers', audit_bound('suppressions_max_unmatched_pct')),
            ('is_spelt_as_customers', 0),
        ] %}
            {%- do bounds.append({'audit': table ~ '_' ~ named, 'severity': 'error', 'at_most': at_most}) %}
        {%- endfor %}
    {%- endfor %}
    {{ return(bounds) }}
{% endmacro %}

{#- Findings of one row per month of `months` and audit, of tables in use; of one that is not, nothing was measured. -#}
{% macro limit_findings(months) %}
    {%- set findings = [] %}
    {%- for table in limit_tables_in_use() %}
        {%- for named, measured, affected in [
            ('is_there', 'compared.is_gone', '1'),
            ('did_not_shrink', 'coalesce(' ~ share_pct('compared.lost', 'compared.n_before') ~ ', 0)', 'compared.lost'),
            ('matches_customers', 'coalesce(' ~ share_pct('compared.unmatched', 'compared.n') ~ ', 0)',
             'compared.unmatched'),
            ('is_spelt_as_customers', 'compared.misspelt', 'compared.misspelt'),
        ] %}
            {%- do findings.append((table, table ~ '_' ~ named, measured, affected)) %}
        {%- endfor %}
    {%- endfor %}
    {%- for table, audit, measured, affected in findings %}
    select
        {{ months }}.snapshot_month,
        '{{ audit }}' as audit,
        cast(null as varchar) as customer_segment,
        {{ measured }} as measured,
        {{ affected }} as affected_rows
    from {{ months }}
    cross join compared_{{ table }} as compared
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}
{% endmacro %}

{#- One row: a table as it is beside what the log has of the last lists, whichever month they were of. -#}
{% macro compared_limit(table) %}
    {%- set log = existing_relation_of('audience_log') %}
    select
        counts.n,
        counts.unmatched,
        counts.misspelt,
        coalesce(last_counts.n, 0) as n_before,
        case when counts.n is null and last_counts.n is not null then 1 else 0 end as is_gone,
        case
            when coalesce(counts.n, 0) < coalesce(last_counts.n, 0) then last_counts.n - coalesce(counts.n, 0)
            else 0
        end as lost
    from ({{ limit_counts(table) }}) as counts
    left join (
        {%- if log %}
        select {{ table }}_rows as n
        from {{ log }}
        qualify row_number() over (order by made_at desc, {{ table }}_rows desc nulls last) = 1
        {%- else %}
        select cast(null as bigint) as n
        where 1 = 0
        {%- endif %}
    ) as last_counts on 1 = 1
{% endmacro %}
