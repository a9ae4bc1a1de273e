{#- Whose objections were in force when lists were last made, and which of them are lost: an objection that is deleted
    is lost however many others come, and so is one whose end was moved to before that day. One that ended on a later
    day did what it said. segmentation_assets/publication/objections.py measures the same on the day of an export. -#}

{% macro kept_objections() %}
    {{ return(
        adapter.get_relation(
            target.database, generate_schema_name('silver', none) | trim, 'objections_at_last_lists'
        ) if execute
    ) }}
{% endmacro %}

{#- Each id that objects now, and the last day on which nothing of it holds; an end that is none is far away. -#}
{% macro objections_now() %}
    {%- set suppressions = optional_source('marketing_suppressions') %}
    {%- if suppressions %}
    select
        {{ trimmed('customer_id') }} as customer_id,
        max(
            coalesce({{ optional_column('marketing_suppressions', 'expires_at', 'date') }}, cast('9999-12-31' as date))
        ) as expires_at
    from {{ suppressions }}
    where {{ trimmed('customer_id') }} <> ''
    group by {{ trimmed('customer_id') }}
    {%- else %}
    select
        cast(null as varchar) as customer_id,
        cast(null as date) as expires_at
    where 1 = 0
    {%- endif %}
{% endmacro %}

{#- One row: how many were in force then, how many of these are lost, and a hash of which. Nothing of lists that an
    earlier version made. The same hash as in objections.py. -#}
{% macro lost_objections() %}
    {%- set kept = kept_objections() %}
    {%- if kept %}
    select
        count(*) as n_before,
        count(case when objections.customer_id is null then 1 end) as lost,
        cast(
            sum(
                case
                    when objections.customer_id is null
                        then cast({{ hash_number('last_lists.customer_id') }} as decimal(38, 0))
                end
            ) as varchar
        ) as lost_hash
    from (
        select
            customer_id,
            cast(made_at as date) as made_on
        from {{ kept }}
        qualify rank() over (order by made_at desc) = 1
    ) as last_lists
    left join ({{ objections_now() }}) as objections
        on
            last_lists.customer_id = objections.customer_id
            and objections.expires_at > last_lists.made_on
    {%- else %}
    select
        0 as n_before,
        0 as lost,
        cast(null as varchar) as lost_hash
    {%- endif %}
{% endmacro %}

{#- Post-hooks of audience_candidates: the new rows first, so that a run that dies between the two forgets nobody. -#}
{% macro keep_objections_sql() %}
    {%- set kept = kept_objections() %}
    {%- set erased = erased_customers() %}
    {%- if kept %}
    insert into {{ kept }} (customer_id, made_at, run_id)
    select
        objections.customer_id,
        {{ lists_made_at() }},
        {{ publishing_run() }}
    from ({{ objections_now() }}) as objections
    left join {{ kept }} as told
        on
            objections.customer_id = told.customer_id
            and told.made_at = {{ lists_made_at() }}
    {{- join_erased(erased, 'objections.customer_id') }}
    where
        objections.expires_at > cast({{ lists_made_at() }} as date)
        and told.customer_id is null
        {{- ' and erased.erased_hash is null' if erased }}
        and {{ lists_were_made() }}
    {%- endif %}
{% endmacro %}

{% macro forget_earlier_objections_sql() %}
    {%- set kept = kept_objections() %}
    {%- if kept %}
    delete from {{ kept }}
    where made_at < {{ lists_made_at() }} and {{ lists_were_made() }}
    {%- endif %}
{% endmacro %}

{% macro lists_made_at() %}cast('{{ run_started_at.strftime("%Y-%m-%d %H:%M:%S") }}' as {{ naive_timestamp() }})
{%- endmacro %}

{#- False where every asked month was refused: then the objections of the last lists stay those to compare with. -#}
{% macro lists_were_made() -%}
    (
        select count(*)
        from {{ this }}
        where {{ is_asked_month('snapshot_month') }} and run_id = {{ publishing_run() }}
    ) > 0
{%- endmacro %}
