{#- Which rows a data test looks at: a test of a monthly table reads the months of the run and no others. In its `where`
      __asked_months__                   keeps the asked months; its column is snapshot_month,
      __asked_months:transaction_date__  keeps them by another column.
    The words become SQL when the test runs. Jinja in a `where` would be rendered when the project is parsed, which
    knows no months and happens once for many runs. -#}
{% macro get_where_subquery(relation) %}
    {{ return(rows_to_test(relation, config.get('where'))) }}
{% endmacro %}

{% macro rows_to_test(relation, where) %}
    {% set relation = mapped_relation(relation) %}
    {% if not where %}{{ return(relation) }}{% endif %}
    {% set months = modules.re.search('__asked_months(:([a-z_]+))?__', where) %}
    {% if months %}
        {% set asked = is_asked_month(months.group(2) or 'snapshot_month') %}
        {% set where = where | replace(months.group(0), "(" ~ asked ~ ")") %}
    {% endif %}
    {{ return("(select * from " ~ relation ~ " where " ~ where ~ ") as tested") }}
{% endmacro %}

{#- A table of the source as the contract has it, where the rules map it to another one (macros/sources). -#}
{% macro mapped_relation(relation) %}
    {% if not execute or var('star_schema', none) is none %}{{ return(relation) }}{% endif %}
    {% for table in graph.sources.values() if table.unique_id.startswith('source.segmentation.star_schema.') %}
        {% if star_table(table.name) is not none and table.relation_name == relation | string %}
            {{ return('(' ~ star_query(table.name) ~ ') as ' ~ table.name) }}
        {% endif %}
    {% endfor %}
    {{ return(relation) }}
{% endmacro %}

{#- dbt's own looks up `to` as it stands; a source is looked up as the rules map it. -#}
{% test relationships(model, column_name, to, field) %}
    with children as (
        select {{ column_name }} as from_field from {{ model }}
        where {{ column_name }} is not null
    )

    select children.from_field
    from children
    where not exists (
        select 1 from {{ mapped_relation(to) }}
        where {{ field }} = children.from_field
    )
{% endtest %}

{#- A month that a person accepted breaks a rule, and is meant to; a month that was blocked just now may still show its
    last published version, made under the rules of its own day. Neither says anything about this run. -#}
{% macro months_that_passed_sql() %}
    {% set log = existing_relation_of('segment_publications') %}
    {{ return(
        "(" ~ is_asked_month('snapshot_month') ~ " and snapshot_month in (select snapshot_month from ("
        ~ "select * from " ~ log ~ " qualify row_number() over (partition by snapshot_month order by version desc) = 1"
        ~ ") as newest where audits_verdict <> 'accepted' and rules_hash = '" ~ rules_hash() ~ "'))"
    ) }}
{% endmacro %}
