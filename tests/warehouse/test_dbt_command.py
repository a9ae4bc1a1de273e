"""dbt by hand: `segmentation dbt`, plain dbt under other rules, tests without months, and source freshness.

Locks out: a month computed under rules that nobody chose because dbt was started without them, a refusal that does not
say which rule it is about, arguments of dbt's that are changed on their way, `dbt test` that asks for months where none
matters, and bounds of freshness that cannot be set.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from segmentation_assets.dbt.project import Project, project_dir
from segmentation_assets.dbt.runner import close_connections
from segmentation_assets.settings import Settings, variables_set
from tests.support.command_line import in_process
from tests.support.published_months import NOVEMBER, OCTOBER, pipeline_at, published_tables
from tests.support.warehouse_fixture import Pipeline

SHIPPED = yaml.safe_load((project_dir() / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
STEEPER = [
    {**one, "criteria": [{"metric": "spend_change_pct", "at_most": -25}]} if one["name"] == "Declining" else one
    for one in SHIPPED["segments"]
]
# What a company's own rules file would say, and plain dbt does not know.
OTHERS = {"segments": STEEPER, "audits": {**SHIPPED["audits"], "thin_days_max": 5}}
NAME = "rules_are_those_of_the_last_publication"


class Plain:
    """dbt as somebody types it in the project of the rules, parsed once."""

    def __init__(self, folder: Path) -> None:
        self.project_dir = folder / "project"
        code, _, err = in_process(folder, "dbt-project", str(self.project_dir))
        assert code == 0, err
        self._folder, self._manifest = folder, None
        self._manifest = self("parse")[2]

    def __call__(self, *arguments: str, variables: Mapping[str, Any] | None = None) -> tuple[bool, str, Any]:
        """Whether it succeeded, what it said, and its result."""
        from dbt.cli.main import dbtRunner

        said: list[str] = []

        def listen(event: Any) -> None:
            if event.info.level != "debug":
                said.append(event.info.msg)

        settings = Settings.from_environment()
        with variables_set(settings.for_dbt()):
            close_connections()
            result = dbtRunner(manifest=self._manifest, callbacks=[listen]).invoke(
                [
                    "--log-level", "none", "--no-write-json", *arguments, "--project-dir", str(self.project_dir),
                    "--profiles-dir", str(self.project_dir), "--target-path", str(self._folder),
                    "--log-path", str(self._folder), "--vars", yaml.safe_dump(dict(variables or {})),
                ]
            )  # fmt: skip
            close_connections()
        return bool(result.success), "\n".join([*said, str(result.exception or "")]), result.result


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    return Plain(tmp_path_factory.mktemp("plain"))


def results(result: Any) -> dict[str, str]:
    """Of models and tests; dbt tells of its hooks in the same list."""
    return {
        one.node.name: str(one.status) for one in result.results if one.node.resource_type.value in ("model", "test")
    }


@pytest.mark.parametrize(
    "campaigns", [None, [{**one, "shows": []} for one in SHIPPED["campaigns"]]], ids=["dbt_models", "others"]
)
def test_plain_dbt_without_the_models_of_its_campaigns_says_what_to_do(
    campaigns: list[Any] | None, plain: Plain, tmp_path: Path
) -> None:
    from dbt.cli.main import dbtRunner

    folder, variables = (project_dir(), {}) if campaigns is None else (plain.project_dir, {"campaigns": campaigns})
    result = dbtRunner().invoke(
        [
            "--log-level", "none", "parse", "--project-dir", str(folder), "--profiles-dir", str(folder),
            "--target-path", str(tmp_path), "--log-path", str(tmp_path), "--vars", yaml.safe_dump(variables),
        ]
    )  # fmt: skip
    assert not result.success
    said = str(result.exception)
    assert "segmentation dbt-project FOLDER" in said
    wanted = "Run `segmentation dbt ...` in place" if campaigns is None else "made for the campaigns premium_rewards, "
    assert wanted in said


def test_plain_dbt_under_other_rules_is_refused_in_words(published: Pipeline, plain: Plain) -> None:
    before = published_tables(published), published.rows("select * from silver.customer_period_spend order by all")
    built, said, result = plain("build", variables={**OTHERS, "first_month": str(NOVEMBER)})
    assert not built
    assert results(result)[NAME] == "error"
    # The month was not computed: all that reads the facts is skipped.
    for table in ("customer_period_spend", "segment_assignments", "customer_segment_history", "segment_summary"):
        assert results(result)[table] == "skipped"
    for words in (
        "(2025-11-01, version 1)",
        'segments.Declining: {"criteria": [{"at_most": -25, "metric": "spend_change_pct"}]',
        "audits.thin_days_max: 5 (published: 2)",
        "Run `segmentation dbt ...` in place of `dbt ...`",
        "`make month MONTH=...` publishes under them",
    ):
        assert words in said, said
    assert "Budget-Conscious" not in said and "approved_statuses" not in said
    # Without the test among what is selected, and without tests, the run does not begin.
    for arguments in (["build", "--select", "segment_summary"], ["run", "--select", "segment_assignments"]):
        succeeded, said, _ = plain(*arguments, variables={**OTHERS, "first_month": str(NOVEMBER)})
        assert not succeeded
        assert f"{NAME}: the rules that dbt was given differ" in said
    assert before == (
        published_tables(published), published.rows("select * from silver.customer_period_spend order by all"),
    )  # fmt: skip
    succeeded, said, _ = plain("test", "--select", NAME, variables=OTHERS)
    assert not succeeded and "audits.thin_days_max: 5 (published: 2)" in said


@pytest.mark.usefixtures("published")
def test_plain_dbt_under_the_same_rules_goes_on(plain: Plain) -> None:
    succeeded, said, _ = plain("run", "--select", "segment_summary", variables={"first_month": str(NOVEMBER)})
    assert succeeded, said
    succeeded, said, result = plain("test", "--select", NAME)
    assert succeeded and results(result) == {NAME: "pass"}, said


def test_a_log_of_an_earlier_version_is_compared_as_far_as_it_tells(published: Pipeline, plain: Plain) -> None:
    published.execute("update gold.segment_publications set decision_hash = null")
    succeeded, said, _ = plain("test", "--select", NAME, variables={"audits": OTHERS["audits"]})
    assert succeeded, said
    succeeded, said, _ = plain("test", "--select", NAME, variables=OTHERS)
    assert not succeeded and "(2025-11-01, version 1): segments or category_groups." in said


def test_a_clone_of_another_state_is_refused(published: Pipeline, plain: Plain) -> None:
    """By dbt itself it drops the history for a view of the other one; here the other one is the same."""
    kinds = "select table_name, table_type from information_schema.tables order by all"
    before = published_tables(published), published.rows(kinds)
    state = str(Project.load().manifest_path.parent)
    for flags in ([], ["--full-refresh"]):
        succeeded, said, _ = plain("clone", "--state", state, "--select", "customer_segment_history", *flags)
        assert not succeeded
        assert "dbt clone would put another state's table in place of" in said, said
        assert "so nothing was cloned" in said
    code, _, err = segmentation(published, "clone", "--state", state, "--full-refresh")
    assert code == 2
    assert err.startswith("error: dbt clone would put another state's tables in place of published ones")
    assert (published_tables(published), published.rows(kinds)) == before


def test_tests_need_no_months(published: Pipeline, plain: Plain) -> None:
    """Where a month matters, the newest published one is looked at."""
    published.execute(f"delete from gold.segment_summary where snapshot_month = '{OCTOBER}'")
    looked_at = (
        "every_fact_is_loaded_once", "one_row_per_month_and_segment", "one_row_per_month_and_version",
        "segment_summary_adds_up_to_the_history", "unique_customer_segments_customer_id",
    )  # fmt: skip
    succeeded, said, result = plain("test", "--select", *looked_at)
    assert succeeded and results(result) == dict.fromkeys(looked_at, "pass"), said
    assert "tests of months look at the newest published one, 2025-11-01" in said
    published.execute("delete from gold.segment_summary")
    succeeded, said, result = plain("test", "--select", "segment_summary_adds_up_to_the_history")
    assert not succeeded and results(result) == {"segment_summary_adds_up_to_the_history": "fail"}


def test_where_nothing_is_published_only_what_needs_no_month_is_tested(pipeline: Pipeline, plain: Plain) -> None:
    pipeline.execute(
        "create schema gold;"
        " create table gold.dim_merchant_category as select 1 as category_key, 'Gas' as category_name;"
        " create table gold.fct_transactions as select 1 as transaction_key, date '2025-11-01' as transaction_date"
    )
    succeeded, said, result = plain("test", "--select", "every_category_has_a_key", "every_fact_is_loaded_once")
    assert not succeeded
    assert results(result) == {"every_category_has_a_key": "pass", "every_fact_is_loaded_once": "error"}
    assert "Say which months" in said and "Nothing is published" in said


def segmentation(pipeline: Pipeline, *arguments: str, **given: str) -> tuple[int, str, str]:
    return in_process(pipeline.path.parent, "dbt", *arguments, SEGMENTATION_DUCKDB_PATH=str(pipeline.path), **given)


def test_the_command_takes_dbts_words_as_they_are(published: Pipeline) -> None:
    published.execute("delete from gold.segment_summary")
    code, out, err = segmentation(
        published,
        "--first",
        "2025-10",
        "--last",
        "2025-11-30",
        "--no-use-colors",
        "build",
        "--select",
        "segment_summary",
    )
    assert code == 0, (out, err)
    assert "PASS segment_summary_adds_up_to_the_history" in out
    assert published.rows("select distinct snapshot_month from gold.segment_summary order by 1") == [
        (OCTOBER,), (NOVEMBER,),
    ]  # fmt: skip
    # Without months: the newest that is published. The command hands dbt's own vars on, beside those of the rules.
    published.execute("delete from gold.segment_summary")
    code, out, err = segmentation(published, "run", "--select", "segment_summary", "--vars", "{run_id: by-hand}")
    assert code == 0, (out, err)
    assert "The month is 2025-11-01, the newest that is published" in err
    assert published.rows("select distinct snapshot_month from gold.segment_summary") == [(NOVEMBER,)]
    published.execute("delete from gold.segment_summary")
    code, out, err = segmentation(published, "run", "-s", "segment_summary", "--vars={first_month: 2025-10-01}")
    assert (code, err) == (0, ""), (out, err)
    assert published.rows("select distinct snapshot_month from gold.segment_summary") == [(OCTOBER,)]
    # A test that fails is dbt's exit code 1.
    code, out, err = segmentation(published, "test", "--select", "segment_summary_adds_up_to_the_history")
    assert code == 1 and "FAIL" in out, (out, err)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["biuld"], "error: No such command 'biuld'. (dbt biuld)"),
        (["run", "--selct", "x"], "error: No such option '--selct'. (dbt run --selct x)"),
        (["run", "--vars", "x"], "error: --vars is 'x'; it has to be a YAML map, as '{first_month: 2025-11-01}'."),
        (
            ["run", "--vars", "{audits: {}, segments: []}"],
            "error: --vars names audits, segments, which are of the rules: they come from the file of"
            " SEGMENTATION_RULES, which is checked. Write it there.",
        ),
        (
            ["--month", "2025-11", "--last", "2025-12", "run"],
            "error: --month is '2025-11', and --first or --last is given too; give one month or a range.",
        ),
        (["--first", "2025-11", "run"], "error: --last is missing; a range has both."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_is_one_line(published: Pipeline, arguments: Sequence[str], told: str) -> None:
    code, _, err = segmentation(published, *arguments)
    assert code == 2
    assert err.splitlines()[-1] == told


@pytest.fixture(scope="module")
def other_rules(published_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pipeline, str]]:
    """November published once more, under a company's own rules by the command."""
    folder = tmp_path_factory.mktemp("other_rules")
    file = folder / "rules.yml"
    file.write_text(
        yaml.safe_dump({**OTHERS, "freshness": {"warn_after_days": 1, "error_after_days": 100_000}}), encoding="utf-8"
    )
    with pipeline_at(folder / "segmentation.duckdb", published_file) as pipeline:
        yield pipeline, str(file)


def test_the_command_passes_the_rules(other_rules: tuple[Pipeline, str], plain: Plain) -> None:
    pipeline, rules = other_rules
    models = "path:models/metrics path:models/segments"
    code, out, err = segmentation(
        pipeline, "--month", "2025-11", "run", "--select", *models.split(), SEGMENTATION_RULES=rules
    )
    assert code == 0, (out, err)
    assert pipeline.rows("select snapshot_month from gold.segment_publications where version = 2") == [(NOVEMBER,)]
    # Plain dbt, with the rules that ship, is the other one now.
    succeeded, said, _ = plain("test", "--select", NAME)
    assert not succeeded and "audits.thin_days_max: 2 (published: 5)" in said


def test_facts_that_are_old_are_stale_by_bounds_that_can_be_set(
    published: Pipeline, other_rules: tuple[Pipeline, str]
) -> None:
    """The facts end in November 2025."""
    code, out, _ = segmentation(published, "source", "freshness")
    assert code == 1 and "ERROR STALE freshness of star_schema.fct_transactions" in out
    pipeline, rules = other_rules
    code, out, _ = segmentation(pipeline, "source", "freshness", SEGMENTATION_RULES=rules)
    assert code == 0 and "WARN freshness of star_schema.fct_transactions" in out
    # A post-dated fact is no sign of a load; one of today is.
    fact = (
        "insert into gold.fct_transactions by name (select * replace (cast({} as date) as transaction_date)"
        " from gold.fct_transactions limit 1)"
    )
    pipeline.execute(fact.format("current_date + 30"))
    code, out, _ = segmentation(pipeline, "source", "freshness", SEGMENTATION_RULES=rules)
    assert code == 0 and "WARN freshness" in out
    pipeline.execute(fact.format("current_date"))
    code, out, _ = segmentation(pipeline, "source", "freshness", SEGMENTATION_RULES=rules)
    assert code == 0 and "PASS freshness" in out
