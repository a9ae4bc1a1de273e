select
    snapshot_month,
    campaign,
    customer_id,
    reason,
    content_hash,
    detail
from {{ ref('audience_candidates') }}
where
    reason is not null
    and {{ is_asked_month('snapshot_month') }}
