{{ config(on_schema_change='append_new_columns') }}

{% set asked = asked_month_list() %}
{%- set sums = measures() | rejectattr('measure', 'equalto', 'active_months') | list %}
{%- set lifetimes = sums | rejectattr('window') | list %}
{%- set in_windows = sums | selectattr('window') | list %}
{%- set counts_of_months = measures() | selectattr('measure', 'equalto', 'active_months') | list %}
with months as (

    {{ asked_months() }}

),

periods as (

    select
        customer_key,
        period_start,
        {{ measured_columns() | join(',\n        ') }}
    from {{ ref('customer_period_spend') }}
    where period_start < {{ last_as_of_date() }}

),

versions as (

    select
        customer_id,
        customer_key,
        valid_from,
        valid_to
    from {{ ref('stg_customers') }}
    where valid_from <= {{ last_as_of_date() }}

),

-- Whose version a key is today. The rollup is added up by key, a whole number, before it meets this list.
owners as (

    select
        customer_key,
        customer_id
    from {{ ref('stg_customers') }}

),

population as (

    {{ population('months', 'versions') }}

),

stamps as (

    {{ rollup_stamps('months') }}

),

{% if counts_of_months -%}
active_months as (

    {{ active_months('months', 'periods', 'owners') }}

),

{% endif -%}
{% if asked | length == 1 -%}
-- One month alone needs each period once, for the lifetime and for the windows it lies in.
measures_of_versions as (

    select
        {%- for one in sums %}
        {%- set inside = is_in_window(one.window, 'periods.period_start', month_after(asked[0])) if one.window %}
        {{ measured(one, 'periods.' ~ rollup_column(one.measure, one.group), inside) }} as {{ one.column }},
        {%- endfor %}
        periods.customer_key
    from periods
    group by periods.customer_key

),

measures as (

    select
        {%- for one in sums %}
        {{ measured(one, 'versions.' ~ one.column) }} as {{ one.column }},
        {%- endfor %}
        {{ date_literal(asked[0]) }} as snapshot_month,
        owners.customer_id
    from measures_of_versions as versions
    inner join owners on versions.customer_key = owners.customer_key
    group by owners.customer_id

)
{%- else -%}
-- Which periods make up each month's windows. The list is tiny, so that the periods meet it in a hash join.
window_periods as (

    select
        {%- for window in used_windows() %}
        {{ is_in_window(window, 'period_starts.period_start', 'months.as_of_date') }} as is_in_{{ window }},
        {%- endfor %}
        months.snapshot_month,
        period_starts.period_start
    from (select distinct period_start from periods) as period_starts
    inner join months
        on
            period_starts.period_start >= months.as_of_date - {{ longest_window_days() }}
            and period_starts.period_start < months.as_of_date

),

windows_of_versions as (

    select
        {%- for one in in_windows %}
        {%- set column = 'periods.' ~ rollup_column(one.measure, one.group) %}
        {{ measured(one, column, 'window_periods.is_in_' ~ one.window) }} as {{ one.column }},
        {%- endfor %}
        periods.customer_key,
        window_periods.snapshot_month
    from periods
    inner join window_periods on periods.period_start = window_periods.period_start
    group by periods.customer_key, window_periods.snapshot_month

),

windows as (

    select
        {%- for one in in_windows %}
        {{ measured(one, 'versions.' ~ one.column) }} as {{ one.column }},
        {%- endfor %}
        owners.customer_id,
        versions.snapshot_month
    from windows_of_versions as versions
    inner join owners on versions.customer_key = owners.customer_key
    group by owners.customer_id, versions.snapshot_month

),

-- What each month adds to a lifetime: a period enters with the first asked month that has seen it.
lifetime_steps_of_versions as (

    select
        {%- for one in lifetimes %}
        {{ measured(one, rollup_column(one.measure, one.group)) }} as {{ one.column }},
        {%- endfor %}
        customer_key,
        greatest({{ month_start('period_start') }}, {{ date_literal(asked[0]) }}) as snapshot_month
    from periods
    group by customer_key, greatest({{ month_start('period_start') }}, {{ date_literal(asked[0]) }})

),

lifetime_steps as (

    select
        {%- for one in lifetimes %}
        {{ measured(one, 'versions.' ~ one.column) }} as {{ one.column }},
        {%- endfor %}
        owners.customer_id,
        versions.snapshot_month
    from lifetime_steps_of_versions as versions
    inner join owners on versions.customer_key = owners.customer_key
    group by owners.customer_id, versions.snapshot_month

),

-- Every customer in every asked month, in the population yet or not: facts may be older than the first version.
customer_months as (

    select
        months.snapshot_month,
        customers.customer_id
    from months
    cross join (select distinct customer_id from versions) as customers

),

{% set running = "over (partition by customer_months.customer_id order by customer_months.snapshot_month"
    ~ " rows between unbounded preceding and current row)" %}
running_totals as (

    select
        {%- for one in lifetimes %}
        {{ measured(one, 'lifetime_steps.' ~ one.column) }} {{ running }} as {{ one.column }},
        {%- endfor %}
        customer_months.snapshot_month,
        customer_months.customer_id
    from customer_months
    left join lifetime_steps
        on
            customer_months.customer_id = lifetime_steps.customer_id
            and customer_months.snapshot_month = lifetime_steps.snapshot_month

),

measures as (

    select
        {%- for one in lifetimes %}
        running_totals.{{ one.column }},
        {%- endfor %}
        {%- for one in in_windows %}
        windows.{{ one.column }},
        {%- endfor %}
        running_totals.snapshot_month,
        running_totals.customer_id
    from running_totals
    left join windows
        on
            running_totals.snapshot_month = windows.snapshot_month
            and running_totals.customer_id = windows.customer_id

)
{%- endif %}

select
    {%- for one in sums %}
    {{ rounded_measure(one, 'measures.' ~ one.column) }} as {{ one.column }},
    {%- endfor %}
    {%- for one in counts_of_months %}
    {{ rounded_measure(one, 'active_months.' ~ one.column) }} as {{ one.column }},
    {%- endfor %}
    population.snapshot_month,
    population.as_of_date,
    population.customer_id,
    population.customer_key,
    cast(stamps.rollup_hash as varchar) as rollup_hash
from population
left join stamps on population.snapshot_month = stamps.snapshot_month
left join measures
    on
        population.customer_id = measures.customer_id
        and population.snapshot_month = measures.snapshot_month
{%- if counts_of_months %}
left join active_months
    on
        population.customer_id = active_months.customer_id
        and population.snapshot_month = active_months.snapshot_month
{%- endif %}
