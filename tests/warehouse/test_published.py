"""Whether a table was made from the months as they are published now.

Locks out: lists, summaries and reports of one version of a month beside another version, where the two have the same
number of customers in every segment.
"""

from datetime import date
from pathlib import Path

import pytest

from segmentation_assets.dbt.project import Project
from segmentation_assets.exports.audience import read_audience
from segmentation_assets.exports.store import ExportError
from segmentation_assets.publication import published
from segmentation_assets.settings import Settings
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.published_months import CANDIDATE_AND_PUBLISHED, NO_TESTS, NOVEMBER, OCTOBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline

RULES = Project.load().rules
LISTS = tuple(f"audience_{campaign.name}" for campaign in RULES.campaigns)
# Of different segments in November and on no list, so that no list holds either of them.
TWO_CUSTOMERS = f"""
    select arg_min(customer_id, customer_id), min(customer_segment)
    from gold.customer_segment_history
    where snapshot_month = '{NOVEMBER}'
        and customer_id in (select customer_id from gold.audience_exclusions where snapshot_month = '{NOVEMBER}')
        and customer_id in (select customer_id from gold.customer_segment_history where snapshot_month = '2025-09-01')
        and customer_id in (select customer_id from gold.dim_customer group by 1 having count(*) = 1)
    group by customer_segment order by customer_segment limit 2
"""
COUNTS = (
    f"select customer_segment, customers, total_lifetime_value from gold.segment_summary"
    f" where snapshot_month = '{NOVEMBER}' order by all"
)


def current(pipeline: Pipeline, month: date) -> dict[str, bool]:
    with DuckDBWarehouse(path=str(pipeline.path)).session(read_only=True) as session:
        tables = ("segment_summary", "segment_transitions", "audience_waterfall", *LISTS)
        outdated = published.outdated(session, tables, month, may_be_empty=LISTS)
        return {table: table not in outdated for table in tables}


def test_another_version_with_the_same_counts_is_another_version(audiences_file: Path, tmp_path: Path) -> None:
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", audiences_file) as pipeline:
        assert set(current(pipeline, NOVEMBER).values()) == {True}
        counts = pipeline.rows(COUNTS)
        (one, segment), (other, another) = pipeline.rows(TWO_CUSTOMERS)
        assert segment != another
        # All that the one ever did was done by the other.
        pipeline.execute(
            f"update gold.dim_customer set customer_id = if(customer_id = '{one}', '{other}', '{one}')"
            f" where customer_id in ('{one}', '{other}')"
        )
        pipeline.execute("delete from silver.customer_period_spend")
        succeeded, said = pipeline.dbt(NOVEMBER, select=CANDIDATE_AND_PUBLISHED, arguments=NO_TESTS)
        assert succeeded, said
        assert pipeline.rows(COUNTS) == counts, "the two versions cannot be told apart by what they count"
        assert current(pipeline, NOVEMBER) == {
            "segment_summary": True, "segment_transitions": True, "audience_waterfall": False,
            **dict.fromkeys(LISTS, False),
        }  # fmt: skip
        assert set(current(pipeline, OCTOBER).values()) == {True}, "that month was not published again"
        with DuckDBWarehouse(path=str(pipeline.path)).session(read_only=True) as session:
            for campaign in RULES.campaigns:
                with pytest.raises(ExportError, match=f"{NOVEMBER}, was not made from the month as it is published"):
                    read_audience(session, campaign, NOVEMBER, StarSchema(session, Settings.from_environment(), RULES))
        succeeded, said = pipeline.dbt(NOVEMBER, select="path:models/audiences", arguments=NO_TESTS)
        assert succeeded, said
        assert set(current(pipeline, NOVEMBER).values()) == {True}
        # The month before, published again alone, is no longer the one that November's transitions start from.
        pipeline.execute(
            "insert into gold.segment_publications by name (select * replace (version + 1 as version, 'x' as"
            f" content_hash) from gold.segment_publications where snapshot_month = '{OCTOBER}')"
        )
        assert [table for table, is_current in current(pipeline, NOVEMBER).items() if not is_current] == [
            "segment_transitions"
        ]


def test_months_are_asked_for_in_order_and_the_nearest_are_named(pipeline: Pipeline) -> None:
    pipeline.execute("create schema gold")
    with DuckDBWarehouse(path=str(pipeline.path)).session() as session:
        assert published.months(session) == []
        assert published.newest_version(session, NOVEMBER) is None
        with pytest.raises(published.NotPublishedError, match=r"^Nothing has been published yet: run `make run` first"):
            published.required_months(session)
        session.execute("create table gold.segment_publications (snapshot_month date, version integer)")
        with pytest.raises(published.NotPublishedError, match=r"^No month is published: publish one first"):
            published.required_months(session)
        session.execute(
            "insert into gold.segment_publications values"
            " ('2025-11-01', 1), ('2025-09-01', 1), ('2025-11-01', 2), ('2025-06-01', 1), ('2025-07-01', 3)"
        )
        assert [month.month for month in published.months(session)] == [6, 7, 9, 11]
        assert published.versions(session)[NOVEMBER] == 2
        assert published.missing(session, [NOVEMBER, OCTOBER]) == [OCTOBER]
        with pytest.raises(published.NotPublishedError) as refused:
            published.require(session, [NOVEMBER, OCTOBER])
    assert str(refused.value) == (
        "Month 2025-10-01 is not published; the nearest that are: 2025-07-01, 2025-09-01, 2025-11-01."
    )
