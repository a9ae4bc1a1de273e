"""A coarse alarm in Dagster's own catalogue: a published table that nothing materialised by the 3rd turns stale.

Dagster looks at the newest materialisation whatever its month, so recomputing an old month turns it fresh. The alert
sensor's overdue month is the exact alarm; this one also works where no address is set.
"""

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

from segmentation_assets.months import TIME_ZONE
from segmentation_assets.settings import Settings

PUBLISHED_GROUP = "segments_published"
# Midnight at the end of the 2nd; materialised on the 1st or the 2nd.
DEADLINE, WITHIN = "0 0 3 * *", timedelta(days=2)


def with_freshness(
    assets: Sequence[dg.AssetsDefinition | dg.AssetSpec], settings: Settings
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """A source that ended for good is never fresh again, and gets no alarm."""
    if settings.source == "completejourney":
        return list(assets)
    policy = dg.FreshnessPolicy.cron(DEADLINE, lower_bound_delta=WITHIN, timezone=TIME_ZONE)

    def published(spec: dg.AssetSpec) -> dg.AssetSpec:
        return dg.apply_freshness_policy(spec, policy) if spec.group_name == PUBLISHED_GROUP else spec

    return list(dg.map_asset_specs(published, assets))
