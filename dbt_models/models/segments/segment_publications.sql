{{ config(materialized='log_table') }}

-- This model only sees to it that the log exists. Its rows are written by customer_segment_history, in the very
-- transaction that publishes the month they describe (macros/publication/publication.sql).
-- depends_on: {{ ref('segment_audits') }}
select
    cast(null as date) as snapshot_month,
    cast(null as integer) as version,
    cast(null as {{ naive_timestamp() }}) as published_at,
    cast(null as varchar) as run_id,
    cast(null as varchar) as rules_hash,
    cast(null as bigint) as customers,
    cast(null as varchar) as content_hash,
    cast(null as varchar) as audits_verdict,
    cast(null as varchar) as override_reason,
    cast(null as varchar) as decision_hash
where 1 = 0
