{#- Who is kept out of every campaign, to measure all of them together by: decided by the unit alone, with a salt of its
    own, anew each calendar year, so that nobody is left out for good. The unit is the mailbox that a customer has now,
    known by the id that decided when somebody at it was first left out in the year: whoever comes to it, it stays left
    out, and whoever is left out stays so at another. Without such a one it is known by the smallest id of all customers
    who ever had it; who has no mailbox is their own.
    Bucket = first 60 bits of md5('every campaign|CUST00000001|2025') mod 10,000; universal_holdout_pct may have two
    decimals. -#}

{% macro universal_holdout_buckets() %}{{ return((var('universal_holdout_pct', 0) * 100) | round | int) }}{% endmacro %}

{% macro is_held_out_of_everything(unit, month) -%}
    mod({{ hash_number("'every campaign|' || " ~ unit ~ " || '|' || " ~ calendar_epoch('year', month)) }}, 10000)
    < {{ universal_holdout_buckets() }}
{%- endmacro %}

{#- Whom the table has, of any month. Straight from it, as it is what the model replaces. -#}
{% macro held_out_of_every_campaign_before() %}
    {%- set before = existing_relation_of('universal_holdout') if universal_holdout_buckets() %}
    {%- if before %}
    select
        snapshot_month,
        customer_id,
        holdout_epoch,
        holdout_unit
    from {{ before }}
    {%- else %}
    select
        cast(null as date) as snapshot_month,
        cast(null as varchar) as customer_id,
        cast(null as varchar) as holdout_epoch,
        cast(null as varchar) as holdout_unit
    where 1 = 0
    {%- endif %}
{% endmacro %}

{#- Month and customer, of the asked months. Where nobody is, no table has to be there: lists may be made alone in a
    database of an earlier version. -#}
{% macro kept_out_of_every_campaign() %}
    {%- if universal_holdout_buckets() %}
    select
        snapshot_month,
        customer_id
    from {{ ref('universal_holdout') }}
    where {{ is_asked_month('snapshot_month') }}
    {%- else %}
    select
        cast(null as date) as snapshot_month,
        cast(null as varchar) as customer_id
    where 1 = 0
    {%- endif %}
{% endmacro %}
