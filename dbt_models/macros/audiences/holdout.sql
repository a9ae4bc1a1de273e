{#- Who is held back to measure a campaign by: decided by campaign, mailbox and epoch alone, so that within an epoch a
    mailbox stays on the same side whoever else is in the list, and in the next one other people are held back. A
    mailbox goes by a customer's id (holdout_units): of a customer alone at it, by their own.
    Bucket = first 60 bits of md5('premium_rewards|CUST00000001|2025') mod 10,000, without the last part where the
    holdout is never drawn anew; holdout_pct 10 holds back buckets 0 to 999. Ten thousand buckets: holdout_pct may have
    two decimals. `epoch` is the one that the list carries (holdout_epochs). -#}
{% macro treatment_group(campaign, holdout_unit, epoch) %}
    case
        when
            mod({{ hash_number(
                campaign ~ " || '|' || " ~ holdout_unit ~ " || case when " ~ epoch ~ " = 'never' then '' else '|' || "
                ~ epoch ~ " end"
            ) }}, 10000)
            < {{ number_of_campaign('holdout_pct', column=campaign, factor=100) }}
            then 'holdout'
        else 'target'
    end
{%- endmacro %}

{#- The epoch that a month is in by the rules of its campaign: 2025, 2025-Q4 or never. The words are those of EPOCHS in
    segmentation_assets/rules/validators.py. -#}
{% macro epoch_of(campaign, month) %}
    case {{ campaign }}
        {%- for campaign in var('campaigns') %}
        {%- set epoch = campaign.get('holdout_epoch', campaign_default('holdout_epoch')) %}
        {%- if epoch not in ['year', 'quarter', 'never'] %}
            {% do exceptions.raise_compiler_error(
                "holdout_epoch of campaign " ~ campaign.name ~ " is " ~ epoch ~ "; known: year, quarter, never."
            ) %}
        {%- endif %}
        when {{ string_literal(campaign.name) }} then {{ calendar_epoch(epoch, month) }}
        {%- endfor %}
    end
{%- endmacro %}

{% macro calendar_epoch(epoch, month) -%}
    {%- set year = "cast(extract(year from " ~ month ~ ") as varchar)" -%}
    {%- if epoch == 'never' -%}'never'
    {%- elif epoch == 'quarter' -%}{{ year }} || '-Q' || cast(extract(quarter from {{ month }}) as varchar)
    {%- else -%}{{ year }}
    {%- endif -%}
{%- endmacro %}

{#- One row per asked month and campaign: the epoch whose draw its list takes. A list made again keeps the one it has.
    Another takes that of the nearest list of the same epoch, an earlier one before a later one, so that nobody changes
    sides inside an epoch, whatever the rules say by then; lists of an earlier version were drawn once for all (never),
    and so the first year with them is to its end. `listed` is listed_mailboxes. -#}
{% macro holdout_epochs(listed) %}
    select
        wanted.snapshot_month,
        wanted.campaign,
        coalesce(lists.holdout_epoch, wanted.epoch) as holdout_epoch
    from (
        select
            months.snapshot_month,
            campaigns.campaign,
            {{ epoch_of('campaigns.campaign', 'months.snapshot_month') }} as epoch
        from ({{ asked_months() }}) as months
        cross join (
            {%- for campaign in var('campaigns') %}
            select {{ string_literal(campaign.name) }} as campaign
            {{- "\n            union all" if not loop.last }}
            {%- endfor %}
        ) as campaigns
    ) as wanted
    left join (
        select
            campaign,
            snapshot_month,
            min(holdout_epoch) as holdout_epoch,
            min({{ epoch_of('campaign', 'snapshot_month') }}) as epoch
        from {{ listed }}
        group by campaign, snapshot_month
    ) as lists
        on
            wanted.campaign = lists.campaign
            and wanted.epoch = lists.epoch
    qualify
        row_number() over (
            partition by wanted.snapshot_month, wanted.campaign
            order by
                case when lists.snapshot_month <= wanted.snapshot_month then lists.snapshot_month end desc nulls last,
                lists.snapshot_month asc
        ) = 1
{% endmacro %}
