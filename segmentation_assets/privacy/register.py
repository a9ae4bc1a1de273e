"""Register of personal data: every table, file and store that holds some, what, why, for how long, and who may read it.

Tables and their columns are those of the manifest, which has them from the models' own yml; files are listed by what
the exports write. `make personal-data` prints it, docs/personal_data.md is written from it.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from segmentation_assets.dbt import personal_data
from segmentation_assets.dbt.personal_data import KINDS, Column
from segmentation_assets.dbt.project import Entry, Project
from segmentation_assets.warehouse.catalog import GOLD

OWNER = "the user that runs the pipeline (files are for their owner alone)"
PIPELINE = "the pipeline's role"
READERS = "roles that may read the published schema (addresses: masked on Snowflake but for the role of e-mail readers)"


@dataclass(frozen=True)
class Held:
    """One table, kind of file or store."""

    place: str  # table, view, source, file or store
    name: str
    holds: tuple[tuple[str, str], ...]  # column, or what it is there -> kind in words
    why: str
    kept: str
    read_by: str


def register(project: Project) -> list[Held]:
    entries = [one for one in project.entries.values() if one["resource_type"] in ("model", "source")]
    return [*tables(entries, project), *files(project), *stores(project)]


def undeclared(entries: Iterable[Entry]) -> list[str]:
    """What a model or source would have to say first."""
    return [line for entry in entries for line in personal_data.problems(entry["name"], entry["columns"])]


def tables(entries: Iterable[Entry], project: Project) -> Iterator[Held]:
    kept = project.rules.retention_months
    for entry in sorted(entries, key=lambda one: (one["resource_type"] != "source", one["schema"], one["name"])):
        columns: dict[str, Column] = entry["columns"]
        holds = tuple((name, words(column)) for name, column in columns.items() if personal_data.declared(column))
        if not holds:
            continue
        is_source = entry["resource_type"] == "source"
        is_view = not is_source and entry["config"]["materialized"] == "view"
        is_published = not is_source and entry["config"]["schema"] == GOLD
        yield Held(
            "source" if is_source else "view" if is_view else "table",
            f"{entry['schema']}.{entry['name']}",
            holds,
            first_sentence(entry["description"]),
            how_long(entry, is_source=is_source, is_view=is_view, months=kept),
            PIPELINE if not is_published else READERS,
        )


def words(column: Column) -> str:
    kind = personal_data.declared(column)
    return KINDS[kind].words if kind in KINDS else f"unknown kind {kind!r}"


def how_long(entry: Entry, *, is_source: bool, is_view: bool, months: int) -> str:
    if is_source:
        return "yours to keep and to remove: nothing here writes to it (a demo's is made here)"
    if is_view:
        return "not kept: computed from other tables when it is asked"
    if personal_data.of_table(entry["columns"]) == personal_data.CONTACT_DETAILS:
        if entry["config"]["materialized"] == "table":
            return "until the next run makes it anew, or erasure"
        return f"names and addresses {months} months (privacy.retention_months), the rest until erasure"
    return "until the month is computed anew, or erasure" if entry["config"]["schema"] != GOLD else "until erasure"


def files(project: Project) -> Iterator[Held]:
    months = project.rules.retention_months
    address, name, customer = (KINDS[kind].words for kind in ("email", "name", "customer_id"))
    kept = f"names and addresses {months} months (privacy.retention_months), the rest until erasure"
    replaced = "a replaced version a week more"
    folder = "<exports>/<campaign>/<month>/<version>"
    people = (("customer_id", customer), ("email", address), ("first_name, last_name", name))
    why = "Whom a campaign writes to, as files for mailing tools."
    yield Held("file", f"{folder}/full.csv, full.parquet, added.csv", people, why, f"{kept}; {replaced}", OWNER)
    yield Held(
        "file",
        f"{folder}/removed.csv, joined.csv, left.csv",
        (("customer_id", customer),),
        "Who left the list, and who came into the segment or left it.",
        f"until erasure; {replaced}",
        OWNER,
    )
    yield Held(
        "file",
        f"{folder}/ads.csv, ads_<platform>.csv",
        (("email_sha256", "hash of an e-mail address"),),
        "Whom an ad platform looks for by the hashes of their addresses.",
        f"{months} months (privacy.retention_months); {replaced}",
        OWNER,
    )
    yield Held(
        "file",
        "<exports>/<campaign>/<month>/manifest.json",
        (("customers_sha256", "one hash over all ids of the list"),),
        "What the version of an export is made of; it names nobody.",
        "until erasure of anybody on the list, which writes it anew",
        OWNER,
    )
    yield Held(
        "file",
        "the copy for readers (make snapshot TO=...)",
        (("customer_id, customer_key", customer),),
        "Published tables for counting, without names and addresses.",
        "until it is taken again; erasure takes the copies that it knows of anew",
        "whom its owner gives the file to",
    )


def stores(project: Project) -> Iterator[Held]:
    customer = KINDS["customer_id"].words
    yield Held(
        "store",
        "stored failures (schema of the tests)",
        (("the failing rows", "whatever the tested table holds"),),
        "What a failed test of the data found.",
        "until the test runs again, or erasure",
        PIPELINE,
    )
    yield Held(
        "store",
        "schemas what_if_<time>_...",
        (("candidate tables", customer),),
        "Months under other rules, while a what-if computes them.",
        "minutes; what a killed one left is removed by the next, or by erasure",
        PIPELINE,
    )
    yield Held(
        "store",
        f"{project.settings.silver_schema}.erased_customers",
        (("erased_hash", KINDS["erased"].words),),
        "Keeps who was erased from coming back while the source still has them.",
        "until the source no longer has them and the list is emptied by its owner",
        PIPELINE,
    )
    yield Held(
        "store",
        "Dagster's storage and logs (DAGSTER_HOME), logs of dbt",
        (("text of events", "nobody by design; erasure looks for the person all the same"),),
        "What ran, when, and what it said.",
        "as Dagster is set up to keep it",
        OWNER,
    )
    yield Held(
        "store",
        "blocks and log of the DuckDB file",
        (("freed blocks", "what was deleted, until DuckDB writes there again; erasure writes the file anew"),),
        "The database.",
        "until erasure or a rewrite",
        OWNER,
    )


def first_sentence(text: str) -> str:
    return re.split(r"(?<=[.;:])\s", " ".join(text.split()), maxsplit=1)[0].rstrip(";:")


def lines(held: Iterable[Held]) -> Iterator[str]:
    """For a terminal."""
    for one in held:
        yield f"{one.place} {one.name}"
        yield from (f"    {name}: {what}" for name, what in one.holds)
        yield f"    why: {one.why}"
        yield f"    kept: {one.kept}"
        yield f"    read by: {one.read_by}"


def page(held: Iterable[Held]) -> str:
    """As tables of Markdown, one per kind of place."""
    told = list(held)
    parts: list[str] = []
    for title, places in (
        ("Tables of the source", ("source",)),
        ("Tables and views of this pipeline", ("table", "view")),
        ("Files", ("file",)),
        ("Stores", ("store",)),
    ):
        parts += [f"## {title}", "", "| What | Holds | Why | Kept | Read by |", "|---|---|---|---|---|"]
        for one in told:
            if one.place in places:
                holds = "; ".join(f"`{name}`: {what}" for name, what in one.holds)
                cells = (f"`{one.name}`" + (" (view)" if one.place == "view" else ""), holds, one.why, one.kept)
                parts.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} | {one.read_by} |")
        parts.append("")
    return "\n".join(parts).rstrip()
