{#- The company's own star schema under the names of the source contract (the rules' star_schema). Staging reads these,
    and nothing behind staging knows of them. segmentation_assets/sources/star_schema.py writes the same SQL for what
    Python asks of the source; tests/warehouse/test_mapped_source.py holds the two together. -#}

{#- What to select from: the table itself where it is as the contract has it, otherwise a query of the company's table
    that gives each column of the contract. -#}
{% macro star_schema(table) %}
    {%- set relation = source('star_schema', table) -%}
    {%- if star_table(table) is none or is_unit_test() -%}{{ return(relation) }}{%- endif -%}
    {{ return('(' ~ star_query(table) ~ ') as ' ~ table) }}
{% endmacro %}

{#- dbt's unit tests give rows of their own in place of the source, with the columns of the contract. -#}
{% macro is_unit_test() %}{{ return(model is mapping and model.resource_type == 'unit_test') }}{% endmacro %}

{#- How the rules map a table: its place and its columns as SQL expressions; a word (`generated`, `in_facts`, `none`);
    nothing where it is as the contract has it. -#}
{% macro star_table(table) %}
    {% set said = ((var('star_schema', none) or {}).get('tables') or {}).get(table) %}
    {% if said is none or said is string %}{{ return(said) }}{% endif %}
    {% set columns = said.get('columns') %}
    {% if columns is none %}
        {% set columns = {} %}
        {% set absent = absent_columns(table, star_place(said.get('from', table))) %}
        {% for column in star_contract()[table] if column not in absent %}
            {% do columns.update({column: column}) %}
        {% endfor %}
    {% endif %}
    {{ return({'place': star_place(said.get('from', table)), 'columns': columns}) }}
{% endmacro %}

{#- `name`, `schema.name` or `database.schema.name` as SQL, with what the rules and the settings say of the rest. -#}
{% macro star_place(name) %}
    {% set said = var('star_schema', none) or {} %}
    {% set parts = name.split('.') %}
    {#- As sources.yml has them. -#}
    {% set places = [] %}
    {% for name, found in (graph.get('sources') or {}).items() if name.startswith('source.segmentation.star_schema.') %}
        {% do places.append((found.database, found.schema)) %}
    {% endfor %}
    {% set whole = (places[0] if places else ('', ''))[: 3 - parts | length] | list + parts %}
    {% set written = [] %}
    {% for part in whole if part %}{% do written.append(star_name(part)) %}{% endfor %}
    {{ return(written | join('.')) }}
{% endmacro %}

{#- Without quotes on Snowflake, as its users write names; what is written in quotes stays so. -#}
{% macro star_name(name) %}
    {{ return(name if name.startswith('"') or target.type == 'snowflake' else '"' ~ name ~ '"') }}
{% endmacro %}

{#- Whether there is the table or view that the rules map `table` to. -#}
{% macro star_table_exists(table) %}
    {% set said = ((var('star_schema', none) or {}).get('tables') or {}).get(table) %}
    {% set parts = star_place(said.get('from', table)).split('.') %}
    {#- Snowflake has one for each database, DuckDB one for all. -#}
    {% set catalog = parts[0] ~ '.' if parts | length > 2 and target.type == 'snowflake' else '' %}
    {% set named = ['table_catalog', 'table_schema', 'table_name'][3 - parts | length:] %}
    {% set conditions = [] %}
    {% for part in parts %}
        {% set column = named[loop.index0] %}
        {% do conditions.append("lower(" ~ column ~ ") = lower(" ~ string_literal(part | replace('"', '')) ~ ")") %}
    {% endfor %}
    {% set counts = [] %}
    {% for views in ['tables', 'views'] %}
        {% do counts.append(
            "(select count(*) from " ~ catalog ~ "information_schema." ~ views ~ " where "
            ~ conditions | join(' and ') ~ ")"
        ) %}
    {% endfor %}
    {{ return(run_query("select " ~ counts | join(' + ') ~ " as n").rows[0][0] > 0) }}
{% endmacro %}

{#- Columns of the contract: what each is, and what it is where a mapping leaves it out; none where it has to be
    mapped. -#}
{% macro star_contract() %}
    {% set no_text = 'cast(null as varchar)' %}
    {{ return({
        'fct_transactions': {
            'transaction_key': ['key', none],
            'customer_key': ['customer_key', none],
            'merchant_category_key': ['key', no_text],
            'transaction_date': ['day', none],
            'transaction_amount': ['money', none],
            'transaction_status': ['text', string_literal(var('approved_statuses')[0])],
        },
        'dim_customer': {
            'customer_key': ['customer_key', none],
            'customer_id': ['text', none],
            'first_name': ['text', no_text],
            'last_name': ['text', no_text],
            'email': ['text', no_text],
            'valid_from': ['day', "cast('1900-01-01' as date)"],
            'valid_to': ['day', 'cast(null as date)'],
            'is_current': ['flag', 'true'],
        },
        'dim_merchant_category': {
            'category_key': ['key', none],
            'category_name': ['text', none],
        },
        'dim_date': {
            'date_key': ['key', 'cast(null as integer)'],
            'full_date': ['day', none],
        },
        'marketing_suppressions': {
            'customer_id': ['text', none],
            'reason': ['text', no_text],
            'suppressed_at': ['day', 'cast(null as date)'],
            'campaign': ['text', no_text],
            'channel': ['text', no_text],
            'expires_at': ['day', 'cast(null as date)'],
        },
        'contact_history': {
            'customer_id': ['text', no_text],
            'email': ['text', no_text],
            'contacted_at': ['day', none],
            'channel': ['text', no_text],
            'campaign': ['text', no_text],
        },
        'campaign_eligibility': {
            'customer_id': ['text', none],
            'campaign': ['text', no_text],
            'reason': ['text', no_text],
        },
    }) }}
{% endmacro %}

{#- Columns that a table may be without, though it is as the contract has it. -#}
{% macro optional_star_columns(table) %}
    {{ return({
        'marketing_suppressions': ['campaign', 'channel', 'expires_at'],
        'contact_history': ['customer_id', 'email', 'channel', 'campaign'],
        'campaign_eligibility': ['campaign', 'reason'],
    }.get(table, [])) }}
{% endmacro %}

{#- Those of them that the table at `place` is without. -#}
{% macro absent_columns(table, place) %}
    {% if not execute or not optional_star_columns(table) %}{{ return([]) }}{% endif %}
    {% set found = query_types('select * from ' ~ place ~ ' where 1 = 0') %}
    {{ return(optional_star_columns(table) | reject('in', found) | list) }}
{% endmacro %}

{% macro star_query(table) %}
    {%- set mapped = star_table(table) -%}
    {%- if mapped == 'generated' -%}{{ return(generated_days()) }}{%- endif -%}
    {%- if mapped == 'none' -%}
        {{ return(
            "select cast(null as varchar) as category_key, cast(null as varchar) as category_name where 1 = 0"
        ) }}
    {%- endif -%}
    {%- if mapped == 'in_facts' -%}
        {%- set facts = star_table('fct_transactions') -%}
        {%- set category = '(' ~ facts.columns.merchant_category_key ~ ')' -%}
        {{ return(
            "select distinct " ~ category ~ " as category_key, cast(" ~ category ~ " as varchar) as category_name from "
            ~ facts.place ~ " where " ~ category ~ " is not null"
        ) }}
    {%- endif -%}
    {%- set types = star_types(table) -%}
    {%- set selected = [] -%}
    {%- for column, (kind, otherwise) in star_contract()[table].items() -%}
        {%- set given = mapped.columns.get(column) -%}
        {%- set value = otherwise if given is none else star_value('(' ~ given ~ ')', kind, types.get(column, '')) -%}
        {%- do selected.append(value ~ ' as ' ~ column) -%}
    {%- endfor -%}
    {%- if table == 'fct_transactions' -%}
        {%- do selected.append('(' ~ mapped.columns.transaction_date ~ ') as occurred_at') -%}
    {%- endif -%}
    {{ return('select ' ~ selected | join(', ') ~ ' from ' ~ mapped.place) }}
{% endmacro %}

{#- An expression of the company's as what the contract asks for. -#}
{% macro star_value(given, kind, type) %}
    {%- if kind == 'text' -%}
        {{ return('cast(' ~ given ~ ' as varchar)') }}
    {%- elif kind == 'money' and is_double_type(type) -%}
        {{ return('cast(' ~ given ~ ' as ' ~ money() ~ ')') }}
    {%- elif kind == 'customer_key' and customer_keys_are_text() -%}
        {{ return(number_of_text_key('cast(' ~ given ~ ' as varchar)')) }}
    {%- elif kind == 'day' and is_zoned_type(type) -%}
        {{ return(local_time(given)) }}
    {%- elif kind == 'day' and is_number_type(type) -%}
        {{ return(day_of_number(given)) }}
    {%- elif kind == 'key' and is_double_type(type) -%}
        {{ return('cast(' ~ given ~ ' as bigint)') }}
    {%- else -%}
        {{ return(given) }}
    {%- endif -%}
{% endmacro %}

{#- Column -> type of what the mapping gives for it, in small letters, as the engine calls it. No row is read. -#}
{% macro star_types(table) %}
    {% set mapped = star_table(table) %}
    {% set types = {} %}
    {% if not execute or mapped is none or mapped is string or not mapped.columns %}{{ return(types) }}{% endif %}
    {% set selected = [] %}
    {% for column, given in mapped.columns.items() %}
        {% do selected.append('(' ~ given ~ ') as ' ~ column) %}
    {% endfor %}
    {{ return(query_types('select ' ~ selected | join(', ') ~ ' from ' ~ mapped.place ~ ' where 1 = 0')) }}
{% endmacro %}

{% macro query_types(query) %}{{ return(adapter.dispatch('query_types', 'segmentation')(query)) }}{% endmacro %}

{% macro default__query_types(query) %}
    {% set types = {} %}
    {% for found in adapter.get_column_schema_from_query(query) %}
        {% do types.update({found.name | lower: found.dtype | lower}) %}
    {% endfor %}
    {{ return(types) }}
{% endmacro %}

{% macro duckdb__query_types(query) %}
    {% set types = {} %}
    {% for row in run_query('describe ' ~ query) %}{% do types.update({row[0] | lower: row[1] | lower}) %}{% endfor %}
    {{ return(types) }}
{% endmacro %}

{% macro is_text_type(type) %}
    {{ return('char' in type or 'text' in type or 'string' in type or 'uuid' in type or 'enum' in type) }}
{% endmacro %}

{% macro is_zoned_type(type) %}
    {{ return('with time zone' in type or '_tz' in type or '_ltz' in type or 'timestamptz' in type) }}
{% endmacro %}

{% macro is_double_type(type) %}
    {{ return(type.split('(')[0] in ['double', 'double precision', 'real', 'float', 'float4', 'float8']) }}
{% endmacro %}

{% macro is_number_type(type) %}
    {{ return(
        'int' in type.split('(')[0] or type.split('(')[0] in ['decimal', 'numeric', 'number', 'fixed']
    ) }}
{% endmacro %}

{#- A key that is text on either side of the join is compared as text, and published as a number made of it. -#}
{% macro customer_keys_are_text() %}
    {% for table in ['fct_transactions', 'dim_customer'] %}
        {% if is_text_type(star_types(table).get('customer_key', '')) %}{{ return(true) }}{% endif %}
    {% endfor %}
    {{ return(false) }}
{% endmacro %}

{#- The same number on both engines. The keys that the rules call nobody's stay what they are. -#}
{% macro number_of_text_key(text) %}
    {%- set whens = [] -%}
    {%- for key in unknown_customers()['keys'] -%}
        {%- do whens.append("when " ~ text ~ " = '" ~ key ~ "' then " ~ key) -%}
    {%- endfor -%}
    {%- set number = hash_number(text) | trim -%}
    {{ return('case ' ~ whens | join(' ') ~ ' else ' ~ number ~ ' end' if whens else number) }}
{% endmacro %}

{#- A moment on the clock of the company's time zone: it says to which day a transaction belongs. -#}
{% macro star_time_zone() %}{{ return((var('star_schema', none) or {}).get('time_zone') or 'UTC') }}{% endmacro %}

{% macro local_time(moment) %}{{ return(adapter.dispatch('local_time', 'segmentation')(moment)) }}{% endmacro %}

{% macro default__local_time(moment) %}
    {{ return("timezone('" ~ star_time_zone() ~ "', " ~ moment ~ ")") }}
{% endmacro %}

{% macro snowflake__local_time(moment) %}
    {{ return("cast(convert_timezone('" ~ star_time_zone() ~ "', " ~ moment ~ ") as timestamp_ntz)") }}
{% endmacro %}

{#- 20251130 as a day; a number that is none becomes NULL, which the source contract refuses. -#}
{% macro day_of_number(number) %}{{ return(adapter.dispatch('day_of_number', 'segmentation')(number)) }}{% endmacro %}

{% macro default__day_of_number(number) %}
    {%- set whole = "cast(" ~ number ~ " as bigint)" -%}
    {{ return(
        "try(make_date(" ~ whole ~ " // 10000, " ~ whole ~ " // 100 % 100, " ~ whole ~ " % 100))"
    ) }}
{% endmacro %}

{% macro snowflake__day_of_number(number) %}
    {{ return("try_to_date(cast(cast(" ~ number ~ " as bigint) as varchar), 'YYYYMMDD')") }}
{% endmacro %}

{#- A calendar for who has none: every day from 1970 to 2099. A fact of another day is refused by the contract. -#}
{% macro generated_days() %}
    {%- set digits = "(select 0 as digit union all select 1 union all select 2 union all select 3 union all select 4"
        ~ " union all select 5 union all select 6 union all select 7 union all select 8 union all select 9)" -%}
    {%- set day = "cast('1970-01-01' as date) + (ones.digit + 10 * tens.digit + 100 * hundreds.digit"
        ~ " + 1000 * thousands.digit + 10000 * myriads.digit)" -%}
    {{ return(
        "select cast(null as integer) as date_key, cast(" ~ day ~ " as date) as full_date from " ~ digits
        ~ " as ones cross join " ~ digits ~ " as tens cross join " ~ digits ~ " as hundreds cross join " ~ digits
        ~ " as thousands cross join " ~ digits ~ " as myriads where " ~ day ~ " < cast('2100-01-01' as date)"
    ) }}
{% endmacro %}

{#- The day or moment of a fact as the source has it, in the rows of star_schema('fct_transactions'). -#}
{% macro occurred_at() %}
    {{- 'transaction_date' if star_table('fct_transactions') is none or is_unit_test() else 'occurred_at' -}}
{% endmacro %}

{#- What lets an engine skip facts beside a condition on transaction_date: the same days of the column as the source
    has it (occurred_at), where that is no date. A zone moves a moment by less than a day. Empty where the date is the
    column itself. `first` and `end` are dates, `first` none for the beginning. -#}
{% macro and_occurred(first, end) %}
    {%- set mapped = star_table('fct_transactions') if execute and not is_unit_test() else none -%}
    {%- if mapped is none -%}{{ return('') }}{%- endif -%}
    {%- set type = star_types('fct_transactions').get('transaction_date', 'date') -%}
    {%- if type == 'date' or is_text_type(type) -%}{{ return('') }}{%- endif -%}
    {%- set conditions = [] -%}
    {%- if first is not none -%}
        {%- do conditions.append(' and occurred_at >= ' ~ moment_literal(days_before(first, 1), type)) -%}
    {%- endif -%}
    {%- if end is not none -%}
        {%- do conditions.append(' and occurred_at < ' ~ moment_literal(days_before(end, -1), type)) -%}
    {%- endif -%}
    {{ return(conditions | join) }}
{% endmacro %}

{#- The facts of the days from `first` to before `end`, both dates. -#}
{% macro facts_of_days(first, end) %}
    {{- "transaction_date >= " ~ date_literal(first) ~ " and transaction_date < " ~ date_literal(end) -}}
    {{- and_occurred(first, end) -}}
{% endmacro %}

{% macro moment_literal(day, type) %}
    {%- if is_number_type(type) -%}
        {{ return(day.strftime('%Y%m%d')) }}
    {%- elif is_zoned_type(type) -%}
        {%- set named = 'timestamp_tz' if target.type == 'snowflake' else 'timestamptz' -%}
        {{ return("cast('" ~ day ~ " 00:00:00+00:00' as " ~ named ~ ")") }}
    {%- else -%}
        {{ return("cast('" ~ day ~ "' as " ~ naive_timestamp() ~ ")") }}
    {%- endif -%}
{% endmacro %}
