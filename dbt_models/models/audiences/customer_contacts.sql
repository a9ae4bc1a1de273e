{{ config(materialized='ephemeral') }}

{{ current_contacts() }}
