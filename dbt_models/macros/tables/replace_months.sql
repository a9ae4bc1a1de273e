{#- The one incremental strategy: a run's months are deleted and inserted in one transaction, so that a rerun
    repeats nothing, a customer who left the source leaves the month, and a reader sees the old month or the
    new one. (delete+insert keyed on customer and month would keep the rows of customers who left.)

    A model says in `meta` which months it replaces, where these are not plainly the asked ones:
      lookahead_months: how many months after the asked ones look back on them and are made anew too (default 0)
      replaces: months_in_batch, the months that the query gives, or rollup_months, those that the rollup has to roll up
      holds_every_published_month: a month of the history is replaced by rows and never by none
      keeps_sums_after_erasure: how many months back the rows of a month are made of; where the last thing published
        of these is an erasure, the month keeps the sums that it has
      invalidates: a model whose rows of the same months stop being true with this replacement -#}
{% macro get_incremental_replace_months_sql(arg_dict) %}
    {% set meta = config.get('meta') or {} %}
    {% set target = arg_dict.target_relation %}
    {% set months = replaced_months(meta, arg_dict.temp_relation) %}
    {% if meta.get('holds_every_published_month') %}
        {% set months = "(" ~ months ~ ") and (" ~ may_lose_its_rows(arg_dict.temp_relation) ~ ")" %}
    {% endif %}
    {% set columns = get_quoted_csv(arg_dict.dest_columns | map(attribute='name')) %}
    {% set statements, kept = [], "" %}
    {% if meta.get('keeps_sums_after_erasure') is not none and erased_customers() %}
        {% set frozen = "snapshot_month not in (" ~ months_that_keep_their_sums(
            target, meta.keeps_sums_after_erasure
        ) ~ ")" %}
        {#- What is inserted is asked after the delete, which leaves these months alone. -#}
        {% set months = "(" ~ months ~ ") and " ~ frozen %}
        {% set kept = " where " ~ frozen %}
    {% endif %}
    {% if meta.get('logs_publication') %}
        {% set months = "snapshot_month in (" ~ logged_months_sql(arg_dict.temp_relation) ~ ")" %}
        {% set kept = " where " ~ months %}
        {#- Before the month is replaced, as the version that stood until now is compared with it. -#}
        {% do statements.append(log_publications_sql(arg_dict.temp_relation)) %}
        {% do statements.append(log_restatements_sql(arg_dict.temp_relation, target)) %}
    {% endif %}
    {% set statements = statements + [
        "delete from " ~ target ~ " where " ~ months,
        "insert into " ~ target ~ " (" ~ columns ~ ") select " ~ columns ~ " from " ~ arg_dict.temp_relation ~ kept,
    ] %}
    {% if meta.get('invalidates') %}
        {% set stale = adapter.get_relation(this.database, this.schema, meta.invalidates) %}
        {% if stale %}{% do statements.append("delete from " ~ stale ~ " where " ~ months) %}{% endif %}
    {% endif %}
    {{ return(in_one_transaction(statements, arg_dict.temp_relation)) }}
{% endmacro %}

{#- A month that the batch has rows for, or that is not published. Where a query gave nothing for a published month,
    whatever the reason, its rows stay. -#}
{% macro may_lose_its_rows(batch) %}
    {{ return(
        "snapshot_month in (select snapshot_month from " ~ batch ~ ")"
        ~ " or snapshot_month not in (select snapshot_month from "
        ~ ref('customer_segment_history').render() ~ ")"
    ) }}
{% endmacro %}

{% macro replaced_months(meta, batch) %}
    {% set kind = meta.get('replaces') %}
    {% if not kind %}
        {{ return(is_asked_month('snapshot_month', meta.get('lookahead_months', 0))) }}
    {% elif kind == 'months_in_batch' %}
        {{ return("snapshot_month in (select snapshot_month from " ~ batch ~ ")") }}
    {% elif kind == 'rollup_months' %}
        {#- Asked anew after the batch was made: where another run rolled a month up meanwhile, it is no gap any more,
            but it is in the batch. -#}
        {{ return(in_rollup_months('period_start', batch)) }}
    {% endif %}
    {% do exceptions.raise_compiler_error(
        "meta.replaces of " ~ this.name ~ " must be months_in_batch or rollup_months; found " ~ kind
        ~ ". Months after the asked ones are a number, meta.lookahead_months."
    ) %}
{% endmacro %}

{#- `working` is what they read; it has no use behind them. -#}
{% macro in_one_transaction(statements, working) %}
    {{ return(adapter.dispatch('in_one_transaction', 'segmentation')(statements, working)) }}
{% endmacro %}

{#- dbt-duckdb has begun a transaction before the strategy runs and commits after the hooks. -#}
{% macro default__in_one_transaction(statements, working) %}
    {{ return(statements | join(';\n')) }}
{% endmacro %}

{#- Snowflake autocommits each statement. The emulator knows no blocks: there the adapter's wrapper adds begin and
    commit (no trailing semicolon), which are sent one by one, and dbt drops the working table. -#}
{% macro snowflake__in_one_transaction(statements, working) %}
    {% set all = lock_statements() + statements %}
    {% if is_emulator() %}{{ return(snowflake_dml_explicit_transaction(all | join(';\n'))) }}{% endif %}
    {% do graph.setdefault('dropped_in_a_block', {}).update({working | string: true}) %}
    {{ return(snowflake_block(all, "drop table if exists " ~ working)) }}
{% endmacro %}
