{% test audience_holds_nobody_suppressed(model) %}
{{ config(
    where='__asked_months__',
    meta={'description':
        "Catches a list made before a suppression arrived: make its month again before it is used. Whoever has an "
        "address that a suppressed customer has or had counts as suppressed too. Failing rows name the customer, never "
        "the address."
    },
) }}
with months as (

    {{ asked_months() }}

),

suppressed as (

    {{ suppressed_customers('months') }}

),

suppressed_mailboxes as (

    select
        suppressed.snapshot_month,
        suppressed.campaign,
        mailboxes.mailbox
    from suppressed
    inner join {{ other_model('customer_mailboxes') }} as mailboxes on suppressed.customer_id = mailboxes.customer_id
    group by suppressed.snapshot_month, suppressed.campaign, mailboxes.mailbox

),

listed as (

    select
        snapshot_month,
        campaign,
        customer_id,
        {{ normalised_email('email') }} as mailbox
    from {{ model }}

)

select
    listed.snapshot_month,
    listed.customer_id
from listed
left join suppressed
    on
        listed.snapshot_month = suppressed.snapshot_month
        and listed.campaign = suppressed.campaign
        and listed.customer_id = suppressed.customer_id
left join suppressed_mailboxes
    on
        listed.snapshot_month = suppressed_mailboxes.snapshot_month
        and listed.campaign = suppressed_mailboxes.campaign
        and listed.mailbox = suppressed_mailboxes.mailbox
where suppressed.customer_id is not null or suppressed_mailboxes.mailbox is not null
{% endtest %}
