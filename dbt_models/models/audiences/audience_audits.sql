{{ config(schema='silver') }}

-- Fills segment_publications, of which an audit has the version: without it dbt may look before it is there.
-- depends_on: {{ ref('customer_segment_history') }}
-- depends_on: {{ ref('audience_log') }}
-- depends_on: {{ ref('objections_at_last_lists') }}
-- depends_on: {{ ref('stg_customers') }}
select * from ({{ audience_audits() }}) as audits
