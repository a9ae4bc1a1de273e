{{ config(materialized='log_table') }}

-- This model only sees to it that the table exists. Its rows are written by customer_segment_history, in the very
-- transaction that replaces the month they describe (macros/publication/publication.sql).
-- depends_on: {{ ref('segment_audits') }}
select
    cast(null as date) as snapshot_month,
    cast(null as integer) as version,
    cast(null as varchar) as from_segment,
    cast(null as varchar) as to_segment,
    cast(null as bigint) as customers
where 1 = 0
