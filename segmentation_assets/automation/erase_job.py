"""Job that erases people, as `make erase` does. The ids come from a file, for Dagster keeps what a run was given."""

from typing import Any

import dagster as dg
from pydantic import Field

from segmentation_assets.automation.dead_runs import in_process_with_lock
from segmentation_assets.dbt.project import Project
from segmentation_assets.errors import as_failure
from segmentation_assets.privacy.erase import asked, erase
from segmentation_assets.warehouse.session import warehouse

ERASE = "segmentation_erase"


class EraseConfig(dg.Config):
    file: str = Field(
        description="A file that the run's process can read, with one customer_id a line. Remove it afterwards."
    )


def erase_job(project: Project, further_of_copies: dict[str, Any]) -> dg.JobDefinition:
    """`further_of_copies` is what a copy for readers holds beside the models."""
    portfolio = project.portfolio

    @dg.op(
        name=portfolio.name("segmentation_erase_people"),
        pool=portfolio.pool,
        description="Removes people from every table, file, log and store; published totals stay.",
    )
    def erase_people(context: dg.OpExecutionContext, config: EraseConfig) -> None:
        # A warehouse of its own: the run's keeps the DuckDB file open, which is written anew here.
        with as_failure():
            done = erase(
                project,
                warehouse(project.settings),
                asked("", config.file),
                context.log.info,
                context.instance,
                further_of_copies,
            )
        lines = list(done.lines())
        for line in lines:
            context.log.info(line)
        context.add_output_metadata({"customers": done.customers, "removed": dg.MetadataValue.md("\n".join(lines))})

    @dg.job(
        name=portfolio.name(ERASE),
        description="Erase the people of a file from all that this pipeline wrote; no backfill brings them back.",
        executor_def=in_process_with_lock,
        tags=portfolio.tags,
    )
    def job() -> None:
        erase_people()

    return job
