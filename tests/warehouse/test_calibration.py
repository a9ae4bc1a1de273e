"""Calibration before the first publication: months nobody published, their shares, and the bounds that are proposed.

Locks out: a what-if that needs a published month, or leaves something behind; shares that are not those a publication
then has; a bound that does not give the share it names, or is not the nearest to the middle that its criterion allows;
an expected share that has to be guessed before anything can be computed.
"""

import copy
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from segmentation_assets.cli import commands
from segmentation_assets.dbt.project import Project
from segmentation_assets.months import MonthRange
from segmentation_assets.publication.published import NotPublishedError
from segmentation_assets.rules.load import Criterion
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from segmentation_assets.what_if import compute as what_if
from segmentation_assets.what_if import tables
from segmentation_assets.what_if.calibration import Calibrated, Calibration, calibrate
from tests.support.published_months import CANDIDATE_AND_PUBLISHED, NO_TESTS, NOVEMBER, OCTOBER, SEPTEMBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline
from tests.warehouse.test_what_if import everything

JUNE = SEPTEMBER.replace(month=6)
SOURCE = ("fct_transactions", "dim_customer", "dim_merchant_category", "dim_date", "marketing_suppressions")
# Under the shipped rules every share is in its band. Under these hardly anybody travels, and nobody declines, whichever
# one of the two bounds is moved.
CHANGES = (
    "High-Value Travelers.avg_monthly_spend=15000,Declining.spend_change_pct=-85,Declining.spend_prior_90_days=30000,"
    "Budget-Conscious.avg_monthly_spend.below=700"
)


@pytest.fixture(scope="module")
def unpublished(published_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The source of the published months and nothing else: no table or view of ours was ever made."""
    with pipeline_at(tmp_path_factory.mktemp("calibration") / "segmentation.duckdb") as pipeline:
        with pipeline.connection() as connection:
            connection.execute(f"attach '{published_file}' as theirs (read_only)")
            connection.execute("create schema gold")
            for table in SOURCE:
                connection.execute(f"create table gold.{table} as select * from theirs.gold.{table}")
        yield pipeline


@pytest.fixture(scope="module")
def rules_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped segments, the growing ones without a band."""
    segments = copy.deepcopy(Project.load().rules.raw["segments"])
    del segments[2]["expected_share_pct"]
    file = tmp_path_factory.mktemp("rules") / "rules.yml"
    file.write_text(yaml.safe_dump({"segments": segments}), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def calibration(unpublished: Pipeline, rules_file: Path) -> Calibration:
    return calibrate(Project.load(), DuckDBWarehouse(path=str(unpublished.path)), CHANGES, str(rules_file))


@pytest.fixture(scope="module")
def metrics(published_file: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Every customer and month of June to November, published in a copy: the metrics do not depend on the bounds."""
    with pipeline_at(tmp_path_factory.mktemp("metrics") / "segmentation.duckdb", published_file) as pipeline:
        models = "path:models/staging path:models/metrics segment_assignments"
        succeeded, said = pipeline.dbt(JUNE, NOVEMBER, select=models, arguments=NO_TESTS)
        assert succeeded, said
        frame = pipeline.frame("select * from silver.segment_assignments")
    frame["month"] = pd.to_datetime(frame["snapshot_month"]).dt.date
    return frame


def meets(frame: pd.DataFrame, criterion: Criterion, bound: float | None = None) -> pd.Series:
    """A NULL compares as false in pandas, too."""
    value = frame[criterion.metric].astype(float)
    wanted = float(criterion.bound) if bound is None else bound
    return {
        "at_least": value >= wanted, "above": value > wanted, "at_most": value <= wanted, "below": value < wanted,
    }[criterion.operator]  # fmt: skip


def members(
    calibration: Calibration, one: Calibrated, frame: pd.DataFrame, moved: Criterion | None = None, bound: float = 0
) -> pd.Series:
    """Whom the segment takes, with one of its criteria moved or as it is."""
    untaken = pd.Series(True, index=frame.index)
    for earlier in calibration.segments[: calibration.segments.index(one)]:
        taken = pd.Series(True, index=frame.index)
        for criterion in earlier.segment.criteria:
            taken &= meets(frame, criterion)
        untaken &= ~taken
    for criterion in one.segment.criteria:
        untaken &= meets(frame, criterion, bound if criterion is moved else None)
    return untaken


def test_months_that_nobody_published_have_the_shares_that_publication_gives(
    unpublished: Pipeline, published_file: Path
) -> None:
    there = everything(unpublished.path)
    months = what_if.compute(Project.load(), DuckDBWarehouse(path=str(unpublished.path)), "", "", "2025-09", "2025-11")
    assert everything(unpublished.path) == there
    assert [month.month for month in months] == [SEPTEMBER, OCTOBER, NOVEMBER]
    with pipeline_at(published_file.parent / published_file.name) as published:
        found = published.frame(
            "select snapshot_month, customer_segment, count(*) as n from gold.customer_segment_history group by 1, 2"
        )
        audited = published.rows(
            "select snapshot_month, audit, customer_segment, measured from silver.segment_audits where not passed"
            " and audit not in ('segment_mix_is_stable', 'no_segment_moved_far') order by all"
        )
    published_sizes = {(row.snapshot_month.date(), row.customer_segment): row.n for row in found.itertuples()}
    assert {
        (month.month, one.name): one.after for month in months for one in month.segments if one.after
    } == published_sizes
    assert sorted(
        (row["snapshot_month"], row["audit"], row["customer_segment"], row["measured"])
        for month in months
        for row in month.failures
        if row["audit"] not in ("segment_mix_is_stable", "no_segment_moved_far")
    ) == sorted(audited)
    for month in months:
        assert not month.is_published and not month.moves and not month.other_rules
        assert {one.before for one in month.segments} == {None}
        assert all(one.sent_after and one.sent_before is None for one in month.audiences)
    told = "\n".join(tables.notes(months[0]))
    assert "2025-09-01 is not published, so there is nothing to compare with" in told
    assert "The month is not published yet." in tables.markdown(months, "migrations")


def test_an_unpublished_month_beside_published_ones_is_computed_and_they_are_compared(
    audiences_file: Path, tmp_path: Path
) -> None:
    """August lies before the first publication; the rollup has its facts already."""
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", audiences_file) as pipeline:
        there = everything(pipeline.path)
        warehouse = DuckDBWarehouse(path=str(pipeline.path))
        changes = "Declining.spend_change_pct=-10"
        august, september = what_if.compute(Project.load(), warehouse, changes, "", "2025-08", "2025-09")
        assert everything(pipeline.path) == there
    assert (august.is_published, september.is_published) == (False, True)
    assert not august.moves and september.moved > 0
    assert {one.sent_before for one in august.audiences} == {None}
    assert all(one.sent_after for one in august.audiences)


def test_the_shares_are_those_of_the_last_closed_months_that_the_facts_can_measure(
    calibration: Calibration, metrics: pd.DataFrame
) -> None:
    """From January to November there are facts, and 180 days before the end from June on."""
    assert calibration.months == MonthRange(JUNE, NOVEMBER)
    assert calibration.customers == metrics.groupby("month").size().to_dict()
    for one in calibration.segments:
        if one.segment.criteria:
            taken = metrics[members(calibration, one, metrics)].groupby("month").size()
            assert one.members == {month: taken.get(month, 0) for month in calibration.months}
    assert sum(sum(one.members.values()) for one in calibration.segments) == len(metrics)


def test_each_bound_is_the_nearest_that_its_criterion_allows_and_gives_what_it_says(
    calibration: Calibration, metrics: pd.DataFrame
) -> None:
    looked_at = 0
    for one in calibration.segments:
        band = one.segment.expected_share_pct
        if not band:
            assert one.bounds == ()
            continue
        target = sum(band) / 200 * len(metrics)
        for bound in one.bounds:
            taken = metrics[members(calibration, one, metrics, bound.criterion, float(bound.bound))]
            assert taken.groupby("month").size().to_dict() == {m: n for m, n in bound.members.items() if n}
            # Every other place where the criterion could cut.
            upwards = bound.criterion.operator in ("at_most", "below")
            anybody = float("inf") if upwards else float("-inf")
            pool = metrics[members(calibration, one, metrics, bound.criterion, anybody)]
            sizes = pool[bound.criterion.metric].astype(float).value_counts().sort_index(ascending=upwards).cumsum()
            assert abs(len(taken) - target) == (sizes - target).abs().min()
            looked_at += 1
        assert sorted(b.criterion.metric for b in one.bounds) == sorted(c.metric for c in one.segment.criteria)
    assert looked_at == 6


def test_what_is_proposed_is_what_the_changed_rules_give(
    calibration: Calibration, unpublished: Pipeline, rules_file: Path
) -> None:
    """By the dbt models under the change as it is printed, and not by the query that found it."""
    for name in ("High-Value Travelers", "Budget-Conscious"):
        (one,) = [one for one in calibration.segments if one.segment.name == name]
        proposed = calibration.reached(one)
        assert proposed is not None and not calibration.is_in_the_middle(one)
        again = calibrate(
            Project.load(), DuckDBWarehouse(path=str(unpublished.path)), f"{CHANGES},{proposed.change(name)}",
            str(rules_file), "2025-06", "2025-11",
        )  # fmt: skip
        (changed,) = [one for one in again.segments if one.segment.name == name]
        assert changed.members == proposed.members
        low, high = one.segment.expected_share_pct or (0, 0)
        assert low <= again.share(changed.members) <= high


def test_what_is_told_names_the_criterion_the_values_and_the_share(calibration: Calibration) -> None:
    told = dict(line.split(": ", 1) for line in tables.bounds(calibration))
    assert list(told) == ["High-Value Travelers", "Declining", "Budget-Conscious", "Stable Mid-Spenders"]
    travelers = calibration.segments[0]
    bound = calibration.reached(travelers)
    assert bound is not None
    assert told["High-Value Travelers"].startswith(
        f"{bound.criterion.metric} {bound.criterion.operator} from {bound.criterion.bound} to "
    )
    assert f"gives {calibration.share(bound.members):.1f}%" in told["High-Value Travelers"]
    assert told["High-Value Travelers"].endswith(
        f'the middle of 10-15% is 12.5%. SET="{bound.change("High-Value Travelers")}"'
    )
    assert "not within its band, and no single bound brings it to the middle. The nearest, " in told["Declining"]
    assert "takes who is left, so no bound of its own moves it" in told["Stable Mid-Spenders"]
    (table,) = tables.shares(calibration)
    assert [row[0] for row in table.rows] == ["2025-06", "2025-07", "2025-08", "2025-09", "2025-10", "2025-11",
                                              "together", "expected"]  # fmt: skip
    assert table.rows[-1] == ["expected", "10-15%", "5-10%", "-", "20-25%", "40-50%"]


def test_without_any_band_the_command_shows_the_shares_alone(
    unpublished: Pipeline, rules_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    segments = yaml.safe_load(rules_file.read_text(encoding="utf-8"))["segments"]
    for segment in segments:
        segment.pop("expected_share_pct", None)
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"segments": segments}), encoding="utf-8")
    there = everything(unpublished.path)
    assert commands.main(["what-if", "--calibrate", "--rules", str(file), "--month", "2025-11"]) == 0
    assert everything(unpublished.path) == there
    shown = capfd.readouterr().out
    assert "Shares under these rules, 2025-11-01" in shown
    assert "No segment has an expected_share_pct, so there is no band to bring it to." in shown
    assert "expected  " not in shown and "SET=" not in shown
    assert "@" not in shown


def test_what_cannot_be_calibrated_is_told_in_a_line(unpublished: Pipeline, capfd: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["what-if", "--calibrate", "--month", "2025-12"]) == 2
    told = capfd.readouterr().err
    assert "Month 2025-12-01 is not published, nor a closed month whose facts are all there" in told
    assert commands.main(["what-if", "--calibrate", "--set", "Declning.spend_change_pct=1"]) == 2
    assert "'Declning' is no known segment or campaign; did you mean 'Declining'?" in capfd.readouterr().err
    with pytest.raises(NotPublishedError, match="not published, nor a closed month"):
        what_if.compute(Project.load(), DuckDBWarehouse(path=str(unpublished.path)), "", "", "2024-12", "2025-01")


def test_a_month_without_bands_is_published_and_warns_of_none(published_file: Path, tmp_path: Path) -> None:
    """One segment keeps a band, which is measured as before."""
    segments = copy.deepcopy(Project.load().rules.raw["segments"])
    for segment in segments[1:]:
        del segment["expected_share_pct"]
    segments[0]["expected_share_pct"] = [90, 95]
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", published_file) as pipeline:
        succeeded, said = pipeline.dbt(
            NOVEMBER, select=CANDIDATE_AND_PUBLISHED, variables={"segments": segments}, arguments=NO_TESTS
        )
        assert succeeded, said
        judged = pipeline.rows(
            "select customer_segment, lower_bound, upper_bound, passed from silver.segment_audits"
            f" where snapshot_month = '{NOVEMBER}' and audit = 'share_is_within_the_expected_band'"
        )
        assert judged == [("High-Value Travelers", 90, 95, False)]
        versions = pipeline.rows(
            "select max(version), max_by(audits_verdict, version) from gold.segment_publications"
            f" where snapshot_month = '{NOVEMBER}'"
        )
        assert versions == [(2, "warned")]  # published, under rules of another hash
        gate = f"select absent_audits, is_blocked from silver.segment_gate where snapshot_month = '{NOVEMBER}'"
        assert pipeline.rows(gate) == [(0, False)]
