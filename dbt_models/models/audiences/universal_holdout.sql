-- Without a universal_holdout_pct nobody is in it, and nothing is read.
with history as (

    select
        snapshot_month,
        customer_id,
        {{ calendar_epoch('year', 'snapshot_month') }} as holdout_epoch
    from {{ ref('customer_segment_history') }}
    where {{ is_asked_month('snapshot_month') if universal_holdout_buckets() else '1 = 0' }}

),

contacts as (

    select
        customer_id,
        mailbox
    from {{ ref('customer_contacts') }}

),

held_out_before as (

    {{ held_out_of_every_campaign_before() }}

),

units_of_customers as (

    select
        customer_id,
        holdout_epoch,
        snapshot_month,
        holdout_unit
    from held_out_before
    qualify row_number() over (partition by customer_id, holdout_epoch order by snapshot_month, holdout_unit) = 1

),

units_of_mailboxes as (

    select
        contacts.mailbox,
        units_of_customers.holdout_epoch,
        units_of_customers.holdout_unit
    from units_of_customers
    inner join contacts on units_of_customers.customer_id = contacts.customer_id
    where contacts.mailbox is not null
    qualify
        row_number() over (
            partition by contacts.mailbox, units_of_customers.holdout_epoch
            order by units_of_customers.snapshot_month, units_of_customers.holdout_unit
        ) = 1

),

smallest as (

    select
        mailbox,
        min(customer_id) as customer_id
    from {{ ref('customer_mailboxes') }}
    group by mailbox

),

drawn as (

    select
        history.snapshot_month,
        history.customer_id,
        history.holdout_epoch,
        coalesce(
            units_of_mailboxes.holdout_unit,
            units_of_customers.holdout_unit,
            smallest.customer_id,
            history.customer_id
        ) as holdout_unit
    from history
    left join contacts on history.customer_id = contacts.customer_id
    left join smallest on contacts.mailbox = smallest.mailbox
    left join units_of_mailboxes
        on
            contacts.mailbox = units_of_mailboxes.mailbox
            and history.holdout_epoch = units_of_mailboxes.holdout_epoch
    left join units_of_customers
        on
            history.customer_id = units_of_customers.customer_id
            and history.holdout_epoch = units_of_customers.holdout_epoch

),

versions as (

    {{ newest_versions() }}

)

select
    drawn.snapshot_month,
    drawn.customer_id,
    cast(drawn.holdout_unit as varchar) as holdout_unit,
    cast(drawn.holdout_epoch as varchar) as holdout_epoch,
    versions.content_hash
from drawn
left join versions on drawn.snapshot_month = versions.snapshot_month
where {{ is_held_out_of_everything('drawn.holdout_unit', 'drawn.snapshot_month') }}
