"""The tables of a warehouse as they are, and in words what of them is not as a model says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from tests.support import oracle
from tests.support.any_order_model import Cells, Model, State, cell, cells, decision_of
from tests.support.portfolios import CATEGORY_NAMES
from tests.support.warehouse_fixture import Pipeline


@dataclass(frozen=True)
class Found:
    """The tables as they are."""

    views: Mapping[str, str | None]  # category name -> its group
    rollup: Mapping[tuple[date, int], tuple[Any, ...]]
    windows: Mapping[date, Cells]
    assignments: Mapping[date, tuple[Cells, str]]
    audits: Mapping[date, tuple[str, bool, frozenset[tuple[Any, ...]]]]  # whether they name a candidate
    history: Mapping[date, Cells]
    log: Mapping[date, Mapping[str, Any]]  # the newest version
    decisions: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, pipeline: Pipeline) -> Found:
        columns = ", ".join(oracle.HISTORY_COLUMNS)
        with pipeline.connection() as connection:

            def rows(sql: str) -> list[tuple[Any, ...]]:
                return connection.execute(sql).fetchall()

            assignments = rows(f"select {columns}, decision_hash from silver.segment_assignments")
            judged = rows(
                "select snapshot_month, decision_hash, content_hash is not null, audit, customer_segment, measured,"
                " failed_rows, affected_spend from silver.segment_audits where severity = 'error'"
            )
            log = connection.execute(
                "select * from gold.segment_publications"
                " qualify row_number() over (partition by snapshot_month order by version desc) = 1"
            )
            names = [column[0] for column in log.description]
            newest = [dict(zip(names, row, strict=True)) for row in log.fetchall()]
            return cls(
                views=dict(rows("select category_name, category_group from silver.stg_merchant_categories")),
                rollup={
                    (month, key): tuple(map(cell, sums))
                    for month, key, *sums in rows(
                        "select cast(date_trunc('month', period_start) as date), customer_key, sum(transaction_count),"
                        " sum(spend), sum(travel_spend), sum(necessities_spend)"
                        " from silver.customer_period_spend group by 1, 2"
                    )
                },
                windows=by_month(
                    rows(
                        "select snapshot_month, customer_id, total_transactions, lifetime_value, spend_last_90_days,"
                        " spend_prior_90_days from silver.transaction_window_metrics"
                    )
                ),
                assignments={
                    month: (found, "/".join(sorted({row[-1] for row in assignments if row[0] == month})))
                    for month, found in by_month(row[:-1] for row in assignments).items()
                },
                audits={
                    month: (
                        "/".join(sorted({str(row[1]) for row in judged if row[0] == month})),
                        all(row[2] for row in judged if row[0] == month),
                        frozenset(
                            (row[3], row[4], round(row[5], 6), row[6], cell(row[7]))
                            for row in judged
                            if row[0] == month and row[6]
                        ),
                    )
                    for month in {row[0] for row in judged}
                },
                history=by_month(rows(f"select {columns} from gold.customer_segment_history")),
                log={row["snapshot_month"]: row for row in newest},
                decisions=_nested(rows("select decision_hash, entry, entry_value from gold.segment_decisions")),
            )


def _nested(rows: Iterable[tuple[str, str, str]]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for outer, inner, value in rows:
        found.setdefault(outer, {})[inner] = value
    return found


def by_month(rows: Iterable[tuple[Any, ...]]) -> dict[date, Cells]:
    found: dict[date, list[tuple[Any, ...]]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row)
    return {month: cells(rows) for month, rows in found.items()}


def unlike(state: State, found: Found, model: Model) -> list[str]:
    """What is in the tables and not in the state, or the other way round, in words; nothing where they are one."""
    wrong: list[str] = []
    expected = {
        (month, key): tuple(map(cell, sums))
        for month, rolled in state.rollup.items()
        for key, sums in model.facts.sums((month, *rolled)).items()
    }
    groups = json.loads(state.views)
    views = {
        name: next((group for group, names in groups.items() if name in names), None)
        for name in CATEGORY_NAMES.values()
    }
    if found.views != views:
        wrong.append("the views of staging are of other rules")
    wrong += _differences("the rollup", expected, found.rollup)
    shown = [
        oracle.HISTORY_COLUMNS.index(name)
        for name in (
            "snapshot_month", "customer_id", "total_transactions", "lifetime_value", "spend_last_90_days",
            "spend_prior_90_days",
        )
    ]  # fmt: skip
    windows = {
        month: tuple(tuple(row[at] for at in shown) for row in model.facts.result(parts, month, "shipped"))
        for month, parts in state.windows.items()
    }
    wrong += _differences("the windows", windows, found.windows)
    candidates = {month: (candidate.rows, candidate.decision) for month, candidate in state.assignments.items()}
    wrong += _differences("the candidate", candidates, found.assignments)
    for month, audited in state.audits.items():
        decision, is_bound, failed = found.audits.get(month, ("no audits", False, frozenset()))
        if decision != audited.decision:
            wrong.append(f"the audits of {month} are of the decision {decision}, not {audited.decision}")
        elif is_bound != (audited.candidate is not None):
            wrong.append(f"the audits of {month} name {'a' if is_bound else 'no'} candidate")
        elif audited.candidate is not None and audited.candidate.decision == audited.decision:
            expected_failures = {failure.shown for failure in audited.failures}
            wrong += [f"an audit of {month} fails that holds: {one}" for one in failed - expected_failures]
            wrong += [f"an audit of {month} holds that has to fail: {one}" for one in expected_failures - failed]
    for month in found.audits.keys() - state.audits.keys():
        if month in state.assignments:
            wrong.append(f"{month} has audits, though its candidate was made after them")
    history = {month: published.rows for month, published in state.history.items()}
    wrong += _differences("the published month", history, found.history)
    wrong += _unlike_the_log(state, found)
    return wrong


def _unlike_the_log(state: State, found: Found) -> list[str]:
    """What the log tells of the months that were published. Rules that differ may give a month the same rows: then the
    log alone says under which of them it is published, and whether its publication came before or after a kill."""
    wrong: list[str] = []
    if found.log.keys() != state.history.keys():
        wrong.append("the log has other months than were published")
    for month in sorted(found.log.keys() & state.history.keys()):
        now, published = found.log[month], state.history[month]
        if now["customers"] != len(published.rows):
            wrong.append(f"the log of {month} counts {now['customers']} customers, not {len(published.rows)}")
        if now["decision_hash"] != decision_of(published.rules):
            wrong.append(f"the log of {month} names another decision than its candidate's")
        if (now["audits_verdict"] == "accepted") != bool(published.accepted):
            wrong.append(f"{month} is logged as {now['audits_verdict']}, and failed {published.accepted}")
    return wrong


def _differences(what: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> list[str]:
    wrong: list[str] = []
    for key in sorted(expected.keys() | found.keys(), key=str):
        name = " ".join(map(str, key)) if isinstance(key, tuple) else str(key)
        if key not in found:
            wrong.append(f"{what} {name} is not there")
        elif key not in expected:
            wrong.append(f"{what} {name} should not be there")
        elif expected[key] != found[key]:
            wrong.append(f"{what} {name} is another: {_told(expected[key], found[key])}")
    return wrong


def _told(expected: Any, found: Any) -> str:
    """The first few rows that differ."""
    if not isinstance(expected[0], tuple):
        return f"{found}, expected {expected}"
    if isinstance(expected[0][0], tuple):  # with a decision beside the rows
        expected, found = (*expected[0], expected[1:]), (*found[0], found[1:])
    missing, extra = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    return f"lost {list(missing)[:2]}, found {list(extra)[:2]} ({missing.total()} and {extra.total()} rows)"
