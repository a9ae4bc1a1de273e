"""Loading the rules: the same segments, category groups, campaigns and audit bounds that dbt compiles, and exports.

They are the `vars` of dbt_models/dbt_project.yml, each replaced whole by the same key of another YAML file, as the one
that SEGMENTATION_RULES names. All problems are told at once. The shape of a rule is in schema.py, what must hold
between rules in consistency.py, strict YAML in strict_yaml.py.
"""

import copy
import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from segmentation_assets.errors import UserError
from segmentation_assets.rules.consistency import ParsedRules, Problem, check
from segmentation_assets.rules.schema import (
    Audits,
    Campaign,
    CategoryGroups,
    ContactPolicy,
    Criterion,
    Exports,
    Freshness,
    RankBy,
    Rule,
    Segment,
    Source,
    UnknownCustomers,
)
from segmentation_assets.rules.star_schema import MappedTable, StarSchema, table_problems
from segmentation_assets.rules.strict_yaml import read_keys
from segmentation_assets.rules.validators import OPERATORS, did_you_mean

__all__ = [
    "Audits",
    "Campaign",
    "CategoryGroups",
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
OPTIONAL_KEYS = (*SOURCE_KEYS, "star_schema", "contact_policy")
KEYS = ("segments", "category_groups", "campaigns", "audits", "exports", *OPTIONAL_KEYS)
_MODELS: dict[str, type[Rule]] = {
    "segments": Segment,
    "category_groups": CategoryGroups,
    "campaigns": Campaign,
    "rank_by": RankBy,
    "audits": Audits,
    "exports": Exports,
    "freshness": Freshness,
    "unknown_customers": UnknownCustomers,
    "star_schema": StarSchema,
    "contact_policy": ContactPolicy,
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
    category_groups: CategoryGroups
    campaigns: tuple[Campaign, ...]
    audits: Audits
    exports: Exports
    source: Source
    star_schema: StarSchema | None = None
    contact_policy: ContactPolicy | None = None
    replaced: frozenset[str] = frozenset()
    raw: dict[str, Any] = Field(repr=False)  # the keys as YAML gave them, for dbt and the hash

    @property
    def segment_names(self) -> tuple[str, ...]:
        """In priority order."""
        return tuple(segment.name for segment in self.segments)

    @property
    def segments_hash(self) -> str:
        """What dbt's local_md5(tojson({...}, sort_keys=true)) of the same two vars gives."""
        rules = {key: self.raw[key] for key in ("category_groups", "segments")}
        return hashlib.md5(json.dumps(rules, sort_keys=True).encode(), usedforsecurity=False).hexdigest()

    @property
    def decision_hash(self) -> str:
        """Everything that decides, bounds and statuses too: what the macro decision_hash gives."""
        keys = (
            "audits", "category_groups", "segments", "approved_statuses", "other_statuses", "star_schema",
            "unknown_customers",
        )  # fmt: skip
        decision = {key: self.raw[key] for key in keys if key in self.raw}
        return hashlib.md5(json.dumps(decision, sort_keys=True).encode(), usedforsecurity=False).hexdigest()

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
    raw = {key: value for key, value in {**project_vars, **replacing}.items() if key in KEYS}
    parsed, problems = _parse(raw)
    for where, words in [*problems, *_unknown_keys(replacing), *_missing_keys(raw, project_vars), *check(parsed)]:
        told.append(_line(overrides if where[0] in replacing else project_file, where, words))
        if where[0] == "campaigns" and where[-1] == "segment" and "campaigns" not in replacing and replacing:
            told[-1] += f"; if {overrides} renames segments, it has to replace campaigns too"
    if told:
        raise RulesError("\n".join(told))
    return _rules(raw, parsed, replaced=replacing)


def parse_rules(raw: Mapping[str, Any], origin: str) -> Rules:
    """The rules that the values `raw` of all four keys are, each in place of the project's.

    `origin` says in errors where they come from. Raises RulesError.
    """
    raw = {key: raw[key] for key in KEYS if key in raw}
    parsed, problems = _parse(raw)
    problems += [*_missing_keys(raw, {}), *check(parsed)]
    if problems:
        raise RulesError("\n".join(_line(origin, *problem) for problem in problems))
    return _rules(raw, parsed, replaced=raw)


def _line(origin: object, where: tuple[str | int, ...], words: str) -> str:
    return f"{origin}: {_dotted(where)}: {words}"


def _rules(raw: dict[str, Any], parsed: ParsedRules, replaced: Iterable[str]) -> Rules:
    return Rules.model_construct(
        segments=tuple(filter(None, parsed.segments)),
        category_groups=parsed.category_groups,
        campaigns=tuple(filter(None, parsed.campaigns)),
        audits=parsed.audits,
        exports=parsed.exports,
        source=parsed.source,
        star_schema=parsed.star_schema,
        contact_policy=parsed.contact_policy,
        replaced=frozenset(replaced),
        raw=raw,
    )


def _unknown_keys(replacing: Mapping[Any, Any]) -> Iterator[Problem]:
    for key in replacing:
        if key not in KEYS:
            words = f"is no key that can be replaced at the top of this file; {did_you_mean(key, KEYS)}"
            yield Problem((key,), words)


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


def _parse(raw: dict[str, Any]) -> tuple[ParsedRules, list[Problem]]:
    problems: list[Problem] = []

    def one(model: type[_Model], value: object, *where: str | int) -> _Model | None:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            problems.extend(_problem(detail, where) for detail in error.errors())
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

    parsed = ParsedRules(raw, each(Segment, "segments"), each(Campaign, "campaigns"))
    if "category_groups" in raw:
        parsed.category_groups = one(CategoryGroups, raw["category_groups"], "category_groups")
    if "audits" in raw:
        parsed.audits = one(Audits, raw["audits"], "audits")
    if "exports" in raw:
        parsed.exports = one(Exports, raw["exports"], "exports")
    if raw.get("contact_policy") is not None:
        parsed.contact_policy = one(ContactPolicy, raw["contact_policy"], "contact_policy")
    parsed.source = one(Source, {key: raw[key] for key in SOURCE_KEYS if key in raw})
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
    return parsed, problems


def _given_tables(star_schema: Any) -> dict[Any, Any]:
    tables = star_schema.get("tables") if isinstance(star_schema, dict) else None
    return cast("dict[Any, Any]", tables) if isinstance(tables, dict) else {}


def _tables(star_schema: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    return table_problems(star_schema.get("tables")) if isinstance(star_schema, dict) else iter(())


def _problem(detail: ErrorDetails, inside: tuple[str | int, ...]) -> Problem:
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
            noun, known = ("operator", OPERATORS) if operator else ("key", _keys(_MODELS.get(parent, MappedTable)))
            fix = did_you_mean(where[-1], known)
            return Problem(where, f"{str(where[-1])!r} (with value {value}) is no known {noun}; {fix}")
        case "model_type":
            return Problem(where, f"{value} is not a set of keys; write key: value pairs")
        case _:
            return Problem(where, f"{value}: {detail['msg']}; correct it")


def _keys(model: type[Rule]) -> list[str]:
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
