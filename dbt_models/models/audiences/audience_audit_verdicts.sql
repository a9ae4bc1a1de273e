{{ config(materialized='view', schema='silver') }}

{{ audits_and_acceptances(ref('audience_audits'), further=['lower_bound', 'upper_bound', 'passed']) }}
