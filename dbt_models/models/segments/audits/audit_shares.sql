{{ config(materialized='ephemeral') }}

with shares as (

    select * from {{ ref('candidate_shares') }}

)

select
    snapshot_month,
    'every_segment_holds_the_minimum_share' as audit,
    customer_segment,
    share_pct as measured,
    cast({{ var('audits').minimum_segment_share_pct }} as double) as lower_bound,
    cast(null as double) as upper_bound,
    case when share_pct >= {{ var('audits').minimum_segment_share_pct }} then 0 else 1 end as failed_rows,
    'error' as severity
from shares
union all
select
    snapshot_month,
    'share_is_within_the_expected_band' as audit,
    customer_segment,
    share_pct as measured,
    expected_lower_pct as lower_bound,
    expected_upper_pct as upper_bound,
    case when share_pct between expected_lower_pct and expected_upper_pct then 0 else 1 end as failed_rows,
    'warn' as severity
from shares
where expected_lower_pct is not null
