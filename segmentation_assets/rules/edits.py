"""The changes of a what-if, as a person writes them (`Declining.spend_change_pct=-25`), applied to the rules.

What a rule may be is not said here: the changed rules go through load.py, as any rules do.
"""

import copy
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from segmentation_assets.errors import UserError
from segmentation_assets.rules.load import KEYS, Rules, load_rules, parse_rules
from segmentation_assets.rules.validators import OPERATORS, Metric, Number, did_you_mean, spelling

EXAMPLE = '"Declining.spend_change_pct=-25"'
REMOVED = "none"
# Two bounds in the same direction cannot both matter, so the later one takes the other's place.
DIRECTIONS = ({"at_least", "above"}, {"at_most", "below"}, {"is"})


class WhatIfError(UserError):
    """What was asked cannot be computed; it names the thing, the value and what to write instead."""


def changed_rules(project_dir: Path, base: Rules, changes: str, file: str = "") -> Rules:
    """The rules of `base`, or of the rules file `file`, with the `changes` applied one after the other.

    Raises WhatIfError for a change that cannot be read or names something unknown, RulesError for rules that do not
    hold together.
    """
    if not is_changed(changes, file):
        raise nothing_changed()
    if file.strip():
        own, base = base, load_rules(project_dir, Path(file.strip()).expanduser())
        if base.star_schema is None and own.star_schema is not None:
            base = base.with_star_schema(own)  # other rules are asked about, not another company
    raw = copy.deepcopy({key: base.raw[key] for key in KEYS if key in base.raw})
    for change in _split(changes):
        _apply(raw, change, base.metrics.metrics)
    return parse_rules(raw, "The changed rules")


def is_changed(changes: str, file: str) -> bool:
    return bool(changes.strip(" ,") or file.strip())


def nothing_changed() -> WhatIfError:
    return WhatIfError(
        f"Nothing is changed: give SET={EXAMPLE}, or RULES=path of a file with other rules; CALIBRATE=1 shows the"
        " shares under today's."
    )


def _split(changes: str) -> list[str]:
    """At the commas after which another NAME= follows; any other comma belongs to the value, as in a list."""
    parts = re.split(r",(?=[^,=]*=)", changes.strip().strip(","))
    return [part.strip().strip(",").strip() for part in parts if part.strip(" ,")]


def _apply(raw: dict[str, Any], change: str, metrics: Mapping[str, Metric]) -> None:
    name, equals, value = (part.strip() for part in change.partition("="))
    if not equals or not value:
        raise WhatIfError(f"SET: {change!r} is no change; write NAME.METRIC=VALUE, as {EXAMPLE}.")
    kind, rule, rest = _owner(raw, name)
    where = f"SET: {name}: "
    if kind == "audits":
        _known(where, rest, rule, "bound of an audit")
        rule[rest] = _number(where, value)
    elif kind == "category_groups":
        _known(where, rest, rule, "category group")
        rule[rest] = [part.strip() for part in value.split(",") if part.strip()]
    elif rest in _SETTINGS[kind]:
        key, _, inner = rest.partition(".")
        owner = rule.setdefault(key, {}) if inner else rule
        owner[inner or key] = _SETTINGS[kind][rest](where, value)
    else:
        _set_criterion(where, rule, kind, rest, value, metrics)


def _owner(raw: Mapping[str, Any], name: str) -> tuple[str, dict[str, Any], str]:
    """Which kind of rule, the rule itself, and what is left of the name: `spend_change_pct`."""
    owners: dict[str, tuple[str, dict[str, Any]]] = {
        **{str(segment["name"]): ("segments", segment) for segment in raw["segments"]},
        **{str(campaign["name"]): ("campaigns", campaign) for campaign in raw["campaigns"]},
        **{key: (key, raw[key]) for key in ("audits", "category_groups")},
    }
    # The longest first: a name may hold a dot, and begin as another one does.
    for known in sorted(owners, key=len, reverse=True):
        if spelling(name).startswith(f"{spelling(known)}."):
            return (*owners[known], spelling(name)[len(spelling(known)) + 1 :])
    named, dot, _ = name.partition(".")
    if not dot and any(spelling(name) == spelling(known) for known in owners):
        raise WhatIfError(f"SET: {name}: says not what of it; write NAME.METRIC=VALUE, as {EXAMPLE}.")
    raise WhatIfError(f"SET: {named!r} is no known segment or campaign; {did_you_mean(named, owners)}.")


def _known(where: str, word: str, known: Mapping[str, Any], noun: str) -> None:
    if word not in known:
        raise WhatIfError(f"{where}{word!r} is no known {noun}; {did_you_mean(word, known)}.")


def _set_criterion(
    where: str, rule: dict[str, Any], kind: str, rest: str, value: str, metrics: Mapping[str, Metric]
) -> None:
    metric, _, operator = rest.partition(".")
    known = {name: one for name, one in metrics.items() if one.kind != "date"}
    if metric not in known:
        names = [*known, *_SETTINGS[kind]]
        raise WhatIfError(f"{where}{metric!r} is no known metric or setting; {did_you_mean(metric, names)}.")
    if operator and operator not in OPERATORS:
        raise WhatIfError(f"{where}{operator!r} is no known operator; {did_you_mean(operator, OPERATORS)}.")
    criteria: list[dict[str, Any]] = rule.get("criteria") or []
    present = {key: bound for one in criteria if one["metric"] == metric for key, bound in one.items()}
    present.pop("metric", None)
    if not operator and len(present) != 1 and not (present and value == REMOVED):
        told = " and ".join(f"{key} {str(bound).lower()}" for key, bound in present.items())
        has = f"has two criteria on it ({told})" if present else "has no criterion on it; to add one"
        write = " or ".join(
            f"{rule['name']}.{metric}.{key}={value}" for key in present or _operators_for(known[metric])
        )
        raise WhatIfError(f"{where}{rule['name']} {has}: write {write}.")
    replaced = next((words for words in DIRECTIONS if operator in words), set(present))
    if value == REMOVED:
        if not replaced & set(present):
            raise WhatIfError(f"{where}{rule['name']} has no such criterion that could be removed.")
        criterion = None
    else:
        operator = operator or next(iter(present))
        criterion = {"metric": metric, operator: _flag(where, value) if operator == "is" else _number(where, value)}
    kept = [one for one in criteria if one["metric"] != metric or not replaced & set(one)]
    place = next((at for at, one in enumerate(criteria) if one not in kept), len(kept))
    rule["criteria"] = [*kept[:place], *([criterion] if criterion else []), *kept[place:]]
    if not rule["criteria"]:
        del rule["criteria"]


def _operators_for(metric: Metric) -> tuple[str, ...]:
    return ("is",) if metric.kind == "flag" else ("at_least", "at_most")


def _number(where: str, value: str) -> Number:
    if not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", value):
        raise WhatIfError(f"{where}{value!r} is no number; write it plainly, as -25 or 12000.5 (no %, no separators).")
    return float(value) if "." in value else int(value)


def _numbers(where: str, value: str) -> list[Number]:
    return [_number(where, part.strip()) for part in value.split(",")]


def _flag(where: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise WhatIfError(f"{where}{value!r} is neither true nor false; write one of them.")
    return value.lower() == "true"


def _text(where: str, value: str) -> str:
    del where
    return value


_SETTINGS: dict[str, dict[str, Callable[[str, str], Any]]] = {
    "segments": {"expected_share_pct": _numbers, "minimum_share_pct": _number},
    "campaigns": {
        "cap": _number,
        "holdout_pct": _number,
        "holdout_epoch": _text,
        "margin_pct": _number,
        "cost_per_contact": _number,
        "cooldown_months": _number,
        "channel": _text,
        "segment": _text,
        "rank_by.metric": _text,
        "rank_by.order": _text,
    },
}
