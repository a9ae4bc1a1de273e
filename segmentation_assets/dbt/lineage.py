"""Column lineage, worked out once for each SQL and kept beside the manifest.

dagster-dbt parses and optimises a model's compiled SQL at every materialisation, which takes longer than building most
models. Between months that SQL differs in its dates and the run's id only, and columns come from where they came from.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from segmentation_assets.atomic import atomically

LINEAGE = "dagster/column_lineage"
OF_THE_RUN = re.compile(r"\d{4}-\d{2}-\d{2}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

logger = logging.getLogger(__name__)


def known_lineage(
    folder: Path, name: str, compiled: Path, fetch: Callable[[bool], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """The column metadata of model `name`, its lineage from `folder` where its compiled SQL is known.

    `fetch` asks dagster-dbt for the metadata: with True also for the lineage. What has no SQL, or no lineage, is
    fetched whole. Nothing depends on the folder: what is missing or cannot be read there is worked out again.
    """
    if not compiled.is_file():
        return fetch(True)
    sql = OF_THE_RUN.sub("", compiled.read_text(encoding="utf-8"))
    known = folder / f"{name}-{hashlib.sha256(sql.encode()).hexdigest()[:16]}.json"
    try:
        lineage = dg.deserialize_value(known.read_text(encoding="utf-8"), dg.TableColumnLineage)
    except FileNotFoundError:
        lineage = None
    except Exception as error:  # noqa: BLE001 - a file half written by a crash, or by another version
        logger.warning("%s is not readable (%s); the lineage of %s is worked out again", known, error, name)
        lineage = None
    if lineage is not None:
        return {**fetch(False), LINEAGE: lineage}
    metadata = fetch(True)
    found = metadata.get(LINEAGE)
    if isinstance(found, dg.TableColumnLineage):
        folder.mkdir(parents=True, exist_ok=True)
        with atomically(known, durable=False) as scratch:
            scratch.write_text(dg.serialize_value(found), encoding="utf-8")
    return metadata
