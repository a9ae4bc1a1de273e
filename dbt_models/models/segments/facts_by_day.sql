{{ config(materialized='view', group='segments_candidate', schema='silver') }}

{{ facts_by_day() }}
