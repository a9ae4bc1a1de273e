{{ config(
    enabled=not var('rules_are_passed', false) | as_bool,
    meta={
        'dagster': {'ref': {'name': 'customer_segment_history', 'version': 1}},
        'description':
            "Plain dbt is given the rules that the last publication was made under. It says which differ; being a test "
            "of the facts, it keeps a build from computing a month. What passes its rules itself has no such test.",
    },
) }}

-- depends_on: {{ source('star_schema', 'fct_transactions') }}
{{ refuse_other_rules() }}
select 1 as difference
where 1 = 0
