{{ config(materialized='log_table', schema='silver') }}

-- This model only sees to it that the table exists. Its rows are replaced when audience_candidates has made a month
-- (macros/audiences/objections_kept.sql).
select
    cast(null as varchar) as customer_id,
    cast(null as {{ naive_timestamp() }}) as made_at,
    cast(null as varchar) as run_id
where 1 = 0
