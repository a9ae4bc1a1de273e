"""The source contract: which tables and columns the star schema has to have, and of what kind. Checked before a run computes."""

from segmentation_assets.sources import SourceError
from segmentation_assets.warehouse import Session

INTEGER = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UINTEGER", "UBIGINT", "NUMBER", "FIXED")
TEXT = ("VARCHAR", "TEXT", "STRING", "CHAR")
# A time zone would make the day of a transaction depend on the session.
DAY = ("DATE", "TIMESTAMP", "TIMESTAMP_NTZ", "DATETIME", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")
MONEY = ("DECIMAL", "NUMBER", "NUMERIC", *INTEGER)
BOOLEAN = ("BOOLEAN",)
KEY = (*INTEGER, *TEXT)

CONTRACT: dict[str, dict[str, tuple[str, ...]]] = {
    "fct_transactions": {
        "transaction_key": KEY,
        "customer_key": KEY,
        "merchant_category_key": KEY,
        "transaction_date": DAY,
        "transaction_amount": MONEY,
        "transaction_status": TEXT,
    },
    "dim_customer": {
        "customer_key": KEY,
        "customer_id": TEXT,
        "first_name": TEXT,
        "last_name": TEXT,
        "email": TEXT,
        "valid_from": DAY,
        "valid_to": DAY,
        "is_current": BOOLEAN,
    },
    "dim_merchant_category": {"category_key": KEY, "category_name": TEXT},
    "dim_date": {"date_key": KEY, "full_date": DAY},
    "marketing_suppressions": {"customer_id": TEXT, "reason": TEXT, "suppressed_at": DAY},
}
OPTIONAL = {"marketing_suppressions"}
WORDS = {KEY: "a whole number or text", TEXT: "text", DAY: "DATE or a TIMESTAMP without time zone",
         MONEY: "DECIMAL", BOOLEAN: "BOOLEAN"}  # fmt: skip


def check(session: Session, schema: str) -> None:
    """Raises SourceError with one line per finding: table, column, expected and found."""
    found: dict[str, dict[str, str]] = {}
    for row in session.rows(
        "select lower(table_name) as table_name, lower(column_name) as column_name, data_type"
        " from information_schema.columns where lower(table_schema) = lower(?)",
        (schema,),
    ):
        found.setdefault(row["table_name"], {})[row["column_name"]] = row["data_type"]
    problems = [problem for table, columns in CONTRACT.items() for problem in _problems(table, columns, found.get(table))]
    if problems:
        raise SourceError(
            "\n".join([f"The star schema in schema {schema!r} breaks the source contract; nothing was computed.", *problems])
        )


def _problems(table: str, columns: dict[str, tuple[str, ...]], found: dict[str, str] | None) -> list[str]:
    if found is None:
        return [] if table in OPTIONAL else [f"- {table}: the table is missing (SEGMENTATION_SOURCE_SCHEMA says where to look)."]
    problems = []
    for column, kinds in columns.items():
        if column not in found:
            problems.append(f"- {table}.{column}: expected {WORDS[kinds]}, found no such column (there are: {', '.join(sorted(found))}).")
        elif not _is_one_of(found[column], kinds):
            problems.append(f"- {table}.{column}: expected {WORDS[kinds]}, found {found[column]}.")
    return problems


def _is_one_of(data_type: str, kinds: tuple[str, ...]) -> bool:
    return data_type.upper().split("(")[0].strip() in kinds
