{{ config(materialized='log_table', group='segments_candidate', schema='silver') }}

-- This model only sees to it that the table exists. Its rows are written by a person who accepts a failed audit
-- (`make accept`), and hold for the candidate, rows, money and facts that were seen: anything else has to be
-- accepted again.
select
    cast(null as date) as snapshot_month,
    cast(null as varchar) as audit,
    cast(null as varchar) as customer_segment,
    cast(null as double) as measured,
    cast(null as varchar) as accepted_by,
    cast(null as varchar) as reason,
    cast(null as {{ naive_timestamp() }}) as accepted_at,
    cast(null as varchar) as content_hash,
    cast(null as varchar) as decision_hash,
    cast(null as bigint) as failed_rows,
    cast(null as decimal(38, 2)) as affected_spend,
    cast(null as varchar) as facts_hash
where 1 = 0
