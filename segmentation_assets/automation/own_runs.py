"""Own runs: which runs, ticks and checks of a Dagster instance are this portfolio's.

An instance may hold other projects' runs, and jobs and months of the same names among them: those are never failed,
waited for, counted as a month's run or told of. Ours is a run of one of our jobs, or a run without a job of our assets
alone, in our code location; a run that was started outside of any (a command line's) says in a tag whose it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

import dagster as dg

from segmentation_assets.automation.jobs import monthly_segmentation
from segmentation_assets.dbt.translator import OF_MONTHS
from segmentation_assets.portfolio import PORTFOLIO, Portfolio

# What Dagster calls the job of a run that somebody started by choosing assets.
NO_JOB = "__ASSET_JOB"
FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dataclass(frozen=True)
class Location:
    """Where definitions are loaded from, as an instance names it."""

    code_location: str
    repository: str

    @classmethod
    def of_repository(cls, origin: Any) -> Self:
        return cls(origin.code_location_origin.location_name, origin.repository_name)


@dataclass(frozen=True)
class OwnRuns:
    portfolio: Portfolio
    jobs: frozenset[str]
    assets: frozenset[dg.AssetKey] = frozenset()
    # Checks that look at the months of their run: where a range run evaluates one once, it stands for each month.
    checks_of_months: frozenset[dg.AssetCheckKey] = frozenset()
    # Schedules and sensors.
    instigators: frozenset[str] = frozenset()
    # None outside of a code location, as in a command; there the tag alone decides.
    location: Location | None = None

    @classmethod
    def of(
        cls,
        portfolio: Portfolio,
        assets: Iterable[dg.AssetsDefinition | dg.AssetSpec],
        checks: Iterable[dg.AssetCheckSpec],
        jobs: Iterable[str],
        instigators: Iterable[str],
    ) -> Self:
        """Of a code location: what its definitions are."""
        return cls(
            portfolio,
            frozenset(jobs),
            frozenset(key for one in assets for key in ([one.key] if isinstance(one, dg.AssetSpec) else one.keys)),
            frozenset(spec.key for spec in checks if spec.partitions_def or OF_MONTHS in spec.metadata),
            frozenset(instigators),
        )

    @classmethod
    def of_commands(cls, portfolio: Portfolio) -> Self:
        return cls(portfolio, frozenset({monthly_segmentation, portfolio.name(monthly_segmentation)}))

    def at(self, context: dg.SensorEvaluationContext) -> Self:
        """As the tick of one of our sensors finds them."""
        origin = context.code_location_origin
        if origin is None or context.repository_name is None:
            return self
        return replace(self, location=Location(origin.location_name, context.repository_name))

    def owns(self, run: dg.DagsterRun) -> bool:
        if run.job_name.startswith(NO_JOB):
            chosen = self._chosen(run)
            return bool(chosen) and chosen <= self.assets and self._is_here(run)
        # A command knows no prefix: by the tables that it writes its run is ours all the same.
        if run.job_name in self.jobs:
            return self._is_here(run)
        return run.job_name == monthly_segmentation and PORTFOLIO in run.tags and self._is_here(run)

    def has_part_of(self, run: dg.DagsterRun) -> bool:
        """A run without a job of assets of which some are ours."""
        return run.job_name.startswith(NO_JOB) and bool(self._chosen(run) & self.assets) and self._is_here(run)

    def has_ticks_of(self, state: Any) -> bool:
        """Of a schedule's or sensor's state."""
        return state.instigator_name in self.instigators and (
            self.location is None or Location.of_repository(state.origin.repository_origin) == self.location
        )

    def _is_here(self, run: dg.DagsterRun) -> bool:
        origin = run.remote_job_origin
        if origin is None or self.location is None:
            return run.tags.get(PORTFOLIO) == self.portfolio.identity
        if Location.of_repository(origin.repository_origin) != self.location:
            return False
        # In our own location without a tag: started by a version before the tag, or without a job.
        return run.tags.get(PORTFOLIO, self.portfolio.identity) == self.portfolio.identity

    @staticmethod
    def _chosen(run: dg.DagsterRun) -> frozenset[dg.AssetKey]:
        checks = run.asset_check_selection or frozenset()
        return frozenset(run.asset_selection or ()) | {check.asset_key for check in checks}
