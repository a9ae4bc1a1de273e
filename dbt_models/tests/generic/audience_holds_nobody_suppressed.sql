{% test audience_holds_nobody_suppressed(model) %}
{{ config(
    where='__asked_months__',
    meta={'description':
        "Catches a list made before a suppression arrived: make its month again before it is used. Whoever has the "
        "address of a suppressed customer counts as suppressed too. Failing rows name the customer, never the "
        "address."
    },
) }}
with suppressed as (

    {{ suppressed_customers() }}

),

contacts as (

    select
        customer_id,
        mailbox
    from {{ ref('customer_contacts') }}

),

suppressed_mailboxes as (

    select contacts.mailbox
    from suppressed
    inner join contacts on suppressed.customer_id = contacts.customer_id
    where contacts.mailbox is not null

)

select
    snapshot_month,
    customer_id
from {{ model }}
where
    customer_id in (select customer_id from suppressed)
    or {{ normalised_email('email') }} in (select mailbox from suppressed_mailboxes)
{% endtest %}
