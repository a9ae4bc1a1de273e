"""segment_memberships, segment_moves and audience_feed against plain Python that shares no line with the SQL.

Locks out: a stay cut in two by a month that nobody published, or made one of two; somebody who came told as one who
stayed; a feed that, replayed, is another list than the newest; a stamp that moves without its content; a leaver told
twice or never; somebody who objected, or is held out, handed to a marketing tool; a row behind a reader's newest stamp.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

from segmentation_assets.assets.exports import export_month
from segmentation_assets.dbt.project import Project
from segmentation_assets.exports.files import FULL_PARQUET, customers_in
from segmentation_assets.exports.store import ExportStore
from segmentation_assets.months import MonthRange
from segmentation_assets.settings import Settings
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.published_months import NO_TESTS, NOVEMBER, OCTOBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline

CAMPAIGNS = {campaign.name: campaign for campaign in Project.load().rules.campaigns}
SEGMENTS = ("A", "B", "C")
NEW, GONE = "Not a customer before", "No longer a customer"
MONTHS = list(MonthRange(date(2024, 1, 1), date(2025, 12, 1)))
FEED = "select * from gold.audience_feed order by updated_at, campaign, external_id"
History = Mapping[date, Mapping[str, str]]  # per published month: each customer's segment
Stay = tuple[str, str, date, date | None, int, str | None, str | None]
Move = tuple[date, str, str, str, date]
Lists = dict[str, dict[str, dict[str, Any]]]  # per campaign and customer: what the payload says


def stays_in(history: History) -> list[Stay]:
    """Customer by customer, month by month."""
    months = sorted(history)
    following = dict(pairwise(months))
    before = {later: earlier for earlier, later in pairwise(months)}
    found: list[Stay] = []
    for customer in sorted({customer for segments in history.values() for customer in segments}):
        for segment, run in groupby(months, key=lambda month: history[month].get(customer)):
            stayed = list(run)
            if segment is None:
                continue
            earlier, left = before.get(stayed[0]), following.get(stayed[-1])
            came_from = history[earlier].get(customer, NEW) if earlier else None
            went_to = history[left].get(customer, GONE) if left else None
            found.append((customer, segment, stayed[0], left, len(stayed), came_from, went_to))
    return sorted(found, key=lambda stay: stay[:3])


def moves_in(history: History) -> list[Move]:
    return [
        (month, customer, before, after, earlier)
        for earlier, month in pairwise(sorted(history))
        for customer in sorted({*history[earlier], *history[month]})
        for before, after in [(history[earlier].get(customer, NEW), history[month].get(customer, GONE))]
        if before != after
    ]


def at(stays: Sequence[Stay], month: date) -> dict[str, str]:
    """Where everybody was, by the sentence in the model's description."""
    return {
        customer: segment
        for customer, segment, entered, left, *_ in stays
        if entered <= month and (left is None or month < left)
    }


def after_moves(first: Mapping[str, str], moves: Sequence[Move], month: date) -> dict[str, str]:
    """The first published month, and the moves up to another."""
    found = dict(first)
    for moved, customer, _, to, _ in sorted(moves):
        if moved <= month:
            found.pop(customer, None)
            if to != GONE:
                found[customer] = to
    return found


def assert_views_follow(connection: duckdb.DuckDBPyConnection) -> None:
    """Both views, of whatever history stands there."""
    history: dict[date, dict[str, str]] = {}
    for month, customer, segment in connection.execute(
        "select snapshot_month, customer_id, customer_segment from gold.customer_segment_history"
    ).fetchall():
        assert customer not in history.setdefault(month, {})
        history[month][customer] = segment
    stays = connection.execute(
        "select * from gold.segment_memberships order by customer_id, customer_segment, entered_month"
    ).fetchall()
    moves = connection.execute("select * from gold.segment_moves order by snapshot_month, customer_id").fetchall()
    assert stays == stays_in(history)
    assert moves == moves_in(history)
    for month in history:
        assert at(stays, month) == history[month]
        assert after_moves(history[min(history)], moves, month) == history[month]


def drawn(rng: random.Random) -> dict[date, dict[str, str]]:
    """Customers who mostly stay where they are, change at times, leave for a while, and come late."""
    found: dict[date, dict[str, str]] = {month: {} for month in MONTHS}
    for number in range(40):
        segment: str | None = rng.choice((*SEGMENTS, None))
        for month in MONTHS:
            if rng.random() < 0.25:
                segment = rng.choice((*SEGMENTS, None))
            if segment is not None:
                found[month][f"C{number}"] = segment
    return found


def publish(connection: duckdb.DuckDBPyConnection, month: date, segments: Mapping[str, str]) -> None:
    """As the month's transaction leaves the history, of which the views read three columns."""
    connection.execute("delete from gold.customer_segment_history where snapshot_month = ?", [month])
    connection.execute(
        "insert into gold.customer_segment_history by name select * replace (cast(? as date) as snapshot_month,"
        " unnest(cast(? as varchar[])) as customer_id, unnest(cast(? as varchar[])) as customer_segment)"
        " from gold.a_row",
        [month, list(segments), list(segments.values())],
    )


def test_memberships_and_moves_are_the_history_whatever_is_published_when(published: Pipeline) -> None:
    """Months one by one in any order, so that there are gaps until the last; then months again, with other members."""
    rng = random.Random(20251201)
    history, again = drawn(rng), drawn(rng)
    with published.connection() as connection:
        assert_views_follow(connection)
        connection.execute("create table gold.a_row as select * from gold.customer_segment_history limit 1")
        connection.execute("delete from gold.customer_segment_history")
        for month in rng.sample(MONTHS, len(MONTHS)):
            publish(connection, month, history[month])
            assert_views_follow(connection)
        for month in rng.sample(MONTHS, 6):
            publish(connection, month, again[month])
            assert_views_follow(connection)


@pytest.fixture
def made(audiences_file: Path, tmp_path: Path) -> Iterator[Pipeline]:
    """Lists of September to November, and the feed of the run that made them."""
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", audiences_file) as pipeline:
        yield pipeline


def feed(pipeline: Pipeline, month: date = NOVEMBER, **given: Any) -> list[tuple[Any, ...]]:
    """The rows that a run of the feed added, in their order."""
    before = pipeline.rows(FEED)
    succeeded, said = pipeline.dbt(
        month, select="audience_feed", arguments=NO_TESTS, run_vars={"run_date": str(date.today())}, **given
    )
    assert succeeded, said
    after = pipeline.rows(FEED)
    assert after[: len(before)] == before, "what was said stays, and nothing is said with a stamp before it"
    return after[len(before) :]


def replayed(rows: Sequence[tuple[Any, ...]]) -> Lists:
    """As a tool does that knows updated_at, external_id and payload."""
    found: Lists = {name: {} for name in CAMPAIGNS}
    for updated_at, _, external_id, payload, *_ in sorted(rows, key=lambda row: row[0]):
        said = json.loads(payload, parse_float=Decimal)
        assert updated_at is not None
        if said.pop("status") == "listed":
            found[said["campaign"]][external_id] = said
        else:
            assert set(said) == {"campaign", "audience_code"}
            del found[said["campaign"]][external_id]
    return found


def listed(pipeline: Pipeline, month: date = NOVEMBER) -> Lists:
    """What the lists hold of those who are sent to."""
    found: Lists = {}
    with pipeline.connection() as connection:
        for name, campaign in CAMPAIGNS.items():
            members = connection.execute(
                f"select * from gold.audience_{name} where treatment_group = 'target' and snapshot_month = ?", [month]
            )
            columns = [column[0] for column in members.description]
            rows = [dict(zip(columns, row, strict=True)) for row in members.fetchall()]
            found[name] = {
                row["customer_id"]: {
                    "campaign": name,
                    "audience_code": campaign.audience_code,
                    "rank": row["audience_rank"],
                    **{metric: shown(row[metric]) for metric in campaign.shows},
                }
                for row in rows
            }
    return found


def shown(value: Any) -> Any:
    return round(Decimal(repr(value)), 2) if isinstance(value, float) else value


def exported(pipeline: Pipeline, folder: Path) -> dict[str, set[str]]:
    """Who is in the files of November, written now."""
    store, project = ExportStore(str(folder)), Project.load()
    found: dict[str, set[str]] = {}
    with DuckDBWarehouse(path=str(pipeline.path)).session(read_only=True) as session:
        star = StarSchema(session, Settings.from_environment(), project.rules)
        for name, campaign in CAMPAIGNS.items():
            export_month(session, store, campaign, NOVEMBER, star)
            manifest = store.manifest(name, NOVEMBER)
            assert manifest is not None
            found[name] = set(customers_in(store.file(name, NOVEMBER, manifest, FULL_PARQUET)))
    return found


def people(lists: Lists) -> dict[str, set[str]]:
    return {name: set(members) for name, members in lists.items()}


def same(found: Lists, expected: Lists) -> None:
    assert people(found) == people(expected)
    for name, members in expected.items():
        for customer, said in members.items():
            differing = {
                key: (found[name][customer][key], value)
                for key, value in said.items()
                # A half at the third decimal goes one way in binary and the other in decimal.
                if (
                    abs(found[name][customer][key] - value) > Decimal("0.01")
                    if isinstance(value, Decimal)
                    else found[name][customer][key] != value
                )
            }
            assert list(found[name][customer]) == list(said), "the same keys in the same order"
            assert not differing, (name, customer)


def test_the_feed_is_the_newest_lists_and_a_run_that_changes_nothing_says_nothing(
    made: Pipeline, tmp_path: Path
) -> None:
    rows = made.rows(FEED)
    assert all(members for members in replayed(rows).values())
    same(replayed(rows), listed(made))
    assert people(replayed(rows)) == exported(made, tmp_path / "exports")
    assert len(rows) == sum(map(len, listed(made).values())), "one row each"
    assert "@" not in str(rows)
    assert feed(made) == []
    assert feed(made, OCTOBER) == [], "the newest lists are November's, whichever month is asked for"


def test_who_objects_or_leaves_has_one_row_and_nobody_joins_while_objections_are_lost(
    made: Pipeline, tmp_path: Path
) -> None:
    before = replayed(made.rows(FEED))
    objector = min(before["core_retention"])
    made.execute(f"insert into gold.marketing_suppressions by name select '{objector}' as customer_id, 'x' as reason")
    closed = min(before["everyday_rewards"])
    made.execute(f"update gold.dim_customer set valid_to = '2025-12-02' where customer_id = '{closed}'")

    added = feed(made, OCTOBER)
    found = replayed(made.rows(FEED))
    assert people(found) == exported(made, tmp_path / "exports")
    gone = {(name, customer) for name in before for customer in before[name].keys() - found[name].keys()}
    assert {("core_retention", objector), ("everyday_rewards", closed)} <= gone
    assert sorted((row[1], row[2]) for row in added) == sorted(gone), "a leaver has exactly one row"
    assert {row[4] for row in added} == {False}
    assert {row[6] for row in added} == {NOVEMBER}
    assert feed(made) == []

    made.execute("alter table gold.marketing_suppressions rename to kept")
    assert feed(made) == [], "nobody comes back because the objections went missing"
    made.execute("alter table gold.kept rename to marketing_suppressions")

    # The clock of the machine is set back by a day.
    made.execute("update gold.audience_feed set updated_at = updated_at + interval 1 day")
    newest = made.rows("select max(updated_at) from gold.audience_feed")[0][0]
    made.execute(f"update gold.dim_customer set valid_to = null where customer_id = '{closed}'")
    (back,) = [row for row in feed(made) if row[1] == "everyday_rewards"]
    assert (back[2], back[4], (back[0] - newest).total_seconds()) == (closed, True, 1.0)


def test_a_new_month_a_holdout_and_a_campaign_that_was_given_up_are_changes_and_nothing_else_is(
    made: Pipeline,
) -> None:
    """October's lists are the newest again, as before November's were made."""
    before = replayed(made.rows(FEED))
    made.execute("delete from gold.audience_waterfall where snapshot_month = '2025-11-01'")
    added = feed(made, OCTOBER)
    after = replayed(made.rows(FEED))
    same(after, listed(made, OCTOBER))
    changed = {
        (name, customer)
        for name in CAMPAIGNS
        for customer in before[name].keys() | after[name].keys()
        if before[name].get(customer) != after[name].get(customer)
    }
    assert sorted(changed) == sorted((row[1], row[2]) for row in added)
    assert len({row[4] for row in added}) == 2, "some came and some went"

    made.execute(
        "insert into gold.audience_feed by name select * replace ('autumn_offer' as campaign, 'q3' as audience_code,"
        " replace(payload, 'premium_rewards', 'autumn_offer') as payload) from gold.audience_feed"
        " where campaign = 'premium_rewards' and snapshot_month = '2025-10-01' and is_listed"
    )
    given_up = {row[2] for row in made.rows(FEED) if row[1] == "autumn_offer"}
    held_out = min(after["core_retention"])
    made.execute(
        "update gold.audience_core_retention set treatment_group = 'holdout'"
        f" where snapshot_month = '2025-10-01' and customer_id = '{held_out}'"
    )
    added = feed(made)
    assert sorted((row[1], row[2]) for row in added) == sorted(
        [("core_retention", held_out), *(("autumn_offer", customer) for customer in given_up)]
    )
    assert {row[3] for row in added if row[1] == "autumn_offer"} == {
        '{"campaign": "autumn_offer", "audience_code": "q3", "status": "left"}'
    }
    assert len(given_up) > 3
