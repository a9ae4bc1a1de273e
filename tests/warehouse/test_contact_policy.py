"""The contact policy against a brute-force allocator, on 200 random portfolios over twelve months.

Locks out: somebody contacted more often than the policy says, by two campaigns of one month, under a second customer at
their address or after another system; a campaign that chooses before a higher one; lists that depend on the order of
the entries in the file; a held-out mailbox that the next campaign takes; a waterfall that does not add up.

The SQL that dbt compiles is run on small tables under the same names: 2,400 months by dbt itself would take hours.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from rich.console import Console

from segmentation_assets.assets.exports import export_month
from segmentation_assets.dbt.project import Project
from segmentation_assets.exports.files import JOINED, LEFT
from segmentation_assets.exports.store import ExportStore
from segmentation_assets.publication.acceptances import accept
from segmentation_assets.publication.explanations import explain, render
from segmentation_assets.rules.load import parse_rules
from segmentation_assets.sources.star_schema import StarSchema
from tests.support.any_order_model import make_start
from tests.support.contact_policy_oracle import World, choose
from tests.support.once import once
from tests.support.published_months import FILE, NO_TESTS, NOVEMBER, OCTOBER, SEPTEMBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline

MONTHS = [date(2025 + number // 12, number % 12 + 1, 1) for number in range(12)]
SEGMENTS = ["High-Value Travelers", "Declining", "Stable Mid-Spenders"]
CUSTOMERS, MAILBOXES, PORTFOLIOS = 14, 9, 200


def campaign(name: str, segment: str, cap: int, **further: Any) -> dict[str, Any]:
    return {
        "name": name, "segment": segment, "criteria": [], "cap": cap, "holdout_pct": 40,
        "rank_by": {"metric": "lifetime_value", "order": "highest_first"}, **further,
    }  # fmt: skip


BY_EMAIL = [
    campaign("premium_rewards", SEGMENTS[0], 2),
    campaign("churn_prevention", SEGMENTS[1], 3),
    campaign("onboarding_acceleration", SEGMENTS[0], 3),
    campaign("everyday_rewards", SEGMENTS[2], 4),
    campaign("core_retention", SEGMENTS[2], 1),
]
MIXED = [
    campaign("premium_rewards", SEGMENTS[0], 3, cooldown_months=2),
    campaign("churn_prevention", SEGMENTS[1], 3, channel="phone"),
    campaign("onboarding_acceleration", SEGMENTS[2], 2, channel="ads", cooldown_months=1),
    campaign("everyday_rewards", SEGMENTS[1], 4),
    campaign("core_retention", SEGMENTS[0], 2, channel="mail"),
]
ORDER = ["everyday_rewards", "onboarding_acceleration", "core_retention", "premium_rewards", "churn_prevention"]
# Campaigns in the order of the file, the policy, and which of the portfolios.
RULE_SETS: dict[str, tuple[list[dict[str, Any]], dict[str, Any], range]] = {
    "an order": (BY_EMAIL, {"at_most": 1, "per_months": 2, "order": ORDER}, range(100)),
    # The same portfolios have to give the same lists.
    "the entries turned round": (BY_EMAIL[::-1], {"at_most": 1, "per_months": 2, "order": ORDER}, range(100)),
    "an order of some": (MIXED, {"at_most": 2, "per_months": 3, "order": ["everyday_rewards"]}, range(100, PORTFOLIOS)),
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[str, str]]:
    """Per rule set: the SQL that creates the tables which audience_candidates reads, and its own."""
    start = once(tmp_path_factory, "any_order_start", make_start) / FILE
    found: dict[str, tuple[str, str]] = {}
    for name, (campaigns, policy, _) in RULE_SETS.items():
        with pipeline_at(tmp_path_factory.mktemp("compiled") / FILE, start) as pipeline:
            pipeline.execute(
                "create table gold.contact_history (customer_id varchar, email varchar, contacted_at timestamp,"
                " channel varchar, campaign varchar)"
            )
            for one in campaigns:
                pipeline.execute(f"drop table gold.audience_{one['name']}")
            succeeded, said = pipeline.dbt(
                MONTHS[0], MONTHS[-1], "audience_candidates",
                {"campaigns": campaigns, "contact_policy": policy}, command="compile",
            )  # fmt: skip
            assert succeeded, said
            (path,) = (pipeline.path.parent / "dbt").glob("**/compiled/**/audience_candidates.sql")
            query = side_by_side(path.read_text(encoding="utf-8"))
            tables = sorted(set(re.findall(r'"segmentation"\."(\w+)"\."(\w+)"', query)))
            with pipeline.connection() as connection:
                columns = [connection.execute(f"describe {schema}.{table}").fetchall() for schema, table in tables]
            found[name] = (
                ";".join(
                    f"create table {schema}.{table} ({', '.join(f'{column[0]} {column[1]}' for column in described)})"
                    for (schema, table), described in zip(tables, columns, strict=True)
                ),
                query,
            )
    return found


def side_by_side(query: str) -> str:
    """For all portfolios at once: a campaign of portfolio p7 is premium_rewards@p7, made so where the query names it
    first, and known by the part before the @ where it is looked up. Ranks, caps, joins and turns are as they were."""
    named, made = re.subn(
        r"('\w+') as campaign,(?=\s+customer_id,)", r"\1 || '@' || split_part(customer_id, '-', 1) as campaign,", query
    )
    assert made == len(BY_EMAIL)
    for pattern in (
        r"case ((?:\w+\.)?(?:contact_)?campaign)\b",
        r"(?<![\w.])((?:\w+\.)?campaign)(?= (?:not )?in \()",
        r"(?<=\()(campaign)(?= = ')",
        r"(reachable\.campaign)(?= = epochs\.)",  # the side of the holdout is drawn by epoch, and one row per campaign
    ):
        named = re.sub(pattern, lambda found: found[0].replace(found[1], f"split_part({found[1]}, '@', 1)"), named)
    return named


def drawn(seed: int) -> World:
    """Customers at shared mailboxes who change segment, come and go, and whom other systems contact at times."""
    rng, here = random.Random(seed), f"p{seed}"
    mailbox = {f"{here}-C{number:02}": f"{here}.m{rng.randrange(MAILBOXES)}@example.com" for number in range(CUSTOMERS)}
    segment = {customer: rng.choice(SEGMENTS) for customer in mailbox}
    members: dict[int, dict[str, tuple[str, int]]] = {}
    others: set[tuple[int, str | None, str | None, str]] = set()
    for month in range(12):
        for customer in mailbox:
            if rng.random() < 0.3:
                segment[customer] = rng.choice(SEGMENTS)
        members[month] = {one: (segment[one], rng.randrange(8)) for one in mailbox if rng.random() < 0.9}
        for customer in rng.sample(sorted(mailbox), 2 if seed % 2 else 0):
            by_id = rng.random() < 0.5
            name = rng.choice(("letters", "shop"))
            others.add((month, customer if by_id else None, None if by_id else mailbox[customer], name))
    return World(mailbox, members, sorted(others, key=str))


def load(connection: duckdb.DuckDBPyConnection, worlds: Sequence[World]) -> None:
    put = partial(insert, connection)
    put("gold.customer_segment_history", ["snapshot_month", "customer_id", "customer_segment", "lifetime_value"], [
        (MONTHS[month], customer, segment, value)
        for world in worlds for month, found in world.members.items() for customer, (segment, value) in found.items()
    ])  # fmt: skip
    people = [person for world in worlds for person in world.mailbox.items()]
    put("silver.stg_customers", ["customer_id", "valid_from"], [(one, date(2020, 1, 1)) for one, _ in people])
    for table in ("silver.customer_contacts", "silver.customer_mailboxes"):
        put(table, ["customer_id", "mailbox"], people)
    put("gold.contact_history", ["customer_id", "email", "contacted_at", "campaign"], [
        # Twice, with blanks and capitals: one contact all the same.
        (customer and f" {customer} ", mailbox and f" {mailbox.upper()}", MONTHS[month] + timedelta(days=3), name)
        for world in worlds for month, customer, mailbox, name in world.others for _ in range(2)
    ])  # fmt: skip
    put("gold.segment_publications", ["snapshot_month", "version"], [(month, 1) for month in MONTHS])


def insert(connection: duckdb.DuckDBPyConnection, table: str, columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    connection.register("given", pd.DataFrame(rows, columns=columns))
    connection.execute(f"insert into {table} ({', '.join(columns)}) select * from given")
    connection.unregister("given")


@pytest.mark.parametrize("name", RULE_SETS)
def test_lists_are_those_of_the_brute_force_allocator(compiled: Mapping[str, tuple[str, str]], name: str) -> None:
    campaigns, policy, seeds = RULE_SETS[name]
    schema, query = compiled[name]
    worlds = {f"p{seed}": drawn(seed) for seed in seeds}
    for world in worlds.values():
        for month in range(12):
            choose(world, campaigns, policy, month)
        assert_nobody_is_above_the_cap(world, policy)
    with duckdb.connect(":memory:") as connection:
        connection.execute("attach ':memory:' as segmentation; use segmentation")
        connection.execute(f"create schema gold; create schema silver; {schema}")
        # Of sixty batches in one query the plan takes longer than the rows, of which there are few.
        plain = connection.execute("select string_agg(name, ',') from duckdb_optimizers()").fetchall()[0][0]
        connection.execute(f"set disabled_optimizers = '{plain}'")
        load(connection, list(worlds.values()))
        rows = connection.execute(
            "select split_part(campaign, '@', 2), snapshot_month, split_part(campaign, '@', 1), customer_id, reason,"
            f" treatment_group, split_part(detail, '@', 1) from ({query}) as candidates"
        ).fetchall()
    listed: dict[str, set[tuple[int, str, str]]] = {here: set() for here in worlds}
    reasons: dict[str, dict[tuple[int, str, str], str]] = {here: {} for here in worlds}
    for here, snapshot_month, campaign_name, customer, reason, group, detail in rows:
        key = (MONTHS.index(snapshot_month), campaign_name, customer)
        taken = worlds[here].taken_by.get(key)
        assert (detail in taken) if taken else detail is None, (here, key)
        assert (reason is None) == (group is not None)
        if reason is None:
            listed[here].add(key)
        else:
            reasons[here][key] = reason
    for here, world in worlds.items():
        lists = world.lists.values()
        assert listed[here] == {(one.month, one.campaign, one.customer) for found in lists for one in found}, here
        # The waterfall's steps are counts of these.
        assert reasons[here] == world.reasons, here
    lost = Counter(reason for found in reasons.values() for reason in found.values())
    assert min(lost["over_contact_policy"], lost["shares_email"], lost["beyond_cap"]) > 100
    assert {group for *_, group, _ in rows} == {"target", "holdout", None}


def assert_nobody_is_above_the_cap(world: World, policy: Mapping[str, Any]) -> None:
    """From the lists alone, of which the database's are no others: mailbox by mailbox and customer by customer."""
    for month in range(12):
        window = [
            one for back in range(month - policy["per_months"] + 1, month + 1) for one in world.lists.get(back, ())
        ]
        assert max(Counter(one.customer for one in window).values(), default=0) <= policy["at_most"]
        assert max(Counter(one.mailbox for one in window if one.mailbox).values(), default=0) <= policy["at_most"]


RULES = Project.load().rules
EVERYTHING: dict[str, dict[str, Any]] = {
    "premium_rewards": {"eligibility": [{"metric": "spend_change_pct", "at_least": 0}]},
    "churn_prevention": {"trigger": "entered", "criteria": []},
    "onboarding_acceleration": {"segment": "Stable Mid-Spenders", "criteria": [], "cap": 50},
    "core_retention": {"cap": 200},
}
POLICY = {"at_most": 1, "per_months": 2, "order": ["onboarding_acceleration", "core_retention"]}


def everything() -> dict[str, Any]:
    changed = [{**campaign, **EVERYTHING.get(campaign["name"], {})} for campaign in RULES.raw["campaigns"]]
    return {"campaigns": changed, "contact_policy": POLICY}


@pytest.fixture(scope="module")
def limited_file(published_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """September to November month by month by dbt, with every rule of contact on."""
    path = tmp_path_factory.mktemp("limited") / FILE
    with pipeline_at(path, published_file) as pipeline:
        pipeline.execute(
            "create table gold.contact_history as select customer_id, timestamp '2025-10-20 10:00:00' as contacted_at,"
            " ' Letters' as campaign from gold.dim_customer where is_current and hash(customer_id) % 7 = 0;"
            "create table gold.campaign_eligibility as select customer_id, ' Everyday_Rewards ' as campaign,"
            " 'no credit' as reason from gold.dim_customer where is_current and hash(customer_id) % 5 = 0;"
            "alter table gold.marketing_suppressions add column campaign varchar;"
            "alter table gold.marketing_suppressions add column channel varchar;"
            "alter table gold.marketing_suppressions add column expires_at date"
        )
        number = "insert into gold.marketing_suppressions by name select customer_id"
        everybody = "from gold.dim_customer where is_current and hash(customer_id) % 50"
        pipeline.execute(
            f"{number}, 'CORE_retention ' as campaign {everybody} = 1; {number}, 'phone' as channel {everybody} = 2;"
            f"{number}, date '2025-11-01' as expires_at {everybody} = 3;"
            f"{number}, 'no_such' as campaign {everybody} = 4"
        )
        for month in (SEPTEMBER, OCTOBER, NOVEMBER):
            succeeded, said = pipeline.dbt(
                month, None, "path:models/audiences", everything(), ("--exclude", "test_type:unit")
            )
            assert succeeded, said
    return path


@pytest.fixture
def limited(limited_file: Path, tmp_path: Path) -> Iterator[Pipeline]:
    with pipeline_at(tmp_path / "copy" / FILE, limited_file) as pipeline:
        yield pipeline


def suppressed(pipeline: Pipeline, campaign: str, month: date, number: int) -> set[str]:
    rows = pipeline.rows(
        f"select reason from gold.audience_exclusions where campaign = '{campaign}' and snapshot_month = '{month}'"
        " and customer_id in (select customer_id from gold.marketing_suppressions group by 1 having count(*) = 1)"
        f" and reason not in ('misses_criteria', 'no_customer_now', 'no_deliverable_email')"
        f" and hash(customer_id) % 50 = {number}"
    )
    return {reason for (reason,) in rows}


def test_objections_hold_for_what_they_name_and_as_long_as_they_say(limited: Pipeline) -> None:
    assert suppressed(limited, "core_retention", NOVEMBER, 1) == {"suppressed"}
    assert "suppressed" not in suppressed(limited, "onboarding_acceleration", NOVEMBER, 1)
    assert "suppressed" not in suppressed(limited, "core_retention", NOVEMBER, 2)  # to the phone
    assert suppressed(limited, "core_retention", SEPTEMBER, 3) == {"suppressed"}  # as of 1 October
    assert "suppressed" not in suppressed(limited, "core_retention", OCTOBER, 3)  # as of the day it expires
    for name in ("core_retention", "onboarding_acceleration"):  # nobody knows which campaign: every one
        assert suppressed(limited, name, NOVEMBER, 4) == {"suppressed"}
    ((unknown, blocks),) = limited.rows(
        "select measured, is_blocking from silver.audience_audit_verdicts"
        f" where audit = 'limits_name_known_campaigns' and snapshot_month = '{NOVEMBER}'"
    )
    named = limited.rows("select count(*) from gold.marketing_suppressions where campaign = 'no_such'")
    assert [(unknown,)] == named and not blocks


def test_every_loss_is_a_step_with_who_took_the_turn(limited: Pipeline) -> None:
    details: dict[str, set[str | None]] = {}
    for reason, detail in limited.rows("select distinct reason, detail from gold.audience_exclusions"):
        details.setdefault(reason, set()).add(detail)
    assert details.pop("misses_eligibility") == {"spend_change_pct at_least 0"}
    assert details.pop("not_eligible") == {"no credit"}
    takers = details.pop("over_contact_policy")
    assert {"Letters", "onboarding_acceleration", "core_retention"} <= takers and None not in takers
    assert "stayed_in_segment" in details and all(found == {None} for found in details.values())
    for month, campaign_name, told in limited.rows(
        "select snapshot_month, campaign, left_out_by from gold.audience_waterfall where left_out_by is not null"
    ):
        counted = limited.rows(
            f"select detail, count(*) as n from gold.audience_exclusions where snapshot_month = '{month}' and reason ="
            f" 'over_contact_policy' and campaign = '{campaign_name}' group by 1 order by n desc, 1"
        )
        assert told == ", ".join(f"{detail} {number}" for detail, number in counted)


def test_make_why_says_which_campaigns_leave_the_customer_out_and_who_took_the_turn(limited: Pipeline) -> None:
    ((customer, campaign_name),) = limited.rows(
        f"select min(customer_id), min(campaign) from gold.audience_exclusions where snapshot_month = '{NOVEMBER}'"
        " and reason = 'over_contact_policy' and detail = 'onboarding_acceleration' and campaign = 'core_retention'"
    )
    with limited.warehouse().session(read_only=True) as session:
        explanation = explain(session, customer, NOVEMBER)
    console = Console(width=200, record=True, file=StringIO())
    console.print(render(explanation))
    said = console.export_text()
    assert (
        f"Not on the list of {campaign_name}: no turn left under the contact policy (onboarding_acceleration)." in said
    )


def test_a_month_made_again_or_all_at_once_is_the_same(limited: Pipeline) -> None:
    lists = (
        "select snapshot_month, campaign, customer_id, reason, audience_rank, detail from silver.audience_candidates"
    )
    before = limited.rows(f"{lists} order by all")
    assert len({customer for _, _, customer, *_ in before}) > 500
    for first, last in ((OCTOBER, OCTOBER), (SEPTEMBER, NOVEMBER)):
        succeeded, said = limited.dbt(first, last, "path:models/audiences", everything(), NO_TESTS)
        assert succeeded, said
        assert limited.rows(f"{lists} order by all") == before


def test_a_campaign_that_is_gone_has_used_up_its_turns(limited: Pipeline) -> None:
    """Its table stands, and the log of the lists remembers its name."""
    limited.execute(
        "create table gold.audience_gone as select * replace ('gone' as campaign) from gold.audience_core_retention;"
        f"delete from gold.audience_gone where snapshot_month <> '{OCTOBER}';"
        "delete from gold.audience_core_retention;"
        "insert into gold.audience_log by name select * replace ('gone' as campaign) from gold.audience_log"
        f" where campaign = 'core_retention' and snapshot_month = '{OCTOBER}';"
        "delete from gold.audience_log where campaign = 'core_retention'"
    )
    succeeded, said = limited.dbt(NOVEMBER, None, "path:models/audiences", everything(), NO_TESTS)
    assert succeeded, said
    ((taken,),) = limited.rows(
        f"select count(*) from gold.audience_exclusions where snapshot_month = '{NOVEMBER}' and detail = 'gone'"
    )
    assert taken


def test_who_entered_the_segment_is_sent_to_and_the_files_say_who_joined_and_left(
    limited: Pipeline, tmp_path: Path
) -> None:
    store = ExportStore(str(tmp_path / "out"))
    rules = parse_rules({**RULES.raw, **everything()}, "test")
    campaigns = {campaign.name: campaign for campaign in rules.campaigns}
    moved = f"select customer_id from gold.segment_moves where snapshot_month = '{NOVEMBER}' and"
    entered, left = (
        {one for (one,) in limited.rows(f"{moved} {side} = 'Declining'")} for side in ("to_segment", "from_segment")
    )
    listed = dict(
        limited.rows(
            "select customer_id, treatment_group from gold.audience_churn_prevention"
            f" where snapshot_month = '{NOVEMBER}'"
        )
    )
    assert listed and set(listed) <= entered
    with limited.warehouse().session(read_only=True) as session:
        star = StarSchema(session, Project.load().settings, rules)
        for name in ("churn_prevention", "core_retention"):
            export_month(session, store, campaigns[name], NOVEMBER, star)

    def ids(name: str) -> set[str]:
        manifest = store.manifest("churn_prevention", NOVEMBER)
        assert manifest is not None
        lines = store.file("churn_prevention", NOVEMBER, manifest, name).decode().splitlines()
        assert "@" not in "".join(lines)
        return {line.split(",")[2] for line in lines[1:]}

    objectors = {one for (one,) in limited.rows("select customer_id from gold.marketing_suppressions")}
    joined, held_out = ids(JOINED), {one for one, group in listed.items() if group == "holdout"}
    assert ids(LEFT) == left and left
    assert {one for one, group in listed.items() if group == "target"} <= joined <= entered - held_out
    assert entered - held_out - objectors <= joined
    other = store.manifest("core_retention", NOVEMBER)
    assert other is not None and not {JOINED, LEFT} & set(other["files"])


# What happens to a table that leaves somebody out, and what its audits measure (None: some share of it).
LIMITS_LOST: dict[str, tuple[str, dict[str, float | None]]] = {
    "missing": ("alter table gold.{table} rename to elsewhere_{table}", {"is_there": 1, "did_not_shrink": 100}),
    "cut short": ("delete from gold.{table} where hash(customer_id) % 2 = 0", {"did_not_shrink": None}),
    "of another system": ("update gold.{table} set customer_id = 'X' || customer_id", {"matches_customers": 100}),
    "in small letters": (
        "update gold.{table} set customer_id = lower(customer_id)"
        " where customer_id = (select min(customer_id) from gold.{table})",
        {"is_spelt_as_customers": 1},
    ),
}
LIMITS = ("campaign_eligibility", "contact_history")


def refused_limits(pipeline: Pipeline) -> dict[str, float]:
    return dict(
        pipeline.rows(
            "select audit, measured from silver.audience_audit_verdicts"
            f" where snapshot_month = '{NOVEMBER}' and is_blocking"
        )
    )


@pytest.mark.parametrize("name", LIMITS_LOST)
def test_who_may_not_be_offered_to_and_who_was_contacted_cannot_go_unseen(limited: Pipeline, name: str) -> None:
    fault, expected = LIMITS_LOST[name]
    for table in LIMITS:
        limited.execute(fault.format(table=table))
    succeeded, said = limited.dbt(NOVEMBER, None, "audience_audits", everything(), NO_TESTS)
    assert succeeded, said
    found = refused_limits(limited)
    assert set(found) == {f"{table}_{audit}" for table in LIMITS for audit in expected}
    for table in LIMITS:
        for audit, measured in expected.items():
            assert found[f"{table}_{audit}"] == measured or (measured is None and 25 < found[f"{table}_{audit}"] < 75)


def test_a_table_of_limits_that_is_gone_stops_the_lists_until_accepted_and_is_then_asked_for_no_more(
    limited: Pipeline,
) -> None:
    lists = "select * exclude (run_id) from silver.audience_candidates order by all"
    before = limited.rows(lists)
    logged = limited.rows("select distinct campaign_eligibility_rows, contact_history_rows from gold.audience_log")
    assert logged == limited.rows(
        "select (select count(*) from gold.campaign_eligibility), (select count(*) from gold.contact_history)"
    )
    for table in LIMITS:
        limited.execute(f"alter table gold.{table} rename to elsewhere_{table}")
    succeeded, said = limited.dbt(
        NOVEMBER, None, "path:models/audiences", everything(), ("--exclude", "test_type:generic", "test_type:unit")
    )
    assert not succeeded and any("asked_audiences_are_made" in line for line in said)
    assert limited.rows(lists) == before
    refused = refused_limits(limited)
    assert set(refused) == {f"{table}_{audit}" for table in LIMITS for audit in ("is_there", "did_not_shrink")}
    with limited.warehouse().session() as session:
        for audit in refused:
            assert "Accepted by Ann" in accept(session, NOVEMBER, audit, None, "Ann", "We have no such table any more")
    for _ in range(2):
        succeeded, said = limited.dbt(NOVEMBER, None, "path:models/audiences", everything(), NO_TESTS)
        assert succeeded, said
        assert refused_limits(limited) == {}
    assert limited.rows(lists) != before
    assert limited.rows(
        "select distinct campaign_eligibility_rows, unmatched_contact_history_rows from gold.audience_log"
        f" where snapshot_month = '{NOVEMBER}' qualify row_number() over (order by made_at desc) = 1"
    ) == [(None, None)]  # fmt: skip
