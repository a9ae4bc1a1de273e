"""What the Dagster UI shows on every asset, read from the event log after a real run.

Locks out: an asset whose grain, owner, tags, columns or code nobody finds, a column whose origin is lost on its way
from the star schema, numbers of the whole table where Dagster draws them over the months, the months of a range all
carrying the same numbers, and a person's address in what the UI shows.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from segmentation_assets.assets.star_schema import FURTHER
from segmentation_assets.dbt import metadata as asset_numbers
from segmentation_assets.dbt.columns import LINEAGE, SCHEMA
from segmentation_assets.dbt.project import Project
from segmentation_assets.definitions import build_defs
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.published_by_job import MONTHS, NEWEST, Published
from tests.support.warehouse_fixture import Pipeline

RULES = Project.load().rules
EXPORTS = [f"activation/export_{campaign.name}" for campaign in RULES.campaigns]
REPORT = "activation/segment_report"
# Views that read the facts, the whole rollup or the whole history at each look.
UNCOUNTED = [
    "silver/rollup_differences", "silver/outdated_months", "silver/facts_by_day", "gold/segment_memberships",
    "silver/objections_at_last_lists",  # filled later, and of no month
]  # fmt: skip
# Filled in the transaction that replaces a month of the history or its candidates for lists, after their own
# materialisation, and observed there; with the rows of a month that was published once.
FILLED_LATER = {
    "gold/segment_publications": 1,
    "gold/segment_restatements": 0,
    "gold/audience_log": len(RULES.campaigns),
}
# Tables that know no months, and so say how many rows they have.
WHOLE = ["gold/customer_segments", "gold/customer_360_profile", "gold/segment_rules", "gold/segment_decisions"]


class Shown:
    """The definitions, and the newest materialisation of every asset and month."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.specs = {spec.key.to_user_string(): spec for spec in build_defs().resolve_all_asset_specs()}

    @cached_property
    def materialized(self) -> dict[str, dict[str | None, Mapping[str, Any]]]:
        found: dict[str, dict[str | None, Mapping[str, Any]]] = {}
        for name, spec in self.specs.items():
            records = self.pipeline.instance.fetch_materializations(spec.key, limit=50, ascending=True).records
            if records:
                found[name] = {
                    record.asset_materialization.partition: record.asset_materialization.metadata
                    for record in records
                    if record.asset_materialization
                }
        return found

    def month(self, name: str, month: date = NEWEST) -> Mapping[str, Any]:
        return self.materialized[name][str(month)]

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with DuckDBWarehouse(path=str(self.pipeline.path)).session(read_only=True) as session:
            return session.rows(sql)


@pytest.fixture(scope="module")
def shown(published_by_job: Published) -> Iterator[Shown]:
    with pytest.MonkeyPatch.context() as patch:
        pipeline = published_by_job.pipeline(patch)
        yield Shown(pipeline)
        pipeline.instance.dispose()


def value(metadata: Mapping[str, Any], key: str) -> Any:
    assert key in metadata, f"no {key} among {sorted(metadata)}"
    return metadata[key].value


def test_every_definition_says_what_it_is_whose_and_where(shown: Shown) -> None:
    assert len(shown.specs) >= 40
    found = shown.rows("select table_schema, table_name from information_schema.tables")
    tables = {(row["table_schema"], row["table_name"]) for row in found}
    for name, spec in shown.specs.items():
        assert re.search(r"\b(One row per|One folder per|One HTML file per)\b", spec.description or ""), (
            f"grain of {name}"
        )
        assert list(spec.owners) == ["team:customer-analytics"], name
        assert spec.group_name and spec.group_name != "default", name
        assert spec.kinds, name
        assert spec.tags["layer"] in ("star_schema", "silver", "gold", "activation"), name
        assert spec.tags["personal_data"] in ("contact-details", "pseudonymous", "none"), name
        references = spec.metadata["dagster/code_references"]
        assert references.code_references, name
        assert all(Path(reference.file_path).is_file() for reference in references.code_references), name
        if not name.startswith("activation/"):
            *_, schema, table = spec.metadata["dagster/table_name"].split(".")
            # No demo has the tables of other systems; the definitions say where a company's would be.
            assert (schema, table) in tables or table in FURTHER, f"{name} is not where it says"


def test_contact_details_are_tagged_where_they_are(shown: Shown) -> None:
    holding = {
        f"{row['table_schema']}/{row['table_name']}"
        for row in shown.rows(
            "select * from information_schema.columns"
            " where column_name in ('email', 'mailbox', 'first_name', 'last_name')"
            " and table_schema in ('silver', 'gold')"
        )
    }
    tagged = {
        name.replace("star_schema/", "gold/")
        for name, spec in shown.specs.items()
        if spec.tags["personal_data"] == "contact-details"
    }
    assert len(holding) > 5
    assert tagged == holding | set(EXPORTS) | {"gold/contact_history"}


def test_every_column_of_every_table_has_a_type_and_a_meaning(shown: Shown) -> None:
    for name, spec in shown.specs.items():
        if name == REPORT:
            continue
        external = name.startswith("star_schema/")
        schema = spec.metadata[SCHEMA] if external else next(iter(shown.materialized[name].values()))[SCHEMA].value
        assert schema.columns, name
        for column in schema.columns:
            assert column.description, f"{name}.{column.name} has no description"
            assert column.type not in ("", "?") and "character varying" not in column.type, f"{name}.{column.name}"
        if name in shown.materialized and not name.startswith("activation/"):
            table_schema, table = name.split("/")
            columns = shown.rows(
                "select column_name from information_schema.columns"
                f" where table_schema = '{table_schema}' and table_name = '{table}' order by ordinal_position"
            )
            assert [column.name for column in schema.columns] == [row["column_name"] for row in columns], name


def test_every_metric_leads_back_to_the_star_schema(shown: Shown) -> None:
    """Column by column, through every table on the way."""

    def roots(name: str, column: str, seen: frozenset[tuple[str, str]] = frozenset()) -> set[str]:
        if name.startswith("star_schema/"):
            return {f"{name}.{column}"}
        if (name, column) in seen:
            return set()
        metadata = next(iter(shown.materialized[name].values()))
        deps = metadata[LINEAGE].value.deps_by_column.get(column, []) if LINEAGE in metadata else []
        return set().union(
            *(roots(dep.asset_key.to_user_string(), dep.column_name, seen | {(name, column)}) for dep in deps)
        )

    facts, customers = "star_schema/fct_transactions.", "star_schema/dim_customer."
    for name in ("gold/customer_segments", "gold/customer_360_profile", "gold/segment_summary", "gold/hero_metrics"):
        metadata = next(iter(shown.materialized[name].values()))
        assert set(metadata[LINEAGE].value.deps_by_column) <= {column.name for column in metadata[SCHEMA].value.columns}
    assert f"{facts}transaction_amount" in roots("gold/customer_segments", "lifetime_value")
    assert f"{facts}transaction_amount" in roots("gold/customer_segments", "spend_change_pct")
    assert "star_schema/dim_merchant_category.category_name" in roots("gold/customer_segments", "travel_spend_pct")
    assert roots("gold/customer_segments", "customer_id") == {f"{customers}customer_id"}
    assert f"{facts}transaction_amount" in roots("gold/segment_summary", "total_lifetime_value")
    assert f"{customers}email" in roots("activation/export_premium_rewards", "email")
    assert f"{facts}transaction_amount" in roots("gold/campaign_outcomes", "spend_difference")


def test_rows_are_those_of_the_month(shown: Shown) -> None:
    monthly = [name for name, months in shown.materialized.items() if set(months) != {None} and name not in WHOLE]
    assert len(monthly) > 25
    elsewhere = [*EXPORTS, REPORT, "gold/campaign_outcomes", *UNCOUNTED, *FILLED_LATER]
    for name in UNCOUNTED:
        assert "dagster/row_count" not in shown.month(name, MONTHS[0]), name
    counted = [name for name in monthly if name not in elsewhere]
    for name in counted:
        assert set(shown.materialized[name]) == {str(month) for month in MONTHS}, name
        column = "period_start" if name == "silver/customer_period_spend" else "snapshot_month"
        for month in MONTHS:
            (row,) = shown.rows(
                f"select count(*) as n from {name.replace('/', '.')} where date_trunc('month', {column}) = '{month}'"
            )
            assert value(shown.month(name, month), "dagster/row_count") == row["n"], f"{name} of {month}"
    history = [value(shown.month("gold/customer_segment_history", month), "dagster/row_count") for month in MONTHS]
    assert history == sorted(set(history)), "the portfolio grows, so each month has a size of its own"
    for name in WHOLE:
        (row,) = shown.rows(f"select count(*) as n from {name.replace('/', '.')}")
        assert value(shown.month(name), "dagster/row_count") == row["n"], name


def test_the_log_is_counted_when_it_is_written(shown: Shown) -> None:
    for name, rows in FILLED_LATER.items():
        records = shown.pipeline.instance.fetch_observations(shown.specs[name].key, limit=10).records
        observed = [record.asset_observation for record in records if record.asset_observation]
        found = {event.partition: value(event.metadata, "dagster/row_count") for event in observed}
        for month in MONTHS:
            (row,) = shown.rows(f"select count(*) as n from {name.replace('/', '.')} where snapshot_month = '{month}'")
            assert found[str(month)] == row["n"], f"{name} of {month}"
            assert row["n"] == rows
            assert "dagster/row_count" not in shown.month(name, month)


def test_every_materialisation_says_how_long_it_took(shown: Shown) -> None:
    assert set(shown.specs) - set(shown.materialized) == {
        name for name in shown.specs if name.startswith("star_schema/")
    }, "the star schema of this run is external"
    for name, months in shown.materialized.items():
        for month, metadata in months.items():
            assert value(metadata, "Execution Duration") >= 0, f"{name} of {month}"


@pytest.mark.parametrize(
    "name", ["silver/segment_assignments", "gold/customer_segment_history", "gold/segment_summary"]
)
def test_counts_shares_and_spend_are_those_of_the_month(shown: Shown, name: str) -> None:
    for month in MONTHS:
        metadata = shown.month(name, month)
        segments = shown.rows(
            "select customer_segment, count(*) as customers, 100.0 * count(*) / sum(count(*)) over () as share_pct,"
            " sum(sum(spend_last_90_days)) over () as spend"
            f" from gold.customer_segment_history where snapshot_month = '{month}' group by customer_segment"
        )
        assert len(segments) == 5
        assert value(metadata, "customers") == sum(row["customers"] for row in segments)
        assert value(metadata, "spend_last_90_days") == pytest.approx(float(segments[0]["spend"]))
        for row in segments:
            assert value(metadata, f"customers: {row['customer_segment']}") == row["customers"]
            assert value(metadata, f"share_pct: {row['customer_segment']}") == pytest.approx(row["share_pct"], abs=1e-4)
        if name != "gold/customer_segment_history":
            picture = str(value(metadata, "shares_against_bands"))
            assert re.fullmatch(r"!\[shares\]\(data:image/png;base64,iVBOR[\w+/=]{5000,200000}\)", picture)
    pictures = {str(value(shown.month("gold/segment_summary", month), "shares_against_bands")) for month in MONTHS}
    assert len(pictures) == len(MONTHS)


def test_the_numbers_a_model_names_are_the_tables_own(shown: Shown) -> None:
    for month in MONTHS:
        (hero,) = shown.rows(
            f"select * from gold.hero_metrics where snapshot_month = '{month}' and customer_segment = 'All customers'"
        )
        metadata = shown.month("gold/hero_metrics", month)
        for column in ("customers", "active_customers", "spend_last_90_days", "avg_lifetime_value"):
            assert value(metadata, column) == pytest.approx(float(hero[column])), column
        if month == MONTHS[0]:
            assert "churned_customers" not in metadata, "a month without one before it has no change to draw"
        else:
            assert value(metadata, "new_customers") == hero["new_customers"] > 0
        (spend,) = shown.rows(
            "select sum(spend) as spend, sum(transaction_count) as n from silver.customer_period_spend"
            f" where date_trunc('month', period_start) = '{month}'"
        )
        metadata = shown.month("silver/customer_period_spend", month)
        assert value(metadata, "spend") == pytest.approx(float(spend["spend"]))
        assert value(metadata, "transactions") == spend["n"]
        (moved,) = shown.rows(
            "select coalesce(sum(customers), 0) as n from gold.segment_transitions"
            f" where snapshot_month = '{month}' and from_segment <> to_segment"
        )
        if month != MONTHS[0]:
            assert value(shown.month("gold/segment_transitions", month), "customers_who_moved") == moved["n"] > 0


def test_views_of_the_facts_count_the_months_of_the_run(shown: Shown) -> None:
    (metadata,) = shown.materialized["silver/stg_transactions"].values()
    (row,) = shown.rows(
        "select count(*) as n from silver.stg_transactions"
        f" where transaction_date >= '{MONTHS[0]}' and transaction_date < '2026-11-01'"
    )
    assert value(metadata, "months_of_the_run") == f"{MONTHS[0]} to {NEWEST}"
    assert value(metadata, "rows_of_these_months") == row["n"] > 0
    (metadata,) = shown.materialized["silver/stg_customers"].values()
    (row,) = shown.rows("select count(*) as n from gold.dim_customer")
    assert value(metadata, "dagster/row_count") == row["n"]


@pytest.mark.parametrize("campaign", RULES.campaigns, ids=lambda campaign: campaign.name)
def test_an_audience_shows_objective_actions_size_and_waterfall(shown: Shown, campaign: Any) -> None:
    name = f"gold/audience_{campaign.name}"
    spec = shown.specs[name]
    assert spec.metadata["objective"] == campaign.objective and campaign.objective in spec.description
    assert campaign.actions and all(action in spec.description for action in campaign.actions)
    for month in MONTHS:
        steps = {
            row["step"]: row["customers"]
            for row in shown.rows(
                "select step, customers from gold.audience_waterfall"
                f" where campaign = '{campaign.name}' and snapshot_month = '{month}' order by step_number"
            )
        }
        assert tuple(steps) == asset_numbers.WATERFALL
        metadata = shown.month(name, month)
        table = metadata["waterfall"]
        assert {record.data["step"]: record.data["customers"] for record in table.records} == steps
        assert (
            sum(record.data["left_out"] or 0 for record in table.records) == steps["in_segment"] - steps["within_cap"]
        )
        assert value(metadata, "sent") == steps["sent"] > 0
        assert value(metadata, "holdout") == steps["holdout"]
        export = shown.month(f"activation/export_{campaign.name}", month)
        assert value(export, "dagster/row_count") == steps["sent"]


def test_outcomes_carry_the_audience_months_that_fell_due(shown: Shown) -> None:
    """No audience month before these was published, so none of their windows has closed."""
    for month in MONTHS:
        assert value(shown.month("gold/campaign_outcomes", month), "dagster/row_count") == 0


def test_nothing_personal_is_shown(shown: Shown) -> None:
    told = json.dumps(
        [
            dg.serialize_value(metadata)
            for months in shown.materialized.values()
            for month in months.values()
            for metadata in month.values()
        ]
        + [str(spec.description) for spec in shown.specs.values()]
    )
    people = shown.rows("select customer_id, email, last_name from gold.dim_customer")
    assert len(people) > 500
    assert not [row for row in people if row["customer_id"] in told or (row["email"] and row["email"] in told)]
    assert not re.search(r"[\w.+-]+@[\w-]+\.\w+", told)


def test_a_run_of_one_month_says_the_same_as_a_range(shown: Shown) -> None:
    before = shown.month("gold/segment_summary"), shown.month("gold/hero_metrics")
    run = shown.pipeline.run(NEWEST, select=["gold/segment_summary", "gold/hero_metrics"])
    assert run.success
    again = {
        event.asset_key.to_user_string(): event.materialization.metadata
        for event in run.get_asset_materialization_events()
        if event.asset_key
    }
    moments = {"Execution Duration", "invocation_id", "recalculation_seconds"}
    for found, expected in zip((again["gold/segment_summary"], again["gold/hero_metrics"]), before, strict=True):
        assert {key: found[key] for key in found if key not in moments} == {
            key: expected[key] for key in expected if key not in moments
        }
