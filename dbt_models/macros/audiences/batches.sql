{#- The order in which the lists of a run are made, and what is chosen in one go. A batch is the lists that can be made
    at once: all of them, unless a list has to know whom another one has. With a cooldown each month knows the ones
    before it; with a contact policy each campaign of a month knows those that choose before it, too. Two CTEs a batch:
    a year of five campaigns is sixty batches in one query, which an engine plans longer than it takes to run it. -#}

{% macro looks_back() %}
    {{ return(contact_policy() is not none or campaigns_with_cooldown() | length > 0) }}
{% endmacro %}

{#- Each with its place, its months and its campaigns' names, in order. -#}
{% macro audience_batches() %}
    {% set names = campaigns_in_turn() %}
    {% set parts = [] %}
    {% if contact_policy() %}
        {% for month in asked_month_list() %}
            {% for name in names %}{% do parts.append(([month], [name])) %}{% endfor %}
        {% endfor %}
    {% elif looks_back() %}
        {% for month in asked_month_list() %}{% do parts.append(([month], names)) %}{% endfor %}
    {% else %}
        {% do parts.append((asked_month_list(), names)) %}
    {% endif %}
    {% set batches = [] %}
    {% for months, campaigns in parts %}
        {% do batches.append({'index': loop.index0, 'months': months, 'campaigns': campaigns}) %}
    {% endfor %}
    {{ return(batches) }}
{% endmacro %}

{#- The first month whose lists `month` may have to know: by the policy or by the longest cooldown. -#}
{% macro first_month_known_in(month) %}
    {% set reach = (campaigns_with_cooldown() | map(attribute='cooldown_months') | list)
        + [(contact_policy() or {'per_months': 1}).per_months - 1] %}
    {{ return(months_before(month, reach | max)) }}
{% endmacro %}

{#- The contacts that `batch` may have to know: of the lists that stand (`listed`, of months before the asked ones, and
    of asked ones that are refused new lists), of other systems, and of the run's earlier batches. -#}
{% macro contacts_before(batch, batches, listed, blocked, others) %}
    {%- set first = date_literal(first_month_known_in(batch.months[0])) %}
    {%- if batch.index == 0 %}
    select
        {{ own_contact_key() }} as contact_key,
        snapshot_month,
        campaign,
        customer_id,
        mailbox
    from {{ listed }}
    where
        snapshot_month >= {{ first }}
        and (
            snapshot_month < {{ date_literal(batch.months[0]) }}
            or snapshot_month in (select snapshot_month from {{ blocked }})
        )
    union all
    select
        contact_key,
        snapshot_month,
        campaign,
        customer_id,
        mailbox
    from {{ others }}
    {%- else %}
    select * from contacts_{{ batch.index - 1 }}
    where snapshot_month >= {{ first }}
    union all
    select
        {{ own_contact_key() }} as contact_key,
        snapshot_month,
        campaign,
        customer_id,
        mailbox
    from grouped_{{ batch.index - 1 }}
    where treatment_group is not null
    {%- endif %}
{% endmacro %}

{% macro own_contact_key() -%}
    'own|' || campaign || '|' || {{ date_text('snapshot_month') }} || '|' || customer_id
{%- endmacro %}

{#- The candidates of a batch with the first step that each fails, or their rank and side on the list. -#}
{% macro chosen_in(batch, placed) %}
    select
        snapshot_month,
        campaign,
        customer_id,
        mailbox,
        reason,
        detail,
        case when reason is null then audience_rank end as audience_rank,
        case
            when reason is null then {{ treatment_group('campaign', 'holdout_unit', 'holdout_epoch') }}
        end as treatment_group,
        case when reason is null then holdout_unit end as holdout_unit,
        case when reason is null then holdout_epoch end as holdout_epoch
    from (
        select
            snapshot_month,
            campaign,
            customer_id,
            mailbox,
            holdout_unit,
            holdout_epoch,
            detail,
            audience_rank,
            case
                when reason is null and audience_rank > {{ number_of_campaign('cap', 'campaign') }} then 'beyond_cap'
                else reason
            end as reason
        from (
            select
                snapshot_month,
                campaign,
                customer_id,
                mailbox,
                holdout_unit,
                holdout_epoch,
                detail,
                reason,
                row_number() over (
                    partition by snapshot_month, campaign, reason
                    order by rank_in_segment
                ) as audience_rank
            from (
                select
                    snapshot_month,
                    campaign,
                    customer_id,
                    rank_in_segment,
                    mailbox,
                    holdout_unit,
                    holdout_epoch,
                    detail,
                    case
                        when
                            reason is null
                            and row_number() over (
                                partition by snapshot_month, campaign, reason, contact_unit
                                order by rank_in_segment
                            ) > 1
                            then 'shares_email'
                        else reason
                    end as reason
                from ({{ who_may_be_contacted(batch, placed) }}) as allowed
            ) as deduplicated
        ) as ranked
    ) as capped
{% endmacro %}

{#- The candidates of a batch after the cooldown and the contact policy. -#}
{% macro who_may_be_contacted(batch, placed) %}
    {%- if looks_back() %}
    select
        candidates.snapshot_month,
        candidates.campaign,
        candidates.customer_id,
        candidates.rank_in_segment,
        candidates.contact_unit,
        candidates.mailbox,
        candidates.holdout_unit,
        candidates.holdout_epoch,
        case
            when candidates.reason is null and reached.is_resting = 1 then 'in_cooldown'
            {%- if contact_policy() %}
            when candidates.reason is null and reached.turns >= {{ contact_policy().at_most }}
                then 'over_contact_policy'
            {%- endif %}
            else candidates.reason
        end as reason,
        coalesce(candidates.detail, substr(reached.last_turn, 10)) as detail
    from {{ placed }} as candidates
    left join ({{ contacts_reached(batch, placed) }}) as reached
        on
            candidates.campaign = reached.campaign
            and candidates.customer_id = reached.customer_id
    {%- else %}
    select * from {{ placed }} as candidates
    {%- endif %}
    where
        {{ is_in_batch(batch) }}
{% endmacro %}

{% macro is_in_batch(batch) -%}
    candidates.snapshot_month >= {{ date_literal(batch.months[0]) }}
        and candidates.snapshot_month <= {{ date_literal(batch.months[-1]) }}
        and candidates.campaign in ({{ quoted_list(batch.campaigns) }})
{%- endmacro %}

{#- One row per candidate of a batch who was contacted: whether their campaign had them too lately, and of the policy's
    months how many turns they have used up and which was the last. A contact counts for the customer that it went to
    and, where it went to an address, for everybody at that mailbox. -#}
{% macro contacts_reached(batch, placed) %}
    select
        campaign,
        customer_id,
        max(case when {{ is_within_cooldown(batch) }} then 1 else 0 end) as is_resting,
        {%- if contact_policy() %}
        {%- set first = date_literal(months_before(batch.months[0], contact_policy().per_months - 1)) %}
        count(distinct case when contact_month >= {{ first }} then contact_key end) as turns,
        max(case when contact_month >= {{ first }} then {{ turn_taken('contact_month', 'contact_campaign') }} end)
            as last_turn
        {%- else %}
        0 as turns,
        cast(null as varchar) as last_turn
        {%- endif %}
    from (
        {%- for column in ['customer_id', 'mailbox'] %}
        select
            candidates.campaign,
            candidates.customer_id,
            contacts.contact_key,
            contacts.snapshot_month as contact_month,
            contacts.campaign as contact_campaign
        from {{ placed }} as candidates
        inner join contacts_{{ batch.index }} as contacts on candidates.{{ column }} = contacts.{{ column }}
        where
            candidates.reason is null
            and contacts.snapshot_month <= {{ date_literal(batch.months[-1]) }}
            and {{ is_in_batch(batch) }}
        {{- "\n        union all" if not loop.last }}
        {%- endfor %}
    ) as contacts
    group by campaign, customer_id
{% endmacro %}
