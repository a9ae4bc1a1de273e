"""What a person sees when the database, the facts or the month is not as it should be: `segmentation month`.

Locks out: a traceback or a page of dbt's in place of one line that says what is wrong, found where, and what to do; bad
input that is published in silence, such as facts loaded twice; and published tables that a refused run has touched.
Settings that are mistyped, and files that are no database, are in test_cli_mistakes.py; disks in test_disks.py.
"""

import re
import shutil
from datetime import date
from pathlib import Path

import duckdb
import pytest

from tests.support.command_line import in_process
from tests.support.november import SETTINGS, database, published
from tests.support.published_months import CANDIDATE_AND_PUBLISHED, NO_TESTS, NOVEMBER, pipeline_at

REFUSED = "The star schema in schema 'gold' breaks the source contract; nothing was computed."
# What stands around the reason of a failure: where it failed, what is published, what to do next.
AROUND = ("The run failed", "Published before", "Next: ")
OTHER_VERSION = "error: The database was made by another version of this pipeline: "


def _never_null(column: str, kind: str) -> str:
    """A column of somebody's own that no insert of ours could leave away: one that may be NULL stays, and is left."""
    changed = f"alter table gold.segment_summary alter {column}"
    return (
        f"alter table gold.segment_summary add column {column} {kind} default 0; {changed} set not null;"
        f" {changed} drop default"
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(
            "alter table gold.segment_summary drop column share_pct",
            r"out of sync.*Source columns not in target: \[.*share_pct",
            id="one too few",
        ),
        pytest.param(
            "alter table gold.segment_summary alter share_pct type decimal(20, 2)",
            r"out of sync.*New column types: \[.*share_pct",
            id="of another type",
        ),
        pytest.param(
            "alter table gold.segment_publications drop column content_hash",
            r"segment_publications.*content_hash",
            id="a log with one too few",
        ),
    ],
)
def test_plain_dbt_names_the_column_that_is_in_the_way(november: Path, tmp_path: Path, change: str, told: str) -> None:
    shutil.copy(november, tmp_path / "segmentation.duckdb")
    with pipeline_at(tmp_path / "segmentation.duckdb") as pipeline:
        pipeline.execute(change)
        before = published(pipeline.path)
        succeeded, said = pipeline.dbt(NOVEMBER, select=CANDIDATE_AND_PUBLISHED, arguments=NO_TESTS)
        assert not succeeded
        assert re.search(told, " ".join(said), re.DOTALL), said
        assert published(pipeline.path) == before


@pytest.mark.parametrize(
    ("breakage", "month", "given", "told"),
    [
        pytest.param(
            "", "2023-12-01", {}, "error: Month 2023-12-01 cannot be computed: the months on offer are 2024-01-01 to ",
            id="a month before the start",
        ),
        pytest.param(
            "", "2025-10-01", {"SEGMENTATION_START_MONTH": "2025-11-01"},
            "error: Month 2025-10-01 cannot be computed: the months on offer are 2025-11-01 to ",
            id="a month before the start that was set",
        ),
        pytest.param(
            "", "2025-11-01", {"SEGMENTATION_RULES": "absent.yml"},
            "error: absent.yml: cannot be read (No such file or directory); correct the path or the file's permissions",
            id="no rules file",
        ),
        pytest.param(
            "alter table gold.customer_segment_history drop column is_active", "2025-11-01", {},
            OTHER_VERSION + "gold.customer_segment_history lacks column is_active. Nothing was computed. Use the",
            id="an older database",
        ),
        pytest.param(
            _never_null("median_value", "double"), "2025-11-01", {},
            OTHER_VERSION + "gold.segment_summary has the unknown column median_value, which may not be NULL and has no"
            " default. Nothing was computed. Use the",
            id="a newer database",
        ),
        pytest.param(
            "alter table gold.segment_publications drop column content_hash", "2025-11-01", {},
            OTHER_VERSION + "gold.segment_publications lacks column content_hash. Nothing was computed. Use the",
            id="an older log",
        ),
    ],
)  # fmt: skip
def test_what_is_seen_before_a_run_is_one_line_and_no_run(
    folder: Path, breakage: str, month: str, given: dict[str, str], told: str
) -> None:
    if breakage:
        with duckdb.connect(str(database(folder))) as connection:
            connection.execute(breakage)
    before = published(database(folder))
    code, out, err = in_process(folder, "month", month, **SETTINGS, **given)
    assert (code, out) == (2, ""), out + err
    (line,) = err.splitlines()
    assert line.startswith(told)
    assert published(database(folder)) == before
    assert not (folder / ".dagster" / "history").exists(), "a run was started"


@pytest.mark.parametrize(
    ("breakage", "told"),
    [
        pytest.param(
            "update gold.fct_transactions set customer_key = null where transaction_key < 4",
            "- fct_transactions.customer_key: expected a value in every row, found NULL in 3 of 685 rows.",
            id="NULL customers",
        ),
        pytest.param(
            "update gold.fct_transactions set transaction_key = null where transaction_key in"
            " (select transaction_key from gold.fct_transactions where transaction_date >= '2025-11-01' limit 2)",
            "- fct_transactions.transaction_key: expected a value in every row, found NULL in 2 of 330 rows"
            " of 2025-11-01; fill them at the source.",
            id="NULL keys",
        ),
        pytest.param(
            "insert into gold.fct_transactions select * from gold.fct_transactions"
            " where transaction_date >= '2025-11-01' limit 3",
            "- fct_transactions.transaction_key: expected a key of its own in every row, found 330 keys in 333 rows"
            " of 2025-11-01; remove the rows that were loaded twice.",
            id="facts that are there twice",
        ),
        pytest.param(
            "alter table gold.fct_transactions alter transaction_amount set data type varchar",
            "- fct_transactions.transaction_amount: expected DECIMAL, found VARCHAR.",
            id="amounts as text",
        ),
    ],
)
def test_facts_that_break_the_contract_are_named_in_one_line(folder: Path, breakage: str, told: str) -> None:
    with duckdb.connect(str(database(folder))) as connection:
        connection.execute(breakage)
    before = published(database(folder))
    code, out, err = in_process(folder, "month", "2025-11-01", **SETTINGS)
    assert code == 1, out + err
    said = [line for line in err.splitlines() if line and not line.startswith(AROUND)]
    assert said == [REFUSED, told]
    assert published(database(folder)) == before


def test_a_month_without_facts_keeps_its_version_and_is_told_in_words(folder: Path) -> None:
    with duckdb.connect(str(database(folder))) as connection:
        connection.execute("delete from gold.fct_transactions where transaction_date >= '2025-11-01'")
    before = published(database(folder))
    code, out, err = in_process(folder, "month", str(date(2025, 11, 1)), **SETTINGS)
    assert code == 1, out + err
    assert "Not published: 2025-11-01. Each keeps its last published version, if it has one." in err
    # Declining customers bought last on 24 August: 100 days before the as-of date.
    assert (
        "- 2025-11-01: facts_reach_the_end_of_the_month: 99 days without facts before the as-of date (allowed: 0).\n"
    ) in err
    assert "The load of the last days has not arrived. Wait for it, then run the month again." in err
    for noise in ("Traceback", "DagsterAssetCheckFailedError"):
        assert noise not in out + err
    assert published(database(folder)) == before


def test_exports_that_cannot_be_written_leave_the_month_published_and_say_what_did_not_follow(folder: Path) -> None:
    """A failure behind publication is none of publication: the month's version stands, and its files are missing."""
    before = published(database(folder))
    (folder / "no-folder").write_text("")
    nowhere = {**SETTINGS, "SEGMENTATION_EXPORT_URI": str(folder / "no-folder" / "exports")}
    code, out, err = in_process(folder, "month", "2025-11-01", **nowhere)
    assert code == 1, out + err
    assert "exports: 0 of 5 campaigns" in out
    assert "The published tables are as they were" not in err
    first = err.strip().splitlines()[0]
    assert re.fullmatch(r"The run failed in export_\w+ and 5 steps more after \d+ s\.", first), err
    assert len(re.findall("Not a directory", err)) == 1, "told once"
    *_, standing, missing, following = err.splitlines()
    assert re.fullmatch(r"Published before and unchanged: 2025-11-01 \(version \d\)\.", standing), err
    assert missing.startswith("Did not follow: export_churn_prevention, ") and missing.endswith(", segment_report.")
    assert following == "Next: mend the cause, then make month MONTH=2025-11-01. Details: make ui"
    after = published(database(folder))
    assert {name: after[name] for name in before} == before
