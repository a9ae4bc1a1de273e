"""What the materialisation of a dbt model says of the table: its rows and sums, month by month.

Dagster draws the numbers of a partitioned asset over its partitions, so each month carries its own, in a run over many
months too. They take one query over the months of the run, for many tables at once, in place of dagster-dbt's count of
each whole table. Which sums are worth a line is said in the model's own `meta: {numbers: {name: aggregate}}`, and in
`meta: {month_column: …}` the date that a row belongs to, where that is not snapshot_month; `meta: {filled_by: …}` names
the model after which to count, where that is another, and `meta: {is_counted: false}` leaves a view out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import dagster as dg

from segmentation_assets.months import MonthRange

ROWS = "dagster/row_count"
MONTH = "snapshot_month"
# In the order of the macro audience_steps; tests/warehouse/test_metadata.py holds the two together.
WATERFALL: tuple[str, ...] = (
    "in_segment",
    "entered_segment",
    "meets_criteria",
    "meets_eligibility",
    "is_eligible",
    "is_customer",
    "deliverable_email",
    "not_suppressed",
    "not_in_universal_holdout",
    "not_in_cooldown",
    "within_contact_policy",
    "one_per_email",
    "within_cap",
    "holdout",
    "sent",
)
REACHED = len(WATERFALL) - 2  # the steps that leave customers out; the last two divide who is left
# Reason in audience_candidates -> the step that leaves out for it.
LEFT_OUT_AT = {
    "stayed_in_segment": "entered_segment",
    "misses_criteria": "meets_criteria",
    "misses_eligibility": "meets_eligibility",
    "not_eligible": "is_eligible",
    "no_customer_now": "is_customer",
    "no_deliverable_email": "deliverable_email",
    "suppressed": "not_suppressed",
    "universal_holdout": "not_in_universal_holdout",
    "in_cooldown": "not_in_cooldown",
    "over_contact_policy": "within_contact_policy",
    "shares_email": "one_per_email",
    "beyond_cap": "within_cap",
}

# Runs a query through the connection of the build under way.
RowsOf = Callable[[str], list[dict[str, Any]]]
Model = Mapping[str, Any]  # a model's entry in dbt's manifest
Numbers = dict[str, Any]


def month_column(model: Model) -> str | None:
    """The date that says to which month a row belongs; None for a table that knows no months."""
    return model["config"]["meta"].get("month_column") or (MONTH if MONTH in model["columns"] else None)


def is_counted(model: Model) -> bool:
    """Whether its rows are: of a view that reads all the facts to say how many rows it has, nobody asks."""
    return model["config"]["meta"].get("is_counted", True)


def filled_by(model: Model) -> str | None:
    """The model that writes this one's rows, in the transaction that replaces its own; before it they are not there."""
    return model["config"]["meta"].get("filled_by")


class Counted(NamedTuple):
    """What a table holds: month by month, or as a whole where it knows no months."""

    months: Mapping[date, Numbers]
    whole: Numbers


def of_models(models: Sequence[Model], rows_of: RowsOf, months: MonthRange) -> list[Counted]:
    """In their order, of one statement for all: rows, and the numbers that each model's meta names. A NULL is left
    out."""
    if not models:
        return []
    width = max(len(_numbers(model)) for model in models)
    asked = " union all ".join(_counted_sql(place, model, months, width) for place, model in enumerate(models))
    rows: dict[int, list[dict[str, Any]]] = {}
    for row in rows_of(asked):
        rows.setdefault(int(row["place"]), []).append(row)
    return [_counted(model, rows.get(place, []), months) for place, model in enumerate(models)]


def _numbers(model: Model) -> Mapping[str, str]:
    return model["config"]["meta"].get("numbers", {}) if month_column(model) else {}


def _counted_sql(place: int, model: Model, months: MonthRange, width: int) -> str:
    column, aggregates = month_column(model), list(_numbers(model).values())
    month = f"cast(date_trunc('month', {column}) as date)" if column else "cast(null as date)"
    sums = "".join(
        f", cast({aggregates[number] if number < len(aggregates) else 'null'} as double) as number_{number}"
        for number in range(width)
    )
    counted = (
        f"select {place} as place, {month} as month_of_rows, count(*) as rows_counted{sums}"
        f" from {model['relation_name']}"
    )
    if column is None:
        return counted
    # One month as such: DuckDB hands an equality on to all tables of a view's joins, and a range to one of them.
    asked = (
        f"{column} = cast('{months.first}' as date)"
        if months.is_single and column == MONTH
        else f"{column} >= cast('{months.first}' as date) and {column} < cast('{months.as_of}' as date)"
    )
    return f"{counted} where {asked} group by {month}"


def _counted(model: Model, rows: Sequence[Mapping[str, Any]], months: MonthRange) -> Counted:
    if month_column(model) is None:
        return Counted({}, {ROWS: sum(int(row["rows_counted"]) for row in rows)})
    told: dict[date, Numbers] = {month: {ROWS: 0} for month in months}
    for row in rows:
        values = {name: row[f"number_{number}"] for number, name in enumerate(_numbers(model))}
        measured = {name: float(value) for name, value in values.items() if value is not None}
        told[_day(row["month_of_rows"])] = {ROWS: int(row["rows_counted"]), **measured}
    return Counted(told, {})


def _day(value: Any) -> date:
    """A date may come back as the first second of its day."""
    return date.fromisoformat(str(value)[:10])


def of_range(found: Mapping[date, Numbers]) -> Numbers:
    """The same for an asset without partitions: the rows of all the months of the run, where it has any."""
    rows = sum(numbers[ROWS] for numbers in found.values())
    months = MonthRange.around(found)
    return {"months_of_the_run": months.label, "rows_of_these_months": rows} if months and rows else {}


def waterfalls(
    rows_of: RowsOf, silver: str, campaigns: Iterable[str], months: MonthRange
) -> dict[tuple[str, date], dict[str, int]]:
    """Per campaign and month: customers left after each step.

    Counted from audience_candidates, of which audience_waterfall is made too: a list may be ready before that one is.
    """
    found = rows_of(
        "select campaign, snapshot_month, reason, treatment_group, count(*) as customers"
        f" from {silver}.audience_candidates"
        f" where snapshot_month >= cast('{months.first}' as date) and snapshot_month <= cast('{months.last}' as date)"
        " group by 1, 2, 3, 4"
    )
    told: dict[tuple[str, date], dict[str, int]] = {
        (campaign, month): dict.fromkeys(WATERFALL, 0) for campaign in campaigns for month in months
    }
    for row in found:
        waterfall = told.setdefault((row["campaign"], _day(row[MONTH])), dict.fromkeys(WATERFALL, 0))
        # Who is left after a step has passed all before it too.
        passed = REACHED if row["reason"] is None else WATERFALL.index(LEFT_OUT_AT[row["reason"]])
        for step in WATERFALL[:passed]:
            waterfall[step] += int(row["customers"])
        if row["treatment_group"] is not None:
            waterfall["holdout" if row["treatment_group"] == "holdout" else "sent"] += int(row["customers"])
    return told


class Spread(NamedTuple):
    """Spend of the last 90 days of a list's members."""

    mean: float | None
    deviation: float | None


def spreads(rows_of: RowsOf, schemas: Mapping[str, str], months: MonthRange) -> dict[tuple[str, date], Spread]:
    """Per campaign and month; of audience_candidates, as the waterfalls."""
    spend = "cast(history.spend_last_90_days as double)"
    found = rows_of(
        f"select candidates.campaign, candidates.snapshot_month, avg({spend}) as mean_spend,"
        f" stddev_samp({spend}) as stddev_spend from {schemas['silver']}.audience_candidates as candidates"
        f" inner join {schemas['gold']}.customer_segment_history as history"
        " on candidates.snapshot_month = history.snapshot_month and candidates.customer_id = history.customer_id"
        " where candidates.treatment_group is not null"
        f" and candidates.snapshot_month >= cast('{months.first}' as date)"
        f" and candidates.snapshot_month <= cast('{months.last}' as date) group by 1, 2"
    )
    return {
        (row["campaign"], _day(row[MONTH])): Spread(*map(_number, (row["mean_spend"], row["stddev_spend"])))
        for row in found
    }


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def of_audience(waterfall: Mapping[str, int]) -> Numbers:
    """Sizes to be drawn over the months, and every step in a table. Counts only: nobody on a list is named."""
    records, before = [], None
    for step, customers in waterfall.items():
        left_out = before - customers if before is not None and step in WATERFALL[:REACHED] else None
        records.append(dg.TableRecord({"step": step, "customers": customers, "left_out": left_out}))
        before = customers
    columns = [
        dg.TableColumn("step", "string", "What a customer has to pass; then, who is held back and who is sent to."),
        dg.TableColumn("customers", "int", "Customers left after the step."),
        dg.TableColumn("left_out", "int", "Customers that the step left out."),
    ]
    return {
        "sent": waterfall["sent"],
        "holdout": waterfall["holdout"],
        "in_segment": waterfall["in_segment"],
        "waterfall": dg.MetadataValue.table(records=records, schema=dg.TableSchema(columns)),
    }
