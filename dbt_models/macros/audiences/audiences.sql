{#- The campaigns of dbt_project.yml as SQL: who may be in a list, in which order, and the list itself. -#}

{#- An audience is this call and nothing else; segmentation_assets/dbt/campaign_models.py makes its file.
    A metric added to `shows` is NULL in the months before. -#}
{% macro audience(campaign_name) %}
    {{- config(
        on_schema_change='append_new_columns',
        meta={'campaign': campaign_name},
        pre_hook="{{ let_addresses_be_missing('" ~ campaign_name ~ "') }}",
    ) -}}
    {%- set campaign = campaign_named(campaign_name) -%}
with candidates as (

    select
        snapshot_month,
        campaign,
        customer_id,
        audience_rank,
        treatment_group,
        holdout_unit,
        content_hash,
        holdout_epoch
    from {{ ref('audience_candidates') }}
    where
        campaign = {{ string_literal(campaign.name) }}
        and treatment_group is not null
        and {{ is_asked_month('snapshot_month') }}

),

history as (

    select * from {{ ref('customer_segment_history') }}
    where {{ is_asked_month('snapshot_month') }}

),

contacts as (

    select * from {{ ref('customer_contacts') }}

)

select
    candidates.snapshot_month,
    candidates.campaign,
    candidates.audience_rank,
    candidates.customer_id,
    {{ 'contacts.email' if needs_address(campaign) else 'cast(null as varchar) as email' }},
    contacts.first_name,
    contacts.last_name,
    {%- for metric in campaign.get('shows', []) %}
    {{ shown_metric(metric) }},
    {%- endfor %}
    candidates.treatment_group,
    candidates.holdout_unit,
    candidates.content_hash,
    candidates.holdout_epoch
from candidates
inner join history
    on
        candidates.snapshot_month = history.snapshot_month
        and candidates.customer_id = history.customer_id
left join contacts on candidates.customer_id = contacts.customer_id
{% endmacro %}

{% macro campaign_named(name) %}
    {% for campaign in var('campaigns') if campaign.name == name %}{{ return(campaign) }}{% endfor %}
    {% do exceptions.raise_compiler_error(
        "No campaign is named " ~ name ~ "; the rules have " ~ var('campaigns') | map(attribute='name') | join(', ')
        ~ ". Write it into the file of SEGMENTATION_RULES and make the project again:"
        ~ " `segmentation dbt-project FOLDER`."
    ) %}
{% endmacro %}

{% macro shown_metric(metric) %}
    {%- if metric == 'projected_annual_value' -%}
        history.avg_monthly_spend * 12 as projected_annual_value
    {%- else -%}
        history.{{ metric }}
    {%- endif -%}
{% endmacro %}

{#- Ties go to the smaller customer_id, so that a list never depends on luck. -#}
{% macro rank_order(campaign) %}
    {{- campaign.rank_by.metric }} {{ 'desc' if campaign.rank_by.order == 'highest_first' else 'asc' -}}
    {{- ' nulls last, customer_id' -}}
{% endmacro %}

{#- What holds when a campaign leaves the key out: the same as Campaign in segmentation_assets/rules/schema.py. -#}
{% macro campaign_default(key) %}
    {{ return({
        'holdout_pct': 10, 'holdout_epoch': 'year', 'cooldown_months': 0, 'channel': 'email'
    }.get(key)) }}
{% endmacro %}

{#- A whole number of each row's campaign. -#}
{% macro number_of_campaign(key, column='campaign', factor=1) %}
    {%- set numbers = [] -%}
    {%- for campaign in var('campaigns') -%}
        {%- set number = campaign.get(key, campaign_default(key)) * factor -%}
        {%- do numbers.append("when " ~ string_literal(campaign.name) ~ " then " ~ (number | round | int)) -%}
    {%- endfor -%}
    case {{ column }} {{ numbers | join(' ') }} end
{%- endmacro %}

{#- True for a row of the history that its campaign may address. -#}
{% macro meets_campaign_rules() %}
    case
        {%- for campaign in var('campaigns') %}
        when campaign = {{ string_literal(campaign.name) }}
            then customer_segment = {{ string_literal(campaign.segment) }} and {{ criteria_sql(campaign.criteria) }}
        {%- endfor %}
    end
{%- endmacro %}

{#- The steps from a segment to a list, in order, and the reason of those whom a step leaves out. The last two divide
    the list and leave nobody out; nor do deliverable_email and one_per_email where the channel needs no address. -#}
{% macro audience_steps() %}
    {{ return([
        {'step': 'in_segment', 'reason': none, 'treatment_group': none},
        {'step': 'meets_criteria', 'reason': 'misses_criteria', 'treatment_group': none},
        {'step': 'is_customer', 'reason': 'no_customer_now', 'treatment_group': none},
        {'step': 'deliverable_email', 'reason': 'no_deliverable_email', 'treatment_group': none},
        {'step': 'not_suppressed', 'reason': 'suppressed', 'treatment_group': none},
        {'step': 'not_in_universal_holdout', 'reason': 'universal_holdout', 'treatment_group': none},
        {'step': 'not_in_cooldown', 'reason': 'in_cooldown', 'treatment_group': none},
        {'step': 'one_per_email', 'reason': 'shares_email', 'treatment_group': none},
        {'step': 'within_cap', 'reason': 'beyond_cap', 'treatment_group': none},
        {'step': 'holdout', 'reason': none, 'treatment_group': 'holdout'},
        {'step': 'sent', 'reason': none, 'treatment_group': 'target'},
    ]) }}
{% endmacro %}

{#- Steps that whoever has this reason passes. Read from the reason: a month made by an earlier version knew fewer. -#}
{% macro steps_passed(reason) %}
    case {{ reason }}
        {%- for step in audience_steps() if step.reason %}
        when '{{ step.reason }}' then {{ loop.index }}
        {%- endfor %}
        else {{ audience_steps() | selectattr('reason') | list | length + 1 }}
    end
{%- endmacro %}

{#- A number that is the higher the better the campaign ranks the customer: each campaign by its own metric. -#}
{% macro ranked_worth(campaign_column, relation) %}
    case {{ campaign_column }}
        {%- for campaign in var('campaigns') %}
        when {{ string_literal(campaign.name) }}
            then {{ '' if campaign.rank_by.order == 'highest_first' else '-' -}}
            cast({{ relation }}.{{ campaign.rank_by.metric }} as double)
        {%- endfor %}
    end
{%- endmacro %}
