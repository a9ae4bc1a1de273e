-- Without a universal_holdout_pct nobody is in it, and nothing is read.
with history as (

    select
        snapshot_month,
        customer_id
    from {{ ref('customer_segment_history') }}
    where {{ is_asked_month('snapshot_month') if universal_holdout_buckets() else '1 = 0' }}

),

contacts as (

    select
        customer_id,
        mailbox
    from {{ ref('customer_contacts') }}

),

units as (

    select
        mailbox,
        min(customer_id) as holdout_unit
    from {{ ref('customer_mailboxes') }}
    group by mailbox

),

drawn as (

    select
        history.snapshot_month,
        history.customer_id,
        coalesce(units.holdout_unit, history.customer_id) as holdout_unit
    from history
    left join contacts on history.customer_id = contacts.customer_id
    left join units on contacts.mailbox = units.mailbox

),

versions as (

    {{ newest_versions() }}

)

select
    drawn.snapshot_month,
    drawn.customer_id,
    cast(drawn.holdout_unit as varchar) as holdout_unit,
    cast({{ calendar_epoch('year', 'drawn.snapshot_month') }} as varchar) as holdout_epoch,
    versions.content_hash
from drawn
left join versions on drawn.snapshot_month = versions.snapshot_month
where {{ is_held_out_of_everything('drawn.holdout_unit', 'drawn.snapshot_month') }}
