{#- The gate and the log of what passed it. -#}

{#- `audits` with the acceptance of each failure, if a person gave one, and whether the failure keeps the month from
    being published. An acceptance holds for what was seen and for nothing else: this candidate under these rules, this
    measured value, as many rows, as much money, the same facts. One without a name does not count, neither does one of
    an earlier version, which named no candidate, and one that was given twice counts once. `further` names columns of
    `audits` to be handed on. -#}
{% macro audits_and_acceptances(audits, further=[]) %}
    {%- set seen = ['content_hash', 'decision_hash', 'failed_rows', 'affected_spend', 'facts_hash'] %}
    select
        audits.snapshot_month,
        audits.audit,
        audits.customer_segment,
        audits.measured,
        {%- for column in further %}
        audits.{{ column }},
        {%- endfor %}
        audits.severity,
        audits.failed_rows,
        acceptances.accepted_by,
        acceptances.reason,
        audits.severity = 'error' and audits.failed_rows > 0 and acceptances.accepted_by is null as is_blocking
    from {{ audits }} as audits
    left join (
        select
            snapshot_month,
            audit,
            customer_segment,
            measured,
            {%- for column in seen %}
            {{ column }},
            {%- endfor %}
            accepted_by,
            reason
        from {{ ref('segment_audit_overrides') }}
        where accepted_by is not null
        qualify
            row_number() over (
                partition by snapshot_month, audit, customer_segment, measured, {{ seen | join(", ") }}
                order by accepted_by desc, reason desc nulls last
            ) = 1
    ) as acceptances
        on
            audits.snapshot_month = acceptances.snapshot_month
            and audits.audit = acceptances.audit
            and coalesce(audits.customer_segment, '') = coalesce(acceptances.customer_segment, '')
            and abs(audits.measured - acceptances.measured) < 0.000000001
            and audits.content_hash = acceptances.content_hash
            and audits.decision_hash = acceptances.decision_hash
            and audits.failed_rows = acceptances.failed_rows
            and coalesce(audits.affected_spend, 0) = coalesce(acceptances.affected_spend, 0)
            and coalesce(audits.facts_hash, '') = coalesce(acceptances.facts_hash, '')
{% endmacro %}

{#- One row per candidate month (`which` limits them): what it is, what its audits judged, and whether the two are one.
    `content_hash` is made of the rows as they stand; a candidate that was changed by hand shows in the hash written on
    it. Audits of several candidates at once, or of none, are those of no candidate. -#}
{% macro gate(which) %}
    with candidates as (

        select
            snapshot_month,
            count(*) as customers,
            cast({{ history_hash(further_metrics()) }} as varchar) as content_hash,
            case when min(content_hash) = max(content_hash) then min(content_hash) end as stamped_content_hash,
            case when min(decision_hash) = max(decision_hash) then min(decision_hash) end as decision_hash
        from {{ ref('segment_assignments') }}
        where {{ which }}
        group by snapshot_month

    ),

    audits as (

        select
            snapshot_month,
            case
                when min(content_hash) = max(content_hash) and count(content_hash) = count(*) then min(content_hash)
            end as content_hash,
            case
                when min(decision_hash) = max(decision_hash) and count(decision_hash) = count(*)
                    then min(decision_hash)
            end as decision_hash
        from {{ ref('segment_audits') }}
        where {{ which }}
        group by snapshot_month

    ),

    expected_audits as (

        {{ expected_audits() }}

    ),

    absent as (

        select
            candidates.snapshot_month,
            count(*) as audits,
            min(expected_audits.audit) as first_audit
        from candidates
        cross join expected_audits
        left join {{ ref('segment_audits') }} as found
            on
                candidates.snapshot_month = found.snapshot_month
                and expected_audits.audit = found.audit
                and expected_audits.about_segment = coalesce(found.customer_segment, '')
        where found.snapshot_month is null
        group by candidates.snapshot_month

    ),

    blocked as (

        {{ blocked_months(ref('segment_audits')) }}

    )

    select
        candidates.snapshot_month,
        candidates.customers,
        candidates.content_hash,
        candidates.stamped_content_hash,
        audits.content_hash as audited_content_hash,
        candidates.decision_hash,
        audits.decision_hash as audited_decision_hash,
        coalesce(absent.audits, 0) as absent_audits,
        absent.first_audit as first_absent_audit,
        blocked.snapshot_month is not null as is_blocked,
        coalesce(
            candidates.content_hash = candidates.stamped_content_hash
            and candidates.content_hash = audits.content_hash
            and candidates.decision_hash = audits.decision_hash
            and absent.snapshot_month is null,
            false
        ) as is_audited
    from candidates
    left join audits on candidates.snapshot_month = audits.snapshot_month
    left join absent on candidates.snapshot_month = absent.snapshot_month
    left join blocked on candidates.snapshot_month = blocked.snapshot_month
{% endmacro %}

{#- Whether a row of `gate` may be published by this run. Rules that were edited since the candidate are not those that
    it was made and judged by. -#}
{% macro may_be_published(gate) %}
    (
        {{ gate }}.is_audited
        and not {{ gate }}.is_blocked
        and {{ gate }}.decision_hash = '{{ decision_hash() }}'
    )
{%- endmacro %}

{#- Months of `audits` with a failed blocking audit that nobody accepted. -#}
{% macro blocked_months(audits) %}
    select distinct judged.snapshot_month
    from ({{ audits_and_acceptances(audits) }}) as judged
    where judged.is_blocking
{% endmacro %}

{#- Shares of the months published before this run, straight from the history: a ref would close a circle, as the
    history waits for these audits. Before the first publication there is none. -#}
{% macro published_shares() %}
    {% set history = existing_relation_of('customer_segment_history') %}
    {% if history %}
    select
        counts.snapshot_month,
        counts.customer_segment,
        counts.customers * 100.0 / sum(counts.customers) over (partition by counts.snapshot_month) as share_pct
    from (
        select
            history.snapshot_month,
            history.customer_segment,
            cast(count(*) as double) as customers
        from {{ history }} as history
        where history.snapshot_month < {{ date_literal(asked_month_list()[-1]) }}
        group by history.snapshot_month, history.customer_segment
    ) as counts
    {% else %}
    select
        cast(null as date) as snapshot_month,
        cast(null as varchar) as customer_segment,
        cast(null as double) as share_pct
    where 1 = 0
    {% endif %}
{% endmacro %}

{% macro existing_relation_of(model_name) %}
    {% set schema = generate_schema_name("gold", none) | trim %}
    {{ return(adapter.get_relation(target.database, schema, model_name) if execute) }}
{% endmacro %}

{#- One row per published month: its newest version. Every table that is made from the history carries the content_hash
    of the version it was made from: it is of the month as it is published now where the two are equal. -#}
{% macro newest_versions() %}
    select
        snapshot_month,
        version,
        rules_hash,
        content_hash
    from {{ ref('segment_publications') }}
    qualify row_number() over (partition by snapshot_month order by version desc) = 1
{% endmacro %}

{#- One log row per month of `batch` whose content, rules or verdict differ from its newest logged version: computing
    a month again without a change publishes nothing that consumers could notice, and so makes no version. What is
    logged is what the candidate and its audits say of themselves; a month whose candidate or audits another run has
    replaced since the batch was made is not logged, and so not published (replace_months.sql). -#}
{% macro log_publications_sql(batch) %}
    {% set log = existing_relation_of('segment_publications') %}
    insert into {{ log }} (
        snapshot_month, version, published_at, run_id, rules_hash, customers, content_hash, audits_verdict,
        override_reason, decision_hash
    )
    with batch as (

        select
            snapshot_month,
            count(*) as customers,
            cast({{ history_hash(further_metrics()) }} as varchar) as content_hash
        from {{ batch }}
        group by snapshot_month

    ),

    gate as (

        {{ gate(is_asked_month('snapshot_month')) }}

    ),

    failed as (

        select
            audits.snapshot_month,
            max(case when audits.severity = 'error' then 1 else 0 end) as has_errors,
            max(audits.accepted_by || ': ' || audits.reason) as override_reason
        from ({{ audits_and_acceptances(ref('segment_audits')) }}) as audits
        where audits.failed_rows > 0
        group by audits.snapshot_month

    ),

    newest as (

        {{ newest_of_log(log) }}

    ),

    judged as (

        select
            batch.snapshot_month,
            batch.customers,
            batch.content_hash,
            gate.decision_hash,
            failed.override_reason,
            case
                when failed.snapshot_month is null then 'passed'
                when failed.has_errors = 1 then 'accepted'
                else 'warned'
            end as audits_verdict
        from batch
        inner join gate on batch.snapshot_month = gate.snapshot_month and batch.content_hash = gate.content_hash
        left join failed on batch.snapshot_month = failed.snapshot_month
        where {{ may_be_published('gate') }}

    )

    select
        judged.snapshot_month,
        coalesce(newest.version, 0) + 1,
        cast('{{ run_started_at.strftime("%Y-%m-%d %H:%M:%S") }}' as {{ naive_timestamp() }}),
        {{ publishing_run() }},
        '{{ rules_hash() }}',
        judged.customers,
        judged.content_hash,
        judged.audits_verdict,
        judged.override_reason,
        judged.decision_hash
    from judged
    left join newest on judged.snapshot_month = newest.snapshot_month
    where
        newest.snapshot_month is null
        or newest.content_hash <> judged.content_hash
        or newest.rules_hash <> '{{ rules_hash() }}'
        or newest.decision_hash <> judged.decision_hash
        or newest.audits_verdict <> judged.audits_verdict
{% endmacro %}

{% macro newest_of_log(log) %}
    select
        snapshot_month,
        version,
        rules_hash,
        decision_hash,
        content_hash,
        audits_verdict
    from {{ log }}
    qualify row_number() over (partition by snapshot_month order by version desc) = 1
{% endmacro %}

{#- The months of `batch` that the log has now: only these are replaced, and by nothing else than what it tells. -#}
{% macro logged_months_sql(batch) %}
    select batch.snapshot_month
    from (
        select
            snapshot_month,
            cast({{ history_hash(further_metrics()) }} as varchar) as content_hash
        from {{ batch }}
        group by snapshot_month
    ) as batch
    inner join ({{ newest_of_log(existing_relation_of('segment_publications')) }}) as newest
        on batch.snapshot_month = newest.snapshot_month and batch.content_hash = newest.content_hash
{% endmacro %}

{% macro publishing_run() %}{{ return(string_literal(var('run_id', none) or invocation_id)) }}{% endmacro %}

{#- Who moved between the version that stands in `history` and the one in `batch`, for each version that this run has
    just logged of a month that was published before. A run that is retried finds no new version and writes nothing. -#}
{% macro log_restatements_sql(batch, history) %}
    {% set restatements = existing_relation_of('segment_restatements') %}
    {% if not restatements %}
        {% do exceptions.raise_compiler_error(
            "gold.segment_restatements is not there yet: build segment_restatements before customer_segment_history."
        ) %}
    {% endif %}
    insert into {{ restatements }} (snapshot_month, version, from_segment, to_segment, customers)
    with new_versions as (

        select
            log.snapshot_month,
            log.version
        from {{ existing_relation_of('segment_publications') }} as log
        left join {{ restatements }} as told
            on log.snapshot_month = told.snapshot_month and log.version = told.version
        where
            log.run_id = {{ publishing_run() }}
            and log.version > 1
            and told.snapshot_month is null
            and log.snapshot_month in (select snapshot_month from {{ batch }})
            and log.snapshot_month in (select snapshot_month from {{ history }})
        qualify row_number() over (partition by log.snapshot_month order by log.version desc) = 1

    ),

    old_rows as (

        select
            history.snapshot_month,
            history.customer_id,
            history.customer_segment
        from {{ history }} as history
        inner join new_versions on history.snapshot_month = new_versions.snapshot_month

    ),

    new_rows as (

        select
            batch.snapshot_month,
            batch.customer_id,
            batch.customer_segment
        from {{ batch }} as batch
        inner join new_versions on batch.snapshot_month = new_versions.snapshot_month

    ),

    moves as (

        select
            coalesce(new_rows.snapshot_month, old_rows.snapshot_month) as snapshot_month,
            coalesce(old_rows.customer_segment, 'Not in the version before') as from_segment,
            coalesce(new_rows.customer_segment, 'Not in this version') as to_segment
        from new_rows
        full outer join old_rows
            on new_rows.snapshot_month = old_rows.snapshot_month and new_rows.customer_id = old_rows.customer_id

    )

    select
        moves.snapshot_month,
        new_versions.version,
        moves.from_segment,
        moves.to_segment,
        count(*)
    from moves
    inner join new_versions on moves.snapshot_month = new_versions.snapshot_month
    group by moves.snapshot_month, new_versions.version, moves.from_segment, moves.to_segment
{% endmacro %}

{#- The table's very first build is a `create table as`, which no incremental strategy sees. -#}
{% macro log_unlogged_publications_sql() %}
    {% if execute and not is_incremental() %}
        {{ log_publications_sql(this) }}
    {% endif %}
{% endmacro %}

{#- Says whether a month's content changed, independent of row order: the sum of each row's hash. Each engine hashes its
    own way, as it is compared with the same engine's only; the portable MD5 takes a second for 500,000 rows, DuckDB's
    own hash 0.03. -#}
{% macro content_hash(columns) %}{{ return(adapter.dispatch('content_hash', 'segmentation')(columns)) }}{% endmacro %}

{% macro default__content_hash(columns) %}cast(sum(hash({{ columns | join(", ") }})) as varchar){% endmacro %}

{% macro snowflake__content_hash(columns) %}
    cast(sum(cast({{ hash_number(row_text(columns)) }} as decimal(38, 0))) as varchar)
{%- endmacro %}

{#- The hash of a month's published rows: of the columns of the contract, and of each metric that is there beside them
    where it is not NULL. A metric that was added since, or one of other rules, leaves the hash of a month without it as
    it was. -#}
{% macro history_hash(further) %}
    {{ return(adapter.dispatch('history_hash', 'segmentation')(further)) }}
{% endmacro %}

{% macro default__history_hash(further) -%}
    {%- if not further -%}{{ content_hash(history_columns()) }}
    {%- else -%}
    cast(
        sum(hash({{ history_columns() | join(", ") }}))
        {%- for metric in further %}
        + coalesce(sum(case when {{ metric }} is not null then hash(customer_id, '{{ metric }}', {{ metric }}) end), 0)
        {%- endfor %} as varchar
    )
    {%- endif -%}
{%- endmacro %}

{#- Of numbers nine decimals, as in row_text; whole numbers and flags are text that is the same every time. -#}
{% macro snowflake__history_hash(further) -%}
    {%- if not further -%}{{ content_hash(history_columns()) }}
    {%- else -%}
    {%- set definitions = metric_definitions() -%}
    cast(
        sum(cast({{ hash_number(row_text(history_columns())) }} as decimal(38, 0)))
        {%- for metric in further %}
        {%- set kind = definitions.get(metric, {}).get('kind', 'avg') -%}
        {%- set is_number = kind not in ('first_date', 'last_date', 'flag') -%}
        {%- set value = "cast(" ~ metric ~ " as decimal(38, 9))" if is_number else metric -%}
        {%- set is_day = kind in ('first_date', 'last_date') -%}
        {%- set written = date_text(metric) if is_day else "cast(" ~ value ~ " as varchar)" %}
        {%- set text = "customer_id || '|" ~ metric ~ "|' || " ~ written %}
        + coalesce(sum(
            case when {{ metric }} is not null then cast({{ hash_number(text) }} as decimal(38, 0)) end
        ), 0)
        {%- endfor %} as varchar
    )
    {%- endif -%}
{%- endmacro %}

{#- The metrics beside the published ones that the history has of any month, under whatever rules it was published:
    {name, dtype}, as the engine calls its types. -#}
{% macro further_columns_of_history() %}
    {% set names = further_metrics() %}
    {% set decisions = existing_relation_of('segment_decisions') if execute %}
    {% if decisions %}
        {#- Asked once by an invocation: none that asks adds a decision. -#}
        {% if 'decided_metrics' not in graph %}
            {% do graph.update({'decided_metrics': run_query(
                "select distinct entry, entry_value from " ~ decisions
                ~ " where entry in ('metrics', 'category_groups')"
            )}) %}
        {% endif %}
        {% for row in graph.decided_metrics %}
            {% for name in fromjson(row[1]) %}
                {% do names.extend(
                    [name] if row[0] == 'metrics' else [name ~ '_spend_pct', 'lifetime_' ~ name ~ '_spend_pct']
                ) %}
            {% endfor %}
        {% endfor %}
    {% endif %}
    {% set names = names | reject('in', published_metrics()) | unique | list %}
    {% set columns = [] %}
    {% set history = existing_relation_of('customer_segment_history') if execute and names %}
    {% for column in (columns_before(history) if history else []) if column.name | lower in names %}
        {% do columns.append({'name': column.name | lower, 'dtype': column.dtype | lower}) %}
    {% endfor %}
    {{ return(columns) }}
{% endmacro %}

{#- Nine decimals of every metric: the text that Snowflake makes of a double has no fixed number of digits. -#}
{% macro row_text(columns) %}
    {%- for column in columns -%}
        {%- set is_number = column in published_numeric_metrics() -%}
        {%- set value = "cast(" ~ column ~ " as decimal(38, 9))" if is_number else column -%}
        {%- set text = date_text(column) if column.endswith('_date') else 'cast(' ~ value ~ ' as varchar)' -%}
        coalesce({{ text }}, '') {{- " || '|' || " if not loop.last }}
    {%- endfor -%}
{% endmacro %}

{#- First 60 bits of the MD5 of a text, as an integer: the same on every engine. -#}
{% macro hash_number(text) %}{{ return(adapter.dispatch('hash_number', 'segmentation')(text)) }}{% endmacro %}

{% macro default__hash_number(text) %}cast('0x' || substr(md5({{ text }}), 1, 15) as bigint){% endmacro %}

{#- Digit by digit: to_number with a hexadecimal format would be shorter, but the emulator does not know it, and a
    holdout has to be what was tested. A digit is worth the number of digits before it; the emulator loses `position`,
    which would say the same, in a subquery of a query that makes a table. -#}
{% macro snowflake__hash_number(text) -%}
    (
        {%- for place in range(15) %}
        {{ "+ " if not loop.first -}}
        length(split_part('0123456789abcdef', substr(md5({{ text }}), {{ place + 1 }}, 1), 1))
        * {{ 16 ** (14 - place) }}
        {%- endfor %}
    )
{%- endmacro %}
