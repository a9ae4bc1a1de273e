{% test audience_is_not_empty(model) %}
{{ config(
    severity='warn',
    meta={'description':
        "Catches a published month in which nobody is left: criteria nobody meets, or a source that lost its "
        "addresses. A warning, as a small portfolio may have nobody to write to."
    },
) }}
with published as (

    select distinct snapshot_month
    from {{ other_model('customer_segment_history') }}
    where {{ is_asked_month('snapshot_month') }}

)

select snapshot_month
from published
where snapshot_month not in (select snapshot_month from {{ model }})
{% endtest %}
