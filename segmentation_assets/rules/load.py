"""Loading the rules: the same segments, metrics, category groups, campaigns and audit bounds that dbt compiles.

They are the `vars` of dbt_models/dbt_project.yml. The same key of another YAML file, as the one that SEGMENTATION_RULES
names, replaces a list whole and a map key by key. All problems are told at once. The shape of a rule is in schema.py
and metrics.py, what must hold between rules in consistency.py, strict YAML in strict_yaml.py.
"""

import copy
import difflib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from segmentation_assets.errors import UserError
from segmentation_assets.rules.consistency import ParsedRules, Problem, check, look_backs
from segmentation_assets.rules.metrics import (
    KINDS,
    MOST,
    PUBLISHED_EDGES,
    PUBLISHED_GROUPS,
    PUBLISHED_WINDOWS,
    AnyDefinition,
    Resolved,
    Window,
    group_shares,
    published,
    resolve,
    rollup_measures,
    value_of,
    window_edges,
)
from segmentation_assets.rules.schema import (
    Audits,
    Campaign,
    Categories,
    ContactPolicy,
    Criterion,
    Exports,
    Freshness,
    Insights,
    Privacy,
    Program,
    RankBy,
    RecencyDays,
    Rule,
    Segment,
    Source,
    UnknownCustomers,
)
from segmentation_assets.rules.star_schema import MappedTable, StarSchema, table_problems
from segmentation_assets.rules.strict_yaml import read_keys
from segmentation_assets.rules.validators import METRICS, OPERATORS, Metric, column_name, did_you_mean

__all__ = [
    "Audits",
    "Campaign",
    "Criterion",
    "Exports",
    "RankBy",
    "Rules",
    "RulesError",
    "Segment",
    "load_rules",
    "parse_rules",
]

SOURCE_KEYS = tuple(Source.model_fields)
PROGRAM_KEYS = tuple(Program.model_fields)
OPTIONAL_KEYS = (
    "windows",
    "metrics",
    *SOURCE_KEYS,
    "insights",
    "star_schema",
    *PROGRAM_KEYS,
    "contact_policy",
    "privacy",
)
KEYS = ("segments", "category_groups", "campaigns", "audits", "exports", *OPTIONAL_KEYS)
_MODELS: dict[str, type[Rule]] = {
    "segments": Segment,
    "windows": Window,
    "campaigns": Campaign,
    "rank_by": RankBy,
    "audits": Audits,
    "exports": Exports,
    "freshness": Freshness,
    "insights": Insights,
    "recency_days": RecencyDays,
    "unknown_customers": UnknownCustomers,
    "star_schema": StarSchema,
    "contact_policy": ContactPolicy,
    "privacy": Privacy,
}
MOST_RULES = {"segments": 100, "campaigns": 200}
_WHY_BOUNDED = {
    "segments": "with more, the average one holds less than 1 % of the customers, and neither report nor campaign can"
    " tell it from chance. Join some, or tell them apart within a segment by a campaign's criteria",
    "campaigns": "each has a table, an export and a place in the order of every other one. Remove those that are over",
}
_Model = TypeVar("_Model", bound=BaseModel)


class RulesError(UserError):
    """One line per problem: file, key path, the refused value and the fix."""


class Rules(Rule):
    segments: tuple[Segment, ...]
    category_groups: Mapping[str, tuple[str, ...]]
    windows: Mapping[str, Window]
    definitions: Mapping[str, AnyDefinition]  # of metrics, without the shares that every group gives
    metrics: Resolved
    campaigns: tuple[Campaign, ...]
    audits: Audits
    exports: Exports
    source: Source
    program: Program = Program()
    star_schema: StarSchema | None = None
    contact_policy: ContactPolicy | None = None
    privacy: Privacy = Privacy()
    replaced: frozenset[str] = frozenset()
    raw: dict[str, Any] = Field(repr=False)  # the keys as YAML gave them, for dbt and the hash

    @property
    def retention_months(self) -> int:
        """Of how many months lists and files have names and addresses: no fewer than a rule looks back on."""
        looked_back = look_backs(self.campaigns, self.contact_policy)
        return max([self.privacy.retention_months, *(months for _, months in looked_back)])

    @property
    def segment_names(self) -> tuple[str, ...]:
        """In priority order."""
        return tuple(segment.name for segment in self.segments)

    @property
    def _further(self) -> dict[str, Any]:
        """The metrics and windows of their own, as YAML gave them; the published ones are the same for everybody."""
        metrics, windows = self.raw.get("metrics", {}), self.raw.get("windows", {})
        further = {
            "metrics": {name: one for name, one in metrics.items() if not published(name)},
            "windows": {name: one for name, one in windows.items() if name not in PUBLISHED_WINDOWS},
        }
        return {key: entries for key, entries in further.items() if entries}

    @property
    def segments_hash(self) -> str:
        """What the macro rules_hash gives."""
        rules = {key: self.raw[key] for key in ("category_groups", "segments")} | self._further
        return hashlib.md5(json.dumps(rules, sort_keys=True).encode(), usedforsecurity=False).hexdigest()

    @property
    def decision_hash(self) -> str:
        """Everything that decides, bounds and statuses too: what the macro decision_hash gives."""
        keys = (
            "audits", "category_groups", "segments", "approved_statuses", "other_statuses", "star_schema",
            "unknown_customers",
        )  # fmt: skip
        decision = {key: self.raw[key] for key in keys if key in self.raw} | self._further
        return hashlib.md5(json.dumps(decision, sort_keys=True).encode(), usedforsecurity=False).hexdigest()

    @property
    def window_edges(self) -> list[int]:
        """Days before an as-of date at which a window in use begins or ends."""
        return window_edges(
            self.windows, [*self.definitions.values(), *group_shares(tuple(self.category_groups)).values()]
        )

    @property
    def rollup(self) -> dict[str, Any]:
        """What the rollup is made under, beside the columns that every rollup has; the macro category_groups_hash
        notes the same."""
        noted: dict[str, Any] = {"category_groups": self.raw["category_groups"]}
        if self.window_edges != list(PUBLISHED_EDGES):
            noted["edges"] = self.window_edges
        if measures := rollup_measures(self.definitions.values()):
            noted["measures"] = measures
        if self.star_schema is not None:
            noted["star_schema"] = self.raw["star_schema"]
        return noted

    def with_star_schema(self, other: "Rules") -> "Rules":
        """These rules over the tables that another file maps."""
        raw = {**self.raw, "star_schema": other.raw["star_schema"]}
        replaced = self.replaced | {"star_schema"}
        return self.model_copy(update={"star_schema": other.star_schema, "raw": raw, "replaced": replaced})

    def dbt_vars(self) -> dict[str, Any]:
        """For dbt's --vars. Write it with yaml.safe_dump: YAML reads json.dumps's 1e-05 back as text."""
        return {key: copy.deepcopy(self.raw[key]) for key in KEYS if key in self.replaced}


def load_rules(project_dir: Path, overrides: Path | None = None) -> Rules:
    """The rules of the dbt project in `project_dir`, with the keys that the file `overrides` replaces.

    Raises RulesError.
    """
    project_file = project_dir / "dbt_project.yml"
    project, told = read_keys(project_file)
    replacing, told_of_overrides = read_keys(overrides) if overrides else ({}, [])
    told += told_of_overrides
    if project is None or replacing is None:
        raise RulesError("\n".join(told))

    project_vars = project.get("vars")
    project_vars = project_vars if isinstance(project_vars, dict) else {}
    raw = _merged(project_vars, replacing)
    parsed, language, problems = _parse(raw)
    problems += _redefined(project_vars, replacing)
    for where, words in [
        *problems,
        *_unknown_keys(replacing),
        *_unknown_focus(replacing, raw),
        *_missing_keys(raw, project_vars),
        *check(parsed),
    ]:
        told.append(_line(overrides if _is_said_in(replacing, where) else project_file, where, words))
        if where[0] == "campaigns" and where[-1] == "segment" and "campaigns" not in replacing and replacing:
            told[-1] += f"; if {overrides} renames segments, it has to replace campaigns too"
    if told:
        raise RulesError("\n".join(told))
    return _rules(raw, parsed, language, replaced=replacing)


def _merged(project_vars: Mapping[Any, Any], replacing: Mapping[Any, Any]) -> dict[str, Any]:
    """Lists are replaced whole, maps key by key. A group, window or metric that is nothing (null) is gone; the groups
    of the published shares stay, without categories."""
    merged: dict[str, Any] = {}
    for key in (key for key in KEYS if key in project_vars or key in replacing):
        own, theirs = replacing.get(key), project_vars.get(key)
        if key not in replacing:
            merged[key] = theirs
        elif isinstance(own, dict) and isinstance(theirs, dict):
            merged[key] = {**theirs, **own}
        else:
            merged[key] = own
    for key in ("category_groups", "windows", "metrics"):
        if isinstance(merged.get(key), dict):
            merged[key] = {name: one for name, one in merged[key].items() if one is not None}
    if isinstance(merged.get("category_groups"), dict):
        merged["category_groups"] = {group: [] for group in PUBLISHED_GROUPS} | merged["category_groups"]
    return merged


def _is_said_in(replacing: Mapping[Any, Any], where: tuple[str | int, ...]) -> bool:
    """Of a map that is merged key by key, the file may say only a part."""
    said = replacing.get(where[0])
    return where[0] in replacing and (len(where) < 2 or not isinstance(said, dict) or where[1] in said)


def _redefined(project_vars: Mapping[Any, Any], replacing: Mapping[Any, Any]) -> Iterator[Problem]:
    """What is published keeps its meaning: whoever reads the table knows it by its name."""
    for key, noun in (("windows", "window"), ("metrics", "metric")):
        own, theirs = replacing.get(key), project_vars.get(key)
        if not isinstance(own, dict) or not isinstance(theirs, dict):
            continue
        for name in own:
            if name in theirs and own[name] != theirs[name]:
                words = (
                    f"{_show(own[name])} would be another {noun} than the published tables hold under that name,"
                    f" {_show(theirs[name])}; leave it as it is, and give yours a name of its own"
                )
                yield Problem((key, name), words)


def parse_rules(raw: Mapping[str, Any], origin: str) -> Rules:
    """The rules that the values `raw` of all four keys are, each in place of the project's.

    `origin` says in errors where they come from. Raises RulesError.
    """
    raw = _merged({}, raw)
    parsed, language, problems = _parse(raw)
    problems += [*_missing_keys(raw, {}), *check(parsed)]
    if problems:
        raise RulesError("\n".join(_line(origin, *problem) for problem in problems))
    return _rules(raw, parsed, language, replaced=raw)


def _line(origin: object, where: tuple[str | int, ...], words: str) -> str:
    return f"{origin}: {_dotted(where)}: {words}"


def _rules(raw: dict[str, Any], parsed: ParsedRules, language: "_Language", replaced: Iterable[str]) -> Rules:
    return Rules.model_construct(
        segments=tuple(filter(None, parsed.segments)),
        category_groups=parsed.category_groups,
        windows=language.windows,
        definitions=language.definitions,
        metrics=language.resolved,
        campaigns=tuple(filter(None, parsed.campaigns)),
        audits=parsed.audits,
        exports=parsed.exports,
        source=parsed.source,
        program=parsed.program,
        star_schema=parsed.star_schema,
        contact_policy=parsed.contact_policy,
        privacy=parsed.privacy,
        replaced=frozenset(replaced),
        raw=raw,
    )


def _unknown_keys(replacing: Mapping[Any, Any]) -> Iterator[Problem]:
    for key in replacing:
        if key not in KEYS:
            words = f"is no key that can be replaced at the top of this file; {did_you_mean(key, KEYS)}"
            yield Problem((key,), words)


def _unknown_focus(replacing: Mapping[Any, Any], raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Of the file's own insights. The shipped ones may name a group that the file takes away: it is passed over."""
    insights, groups = replacing.get("insights"), raw.get("category_groups")
    focus: Any = insights.get("focus_at_least_pct") if isinstance(insights, dict) else None
    known = [str(group) for group in cast("dict[Any, Any]", groups)] if isinstance(groups, dict) else []
    for group in focus if isinstance(focus, dict) and known else ():
        if group not in known:
            words = f"is no category group; {did_you_mean(group, known)}"
            yield Problem(("insights", "focus_at_least_pct", group), words)


def _missing_keys(raw: Mapping[str, Any], project_vars: Mapping[Any, Any]) -> Iterator[Problem]:
    """The project may hold other vars of dbt's, so a misspelt key shows as a missing one."""
    others = [other for other in project_vars if isinstance(other, str) and other not in KEYS]
    for key in KEYS:
        if key not in raw and key not in OPTIONAL_KEYS:
            nearest = difflib.get_close_matches(key, others, n=1)
            guess = f" (was it meant by {nearest[0]!r}?)" if nearest else ""
            yield Problem(
                ("vars", key),
                f"is missing{guess}; the rules need {', '.join(key for key in KEYS if key not in OPTIONAL_KEYS)}",
            )


@dataclass
class _Language:
    """The windows and metrics that could be read."""

    windows: dict[str, Window] = field(default_factory=lambda: {
        "last_90_days": Window(days=90), "prior_90_days": Window(days=90, ends=90)
    })  # fmt: skip
    definitions: dict[str, AnyDefinition] = field(default_factory=dict[str, AnyDefinition])
    resolved: Resolved = field(default_factory=lambda: Resolved(METRICS, {}, {}))


_CATEGORIES: TypeAdapter[tuple[str, ...]] = TypeAdapter(Categories)


def _parse(raw: dict[str, Any]) -> tuple[ParsedRules, _Language, list[Problem]]:
    problems: list[Problem] = []
    context: dict[str, Mapping[str, Metric]] = {"metrics": METRICS}

    def one(model: type[_Model], value: object, *where: str | int, context: Any = context) -> _Model | None:
        try:
            return model.model_validate(value, context=context)
        except ValidationError as error:
            problems.extend(_problem(detail, where, model) for detail in error.errors())
            return None

    def each(model: type[_Model], key: str) -> list[_Model | None]:
        values = raw.get(key, [])
        if isinstance(values, list) and len(values) > MOST_RULES[key]:
            words = f"holds {len(values):,}, and {MOST_RULES[key]} are the most: {_WHY_BOUNDED[key]}"
            problems.append(Problem((key,), words))
            return []
        if isinstance(values, list):
            return [one(model, value, key, i) for i, value in enumerate(values)]
        problems.append(Problem((key,), f"{_show(values)} is not a list; write one '- name: ...' per rule"))
        return []

    def named(key: str, example: str) -> dict[str, Any]:
        """The entries of a map whose names can be names of columns."""
        entries = raw.get(key, {})
        if not isinstance(entries, dict):
            problems.append(Problem((key,), f"{_show(entries)} is not a set of keys; write {example}"))
            return {}
        if len(entries) > MOST[key]:
            words = f"holds {len(entries):,}, and {MOST[key]} are the most; remove those that nothing uses"
            problems.append(Problem((key,), words))
            return {}
        fit: dict[str, Any] = {}
        for name, entry in entries.items():
            try:
                fit[column_name(name)] = entry
            except ValueError as error:
                problems.append(Problem((key, str(name)), f"{_show(name)} {error}"))
        return fit

    parsed, language = ParsedRules(raw), _Language()
    groups: dict[str, tuple[str, ...]] = {}
    for group, categories in named("category_groups", "travel: [Airlines, Hotels]").items():
        if categories == [] and group in PUBLISHED_GROUPS:
            groups[group] = ()
            continue
        try:
            groups[group] = _CATEGORIES.validate_python(categories)
        except ValidationError as error:
            groups[group] = ()
            problems.extend(_problem(detail, ("category_groups", group)) for detail in error.errors())
    parsed.category_groups = groups
    for name, window in named("windows", "last_30_days: {days: 30}").items():
        if read := one(Window, window, "windows", name):
            language.windows[name] = read
    if "metrics" in raw:
        parsed.metrics = context["metrics"] = _metrics(named, one, groups, language, problems)
    parsed.segments, parsed.campaigns = each(Segment, "segments"), each(Campaign, "campaigns")
    if "audits" in raw:
        parsed.audits = one(Audits, raw["audits"], "audits")
    if "exports" in raw:
        parsed.exports = one(Exports, raw["exports"], "exports")
    if "insights" in raw:
        one(Insights, raw["insights"], "insights")  # read by dbt alone
    if raw.get("contact_policy") is not None:
        parsed.contact_policy = one(ContactPolicy, raw["contact_policy"], "contact_policy")
    if raw.get("privacy") is not None:
        parsed.privacy = one(Privacy, raw["privacy"], "privacy") or parsed.privacy
    parsed.source = one(Source, {key: raw[key] for key in SOURCE_KEYS if key in raw})
    parsed.program = one(Program, {key: raw[key] for key in PROGRAM_KEYS if key in raw})
    if raw.get("star_schema") is not None:
        said = raw["star_schema"]
        before = len(problems)
        problems += [Problem(("star_schema", "tables", *where), words) for where, words in _tables(said)]
        read = one(StarSchema, said, "star_schema")
        tables = {
            table: one(MappedTable, mapped, "star_schema", "tables", table) if isinstance(mapped, dict) else mapped
            for table, mapped in _given_tables(said).items()
        }
        if read and len(problems) == before:
            parsed.star_schema = read.model_copy(update={"tables": tables})
    return parsed, language, problems


def _metrics(
    named: Callable[[str, str], dict[str, Any]],
    one: Callable[..., Any],
    groups: Mapping[str, tuple[str, ...]],
    language: _Language,
    problems: list[Problem],
) -> Mapping[str, Metric]:
    entries = named("metrics", "spend_last_30_days: {kind: sum, window: last_30_days}")
    shares = group_shares(tuple(groups))
    # Enough to read the criteria of flags; whether a metric may be NULL follows when all are read. A name that is
    # wrong in one place is no unknown metric in another.
    by_kind = {
        name: value_of(entry.get("kind") if isinstance(entry, dict) else None) for name, entry in entries.items()
    }
    kinds = METRICS | by_kind | {name: value_of("share") for name in shares}
    for name, entry in entries.items():
        kind = entry.get("kind") if isinstance(entry, dict) else None
        if not isinstance(entry, dict):
            problems.append(
                Problem(("metrics", name), f"{_show(entry)} is not a set of keys; write {{kind: sum, ...}}")
            )
        elif kind is None:
            problems.append(Problem(("metrics", name), f"has no kind; add kind: one of {', '.join(KINDS)}"))
        elif kind not in KINDS:
            words = f"{_show(kind)} is no known kind of metric; {did_you_mean(kind, KINDS)}"
            problems.append(Problem(("metrics", name, "kind"), words))
        elif read := one(KINDS[kind], entry, "metrics", name, context={"metrics": kinds}):
            language.definitions[name] = read
    language.resolved, found = resolve(language.windows, tuple(groups), language.definitions)
    unreadable = {name for name in entries if name not in language.definitions}
    for place, words in ((one.where, one.words) for one in found):
        if not any(repr(name) in words.split(";")[0] for name in unreadable):  # told already
            problems.append(Problem(("metrics", *place), words))
    return {**kinds, **language.resolved.metrics}


def _given_tables(star_schema: Any) -> dict[Any, Any]:
    tables = star_schema.get("tables") if isinstance(star_schema, dict) else None
    return cast("dict[Any, Any]", tables) if isinstance(tables, dict) else {}


def _tables(star_schema: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    return table_problems(star_schema.get("tables")) if isinstance(star_schema, dict) else iter(())


def _problem(detail: ErrorDetails, inside: tuple[str | int, ...], model: type[BaseModel] | None = None) -> Problem:
    """Pydantic's error in our words: ours as they are, its own on keys and shapes translated."""
    where = (*inside, *detail["loc"])
    value = _show(detail["input"])
    match detail["type"]:
        case "value_error":
            return Problem(where, f"{value} {detail.get('ctx', {})['error']}")
        case "missing":
            return Problem(where, f"is missing; add {where[-1]!r}")
        case "extra_forbidden" | "invalid_key":
            parent = next(part for part in reversed(where[:-1]) if isinstance(part, str))
            operator = parent in ("criteria", "eligibility")
            shape = model if model and inside[:1] in (("metrics",), ("windows",)) else _MODELS.get(parent, MappedTable)
            noun, known = ("operator", OPERATORS) if operator else ("key", _keys(shape))
            fix = did_you_mean(where[-1], known)
            return Problem(where, f"{str(where[-1])!r} (with value {value}) is no known {noun}; {fix}")
        case "model_type":
            return Problem(where, f"{value} is not a set of keys; write key: value pairs")
        case _:
            return Problem(where, f"{value}: {detail['msg']}; correct it")


def _keys(model: type[BaseModel]) -> list[str]:
    """As they are written in YAML."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _show(value: object) -> str:
    if value is None:
        return "(nothing)"
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _dotted(where: tuple[str | int, ...]) -> str:
    """segments[1].criteria[0].metric"""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).removeprefix(".")
