"""What there is in the warehouse: the names of our schemas, and tables asked for by name."""

from segmentation_assets.warehouse.session import Session

GOLD, SILVER = "gold", "silver"


def table_exists(session: Session, schema: str, table: str) -> bool:
    rows = session.rows(
        "select count(*) as n from information_schema.tables"
        " where lower(table_schema) = lower(?) and lower(table_name) = ?",
        (schema, table),
    )
    return bool(rows[0]["n"])
