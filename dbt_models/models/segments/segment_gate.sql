{{ config(materialized='view', group='segments_candidate', schema='silver') }}

{{ gate('true') }}
