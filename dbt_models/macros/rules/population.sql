{#- Who is a customer: every version in dim_customer that is no unknown member's and whose customer was ever valid. -#}

{#- The keys and ids that the rules (unknown_customers) say are nobody's: what a fact without a customer is booked
    on. -#}
{% macro unknown_customers() %}
    {% set said = var('unknown_customers', {}) %}
    {{ return({'keys': said.get('keys', [-1, 0]), 'ids': said.get('ids', ['-1', '0', 'UNKNOWN'])}) }}
{% endmacro %}

{#- Every version of the source, ids trimmed, with why it is nobody's (left_out), or NULL. A blank id names nobody. A
    customer whose every version ended before it began was never one. Whoever was erased is nobody here, though the
    source still has them. -#}
{% macro customer_versions() %}
    {%- set unknown = unknown_customers() %}
    {%- set erased = erased_customers() %}
    select
        customer_key,
        customer_id,
        first_name,
        last_name,
        email,
        valid_from,
        valid_to,
        is_current,
        case
            {%- if erased %}
            when erased.erased_hash is not null then 'erased'
            {%- endif %}
            {%- if unknown['keys'] %}
            when customer_key in ({{ unknown['keys'] | join(', ') }}) then 'unknown_key'
            {%- endif %}
            when lower(customer_id) in ({{ quoted_list([''] + unknown.ids) | lower }}) then 'unknown_id'
            when
                max(case when valid_to is null or valid_to > valid_from then 1 else 0 end)
                    over (partition by customer_id)
                = 0
                then 'never_valid'
        end as left_out
    from (
        select
            customer_key,
            {{ trimmed('customer_id') }} as customer_id,
            first_name,
            last_name,
            email,
            cast(valid_from as date) as valid_from,
            cast(valid_to as date) as valid_to,
            is_current
        from {{ star_schema('dim_customer') }}
    ) as versions
    {{- join_erased(erased, 'versions.customer_id') }}
{% endmacro %}

{#- True for a transaction_status that counts as spend, in whatever spelling. Those of the rules, as they are written
    there, are compared first: of 13.5 million facts, only one whose spelling is unheard-of is folded. -#}
{% macro is_approved(status) %}
    (
        {{ status }} in ({{ quoted_list(var('approved_statuses')) }})
        or (
            {{ status }} not in ({{ quoted_list(known_statuses()) }})
            and {{ code(status) }} in ({{ codes_of(var('approved_statuses')) }})
        )
    )
{%- endmacro %}

{#- True for a status that no rule names, and for none at all. -#}
{% macro is_unknown_status(status) %}
    (
        coalesce({{ status }}, '') not in ({{ quoted_list(known_statuses()) }})
        and {{ code("coalesce(" ~ status ~ ", '')") }} not in ({{ codes_of(known_statuses()) }})
    )
{%- endmacro %}

{% macro known_statuses() %}
    {{ return(var('approved_statuses') + var('other_statuses', ['declined', 'reversed', 'pending'])) }}
{% endmacro %}
