"""How long a holdout stands: drawn anew each epoch, and never inside one, whatever the lists there are were drawn by.

Locks out: a side that changes because of an upgrade or because the rules say another epoch now, a list made again that
holds back other people, the same people held back for ever, and a mailbox that every campaign may write to from the day
on which somebody else comes to it.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from segmentation_assets.dbt.project import Project
from tests.support.contact_oracle import bucket
from tests.support.published_months import NO_TESTS, NOVEMBER, OCTOBER, SEPTEMBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline

RULES = Project.load().rules
MONTHS = (SEPTEMBER, OCTOBER, NOVEMBER)
DRAWN_ONCE = (
    "update gold.audience_{name} set holdout_epoch = null, treatment_group ="
    " if(cast('0x' || substr(md5(campaign || '|' || holdout_unit), 1, 15) as bigint) % 10000 < 1000,"
    " 'holdout', 'target')"
)
# Campaign -> its holdout_epoch by the rules now, what happened to its lists, which were drawn for 2025, and the epoch
# that each of the three months takes.
CASES: dict[str, tuple[str, tuple[str, ...], tuple[str, str, str]]] = {
    # September is in a quarter of its own, and its list is there.
    "premium_rewards": (
        "quarter",
        ("delete from gold.audience_{name} where snapshot_month > '2025-09-01'",),
        ("2025", "2025-Q4", "2025-Q4"),
    ),
    # Of an earlier version: the year goes on as it began.
    "churn_prevention": (
        "year",
        (DRAWN_ONCE, "delete from gold.audience_{name} where snapshot_month = '2025-11-01'"),
        ("never", "never", "never"),
    ),
    # The same of a month before them; and the table has no such column yet.
    "core_retention": (
        "year",
        (
            DRAWN_ONCE,
            "delete from gold.audience_{name} where snapshot_month = '2025-09-01'",
            "alter table gold.audience_{name} drop column holdout_epoch",
        ),
        ("never", "never", "never"),
    ),
    "onboarding_acceleration": ("never", ("delete from gold.audience_{name}",), ("never", "never", "never")),
    # October's list of the quarter was drawn for the year.
    "everyday_rewards": (
        "quarter",
        ("delete from gold.audience_{name} where snapshot_month = '2025-11-01'",),
        ("2025", "2025", "2025"),
    ),
}


@pytest.fixture(scope="module")
def remade(audiences_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The three months made again in one run, after all that happened to their lists."""
    with pipeline_at(tmp_path_factory.mktemp("epochs") / "segmentation.duckdb", audiences_file) as pipeline:
        for name, (_, statements, _) in CASES.items():
            for statement in statements:
                pipeline.execute(statement.format(name=name))
            pipeline.execute(f"create table gold.{name}_before as from gold.audience_{name}")
        changed = [{**one, "holdout_epoch": CASES[one["name"]][0]} for one in RULES.raw["campaigns"]]
        variables = {"campaigns": changed}
        succeeded, said = pipeline.dbt(SEPTEMBER, NOVEMBER, "path:models/audiences", variables, NO_TESTS)
        assert succeeded, said
        yield pipeline


@pytest.mark.parametrize("name", CASES)
def test_a_list_takes_the_epoch_of_its_own_or_of_the_nearest_one(remade: Pipeline, name: str) -> None:
    found = remade.rows(
        f"select snapshot_month, holdout_epoch, holdout_unit, treatment_group from gold.audience_{name} order by all"
    )
    epochs: dict[date, set[str]] = {}
    for month, epoch, unit, group in found:
        epochs.setdefault(month, set()).add(epoch)
        assert group == ("holdout" if bucket(name, unit, epoch) < 1000 else "target")
    assert epochs == {month: {epoch} for month, epoch in zip(MONTHS, CASES[name][2], strict=True)}
    changed = remade.rows(
        f"select count(*), count(*) filter (now.treatment_group <> before.treatment_group) from gold.{name}_before as"
        f" before inner join gold.audience_{name} as now using (snapshot_month, customer_id)"
    )
    assert changed[0][1] == 0
    assert changed[0][0] > 0 or name == "onboarding_acceleration"


def test_another_epoch_holds_other_people_back(remade: Pipeline) -> None:
    sides = remade.rows(
        "select count(*) filter (one.treatment_group <> other.treatment_group), count(*)"
        " from gold.audience_premium_rewards as one inner join gold.audience_premium_rewards as other"
        " using (customer_id) where one.snapshot_month = '2025-09-01' and other.snapshot_month = '2025-10-01'"
    )
    assert sides[0][0] > 0.1 * sides[0][1] > 3


def test_the_check_of_the_lists_knows_their_epochs(remade: Pipeline) -> None:
    def failures() -> list[str]:
        _, said = remade.dbt(NOVEMBER, select="test_name:audience_holdout_follows_the_hash", command="test")
        return [line for line in said if "audience_holdout_follows_the_hash" in line]

    assert not failures()
    remade.execute("update gold.audience_premium_rewards set holdout_epoch = '2025' where holdout_epoch = '2025-Q4'")
    assert any("audience_holdout_follows_the_hash_audience_premium_rewards" in line for line in failures())


UNIVERSAL = {"universal_holdout_pct": 20}


def universal_holdout(pipeline: Pipeline, month: date) -> None:
    succeeded, said = pipeline.dbt(month, None, "universal_holdout", arguments=NO_TESTS, run_vars=UNIVERSAL)
    assert succeeded, said


def test_whom_every_campaign_leaves_out_it_leaves_out_all_year(published_file: Path, tmp_path: Path) -> None:
    """Whoever comes to their mailbox, and wherever they move; and the next year is drawn anew."""
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", published_file) as pipeline:
        universal_holdout(pipeline, OCTOBER)
        # One in three is of another year, which the draw of this one knows nothing of.
        pipeline.execute("update gold.universal_holdout set holdout_epoch = '2024' where hash(holdout_unit) % 3 = 0")
        before = pipeline.rows("select customer_id, holdout_unit, holdout_epoch from gold.universal_holdout")
        held_out = {one: unit for one, unit, epoch in before if epoch == "2025"}
        # A newcomer with a smaller id at every such mailbox.
        pipeline.execute(
            "insert into gold.dim_customer by name select distinct on (customer_id) d.* replace"
            " (-d.customer_key as customer_key, 'A' || d.customer_id as customer_id) from gold.dim_customer as d"
            " inner join gold.universal_holdout using (customer_id) where d.is_current and d.email is not null;"
            "insert into gold.customer_segment_history by name select h.* replace ('A' || h.customer_id as customer_id)"
            " from gold.customer_segment_history as h inner join gold.universal_holdout as held using (customer_id)"
            f" where h.snapshot_month = '{NOVEMBER}'"
        )
        # One moves to somebody's mailbox, who has a smaller id and is no newcomer; one has no address any more.
        moved, silent = sorted(held_out)[-1], sorted(held_out)[-2]
        [(host, address)] = pipeline.rows(
            "select customer_id, mailbox from silver.customer_contacts where mailbox is not null and customer_id not in"
            " (select customer_id from gold.universal_holdout) and customer_id like 'CUST%' order by 1 limit 1"
        )
        pipeline.execute(
            f"update gold.dim_customer set email = '{address}' where customer_id = '{moved}';"
            f"update gold.dim_customer set email = null where customer_id = '{silent}'"
        )
        universal_holdout(pipeline, NOVEMBER)
        found = dict(
            pipeline.rows(
                "select customer_id, holdout_unit from gold.universal_holdout where snapshot_month = '2025-11-01'"
            )
        )
        mailboxes = dict(pipeline.rows("select customer_id, mailbox from silver.customer_contacts"))
        ever = pipeline.rows("select mailbox, min(customer_id) from silver.customer_mailboxes group by 1")
        everybody = [one for (one,) in pipeline.rows(
            f"select customer_id from gold.customer_segment_history where snapshot_month = '{NOVEMBER}'"
        )]  # fmt: skip
    smallest, remembered = dict(ever), dict[str | None, str]()
    for customer, unit in held_out.items():
        if mailbox := mailboxes[customer]:
            remembered[mailbox] = min(unit, remembered.get(mailbox, unit))
    expected = {}
    for customer in everybody:
        mailbox = mailboxes.get(customer)
        drawn = held_out.get(customer) or smallest.get(mailbox, customer)
        unit = remembered.get(mailbox, drawn)
        if bucket("every campaign", unit, "2025") < UNIVERSAL["universal_holdout_pct"] * 100:
            expected[customer] = unit
    assert found == expected
    assert {moved, silent, host, *held_out} & set(everybody) <= set(found) and host in everybody
    newcomers = {one for one in everybody if one.startswith("A")}
    assert {f"A{one}" for one in held_out if mailboxes[one]} - {f"A{moved}"} <= set(found)
    # Those of the other year follow their own draw: a fifth of them is left out.
    others = newcomers - {f"A{one}" for one in held_out}
    assert 0 < len(others & set(found)) < len(others) / 2
