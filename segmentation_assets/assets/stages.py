"""The dbt models as assets, in five builds: staging, the candidate month, what is published, audiences and insights.

Several builds, because the checks of the candidate stand between it and publication (write-audit-publish); a table says
what each build selects and what is asked before and after it. The gate itself is in the warehouse.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import dagster as dg
from dagster_dbt import DbtProject, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from segmentation_assets.assets import checks
from segmentation_assets.assets.materializations import MaterializationNumbers
from segmentation_assets.assets.star_schema import check_source
from segmentation_assets.dbt.project import Project, project_dir
from segmentation_assets.dbt.runner import DagsterEvent, DbtBuild, InProcessDbt, Shown
from segmentation_assets.dbt.translator import SegmentationTranslator
from segmentation_assets.errors import as_failure
from segmentation_assets.months import MonthRange, rollup_from
from segmentation_assets.partitions import monthly_partitions
from segmentation_assets.publication import rollup
from segmentation_assets.publication.gate import refuse_blocked_audiences, refuse_empty_audiences, refuse_unpublished
from segmentation_assets.publication.migration import bring_up_to_date
from segmentation_assets.sources import contract
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.warehouse.session import Warehouse

_latest_checked: dict[str, str] = {}  # of a database and project, the run whose source was found to be whole

# Asks the warehouse something about the months, and raises dg.Failure where the build has to end.
Question = Callable[[Warehouse, MonthRange], None]


# Decides what else dbt is told, by looking; raises dg.Failure where the build has to end.
Planner = Callable[[dg.AssetExecutionContext, Warehouse, MonthRange], Mapping[str, Any]]


def refuse_broken_source(project: Project, warehouse: Warehouse, months: MonthRange | None = None) -> None:
    """Fail before anything is computed. Before the views and before the candidate: either may run alone."""
    ranges = [(months.first, months.as_of)] if months else []
    with as_failure():
        check_source(warehouse, project, ranges, reads_facts=bool(ranges))


def refuse_broken_source_once(
    project: Project, context: dg.AssetExecutionContext, warehouse: Warehouse, months: MonthRange
) -> Mapping[str, Any]:
    """But for its facts, of which dbt's tests look at those of the run: not where an earlier step of the run has in
    this process. Either step may run alone."""
    del months
    place = str((warehouse, project.manifest_path))
    if _latest_checked.get(place) != context.run.run_id:
        refuse_broken_source(project, warehouse)
        _latest_checked[place] = context.run.run_id
    return {}


def plan_rollup(
    project: Project, context: dg.AssetExecutionContext, warehouse: Warehouse, months: MonthRange
) -> Mapping[str, Any]:
    """Which months beside the asked ones are rolled up anew; the facts of all of them are checked."""
    refuse_broken_source_once(project, context, warehouse, months)
    with warehouse.session() as session:
        plan = rollup.plan(session, project.rules, months, rollup_from(context.run))
        with as_failure():
            contract.check_facts(StarSchema(session, project.settings, project.rules), plan.ranges)
    if plan.changed:
        context.log.info(f"Rolled up anew, as their facts changed: {', '.join(map(str, plan.changed))}.")
    return plan.variables()


@dataclass(frozen=True)
class Stage:
    """One build of dbt models."""

    name: str
    select: str
    before: Question | None = None
    plan: Planner | None = None
    # What failed dbt may be a refusal that can be said in words; where it is not, dbt's own error speaks for itself.
    on_failure: Question | None = None
    after: Question | None = None
    is_monthly: bool = True


def stages(project: Project) -> tuple[Stage, ...]:
    def source_is_whole(warehouse: Warehouse, months: MonthRange) -> None:
        refuse_broken_source(project, warehouse, months)

    return (
        # A broken contract also fails tests of the facts.
        Stage(
            "staging",
            "path:models/staging",
            plan=partial(refuse_broken_source_once, project),
            on_failure=source_is_whole,
            is_monthly=False,
        ),
        Stage(
            "candidate",
            "path:models/metrics config.group:segments_candidate",
            plan=partial(plan_rollup, project),
        ),
        # What the gate holds back also fails a dbt test.
        Stage(
            "publication",
            "config.group:segments_published",
            on_failure=partial(refuse_unpublished, project.rules),
            after=partial(refuse_unpublished, project.rules),
        ),
        Stage(
            "audiences",
            "path:models/audiences",
            before=refuse_empty_audiences,
            on_failure=refuse_blocked_audiences,
        ),
        Stage("insights", "path:models/insights"),
    )


def dbt_asset_definitions(project: Project) -> list[dg.AssetsDefinition]:
    return [assets_of(stage, project) for stage in stages(project)]


def assets_of(stage: Stage, project: Project) -> dg.AssetsDefinition:
    portfolio, translator = project.portfolio, SegmentationTranslator(project, is_monthly=stage.is_monthly)

    @dbt_assets(
        manifest=project.manifest_path,
        project=DbtProject(project_dir()),
        dagster_dbt_translator=translator,
        name=portfolio.name(f"segmentation_{stage.name}"),
        select=stage.select,
        partitions_def=monthly_partitions(project.settings) if stage.is_monthly else None,
        backfill_policy=dg.BackfillPolicy.single_run() if stage.is_monthly else None,
        required_resource_keys=portfolio.resource_keys("dbt", "warehouse"),
        pool=portfolio.pool,
    )
    def build_stage(context: dg.AssetExecutionContext) -> Iterator[Any]:
        dbt, warehouse = portfolio.resource(context, "dbt"), portfolio.resource(context, "warehouse")
        yield from run(stage, context, dbt, warehouse, translator)

    return build_stage


def run(
    stage: Stage,
    context: dg.AssetExecutionContext,
    dbt: InProcessDbt,
    warehouse: Warehouse,
    translator: SegmentationTranslator,
) -> Iterator[Any]:
    months = months_of(stage, context)
    if stage.before:
        stage.before(warehouse, months)
    variables = stage.plan(context, warehouse, months) if stage.plan else {}
    try:
        yield from build(context, dbt, warehouse, translator, months, variables)
    except DagsterDbtCliRuntimeError:
        if stage.on_failure:
            stage.on_failure(warehouse, months)
        raise
    if stage.after:
        stage.after(warehouse, months)


def months_of(stage: Stage, context: dg.AssetExecutionContext) -> MonthRange:
    """Those asked for. The views of staging know no month, but the tests of the facts look at those of the run; without
    any, as when the views are materialised alone, there is nothing to look at."""
    if stage.is_monthly:
        return MonthRange.from_context(context)
    return MonthRange.from_run(context.run) or MonthRange.single(date(2000, 1, 1))


def build(
    context: dg.AssetExecutionContext,
    dbt: InProcessDbt,
    warehouse: Warehouse,
    translator: SegmentationTranslator,
    months: MonthRange,
    variables: Mapping[str, Any],
) -> Iterator[Any]:
    """The build's events in the order they happen, with what the tables hold on the assets they are about."""

    def prepare() -> Shown:
        with as_failure():
            return bring_up_to_date(warehouse, translator.project, context.run.run_id)

    with dbt.build(context, warehouse, months, translator, variables=variables, prepare=prepare) as built:
        numbers = MaterializationNumbers(context, built.rows, translator.project, months)
        for events in built.batches(warehouse.events_held_seconds):
            numbers.count([built.model_of(event) for event in events if isinstance(event, dg.Output)])
            for event in events:
                yield from shown(event, context, numbers, built, months)


def shown(
    event: DagsterEvent,
    context: dg.AssetExecutionContext,
    numbers: MaterializationNumbers,
    built: DbtBuild,
    months: MonthRange,
) -> Iterator[Any]:
    if isinstance(event, dg.Output):
        yield from numbers.put_on(event, built.model_of(event))
        return
    if not isinstance(event, dg.AssetCheckResult):
        yield event
        return
    key = check_key(event)
    # Tests of the star schema run with the views on it. Where those alone were asked for, Dagster would warn of
    # a result that nobody selected; as an evaluation it is stored just the same.
    yield event if key in context.selected_asset_check_keys else checks.evaluation(event)
    if not months.is_single and context.assets_def.get_spec_for_check_key(key).partitions_def is not None:
        checks.record_on_months(context.op_execution_context, event, months)


def check_key(result: dg.AssetCheckResult) -> dg.AssetCheckKey:
    assert result.asset_key is not None and result.check_name is not None
    return dg.AssetCheckKey(result.asset_key, result.check_name)
