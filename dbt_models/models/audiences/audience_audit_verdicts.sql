{{ config(materialized='view', schema='silver') }}

{{ audits_and_acceptances(ref('audience_audits'), further=[
    'lower_bound', 'upper_bound', 'passed', 'content_hash', 'decision_hash', 'affected_spend', 'facts_hash',
]) }}
