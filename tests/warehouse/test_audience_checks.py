"""Every check on every audience fails when its fault is in the published table, and at no other time.

Locks out: a check that no longer looks (renamed, limited to the wrong months, lost from one of the five), one that
warns where it has to stop the run, and an address in what a failed check keeps or says.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from segmentation_assets.assets.stages import dbt_asset_definitions
from segmentation_assets.dbt.project import Project, project_dir
from segmentation_assets.rules.load import load_rules
from tests.support.published_months import NOVEMBER, OCTOBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline

RULES = load_rules(project_dir())

CAMPAIGNS = [campaign.name for campaign in RULES.campaigns]
CHECKS = {
    "audience_members_meet_the_rules": "error",
    "audience_ranks_run_from_one": "error",
    "audience_ranks_follow_the_rules": "error",
    "audience_is_within_its_cap": "error",
    "audience_addresses_are_deliverable": "error",
    "audience_addresses_are_unique": "error",
    "audience_holds_nobody_suppressed": "error",
    "audience_holdout_follows_the_hash": "error",
    "unique_combination_of_columns": "error",
    "audience_is_not_empty": "warn",
    "audience_size_is_near_last_months": "warn",
}
ALL_OF_THEM = "path:models/audiences,test_type:generic"


@dataclass(frozen=True)
class Fault:
    """SQL on one audience, called {list}, of {month}; {row} is a row's rank in it, NULL in any other month.

    Where there are several ways to go wrong, the five audiences take turns.
    """

    check: str
    ways: tuple[tuple[str, ...], ...]
    failures: int = 1  # rows the check finds in each audience


OTHER_SEGMENT = """(
    select min(history.customer_id) from gold.customer_segment_history as history
    where history.snapshot_month = '{month}' and history.customer_segment <> '{segment}'
)"""
MISSES_CRITERIA = """(
    select min(customer_id) from gold.audience_exclusions
    where campaign = '{campaign}' and snapshot_month = '{month}' and reason = 'misses_criteria'
)"""
# As many copies of the first row as are missing to one more than {bound}.
FILLED_ABOVE = """
    insert into {list} select list.* replace ('other ' || i as customer_id, i as audience_rank, i || email as email)
    from {list} as list, range((select count({row}) from {list}) + 1, BOUND + 2) as numbers (i)
    where {row} = 1
"""
FAULTS = {
    "members of another segment, without a criterion, unknown": Fault(
        "audience_members_meet_the_rules",
        (
            (
                f"update {{list}} set customer_id = {OTHER_SEGMENT} where {{row}} = 1",
                # Who shops for every day needs to meet nothing but the segment.
                f"update {{list}} set customer_id = coalesce({MISSES_CRITERIA}, 'x') where {{row}} = 2",
                "update {list} set customer_id = 'nobody' where {row} = 3",
            ),
        ),
        failures=3,
    ),
    "a gap in the ranks, a rank given twice, ranks from nought": Fault(
        "audience_ranks_run_from_one",
        (
            ("update {list} set audience_rank = audience_rank + 1 where {row} >= 3",),
            ("update {list} set audience_rank = 2 where {row} = 3",),
            ("update {list} set audience_rank = audience_rank - 1 where {row} > 0",),
        ),
    ),
    "the best not first": Fault(
        "audience_ranks_follow_the_rules",
        (("update {list} set audience_rank = 3 - audience_rank where {row} <= 2",),),
        failures=2,
    ),
    "one more than the cap": Fault("audience_is_within_its_cap", ((FILLED_ABOVE.replace("BOUND", "{cap}"),),)),
    "addresses without domain, of nothing, with a blank, two in one": Fault(
        "audience_addresses_are_deliverable",
        (
            (
                "update {list} set email = 'ada@' where {row} = 1",
                "update {list} set email = '' where {row} = 2",
                "update {list} set email = email || ' ' where {row} = 3",
                "update {list} set email = email || ',' || email where {row} = 4",
            ),
        ),
        failures=4,
    ),
    "two at one address, in capitals": Fault(
        "audience_addresses_are_unique",
        (("update {list} set email = (select upper(email) from {list} where {row} = 1) where {row} = 2",),),
        failures=2,
    ),
    "somebody suppressed, and somebody at the address of another who is": Fault(
        "audience_holds_nobody_suppressed",
        (
            (
                "insert into gold.marketing_suppressions (customer_id) values ('objector {campaign}')",
                # Keys 0 and -1 are nobody's.
                "insert into gold.dim_customer by name (select * replace (-10 - {number} as customer_key,"
                " 'objector {campaign}' as customer_id, ' Objector.{number}@Example.com ' as email)"
                " from gold.dim_customer limit 1)",
                "update {list} set email = 'objector.{number}@example.com' where {row} = 1",
                "update {list} set customer_id = 'objector {campaign}' where {row} = 2",
            ),
        ),
        failures=2,
    ),
    "somebody on the other side, and a third group": Fault(
        "audience_holdout_follows_the_hash",
        (
            (
                "update {list} set treatment_group = if(treatment_group = 'target', 'holdout', 'target')"
                " where {row} = 1",
                "update {list} set treatment_group = 'control' where {row} = 2",
            ),
        ),
        failures=2,
    ),
    "somebody listed twice": Fault(
        "unique_combination_of_columns", (("insert into {list} select * from {list} where {row} = 1",),)
    ),
    "nobody": Fault("audience_is_not_empty", (("delete from {list} where {row} > 0",),)),
    "more than half as many again, less than half, nobody": Fault(
        "audience_size_is_near_last_months",
        (
            ("delete from {list} where {row} > {before}", FILLED_ABOVE.replace("BOUND", "({before} * 3 // 2)")),
            ("delete from {list} where {row} > ({before} + 1) // 2 - 1",),
            ("delete from {list} where {row} > 0",),
        ),
    ),
}


def plant(pipeline: Pipeline, fault: Fault, month: date = NOVEMBER) -> None:
    with pipeline.connection() as connection:
        for number, campaign in enumerate(RULES.campaigns):
            audience = f"gold.audience_{campaign.name}"
            before = connection.execute(f"from {audience}").fetchall()
            for statement in fault.ways[number % len(fault.ways)]:
                connection.execute(
                    statement.format(
                        list=audience,
                        row=f"case when snapshot_month = '{month}' then audience_rank end",
                        month=month,
                        campaign=campaign.name,
                        segment=campaign.segment,
                        number=number,
                        cap=campaign.cap,
                        before=len([row for row in before if row[0] == OCTOBER]),
                    )
                )
            assert connection.execute(f"from {audience}").fetchall() != before


def verdicts(pipeline: Pipeline, select: str) -> tuple[dict[tuple[str, str], tuple[str, int]], list[str], bool]:
    """Of `dbt test`: (check, campaign) -> (pass, warn or fail, rows found); what it said; whether it succeeded."""
    succeeded, said = pipeline.dbt(NOVEMBER, select=select, command="test", artifacts=True)
    results = json.loads((pipeline.path.parent / "dbt" / "run_results.json").read_text())["results"]
    found = {}
    for result in results:
        name = result["unique_id"].split(".")[2]
        for campaign in CAMPAIGNS:
            check, _, rest = name.partition(f"_audience_{campaign}_")
            if check in CHECKS and (rest or name.endswith(f"_audience_{campaign}_")):
                found[check, campaign] = (result["status"], result["failures"])
    return found, said, succeeded


@pytest.fixture
def made(audiences_file: Path, tmp_path: Path) -> Iterator[Pipeline]:
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", audiences_file) as pipeline:
        yield pipeline


def test_every_audience_has_every_check(made: Pipeline) -> None:
    del made  # the project is compiled for its file
    project = Project.load()
    (audiences,) = [one for one in dbt_asset_definitions(project) if one.op.name == "audiences"]
    nodes = json.loads(project.manifest_path.read_text())["nodes"].values()
    severities = {node["name"]: node["config"]["severity"].lower() for node in nodes if node["resource_type"] == "test"}
    for campaign in CAMPAIGNS:
        key = dg.AssetKey(["gold", f"audience_{campaign}"])
        specs = [spec for spec in audiences.check_specs if spec.asset_key == key]
        found = {spec.name.partition(f"_audience_{campaign}")[0]: severities[spec.name] for spec in specs}
        assert found == CHECKS
        assert {spec.blocking for spec in specs} == {True, False}
        for spec in specs:
            assert spec.blocking == (severities[spec.name] == "error")


def test_what_was_published_passes(made: Pipeline) -> None:
    found, _, succeeded = verdicts(made, ALL_OF_THEM)
    assert succeeded
    assert set(found) == {(check, campaign) for check in CHECKS for campaign in CAMPAIGNS}
    for (check, campaign), verdict in found.items():
        sizes = dict(made.rows(f"select snapshot_month, count(*) from gold.audience_{campaign} group by 1"))
        near = abs(sizes[NOVEMBER] - sizes[OCTOBER]) <= sizes[OCTOBER] / 2
        expected = ("pass", 0) if near or check != "audience_size_is_near_last_months" else ("warn", 1)
        assert verdict == expected, (check, campaign)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fails_its_check_in_every_audience(made: Pipeline, name: str) -> None:
    fault = FAULTS[name]
    plant(made, fault)
    found, said, succeeded = verdicts(made, f"test_name:{fault.check},path:models/audiences")
    severity = CHECKS[fault.check]
    assert succeeded == (severity == "warn")
    assert {key for key in found if key[0] == fault.check} == {(fault.check, campaign) for campaign in CAMPAIGNS}
    for campaign in CAMPAIGNS:
        status, failures = found[fault.check, campaign]
        assert status == ("warn" if severity == "warn" else "fail"), campaign
        assert failures == fault.failures, campaign
    # What a failing check keeps and says names customers, never an address.
    assert "@" not in "\n".join(said)
    for (table,) in made.rows("select table_name from duckdb_tables() where schema_name = 'test_failures'"):
        assert not [row for row in made.rows(f'from test_failures."{table}"') if "@" in str(row)], table


def test_a_size_of_exactly_half_or_half_as_many_again_is_near(made: Pipeline) -> None:
    for change in ("< 1.5", "<= 0.5"):
        for campaign in CAMPAIGNS:
            audience = f"gold.audience_{campaign}"
            even = f"(select count(*) // 2 * 2 from {audience} where snapshot_month = '{OCTOBER}')"
            made.execute(f"delete from {audience} where snapshot_month = '{OCTOBER}' and audience_rank > {even}")
            made.execute(f"delete from {audience} where snapshot_month = '{NOVEMBER}'")
            made.execute(
                f"insert into {audience} select list.* replace (date '{NOVEMBER}' as snapshot_month,"
                f" half * {even} // 2 + audience_rank as audience_rank, half || customer_id as customer_id)"
                f" from {audience} as list, range(3) as halves (half) where snapshot_month = '{OCTOBER}'"
                f" and audience_rank <= {even} // 2 and half {change}"
            )
        found, _, _ = verdicts(made, "test_name:audience_size_is_near_last_months")
        assert set(found.values()) == {("pass", 0)}, change


def test_a_fault_in_another_month_is_that_months(made: Pipeline) -> None:
    faults = [fault for name, fault in FAULTS.items() if name.startswith(("members", "a gap", "addresses"))]
    for fault in faults:
        plant(made, fault, OCTOBER)
    found, _, _ = verdicts(made, " ".join(f"test_name:{fault.check}" for fault in faults))
    assert len(found) == len(faults) * len(CAMPAIGNS)
    assert set(found.values()) == {("pass", 0)}


@pytest.mark.parametrize("test", ["audience_waterfall_adds_up", "audience_everyone_is_in_the_list_or_excluded_once"])
def test_a_member_lost_from_a_list_shows_in_the_waterfall(made: Pipeline, test: str) -> None:
    succeeded, said = made.dbt(NOVEMBER, select=test, command="test")
    assert succeeded, said
    made.execute(
        f"delete from gold.audience_churn_prevention where snapshot_month = '{NOVEMBER}' and audience_rank = 1"
    )
    succeeded, _ = made.dbt(NOVEMBER, select=test, command="test")
    assert not succeeded
