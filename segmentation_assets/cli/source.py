"""check-source: what is in a company's star schema, told to a person or to a program."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from segmentation_assets.cli import terminal
from segmentation_assets.dbt.project import Project
from segmentation_assets.errors import UserError
from segmentation_assets.months import as_of_date, last_closed_month
from segmentation_assets.settings import Settings
from segmentation_assets.sources import checkup, guess
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.text import printable
from segmentation_assets.warehouse.session import warehouse

MAPPING = Path("star_schema.yml")


def write_mapping(schema: str) -> int:
    """A first mapping of the tables in `schema`, as a file beside which a person goes on."""
    if MAPPING.exists():
        raise UserError(f"{MAPPING} is there already; move it away, or correct it and run make check-source.")
    settings = Settings.from_environment()
    with warehouse(settings).session(read_only=True) as session:
        text = guess.mapping(session, schema, settings.source_database)
    MAPPING.write_text(text, encoding="utf-8")
    terminal.say(text.rstrip())
    terminal.say()
    terminal.say(
        f"Written to {MAPPING}. Next: correct it, then\n"
        f"  export SEGMENTATION_SOURCE=warehouse SEGMENTATION_RULES={MAPPING}\n"
        "  make check-source"
    )
    return 0


def check(*, as_json: bool) -> int:
    started = time.monotonic()
    project = Project.load()
    before = as_of_date(last_closed_month())
    with warehouse(project.settings).session(read_only=True) as session:
        star = StarSchema(session, project.settings, project.rules)
        with terminal.working("Looking at the star schema ..."):
            found = checkup.check(star, before, project.rules.exports.allow_formula_ids)
    took = f"Looked at in {time.monotonic() - started:.1f} s."
    if as_json:
        shares = _shares_of_rules(project, found) if found.is_readable else None
        terminal.say(
            json.dumps(
                {**found.as_json(), "is_readable": found.is_readable, "shares": shares.as_json() if shares else None},
                indent=2,
                default=str,
            )
        )
        return 0 if found.is_readable else 1
    _columns(found)
    _facts(found)
    _shares("Statuses", found.statuses)
    _shares("Categories", found.categories[: checkup.SHOWN_CATEGORIES])
    if len(found.categories) > checkup.SHOWN_CATEGORIES:
        terminal.say(f"and {len(found.categories) - checkup.SHOWN_CATEGORIES} categories more.")
    _findings(found.findings)
    if found.is_readable:
        terminal.say(f"{took} Months can be computed.")
        _segments(_shares_of_rules(project, found))
        terminal.say(
            "Next: make what-if CALIBRATE=1 shows the last twelve months, and which bound to move; make run publishes"
            " them."
        )
        return 0
    errors = sum(finding.level == "error" for finding in found.findings)
    terminal.say(f"{took} No month can be computed before what is marked ERROR ({errors}) is put right.")
    return 1


@dataclass(frozen=True)
class RuleShares:
    """What the rules give for the newest closed month whose facts are all there; or why nobody can say."""

    month: date | None = None
    segments: Mapping[str, tuple[float, tuple[float, float] | None]] = field(default_factory=dict)  # %, expected
    reason: str = ""

    def as_json(self) -> dict[str, object]:
        return {
            "month": self.month,
            "segments": [
                {"segment": name, "share_pct": round(share, 4), "expected_share_pct": band}
                for name, (share, band) in self.segments.items()
            ],
            "reason": self.reason,
        }


def _shares_of_rules(project: Project, found: checkup.Checkup) -> RuleShares:
    """Computed as a month is, in schemas that stand only meanwhile."""
    from segmentation_assets.what_if.calibration import calibrate

    month = checkup.newest_whole_month(found, project.rules.audits.facts_may_end_days_early)
    if month is None:
        return RuleShares(reason="no closed month has all its facts")
    try:
        with terminal.working(f"Computing the shares of {month:%B %Y} ..."):
            given = calibrate(project, warehouse(project.settings), first=str(month), last=str(month))
    except UserError as error:
        return RuleShares(month, reason=str(error))
    return RuleShares(
        month,
        {one.segment.name: (given.share(one.members, month), one.segment.expected_share_pct) for one in given.segments},
    )


def _segments(shares: RuleShares) -> None:
    if not shares.segments:
        terminal.say(f"The shares that the rules would give are not known: {shares.reason}")
        return
    numbers = ("Share", "Expected")
    table = _table(f"What the rules would give for {shares.month:%B %Y}", "Segment", *numbers, right=numbers)
    for name, (share, band) in shares.segments.items():
        is_inside = band is None or band[0] <= share <= band[1]
        table.add_row(
            Text(printable(name)),
            Text(f"{share:.1f}%", "" if is_inside else "yellow"),
            f"{band[0]:g}-{band[1]:g}%" if band else "-",
        )
    terminal.say(table)


def _table(title: str, *headings: str, right: Sequence[str] = ()) -> Table:
    terminal.say(title, "italic")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    return table


def _columns(found: checkup.Checkup) -> None:
    table = _table("What each column is read from", "Column", "Read from", "Type")
    last = ""
    for column in found.columns:
        if column.table != last:
            table.add_row(Text(column.table, "bold"), "", "")
            last = column.table
        table.add_row(
            f"  {column.column}",
            Text(printable(column.mapped_to if column.data_type or not column.without else f"- ({column.without})")),
            column.data_type,
        )
    terminal.say(table)


def _facts(found: checkup.Checkup) -> None:
    if found.facts.get("rows"):
        terminal.say(
            f"{found.facts['rows']:,} facts from {found.facts['first_day']} to {found.facts['last_day']},"
            f" {found.facts['rows_after_the_last_closed_month']:,} after the last closed month."
        )
    if found.customers:
        counts = found.customers
        terminal.say(
            f"{counts['customers']:,} customers in {counts['versions']:,} versions, {counts['without_address']:,} with"
            f" no address, {counts['at_shared_addresses']:,} at {counts['shared_addresses']:,} shared ones,"
            f" {counts['unknown_members']:,} rows are nobody's."
        )
    terminal.say()


def _shares(title: str, shares: Sequence[checkup.Share]) -> None:
    if not shares:
        return
    numbers = ("Rows", "Rows %", "Amount", "Amount %")
    table = _table(title, "Name", *numbers, "Counts as", right=numbers)
    for share in shares:
        table.add_row(
            Text(printable(share.name)), f"{share.rows:,}", f"{share.rows_pct:.1f}", f"{share.amount:,.0f}",
            f"{share.amount_pct:.1f}", Text(share.counts_as, "yellow" if share.counts_as.isupper() else ""),
        )  # fmt: skip
    terminal.say(table)


def _findings(findings: Sequence[checkup.Finding]) -> None:
    for finding in findings:
        style = "red" if finding.level == "error" else "yellow"
        terminal.say(Text.assemble((f"{finding.level.upper():7} ", style), printable(f"{finding}.")))
    terminal.say()
