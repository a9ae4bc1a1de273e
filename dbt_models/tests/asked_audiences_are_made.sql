{{ config(
    meta={
        'dagster': {'ref': {'name': 'audience_candidates'}},
        'description':
            "Makes a run that could not make the lists it was asked for a failed run: what objections or earlier lists "
            "are missing, per month and audit. The gate leaves such a month out without a sound; the segments are "
            "published all the same.",
    },
) }}

-- depends_on: {{ ref('audience_candidates') }}
-- depends_on: {{ ref('audience_waterfall') }}
-- depends_on: {{ ref('audience_exclusions') }}
-- depends_on: {{ ref('campaign_outcome_groups') }}
{%- for campaign in var('campaigns') %}
-- depends_on: {{ ref('audience_' ~ campaign.name) }}
{%- endfor %}
select
    snapshot_month,
    audit,
    measured,
    upper_bound,
    failed_rows
from {{ ref('audience_audit_verdicts') }}
where is_blocking and {{ is_asked_month('snapshot_month') }}
