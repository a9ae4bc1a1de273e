{#- One row per customer and month of `months`, with the version that is valid at the as-of date. A closed account has
    none; it keeps the last that began before. Who has no version that began before the as-of date is no customer
    yet. -#}
{% macro population(months, versions) %}
    select
        months.snapshot_month,
        months.as_of_date,
        versions.customer_id,
        versions.customer_key
    from {{ months }} as months
    inner join {{ versions }} as versions on months.as_of_date >= versions.valid_from
    qualify
        row_number() over (
            partition by months.snapshot_month, versions.customer_id
            order by versions.valid_from desc, versions.valid_to desc nulls first, versions.customer_key desc
        ) = 1
        and min(versions.valid_from) over (partition by months.snapshot_month, versions.customer_id) < months.as_of_date
{% endmacro %}
