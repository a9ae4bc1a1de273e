{{ config(materialized='ephemeral') }}

-- Every audit of the candidate month alone; drift, which looks back at what was published, needs these first.
select * from {{ ref('audit_assignment_counts') }}
union all
select * from {{ ref('audit_criteria') }}
union all
select * from {{ ref('audit_shares') }}
union all
select * from {{ ref('audit_facts') }}
