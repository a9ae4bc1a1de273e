"""What a failed data test found, in words: which columns, how many rows, of which months, where the rows are stored.

dbt's own line names the test and a number. Values are not told: they may be addresses.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from segmentation_assets.months import MonthRange
from segmentation_assets.text import counted

Rows = Callable[[str], list[dict[str, Any]]]
Entry = Mapping[str, Any]  # of dbt's manifest
# What dbt's tests call the value that they store instead of the rows that hold it, and how often it is there.
STORED_VALUE, STORED_COUNT = ("unique_field", "value_field", "from_field"), ("n_records", "occurrences")
MONTH_COLUMNS = ("transaction_date", "snapshot_month", "period_start")
NAMED_MONTHS = 6


def message(test: Entry, manifest: Mapping[str, Any], months: MonthRange, rows: Rows) -> str:
    """`every_fact_is_complete: fct_transactions: transaction_status is NULL in 3 rows (2025-11-01: 3); ...`.

    Asks the table of the failing rows, which is there when the test has ended.
    """
    stored, kwargs = str(test["relation_name"]), (test.get("test_metadata") or {}).get("kwargs", {})
    found = {name.lower() for name in rows(f"select * from {stored} limit 1")[0]}
    times = next((name for name in STORED_COUNT if name in found), None)
    (row,) = rows(f"select {f'sum({times})' if times else 'count(*)'} as n from {stored}")
    where = [f"{', '.join(_columns(kwargs)) or 'rows'}: {counted(int(row['n']), 'row')}"]
    if (test.get("test_metadata") or {}).get("name") == "columns_are_not_null":
        where = list(_nulls(kwargs["columns"], stored, found, rows))
    tested = _tested(test, manifest)
    by_month = _by_month(stored, found, tested, kwargs.get("column_name"), months, rows)
    dated = f" ({_listed(by_month)})" if by_month else ""
    table = f"{tested['name']}: " if tested else ""
    return f"{test['name']}: {table}{', '.join(where)}{dated}; the rows are in {_plain(stored)}."


def _columns(kwargs: Mapping[str, Any]) -> Sequence[str]:
    several = kwargs.get("columns") or kwargs.get("combination_of_columns")
    return several or ([kwargs["column_name"]] if kwargs.get("column_name") else [])


def _nulls(columns: Sequence[str], stored: str, found: set[str], rows: Rows) -> Iterator[str]:
    asked = [column for column in columns if column in found]
    (row,) = rows(f"select {', '.join(f'count(*) - count({column}) as {column}' for column in asked)} from {stored}")
    for column in asked:
        if row[column]:
            yield f"{column} is NULL in {counted(int(row[column]), 'row')}"


def _tested(test: Entry, manifest: Mapping[str, Any]) -> Entry | None:
    """The table or model whose rows are tested; a test may read others too."""
    model = str((test.get("test_metadata") or {}).get("kwargs", {}).get("model", ""))
    names = re.findall(r"'([^']+)'\)", model)
    for unique_id in test["depends_on"]["nodes"]:
        entry = manifest["sources"].get(unique_id) or manifest["nodes"].get(unique_id)
        if entry and (not names or entry["name"] == names[0]):
            return entry
    return None


def _by_month(
    stored: str, found: set[str], tested: Entry | None, column: str | None, months: MonthRange, rows: Rows
) -> list[dict[str, Any]]:
    """How many failing rows each month has; nothing where neither they nor the tested table have a date."""
    day = next((name for name in MONTH_COLUMNS if name in found), None)
    value = next((name for name in STORED_VALUE if name in found), None)
    if day:
        table, condition = stored, ""
    elif value and column and tested and tested["name"] == "fct_transactions":
        day, table = "transaction_date", str(tested["relation_name"])
        condition = (
            f" where {column} in (select {value} from {stored})"
            f" and {day} >= date '{months.first}' and {day} < date '{months.as_of}'"
        )
    else:
        return []
    return rows(
        f"select cast(date_trunc('month', {day}) as date) as found_in, count(*) as n from {table}{condition}"
        " group by 1 order by 1"
    )


def _listed(by_month: Sequence[Mapping[str, Any]]) -> str:
    named = ", ".join(f"{row['found_in'] or 'without a date'}: {row['n']:,}" for row in by_month[:NAMED_MONTHS])
    more = len(by_month) - NAMED_MONTHS
    return named + (f" and {counted(more, 'more month')}" if more > 0 else "")


def _plain(relation: str) -> str:
    """Schema and table, without the database and quotes."""
    return ".".join(part.strip('"') for part in relation.split(".")[1:])
