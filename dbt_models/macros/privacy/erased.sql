{#- Who was erased (make erase) and may be in the source still. segmentation_assets/privacy/erased.py keeps the list: a
    salted hash of each id. The salt stands beside them, and in the views that are made here: a variable would be
    forgotten one day, and everybody would be back. -#}

{#- The list and its salt, {relation, salt}; nothing where nobody was erased, and then no view pays for it. In a
    what-if, too, the list is that of the published tables. -#}
{% macro erased_customers() %}
    {% if not execute or is_unit_test() %}{{ return(none) }}{% endif %}
    {% set schema = env_var('SEGMENTATION_SILVER_SCHEMA', '') or 'silver' %}
    {% set relation = adapter.get_relation(target.database, schema, 'erased_customers') %}
    {% if not relation %}{{ return(none) }}{% endif %}
    {% set rows = run_query("select min(salt) as salt from " ~ relation) %}
    {% set salt = rows[0][0] if rows | length else none %}
    {{ return({'relation': relation, 'salt': salt} if salt else none) }}
{% endmacro %}

{#- What the list has for an id: the same as in segmentation_assets/privacy/erased.py. -#}
{% macro erased_hash(id, salt) %}{{ sha256_hex("'" ~ salt ~ "' || " ~ id) }}{% endmacro %}

{#- A join that gives erased.erased_hash for whoever is on the list; nothing where nobody is. -#}
{% macro join_erased(erased, id) %}
    {%- if erased %}
    left join (select distinct erased_hash from {{ erased.relation }}) as erased
        on {{ erased_hash(id, erased.salt) }} = erased.erased_hash
    {%- endif %}
{%- endmacro %}

{#- Months whose sums stay as they were published though their rows are fewer: the last thing that was published of what
    they are made of, `months_back` months and the month itself, is an erasure. With `stamped`, of a table's rows that
    were made from the version that stands: a month that changed otherwise is summed up anew. Straight from the log, as
    a ref would close a circle. -#}
{% macro months_of_erasure(months_back=0) %}
    {%- set log = existing_relation_of('segment_publications') %}
    {%- if log %}
    select summed.snapshot_month
    from (select distinct snapshot_month from {{ log }}) as summed
    inner join {{ log }} as published
        on
            summed.snapshot_month >= published.snapshot_month
            and published.snapshot_month >= {{ dbt.dateadd('month', -months_back, 'summed.snapshot_month') }}
    group by summed.snapshot_month
    having
        max(case when published.run_id like 'erasure %' then published.published_at end)
        >= max(published.published_at)
    {%- else %}
    select cast(null as date) as snapshot_month
    where 1 = 0
    {%- endif %}
{% endmacro %}

{#- The months of `target` that keep their sums. -#}
{% macro months_that_keep_their_sums(target, months_back) %}
    {%- set columns = adapter.get_columns_in_relation(target) | map(attribute='name') | map('lower') | list %}
    select kept.snapshot_month
    from {{ target }} as kept
    inner join ({{ months_of_erasure(months_back) }}) as erasures on kept.snapshot_month = erasures.snapshot_month
    {%- if 'content_hash' in columns %}
    inner join ({{ newest_of_log(existing_relation_of('segment_publications')) }}) as newest
        on kept.snapshot_month = newest.snapshot_month and kept.content_hash = newest.content_hash
    {%- endif %}
{% endmacro %}
