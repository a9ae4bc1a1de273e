{% test audience_holds_nobody_suppressed(model) %}
{{ config(
    where='__asked_months__',
    meta={'description':
        "Catches a list made before a suppression arrived: make its month again before it is used. Whoever has an "
        "address that a suppressed customer has or had counts as suppressed too. Failing rows name the customer, never "
        "the address."
    },
) }}
with suppressed as (

    {{ suppressed_customers() }}

),

suppressed_mailboxes as (

    select mailboxes.mailbox
    from suppressed
    inner join {{ ref('customer_mailboxes') }} as mailboxes on suppressed.customer_id = mailboxes.customer_id

)

select
    snapshot_month,
    customer_id
from {{ model }}
where
    customer_id in (select customer_id from suppressed)
    or {{ normalised_email('email') }} in (select mailbox from suppressed_mailboxes)
{% endtest %}
