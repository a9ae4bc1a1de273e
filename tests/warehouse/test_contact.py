"""Whom a campaign may write to: the mailbox as the unit of contact, and objections that cannot be believed.

Locks out: somebody mailed who objected, as the list of objections was missing, cut short or spelt otherwise; a couple
mailed twice within a cooldown; a held-out mailbox mailed under another customer; a closed account mailed.
"""

import itertools
import random
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from segmentation_assets.assets.exports import export_month
from segmentation_assets.dbt.project import Project
from segmentation_assets.exports.store import ExportStore
from segmentation_assets.privacy import erased
from segmentation_assets.publication import acceptances
from segmentation_assets.publication.objections import ObjectionsError
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.contact_oracle import Contacts, Listed, Version, list_of, mailbox_of
from tests.support.published_months import (
    NO_TESTS,
    NOVEMBER,
    OCTOBER,
    SEPTEMBER,
    pipeline_at,
    refusal,
)
from tests.support.warehouse_fixture import Pipeline, star_of
from tests.warehouse.test_audiences import CAPS, campaigns, contacts_of, ranked

RULES = Project.load().rules
CAMPAIGNS = {campaign.name: campaign for campaign in RULES.campaigns}
MONTHS = (SEPTEMBER, OCTOBER, NOVEMBER)
AUDIENCES = "path:models/audiences"
CHANGES = {name: {"cooldown_months": 1, "holdout_pct": 30} for name in CAMPAIGNS}


@pytest.fixture
def made(audiences_file: Path, tmp_path: Path) -> Iterator[Pipeline]:
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", audiences_file) as pipeline:
        yield pipeline


def build(pipeline: Pipeline, month: date = NOVEMBER, variables: dict[str, object] | None = None) -> list[str]:
    """The lists by plain dbt with the test that says whether they were made; what it said, nothing where they were."""
    singular_tests = ("--exclude", "test_type:generic", "test_type:unit")
    succeeded, said = pipeline.dbt(month, select=AUDIENCES, variables=variables, arguments=singular_tests)
    assert succeeded == (not said), said
    return said


def failed(pipeline: Pipeline, month: date = NOVEMBER) -> dict[str, float]:
    return dict(
        pipeline.rows(
            "select audit, measured from silver.audience_audit_verdicts"
            f" where snapshot_month = '{month}' and is_blocking"
        )
    )


def lists(pipeline: Pipeline, month: date = NOVEMBER) -> dict[str, list[tuple[str, str]]]:
    return {
        name: pipeline.rows(
            f"select customer_id, treatment_group from gold.audience_{name} where snapshot_month = '{month}' order by 1"
        )
        for name in CAMPAIGNS
    }


def accept(pipeline: Pipeline, audit: str, month: date = NOVEMBER) -> str:
    with DuckDBWarehouse(path=str(pipeline.path)).session() as session:
        return acceptances.accept(session, month, audit, None, "Ann", "Asked the owner of the list")


# What happens to the list of objections, which audit says so, and what it measures.
GONE = "alter table gold.marketing_suppressions rename to elsewhere"
FAULTS = {
    "missing": (GONE, {"suppressions_are_there": 1, "suppressions_did_not_shrink": 100}),
    "empty": ("delete from gold.marketing_suppressions", {"suppressions_did_not_shrink": 100}),
    "cut short": (
        "delete from gold.marketing_suppressions where hash(customer_id) % 2 = 0",
        {"suppressions_did_not_shrink": None},
    ),
    "of another system": (
        "update gold.marketing_suppressions set customer_id = 'X' || customer_id",
        {"suppressions_match_customers": 100, "suppressions_did_not_shrink": 100},
    ),
    "in small letters": (
        "update gold.marketing_suppressions set customer_id = lower(customer_id)"
        " where customer_id = (select min(customer_id) from gold.marketing_suppressions)",
        {"suppressions_are_spelt_as_customers": 1, "suppressions_match_customers": None},
    ),
    "one of nobody knows whom": (
        "update gold.marketing_suppressions set customer_id = ' ' where hash(customer_id) % 5 = 0",
        {"suppressions_match_customers": None, "suppressions_did_not_shrink": None},
    ),
    "as many of others": (
        "delete from gold.marketing_suppressions; insert into gold.marketing_suppressions by name"
        " select min(customer_id) as customer_id from silver.objections_at_last_lists;"
        "insert into gold.marketing_suppressions by name select distinct customer_id from silver.stg_customers"
        " where customer_id not in (select customer_id from silver.objections_at_last_lists) order by 1"
        " limit (select count(*) - 1 from silver.objections_at_last_lists)",
        {"suppressions_did_not_shrink": None},
    ),
    "ended on a database's empty date": (
        "alter table gold.marketing_suppressions add column expires_at date;"
        "update gold.marketing_suppressions set expires_at = date '1900-01-01'",
        {"suppressions_did_not_shrink": 100},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_objections_that_cannot_be_believed_stop_lists_and_files_until_accepted(
    made: Pipeline, tmp_path: Path, name: str
) -> None:
    fault, expected = FAULTS[name]
    before, store = lists(made), ExportStore(str(tmp_path / "out"))
    made.execute(fault)

    def export() -> None:
        with DuckDBWarehouse(path=str(made.path)).session(read_only=True) as session:
            export_month(session, store, CAMPAIGNS["core_retention"], NOVEMBER, star_of(session))

    # On the day it is sent, though it was made on a good one.
    with pytest.raises(ObjectionsError) as refused:
        export()
    assert all(audit in str(refused.value) for audit in expected)
    assert "CUST" not in str(refused.value)
    assert not (tmp_path / "out").exists()

    said = build(made)
    assert any("asked_audiences_are_made" in line for line in said)
    found = failed(made)
    assert set(found) == set(expected)
    assert all(measured in (None, found[audit]) for audit, measured in expected.items())
    assert lists(made) == before
    with pytest.raises(ObjectionsError, match="The segments of 2025-11-01 are published"):
        export()

    for audit in expected:
        assert "Accepted by Ann" in accept(made, audit)
    assert build(made) == []
    export()
    assert store.manifest("core_retention", NOVEMBER)
    # The next month compares with what was accepted.
    assert "suppressions_did_not_shrink" not in failed(made)


def test_an_acceptance_of_some_lost_objections_is_of_no_others(made: Pipeline, tmp_path: Path) -> None:
    """Those are put back and as many others lost: neither the lists nor an export go by what was accepted."""
    objectors = "select distinct customer_id from gold.marketing_suppressions order by customer_id"
    ids = [one for (one,) in made.rows(objectors)]
    assert len(ids) > 10
    some, others = (", ".join(f"'{one}'" for one in part) for part in (ids[:4], ids[-4:]))
    made.execute(
        "create table main.whole as from gold.marketing_suppressions;"
        f"delete from gold.marketing_suppressions where customer_id in ({some})"
    )
    assert build(made)
    assert set(failed(made)) == {"suppressions_did_not_shrink"}
    accept(made, "suppressions_did_not_shrink")
    assert failed(made) == {}

    def export() -> None:
        with DuckDBWarehouse(path=str(made.path)).session(read_only=True) as session:
            store = ExportStore(str(tmp_path / "out"))
            export_month(session, store, CAMPAIGNS["core_retention"], NOVEMBER, star_of(session))

    export()
    made.execute(
        "delete from gold.marketing_suppressions; insert into gold.marketing_suppressions"
        f" from main.whole where customer_id not in ({others})"
    )
    with pytest.raises(ObjectionsError, match="suppressions_did_not_shrink"):
        export()
    assert build(made)
    assert set(failed(made)) == {"suppressions_did_not_shrink"}


def test_objections_that_end_after_the_last_lists_are_not_lost(made: Pipeline, tmp_path: Path) -> None:
    made.execute(
        "update silver.objections_at_last_lists set made_at = timestamp '2025-12-03 08:00:00';"
        "alter table gold.marketing_suppressions add column expires_at date;"
        "update gold.marketing_suppressions set expires_at = date '2025-12-04'"
    )
    with DuckDBWarehouse(path=str(made.path)).session(read_only=True) as session:
        store = ExportStore(str(tmp_path / "out"))
        export_month(session, store, CAMPAIGNS["core_retention"], NOVEMBER, star_of(session))
    assert build(made) == []


def test_objections_of_who_was_erased_are_nobodys_by_intent_on_the_day_of_the_export_too(
    made: Pipeline, tmp_path: Path
) -> None:
    objectors = [one for (one,) in made.rows("select distinct customer_id from gold.marketing_suppressions")]
    gone = sorted(objectors)[: len(objectors) // 3]
    with DuckDBWarehouse(path=str(made.path)).session() as session:
        erased.add(session, gone)
    succeeded, said = made.dbt(NOVEMBER, select="stg_customers customer_contacts", arguments=NO_TESTS)
    assert succeeded, said
    assert build(made) == []
    assert made.rows(
        "select max(measured) from silver.audience_audits where audit = 'suppressions_match_customers'"
        f" and snapshot_month = '{NOVEMBER}'"
    ) == [(0,)]
    store = ExportStore(str(tmp_path / "out"))
    with DuckDBWarehouse(path=str(made.path)).session(read_only=True) as session:
        export_month(session, store, CAMPAIGNS["core_retention"], NOVEMBER, star_of(session))
    assert store.manifest("core_retention", NOVEMBER)


def test_a_refused_month_has_its_segments_and_no_lists(published_file: Path, tmp_path: Path) -> None:
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", published_file) as pipeline:
        assert build(pipeline, OCTOBER) == []
        pipeline.execute(GONE)
        result = pipeline.run(NOVEMBER)
        told = refusal(result)
        assert not result.success
        assert told.startswith("The segments of 2025-11-01 are published. The audiences and their files did not follow")
        assert "make accept MONTH=2025-11-01 AUDIT=suppressions_are_there" in told
        assert "suppressions: none" in told
        assert pipeline.rows("select max(snapshot_month) from gold.customer_segments cross join"
                             " gold.segment_publications") == [(NOVEMBER,)]  # fmt: skip
        for table in ("audience_candidates", "audience_waterfall", "audience_core_retention"):
            schema = "silver" if table == "audience_candidates" else "gold"
            assert pipeline.rows(f"select 1 from {schema}.{table} where snapshot_month = '{NOVEMBER}'") == []
        steps = [event.step_key for event in result.all_events if event.event_type_value == "STEP_SUCCESS"]
        assert "segmentation_publication" in steps


def test_who_has_no_list_says_so(published_file: Path, tmp_path: Path) -> None:
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", published_file) as pipeline:
        pipeline.execute(GONE)
        assert build(pipeline)
        assert failed(pipeline) == {"suppressions_are_there": 1}
        assert build(pipeline, variables={"suppressions": "none"}) == []
        assert all(lists(pipeline).values())
        assert pipeline.rows("select distinct suppressions from gold.audience_log") == [(0,)]


def test_the_log_keeps_how_many_objections_each_month_was_made_with(made: Pipeline) -> None:
    ((number,),) = made.rows("select count(distinct customer_id) from gold.marketing_suppressions")
    rows = made.rows(
        "select distinct snapshot_month, suppressions, unmatched_suppressions from gold.audience_log order by 1"
    )
    assert rows == [(month, number, 0) for month in MONTHS]
    for name, listed in lists(made).items():
        sizes = made.rows(
            "select listed, held_out from gold.audience_log"
            f" where campaign = '{name}' and snapshot_month = '{NOVEMBER}'"
        )
        assert sizes == [(len(listed), sum(group == "holdout" for _, group in listed))]


def test_a_cooldown_whose_earlier_lists_are_gone_makes_no_list(made: Pipeline) -> None:
    resting: dict[str, object] = {"campaigns": campaigns(CHANGES)["campaigns"]}
    assert build(made, OCTOBER, resting) == []
    made.execute(f"delete from gold.audience_core_retention where snapshot_month = '{OCTOBER}'")
    assert build(made, NOVEMBER, resting)
    assert failed(made) == {"earlier_lists_are_there": 1}
    assert build(made, NOVEMBER) == []  # without a cooldown, nobody looks back on it
    made.execute("drop table gold.audience_core_retention")
    assert build(made, NOVEMBER)
    assert failed(made) == {"earlier_lists_are_there": 1 + 1}


@pytest.mark.parametrize("blank", ["   ", "\u00a0\r\n\u200b\ufeff\u3000"])
def test_an_objection_holds_whatever_blanks_are_around_its_id_or_address(made: Pipeline, blank: str) -> None:
    (objector, other), *_ = made.rows(
        "select min(customer_id), max(customer_id) from gold.audience_core_retention"
        f" where snapshot_month = '{NOVEMBER}'"
    )
    made.execute(f"update gold.dim_customer set email = 'Shared.{objector}@example.com' where customer_id = '{other}'")
    made.execute(
        f"update gold.dim_customer set email = 'shared.{objector}@example.com{blank}' where customer_id = '{objector}'"
    )
    made.execute(f"insert into gold.marketing_suppressions (customer_id) values ('{blank}{objector}{blank}')")
    assert build(made) == []
    reasons = dict(
        made.rows(
            f"select customer_id, reason from gold.audience_exclusions where snapshot_month = '{NOVEMBER}'"
            f" and customer_id in ('{objector}', '{other}')"
        )
    )
    assert reasons == {objector: "suppressed", other: "suppressed"}


def test_a_closed_account_keeps_its_segment_and_is_not_written_to(made: Pipeline, tmp_path: Path) -> None:
    store = ExportStore(str(tmp_path / "out"))
    target = [one for one, group in lists(made)["core_retention"] if group == "target"]
    closed = target[::3]
    names = ", ".join(f"'{one}'" for one in closed)
    made.execute(
        "update gold.dim_customer set valid_to = '2025-11-03', is_current = false"
        f" where customer_id in ({names}) and valid_to is null"
    )
    with DuckDBWarehouse(path=str(made.path)).session(read_only=True) as session:
        told = export_month(session, store, CAMPAIGNS["core_retention"], NOVEMBER, star_of(session))
    assert (told["left_since"], told["suppressed_since"]) == (len(closed), 0)
    assert told["dagster/row_count"] == len(target) - len(closed)
    assert build(made) == []
    assert not set(closed) & {one for one, _ in lists(made)["core_retention"]}
    assert made.rows(
        f"select distinct reason from gold.audience_exclusions where snapshot_month = '{NOVEMBER}'"
        f" and customer_id in ({names})"
    ) == [("no_customer_now",)]
    assert made.rows(
        f"select count(*) from gold.customer_segment_history where snapshot_month = '{NOVEMBER}'"
        f" and customer_id in ({names})"
    ) == [(len(closed),)]


def test_a_customer_alone_at_one_mailbox_stays_on_their_own_side(made: Pipeline) -> None:
    for name in CAMPAIGNS:
        shared = made.rows(
            f"select count(*) from gold.audience_{name} where holdout_unit <> customer_id and customer_id not in"
            " (select here.customer_id from silver.customer_mailboxes as here"
            " join silver.customer_mailboxes as there on here.mailbox = there.mailbox"
            " where here.customer_id <> there.customer_id)"
        )
        assert shared == [(0,)]
        assert made.rows(f"select count(*) from gold.audience_{name} where holdout_unit = customer_id")[0][0]


def channels_of(month: date) -> dict[str, dict[str, object]]:
    """One campaign calls from the first month on; one changes to letters for a month, and back."""
    changes: dict[str, dict[str, object]] = {name: dict(change) for name, change in CHANGES.items()}
    changes["premium_rewards"]["channel"] = "phone"
    changes["everyday_rewards"]["channel"] = "mail" if month == OCTOBER else "email"
    return changes


@pytest.mark.parametrize("seed", [1, 2])
def test_shared_and_changing_addresses_over_months(published_file: Path, tmp_path: Path, seed: int) -> None:
    """By brute force: every list is the oracle's, no mailbox is on two within a cooldown, and none changes sides."""
    draw = random.Random(seed)
    memory: dict[str, list[Listed]] = {name: [] for name in CAMPAIGNS}
    shared = moved = 0
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", published_file) as pipeline:
        for month in MONTHS:
            members = [
                one
                for (one,) in pipeline.rows("select distinct customer_id from gold.customer_segment_history order by 1")
            ]
            with pipeline.connection() as connection:
                for member in draw.sample(members, 350):
                    # One household in three people: they take turns, move together and apart.
                    address = (
                        f"{draw.choice(('', ' '))}House.{draw.randrange(120)}@Example.com{draw.choice(('', chr(160)))}"
                    )
                    moved += 1
                    if draw.random() < 0.5:  # overwritten
                        connection.execute(
                            "update gold.dim_customer set email = ? where customer_id = ? and is_current",
                            (address, member),
                        )
                        continue
                    connection.execute(  # a version of its own
                        "insert into gold.dim_customer by name"
                        " select * replace (customer_key + 1000000 as customer_key,"
                        " ? as email, date '2025-08-31' as valid_from) from gold.dim_customer where customer_id = ?"
                        " and is_current and customer_key < 1000000 and valid_from < '2025-08-31'",
                        (address, member),
                    )
                    connection.execute(
                        "update gold.dim_customer set valid_to = '2025-08-31', is_current = false where customer_id = ?"
                        " and is_current and valid_from < '2025-08-31' and customer_key < 1000000",
                        (member,),
                    )
            changes = channels_of(month)
            succeeded, said = pipeline.dbt(month, select=AUDIENCES, variables=campaigns(changes), arguments=NO_TESTS)
            assert succeeded, said
            contacts, known = contacts_of(pipeline), [row for rows in memory.values() for row in rows]
            for name, campaign in CAMPAIGNS.items():
                rules = {"cap": CAPS[name], **changes[name]}
                listed, _ = list_of(
                    name, rules, ranked(pipeline, campaign, month), month, contacts, memory[name], known
                )
                found = pipeline.rows(
                    f"select customer_id, lower(email), holdout_unit, treatment_group from gold.audience_{name}"
                    f" where snapshot_month = '{month}' order by audience_rank"
                )
                assert found == [(row.customer, row.mailbox, row.unit, row.group) for row in listed], (name, month)
                memory[name] += listed
                shared += sum(row.unit != row.customer for row in listed)
        tests = (
            "holdout_follows_the_hash",
            "addresses_are_deliverable",
            "addresses_are_unique",
            "holds_nobody_suppressed",
        )
        succeeded, said = pipeline.dbt(
            NOVEMBER, select=" ".join(f"test_name:audience_{name}" for name in tests),
            variables=campaigns(channels_of(NOVEMBER)), command="test",
        )  # fmt: skip
        assert succeeded, said
    for name, rows in memory.items():
        sides: dict[str, set[str]] = {}
        for row in rows:
            sides.setdefault(row.mailbox or row.customer, set()).add(row.group)
        assert all(len(side) == 1 for side in sides.values()), name
        for earlier, later in itertools.pairwise(MONTHS):
            of = {month: {row.mailbox or row.customer for row in rows if row.month == month} for month in MONTHS}
            assert not of[earlier] & of[later], name
    assert shared > 50, "too few share an address"
    assert moved


def test_a_version_is_read_as_the_words_say() -> None:
    """Of the oracle itself: which address counts now, and which were ever known."""
    day = date(2025, 1, 1)
    contacts = Contacts(
        [
            Version(1, "A ", "Old@example.com", day, date(2025, 5, 1), False),
            Version(2, "A", "new@example.com\u00a0", date(2025, 5, 1), None, True),
            Version(0, "B", "b@example.com", day, None, True),
            Version(3, "unknown", None, day, None, True),
            Version(4, "C", "c@example.com", day, day, True),
        ],
        {" A"},
    )
    assert contacts.now == {"A": "new@example.com"}
    assert contacts.ever == {"A": {"old@example.com", "new@example.com"}}
    assert contacts.objectors == {"A"}
    assert mailbox_of("no address") is None


def test_plain_dbt_refuses_a_channel_that_nobody_knows(made: Pipeline) -> None:
    """Python checks the rules of a run; plain dbt has vars of its own."""
    before = lists(made)
    unknown = campaigns({"core_retention": {"channel": "fax"}})
    succeeded, said = made.dbt(NOVEMBER, select=AUDIENCES, run_vars=unknown, arguments=NO_TESTS)
    assert not succeeded
    assert any(
        "channel of campaign core_retention is fax; known: email, ads, mail, phone, app." in line for line in said
    )
    assert lists(made) == before


def test_the_checks_of_a_list_follow_its_channel(made: Pipeline) -> None:
    """A list of letters passes them without an address, and fails with one, or with a customer twice."""
    letters = campaigns({"core_retention": {"channel": "mail"}})
    succeeded, said = made.dbt(
        NOVEMBER, select="audience_candidates audience_core_retention", variables=letters,
        arguments=("--exclude", "test_type:singular", "test_type:unit"),
    )  # fmt: skip
    assert succeeded, said
    assert not any("audience_addresses" in line for line in said)
    of_november = f"gold.audience_core_retention where snapshot_month = '{NOVEMBER}'"
    (written_to, twice), *_ = made.rows(f"select min(customer_id), max(customer_id) from {of_november}")
    made.execute(
        f"update gold.audience_core_retention set email = 'somebody@example.com' where customer_id = '{written_to}'"
        f" and snapshot_month = '{NOVEMBER}'"
    )
    made.execute(f"insert into gold.audience_core_retention select * from {of_november} and customer_id = '{twice}'")
    succeeded, said = made.dbt(
        NOVEMBER, select="test_name:audience_addresses_are_deliverable test_name:audience_addresses_are_unique",
        variables=letters, command="test",
    )  # fmt: skip
    assert not succeeded
    failures = [line for line in said if "Failure in test" in line]
    assert len(failures) == 2
    for check in ("deliverable", "unique"):
        assert any(f"audience_addresses_are_{check}_audience_core_retention_" in line for line in failures)
    assert not any("@" in line for line in said)
