{{ config(group='segments_candidate', schema='silver') }}

with audits as (

    select * from {{ ref('audits_of_the_candidate') }}
    union all
    select * from {{ ref('audit_drift') }}

)

select
    snapshot_month,
    cast(audit as varchar) as audit,
    cast(customer_segment as varchar) as customer_segment,
    measured,
    lower_bound,
    upper_bound,
    cast(failed_rows as bigint) as failed_rows,
    cast(severity as varchar) as severity,
    failed_rows = 0 as passed
from audits
