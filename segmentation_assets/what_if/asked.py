"""Which months a what-if is about: published ones, and closed ones that the facts cover, published or not."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

from segmentation_assets.dbt.project import Project
from segmentation_assets.dbt.runner import run_models
from segmentation_assets.months import MonthRange, as_of_date, last_closed_month, month_after, parse_month
from segmentation_assets.publication import published
from segmentation_assets.publication.published import NotPublishedError
from segmentation_assets.rules.edits import WhatIfError
from segmentation_assets.rules.load import Rules
from segmentation_assets.sources.star_schema import FACTS, StarSchema
from segmentation_assets.warehouse.session import Session, Warehouse

# The two windows of a month, before its as-of date.
WINDOWS = timedelta(days=180)


@dataclass(frozen=True)
class Typed:
    """The months as a person typed them, both included; None where nothing was typed."""

    first: date | None
    last: date | None


def typed(first: str, last: str, first_name: str, last_name: str) -> Typed:
    """Raises WhatIfError and MonthError, which call the months by the two names."""
    if last and not first:
        raise WhatIfError(f"{last_name} is {last!r}, but {first_name} is not given; give both.")
    start = parse_month(first, first_name) if first else None
    end = parse_month(last, last_name) if last else None
    if start and end and end < start:
        raise WhatIfError(f"{last_name} {end} lies before {first_name} {start}; give them the other way round.")
    return Typed(start, end)


@dataclass(frozen=True)
class Facts:
    """What of the approved facts there is before the newest closed month ends."""

    first: date | None  # the day of the earliest one
    last: date | None
    may_end_days_early: int  # how many days of a month's end may lack facts

    @cached_property
    def covered(self) -> MonthRange | None:
        """The closed months that the facts reach the end of; None where there is not one."""
        if self.first is None or self.last is None:
            return None
        first, last = self.first.replace(day=1), self.last.replace(day=1)
        if (as_of_date(last) - self.last).days - 1 > self.may_end_days_early:
            last = month_after(last, -1)
        return MonthRange(first, last) if first <= last else None

    @property
    def with_whole_windows(self) -> MonthRange | None:
        """Those of the covered months both of whose windows lie within the facts."""
        if self.covered is None or self.first is None:
            return None
        whole = [month for month in self.covered if as_of_date(month) - WINDOWS >= self.first]
        return MonthRange.around(whole)

    def __str__(self) -> str:
        if self.first is None:
            return "there are no approved facts"
        return f"the approved facts begin on {self.first} and end on {self.last}"


def facts_of(project: Project, warehouse: Warehouse, prefix: str, rules: Rules) -> Facts:
    """As the views of staging under the rules have them; these are made in the schemas of the what-if.

    Raises NotPublishedError where there is no source, and DbtRunError.
    """
    closed = last_closed_month()
    with warehouse.session() as session:
        _require_source(session, project, rules)
    with tempfile.TemporaryDirectory(prefix="what_if_") as folder:
        variables = {**rules.dbt_vars(), **MonthRange.single(closed).dbt_vars()}
        run_models(project, warehouse, ["path:models/staging"], variables, prefix, Path(folder))
    with warehouse.session(read_only=True) as session:
        (found,) = session.rows(
            "select min(transaction_date) as earliest, max(transaction_date) as newest"
            f" from {prefix}{session.silver}.stg_transactions where transaction_date < ?",
            (as_of_date(closed),),
        )
    days = [found[name] and date.fromisoformat(str(found[name])[:10]) for name in ("earliest", "newest")]
    return Facts(days[0], days[1], rules.audits.facts_may_end_days_early)


def _require_source(session: Session, project: Project, rules: Rules) -> None:
    star = StarSchema(session, project.settings, rules)
    facts = ".".join(star.parts(FACTS))
    if "star_schema" in rules.raw or star.exists(FACTS):
        return  # where the rules say where the tables are, a missing one is named by dbt
    if project.settings.source != "warehouse":  # a run of a demo source makes its facts itself
        published.required_months(session)
        raise NotPublishedError(f"There is no {facts} any more: `make run` makes it.")
    raise NotPublishedError(
        f"There is no {facts}, so no month can be computed: SEGMENTATION_SOURCE_SCHEMA names the schema that holds it."
    )


def asked_months(asked: Typed, published_months: Sequence[date], facts: Callable[[], Facts]) -> MonthRange:
    """All months from the first to the last. Without any it is the newest published one, or where there is none, the
    newest that the facts cover; without the last all from the first on.

    `facts` is asked only where a month is not published. Raises NotPublishedError.
    """
    first = asked.first or (published_months[-1] if published_months else _newest(facts()))
    newest = published_months[-1] if published_months and first <= published_months[-1] else None
    last = asked.last or (newest if asked.first and newest else None)
    if last is None:
        last = first if published_months or not asked.first else max(first, _newest(facts()))
    months = MonthRange(first, last)
    for month in months:
        if month not in published_months and month not in (facts().covered or ()):
            raise NotPublishedError(
                f"Month {month} is not published, nor a closed month whose facts are all there: {facts()}."
            )
    return months


def _newest(facts: Facts) -> date:
    if facts.covered is None:
        raise NotPublishedError(f"No month is published, and none can be computed: {facts}.")
    return facts.covered.last
