{{ config(schema='silver') }}

-- depends_on: {{ ref('audience_log') }}
-- depends_on: {{ ref('stg_customers') }}
select * from ({{ audience_audits() }}) as audits
