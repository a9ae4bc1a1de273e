"""What `make test-snowflake` tells at its end: what was proved, statements by kind, seconds of warehouses and credits.

A plugin of pytest (`-p tests.support.account_report`). The figures are read from the account's own query history while
its database still stands; ACCOUNT_USAGE would have them hours later. A warehouse is billed by the second from its first
statement until it is suspended, 60 seconds at least: credits are worked out from that, as metering lags too.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tests.support.snowflake_account import session_on

PROVED, NOT_ASKED = "proved", "not asked"
# Credits an hour of a standard warehouse, by its size.
CREDITS = {
    name: 2**power
    for power, name in enumerate(("X-Small", "Small", "Medium", "Large", "X-Large", "2X-Large", "3X-Large", "4X-Large"))
}
SMALLEST_BILL, AUTO_SUSPEND = timedelta(seconds=60), timedelta(seconds=60)
PAGE = 10_000
# One page; the next one ends where it began.
HISTORY = f"""
select query_id, query_type, query_tag, warehouse_name, warehouse_size, start_time, end_time, execution_time,
    bytes_scanned, credits_used_cloud_services, error_code
from table(information_schema.query_history_by_user(
    user_name => current_user(), end_time_range_end => to_timestamp_ltz(?), result_limit => {PAGE}
))
where database_name = upper(?)
order by start_time
"""
Row = Mapping[str, Any]


def billed(intervals: Iterable[tuple[datetime, datetime]]) -> timedelta:
    """How long a warehouse was awake that is suspended a minute after its last statement."""
    total, awake_from, awake_until = timedelta(), None, None
    for begin, end in sorted(intervals):
        if awake_until is not None and begin <= awake_until + AUTO_SUSPEND:
            awake_until = max(awake_until, end)
            continue
        total += _bill(awake_from, awake_until)
        awake_from, awake_until = begin, end
    return total + _bill(awake_from, awake_until)


def _bill(awake_from: datetime | None, awake_until: datetime | None) -> timedelta:
    if awake_from is None or awake_until is None:
        return timedelta()
    return max(awake_until - awake_from + AUTO_SUSPEND, SMALLEST_BILL)


def figures(history: Sequence[Row]) -> list[str]:
    """The report's lines of query history."""
    kinds = Counter(str(row["query_type"]) for row in history)
    lines = [
        f"{len(history):,} statements: " + ", ".join(f"{name} {number:,}" for name, number in kinds.most_common()),
        f"{sum(int(row['bytes_scanned'] or 0) for row in history) / 1e6:,.1f} MB scanned",
    ]
    of_warehouse: dict[tuple[str, str], list[Row]] = {}
    for row in history:
        if row["warehouse_size"]:  # without one, the statement took none
            of_warehouse.setdefault((str(row["warehouse_name"]), str(row["warehouse_size"])), []).append(row)
    for (name, size), rows in sorted(of_warehouse.items()):
        awake = billed((row["start_time"], row["end_time"]) for row in rows)
        busy = sum(float(row["execution_time"] or 0) for row in rows) / 1000
        credits = CREDITS[size] * awake.total_seconds() / 3600
        lines.append(
            f"{name} ({size}): {len(rows):,} statements, {busy:,.0f} s at work, {awake.total_seconds():,.0f} s awake,"
            f" {credits:.3f} credits"
        )
    services = sum(float(row["credits_used_cloud_services"] or 0) for row in history)
    return [*lines, f"cloud services: {services:.4f} credits, free below a tenth of the day's"]


def history_of(variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every statement of this user in the test's database, oldest first."""
    found: dict[str, dict[str, Any]] = {}
    with session_on(variables, variables["SNOWFLAKE_DATABASE"]) as session:
        until: object = session.rows("select current_timestamp() as now")[0]["now"]
        while True:
            rows = session.rows(HISTORY, (until, variables["SNOWFLAKE_DATABASE"]))
            new = [row for row in rows if row["query_id"] not in found]
            found.update({str(row["query_id"]): row for row in new})
            if not new:
                return sorted(found.values(), key=lambda row: row["start_time"])
            until = min(row["end_time"] for row in new if row["end_time"])


_figures: list[str] = []


def remember(lines: Iterable[str]) -> None:
    """Told at the end, when the database is gone."""
    _figures[:] = lines


def pytest_terminal_summary(terminalreporter: Any) -> None:
    passed = terminalreporter.getreports("passed")
    said = {word: [str(value) for report in passed for name, value in report.user_properties if name == word]
            for word in (PROVED, NOT_ASKED)}  # fmt: skip
    plain = [
        report.nodeid.partition("::")[2].removeprefix("test_").replace("_", " ")
        for report in passed
        if report.when == "call" and not report.user_properties
    ]
    sections = {
        "Proved on this account": [*plain, *said[PROVED]],
        "Not asked": said[NOT_ASKED],
        "What it took": _figures,
    }
    for title, lines in sections.items():
        if lines:
            terminalreporter.section(title)
            terminalreporter.write("".join(f"- {line}\n" for line in lines))
