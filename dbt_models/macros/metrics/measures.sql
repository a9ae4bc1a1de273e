{#- Measures: what is added up of the periods, per category group and window. The metrics are made of them. -#}

{#- [measure, group, window] of what a metric is made of; group and window are none where it is of all. -#}
{% macro measures_of(definition) %}
    {% set kind, group, window = definition.kind, definition.get('group'), definition.get('window') %}
    {% set single = {
        'sum': 'spend', 'count': 'transaction_count', 'min': 'min_amount', 'max': 'max_amount',
        'active_months': 'active_months', 'recency': 'last_transaction_date', 'last_date': 'last_transaction_date',
        'first_date': 'first_transaction_date', 'tenure': 'first_transaction_date',
    } %}
    {% if kind in single %}
        {{ return([[single[kind], group, window]]) }}
    {% elif kind == 'avg' %}
        {{ return([['spend', group, window], ['transaction_count', group, window]]) }}
    {% elif kind == 'share' and group %}
        {{ return([['spend', group, window], ['spend', none, window]]) }}
    {% elif kind == 'change' and window %}
        {{ return([['spend', group, window], ['spend', group, definition['from']]]) }}
    {% endif %}
    {{ return([]) }}
{% endmacro %}

{#- Every measure in use, once: {measure, group, window, column}. -#}
{% macro measures() %}
    {% set found, columns = [], [] %}
    {% for definition in metric_definitions().values() %}
        {% for measure, group, window in measures_of(definition) %}
            {% set column = measure_column(measure, group, window) %}
            {% if column not in columns %}
                {% do columns.append(column) %}
                {% do found.append({'measure': measure, 'group': group, 'window': window, 'column': column}) %}
            {% endif %}
        {% endfor %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}

{#- What a measure is called in transaction_window_metrics: travel_spend_last_90_days, lifetime_travel_spend. -#}
{% macro measure_column(measure, group, window) %}
    {% if not group and not window %}
        {% set published = {'spend': 'lifetime_value', 'transaction_count': 'total_transactions'} %}
        {% set named = ['first_transaction_date', 'last_transaction_date'] %}
        {% if measure in published %}{{ return(published[measure]) }}{% endif %}
        {% if measure in named %}{{ return(measure) }}{% endif %}
    {% endif %}
    {% set words = ['lifetime' if not window, group, 'transactions' if measure == 'transaction_count' else measure] %}
    {{ return((words + [window]) | select | join('_')) }}
{% endmacro %}

{#- The column of the rollup that it is added up from. -#}
{% macro rollup_column(measure, group) %}
    {% set column = 'transaction_count' if measure == 'active_months' else measure %}
    {{ return(group ~ '_' ~ column if group else column) }}
{% endmacro %}

{#- Columns of the rollup beside those that it has under any rules, and beside the spend of each group. -#}
{% macro further_measures() %}
    {% set columns = [] %}
    {% for one in measures() if one.group and one.measure != 'spend' %}
        {% do columns.append(rollup_column(one.measure, one.group)) %}
    {% endfor %}
    {{ return(columns | unique | sort | list) }}
{% endmacro %}

{#- What the rollup holds of a group's transactions where a metric asks for it: column -> what of which. -#}
{% macro rollup_aggregates() %}
    {{ return({
        'transaction_count': {'function': 'count', 'of': '1'},
        'first_transaction_date': {'function': 'min', 'of': 'transactions.transaction_date'},
        'last_transaction_date': {'function': 'max', 'of': 'transactions.transaction_date'},
        'min_amount': {'function': 'min', 'of': 'transactions.amount'},
        'max_amount': {'function': 'max', 'of': 'transactions.amount'},
    }) }}
{% endmacro %}

{#- Columns of the rollup that these rules have no use for, of groups and measures of others: {name, dtype}. They stay,
    empty: a view that was built under those rules reads them until it is built again, and may be asked meanwhile. -#}
{% macro columns_of_other_rules() %}
    {#- A unit test of dbt has no table of its own. -#}
    {% set existing = adapter.get_relation(this.database, this.schema, this.table) if execute and this %}
    {% set columns = [] %}
    {% set own = ['spend', 'transaction_count', 'first_transaction_date', 'last_transaction_date', 'min_amount',
        'max_amount'] + group_spends() + further_measures() %}
    {% for column in (columns_before(existing) if existing else []) %}
        {% set name = column.name | lower %}
        {% if name not in own and modules.re.search(
            '_(spend|transaction_count|first_transaction_date|last_transaction_date|min_amount|max_amount)$', name
        ) %}
            {% do columns.append({'name': name, 'dtype': column.data_type}) %}
        {% endif %}
    {% endfor %}
    {{ return(columns) }}
{% endmacro %}

{#- The spend of every group, as the rollup has it. -#}
{% macro group_spends() %}
    {% set columns = [] %}
    {% for group in category_group_names() %}{% do columns.append(group ~ '_spend') %}{% endfor %}
    {{ return(columns) }}
{% endmacro %}

{#- The columns of the rollup that the measures are added up from. -#}
{% macro measured_columns() %}
    {% set columns = ['transaction_count', 'spend', 'first_transaction_date', 'last_transaction_date'] %}
    {% for one in measures() %}{% do columns.append(rollup_column(one.measure, one.group)) %}{% endfor %}
    {{ return(columns | unique | list) }}
{% endmacro %}

{% macro aggregate_of(measure) %}
    {{ return({
        'first_transaction_date': 'min', 'min_amount': 'min', 'last_transaction_date': 'max', 'max_amount': 'max',
    }.get(measure, 'sum')) }}
{% endmacro %}

{#- A measure added up from rows that have `column`, those of its window: of a sum, nothing is 0. -#}
{% macro measured(one, column, is_in_window=none) %}
    {%- set aggregate = aggregate_of(one.measure) -%}
    {%- if is_in_window -%}
        {{ aggregate }}(case when {{ is_in_window }} then {{ column }}{{ ' else 0' if aggregate == 'sum' }} end)
    {%- else -%}
        {{ aggregate }}({{ column }})
    {%- endif -%}
{% endmacro %}

{#- How a measure is published: whole numbers, money rounded once, and dates as they are. -#}
{% macro rounded_measure(one, column) %}
    {%- if one.measure in ('transaction_count', 'active_months') -%}
        cast(coalesce({{ column }}, 0) as bigint)
    {%- elif one.measure == 'spend' -%}
        {{ rounded_sum('coalesce(' ~ column ~ ', 0)') }}
    {%- elif one.measure in ('min_amount', 'max_amount') -%}
        {{ rounded_sum(column) }}
    {%- else -%}
        {{ column }}
    {%- endif -%}
{% endmacro %}

{#- Days before the as-of date: [first, end). -#}
{% macro window_days(window) %}
    {% set said = var('windows')[window] %}
    {% set ends = said.get('ends', 0) %}
    {{ return([ends + said.days, ends]) }}
{% endmacro %}

{#- Whether a period lies in a window before `as_of`, a date of Jinja or an expression of SQL. No period reaches over
    an edge. A window that ends with the month needs no end where later periods are left out. -#}
{% macro is_in_window(window, period, as_of) %}
    {% set first, end = window_days(window) %}
    {% if as_of is string %}
        {% set starts, ends = as_of ~ ' - ' ~ first, as_of ~ ' - ' ~ end %}
    {% else %}
        {% set starts, ends = date_literal(days_before(as_of, first)), date_literal(days_before(as_of, end)) %}
    {% endif %}
    {{ return(period ~ ' >= ' ~ starts ~ (' and ' ~ period ~ ' < ' ~ ends if end else '')) }}
{% endmacro %}

{#- The windows in use, by name. -#}
{% macro used_windows() %}
    {{ return(measures() | map(attribute='window') | select | unique | list) }}
{% endmacro %}

{#- How far back the windows in use reach, in days. -#}
{% macro longest_window_days() %}
    {% set days = [180] %}
    {% for window in used_windows() %}{% do days.append(window_days(window)[0]) %}{% endfor %}
    {{ return(days | max) }}
{% endmacro %}

{#- One row per customer and month of `months`: in how many calendar months there are transactions. Apart from the other
    measures: a customer's versions may have transactions in the same month, which counts once. -#}
{% macro active_months(months, periods, owners) %}
    select
        {{ months }}.snapshot_month,
        {{ owners }}.customer_id
        {%- for one in measures() if one.measure == 'active_months' %},
        count(distinct case
            when {{ periods }}.{{ rollup_column(one.measure, one.group) }} > 0
                {%- if one.window %}
                and {{ is_in_window(one.window, periods ~ '.period_start', months ~ '.as_of_date') }}
                {%- endif %}
                then {{ month_start(periods ~ '.period_start') }}
        end) as {{ one.column }}
        {%- endfor %}
    from {{ months }}
    inner join {{ periods }} on {{ months }}.as_of_date > {{ periods }}.period_start
    inner join {{ owners }} on {{ periods }}.customer_key = {{ owners }}.customer_key
    group by {{ months }}.snapshot_month, {{ owners }}.customer_id
{% endmacro %}
