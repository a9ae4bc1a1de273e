"""Column lineage, worked out once for each SQL and kept beside the manifest.

dagster-dbt parses and optimises a model's compiled SQL at every materialisation, and once more for each of its columns,
which takes longer than building most models: 20 s of a first run. Here it is parsed once. Between months that SQL
differs in its dates, times and the run's id only, and columns come from where they came from.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import dagster as dg
from sqlglot import MappingSchema, exp, to_table
from sqlglot.expressions import normalize_table_name
from sqlglot.lineage import Node, lineage

from segmentation_assets.atomic import atomically

LINEAGE = "dagster/column_lineage"
OF_THE_RUN = re.compile(
    r"\d{4}-\d{2}-\d{2}(?: \d{2}:\d{2}:\d{2})?|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)

logger = logging.getLogger(__name__)

Types = Mapping[str, str]  # column -> type


def column_lineage(
    sql: str,
    dialect: str,
    *,
    columns: Iterable[str],
    read: Mapping[str, Types],
    parents: Mapping[str, dg.AssetKey],
) -> dg.TableColumnLineage:
    """Of each of a model's columns the columns of its parents that it is made from, as dagster-dbt finds them.

    `read` has the columns of every relation that the SQL may name, the model's own too, `parents` the assets of those
    that count; both by name as in the SQL. Raises what sqlglot raises where it cannot read it.
    """
    schema = MappingSchema(dialect=dialect)
    for relation, types in read.items():
        schema.add_table(to_table(relation, dialect=dialect), dict(types), dialect=dialect)
    assets = {
        normalize_table_name(to_table(relation, dialect=dialect), dialect=dialect): key
        for relation, key in parents.items()
    }
    found = lineage(None, sql, schema, dialect=dialect, trim_selects=False)
    made_from = {name.lower(): _leaves(node, assets, dialect) for name, node in found.items()}
    return dg.TableColumnLineage({name: made_from.get(name, []) for name in sorted(map(str.lower, columns))})


def _leaves(column: Node, assets: Mapping[str, dg.AssetKey], dialect: str) -> list[dg.TableColumnDep]:
    leaves = {
        (normalize_table_name(table, dialect=dialect), exp.to_column(node.name).name.lower())
        for node in column.walk()
        if not node.downstream and (table := node.expression.find(exp.Table))
    }
    return [dg.TableColumnDep(assets[table], name) for table, name in sorted(leaves) if table in assets]


def known_lineage(
    folder: Path, name: str, sql: str, work_out: Callable[[], dg.TableColumnLineage]
) -> dg.TableColumnLineage | None:
    """The lineage of model `name`, from `folder` where its compiled SQL is known; None where it cannot be worked out.

    Nothing depends on the folder: what is missing or cannot be read there is worked out again.
    """
    of_any_run = OF_THE_RUN.sub("", sql)
    known = folder / f"{name}-{hashlib.sha256(of_any_run.encode()).hexdigest()[:16]}.json"
    try:
        return dg.deserialize_value(known.read_text(encoding="utf-8"), dg.TableColumnLineage)
    except FileNotFoundError:
        pass
    except Exception as error:  # noqa: BLE001 - a file half written by a crash, or by another version
        logger.warning("%s is not readable (%s); the lineage of %s is worked out again", known, error, name)
    try:
        lineage = work_out()
    except Exception as error:  # noqa: BLE001 - what sqlglot cannot read is no reason to fail a build
        logger.warning("%s is shown without the lineage of its columns: %s", name, error)
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomically(known, durable=False) as scratch:
            scratch.write_text(dg.serialize_value(lineage), encoding="utf-8")
    except OSError as error:
        logger.warning("%s cannot be kept (%s); the lineage of %s is worked out by every run", known, error, name)
    return lineage
