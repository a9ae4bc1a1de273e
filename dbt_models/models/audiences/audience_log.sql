{{ config(materialized='log_table') }}

-- This model only sees to it that the log exists. Its rows are written when audience_candidates has made a month
-- (macros/audiences/suppressions.sql).
select
    cast(null as date) as snapshot_month,
    cast(null as varchar) as campaign,
    cast(null as {{ naive_timestamp() }}) as made_at,
    cast(null as varchar) as run_id,
    cast(null as varchar) as content_hash,
    cast(null as bigint) as suppressions,
    cast(null as bigint) as unmatched_suppressions,
    cast(null as bigint) as listed,
    cast(null as bigint) as held_out,
    cast(null as bigint) as campaign_eligibility_rows,
    cast(null as bigint) as unmatched_campaign_eligibility_rows,
    cast(null as bigint) as contact_history_rows,
    cast(null as bigint) as unmatched_contact_history_rows
where 1 = 0
