{{ config(materialized='view', group='segments_candidate', schema='silver') }}

{{ audits_and_acceptances(ref('segment_audits'), further=[
    'lower_bound', 'upper_bound', 'passed', 'content_hash', 'decision_hash', 'affected_spend', 'facts_hash',
]) }}
