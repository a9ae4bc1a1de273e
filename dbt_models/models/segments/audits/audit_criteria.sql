{{ config(materialized='ephemeral') }}

-- One row per month and segment: members that miss one of its criteria, or meet all of those of a segment before it.
with months as (

    {{ asked_months() }}

),

segments as (

    {{ segment_list() }}

),

misplaced as (

    select
        snapshot_month,
        customer_segment,
        sum(
            case
                {%- for segment in var('segments') %}
                when customer_segment = {{ string_literal(segment.name) }}
                    then
                        case
                            {%- for earlier in var('segments')[:loop.index0] %}
                            when {{ criteria_sql(earlier.criteria) }} then 1
                            {%- endfor %}
                            when {{ criteria_sql(segment.criteria) }} then 0
                            else 1
                        end
                {%- endfor %}
                else 1
            end
        ) as customers
    from {{ ref('segment_assignments') }}
    where {{ is_asked_month('snapshot_month') }}
    group by snapshot_month, customer_segment

),

-- A name that is no segment's would vanish in a join from the list of segments.
segment_months as (

    select
        months.snapshot_month,
        segments.customer_segment
    from months
    cross join segments
    union
    select
        snapshot_month,
        customer_segment
    from misplaced
    where customer_segment is not null

)

select
    segment_months.snapshot_month,
    'members_meet_their_criteria' as audit,
    segment_months.customer_segment,
    cast(coalesce(misplaced.customers, 0) as double) as measured,
    cast(null as double) as lower_bound,
    cast(0 as double) as upper_bound,
    coalesce(misplaced.customers, 0) as failed_rows,
    'error' as severity
from segment_months
left join misplaced
    on
        segment_months.snapshot_month = misplaced.snapshot_month
        and segment_months.customer_segment = misplaced.customer_segment
