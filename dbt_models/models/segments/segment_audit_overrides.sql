{{ config(materialized='log_table', group='segments_candidate', schema='silver') }}

-- This model only sees to it that the table exists. Its rows are written by a person who accepts a failed audit
-- (`make accept`), and hold for the measured value that was seen: another value has to be accepted again.
select
    cast(null as date) as snapshot_month,
    cast(null as varchar) as audit,
    cast(null as varchar) as customer_segment,
    cast(null as double) as measured,
    cast(null as varchar) as accepted_by,
    cast(null as varchar) as reason,
    cast(null as timestamp) as accepted_at
where 1 = 0
