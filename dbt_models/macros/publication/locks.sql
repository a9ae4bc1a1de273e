{#- Two runs that publish at once, on Snowflake: INSERTs do not wait for each other there, so both would read the newest
    version and log the next one, and a DELETE that waited may miss the rows that it waited for. An UPDATE does wait.
    Each published table has a row in publication_locks, and the first statement of the transaction that replaces months
    of it is an UPDATE of that row: whoever comes second begins to read when the first has committed. The lease of the
    run (segmentation_assets/warehouse/lease.py) refuses a second run before that; plain dbt has this alone. -#}

{% macro locks_table() %}
    {{ return(target.database ~ '.' ~ generate_schema_name('silver', none) ~ '.publication_locks') }}
{% endmacro %}

{#- Asked when a dbt run starts, and before any table of it is touched. -#}
{% macro prepare_locks() %}
    {% if not execute or target.type != 'snowflake' or var('schema_prefix', '')
        or flags.WHICH not in ('build', 'run')
    %}
        {{ return('') }}
    {% endif %}
    {% set wanted = [] %}
    {% for node in graph.nodes.values() if node.resource_type == 'model' and node.package_name == 'segmentation' %}
        {% if node.access == 'public' and node.config.materialized == 'incremental'
            and node.config.incremental_strategy == 'replace_months' and node.unique_id in selected_resources
        %}
            {% do wanted.append("select '" ~ node.alias ~ "' as table_name") %}
        {% endif %}
    {% endfor %}
    {% if not wanted %}{{ return('') }}{% endif %}
    {% for name in tables_made_by_python() %}{% do wanted.append("select '" ~ name ~ "' as table_name") %}{% endfor %}
    {% if not adapter.get_relation(target.database, generate_schema_name('silver', none), 'publication_locks') %}
        {% do run_query("create table if not exists " ~ locks_table() ~ " (table_name varchar, writes integer)") %}
    {% endif %}
    {% do run_query(
        "insert into " ~ locks_table() ~ " (table_name, writes) select wanted.table_name, 0 from ("
        ~ wanted | join(' union all ') ~ ") as wanted where wanted.table_name not in (select table_name from "
        ~ locks_table() ~ ")"
    ) %}
    {{ return('') }}
{% endmacro %}

{#- Of counts and sums (segmentation_assets/outcomes/table.py). -#}
{% macro tables_made_by_python() %}{{ return(['campaign_outcomes', 'program_outcomes']) }}{% endmacro %}

{#- Nothing for a table of a what-if, which nobody else writes to, or one that is not published. -#}
{% macro lock_statements() %}
    {% if var('schema_prefix', '') or model.access != 'public' %}{{ return([]) }}{% endif %}
    {{ return([
        "update " ~ locks_table() ~ " set writes = writes + 1 where table_name = '" ~ this.identifier ~ "'"
    ]) }}
{% endmacro %}

{#- Begun and ended in the server: a client that is killed leaves no open transaction behind, as the block goes on to
    its end, or is undone as a whole. In a block, `begin` alone would open another block. `afterwards` runs when all is
    committed: a DDL statement, which commits by itself. -#}
{% macro snowflake_block(statements, afterwards=none) %}
execute immediate $$
begin
    begin transaction;
    {%- for sql in statements %}
    {{ sql | trim }};
    {%- endfor %}
    commit;
    {%- if afterwards %}
    {{ afterwards }};
    {%- endif %}
exception
    when other then
        rollback;
        raise;
end;
$$
{%- endmacro %}
