{#- The unit of contact is the mailbox: what earlier lists remember of it, under whichever customer. Where the channel
    needs no address (channels.sql) it is the customer. -#}

{#- One row per member of every list there is: month, campaign, customer, mailbox (none in a list without addresses),
    by whose id the side of the holdout was decided, and in which epoch. Lists of an earlier version decided it by the
    member's own, once for all. Straight from the tables, as a ref would close a circle. -#}
{% macro listed_mailboxes() %}
    {%- for name in campaigns_ever() %}
    {%- set published = existing_relation_of('audience_' ~ name) %}
    {%- if published %}
    {%- set columns = columns_before(published) | map(attribute='name') | map('lower') | list %}
    select
        snapshot_month,
        campaign,
        customer_id,
        lower(email) as mailbox,
        {{ 'coalesce(holdout_unit, customer_id)' if 'holdout_unit' in columns else 'customer_id' }} as holdout_unit,
        {{ "coalesce(holdout_epoch, 'never')" if 'holdout_epoch' in columns else "'never'" }} as holdout_epoch
    from {{ published }}
    union all
    {%- endif %}
    {%- endfor %}
    select
        cast(null as date) as snapshot_month,
        cast(null as varchar) as campaign,
        cast(null as varchar) as customer_id,
        cast(null as varchar) as mailbox,
        cast(null as varchar) as holdout_unit,
        cast(null as varchar) as holdout_epoch
    where 1 = 0
{% endmacro %}

{#- The id by which a mailbox's side of a campaign's holdout is decided, one row per campaign and mailbox of `wanted`.
    The first of these that there is:
      1. the one that the campaign's earliest list with this mailbox used, so that a mailbox never changes sides;
      2. the one that its earliest list with a customer of this mailbox used: who moves to another address stays;
      3. the same of the other mailboxes that its customers had, which somebody else may have been listed at;
      4. the smallest id among the customers of this mailbox and of their other mailboxes.
    A customer alone at one mailbox is their own. `wanted` has campaign and mailbox; `contacts` each customer's mailbox
    now; `known` the customers and mailboxes known together; `listed` is listed_mailboxes. -#}
{% macro holdout_units(wanted, contacts, known, listed) %}
    select
        reached.campaign,
        reached.mailbox,
        coalesce(
            max(of_mailbox.holdout_unit),
            max(of_customers.holdout_unit),
            min(of_other.holdout_unit),
            min(smallest.customer_id)
        ) as holdout_unit
    from (
        select distinct
            wanted.campaign,
            wanted.mailbox,
            there.mailbox as other_mailbox
        from (
            select distinct
                campaign,
                mailbox
            from {{ wanted }}
        ) as wanted
        inner join {{ known }} as here on wanted.mailbox = here.mailbox
        inner join {{ known }} as there on here.customer_id = there.customer_id
    ) as reached
    inner join (
        select
            mailbox,
            min(customer_id) as customer_id
        from {{ known }}
        group by mailbox
    ) as smallest on reached.other_mailbox = smallest.mailbox
    left join ({{ earliest_units(listed, 'mailbox') }}) as of_mailbox
        on
            reached.campaign = of_mailbox.campaign
            and reached.mailbox = of_mailbox.mailbox
    left join (
        select
            wanted.campaign,
            wanted.mailbox,
            min(units.holdout_unit) as holdout_unit
        from (
            select distinct
                campaign,
                mailbox
            from {{ wanted }}
        ) as wanted
        inner join {{ contacts }} as contacts on wanted.mailbox = contacts.mailbox
        inner join ({{ earliest_units(listed, 'customer_id') }}) as units
            on
                wanted.campaign = units.campaign
                and contacts.customer_id = units.customer_id
        group by wanted.campaign, wanted.mailbox
    ) as of_customers
        on
            reached.campaign = of_customers.campaign
            and reached.mailbox = of_customers.mailbox
    left join ({{ earliest_units(listed, 'mailbox') }}) as of_other
        on
            reached.campaign = of_other.campaign
            and reached.other_mailbox = of_other.mailbox
    group by reached.campaign, reached.mailbox
{% endmacro %}

{#- The same where the customer is the unit: the id that decided when the campaign first had them on a list, by
    whichever channel, else their own. `wanted` has campaign, customer_id and contact_unit. -#}
{% macro holdout_units_of_customers(wanted, listed) %}
    select
        wanted.campaign,
        wanted.contact_unit,
        coalesce(units.holdout_unit, wanted.customer_id) as holdout_unit
    from (
        select distinct
            campaign,
            customer_id,
            contact_unit
        from {{ wanted }}
        where not {{ is_by_address('campaign') }}
    ) as wanted
    left join ({{ earliest_units(listed, 'customer_id') }}) as units
        on
            wanted.campaign = units.campaign
            and wanted.customer_id = units.customer_id
{% endmacro %}

{% macro earliest_units(listed, of) %}
        select
            campaign,
            {{ of }},
            holdout_unit
        from {{ listed }}
        where {{ of }} is not null
        qualify row_number() over (partition by campaign, {{ of }} order by snapshot_month, holdout_unit) = 1
{% endmacro %}
