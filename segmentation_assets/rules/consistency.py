"""What must hold between rules: names, order, reach, contradictions and shares."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain
from typing import Any, NamedTuple

from segmentation_assets.rules.reachability import (
    Axis,
    Span,
    UndecidedError,
    Work,
    contradictions,
    region,
    takers,
)
from segmentation_assets.rules.schema import Audits, Campaign, ContactPolicy, Exports, Privacy, Program, Segment, Source
from segmentation_assets.rules.star_schema import StarSchema, columns_of
from segmentation_assets.rules.validators import METRICS, Metric, Number, did_you_mean, neutral_code, spelling
from segmentation_assets.spelling import code


class Problem(NamedTuple):
    where: tuple[str | int, ...]  # ("segments", 1, "criteria", 0, "metric")
    words: str


@dataclass
class ParsedRules:
    """What could be read of each rule. A rule that was refused is None; its problem is already told."""

    raw: Mapping[str, Any]
    segments: list[Segment | None] = field(default_factory=list)
    campaigns: list[Campaign | None] = field(default_factory=list)
    category_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS)
    audits: Audits | None = None
    exports: Exports | None = None
    source: Source | None = None
    program: Program | None = None
    star_schema: StarSchema | None = None
    contact_policy: ContactPolicy | None = None
    privacy: Privacy = field(default_factory=Privacy)


def check(rules: ParsedRules) -> list[Problem]:
    """Every problem between the rules that could be read."""
    checks = (
        _names, _priority, _shares, _audience_codes, _contact_policy, _category_groups, _minimum_share, _who_is_left,
        _protected, _kept_long_enough,
    )  # fmt: skip
    return list(chain.from_iterable(one(rules) for one in checks))


def names(raw: Any) -> dict[int, str]:
    """The names by position, also of rules that were refused for something else."""
    entries = raw if isinstance(raw, list) else []
    found = {i: entry.get("name") for i, entry in enumerate(entries) if isinstance(entry, dict)}
    return {i: name for i, name in found.items() if isinstance(name, str) and name.strip()}


def _names(rules: ParsedRules) -> Iterator[Problem]:
    for key in ("segments", "campaigns"):
        seen: dict[str, int] = {}
        for i, name in names(rules.raw.get(key)).items():
            first = seen.setdefault(spelling(name), i)
            if first != i:
                words = f"{name!r} is the name of {key}[{first}] too (case and blanks do not count); rename one"
                yield Problem((key, i, "name"), words)


def _priority(rules: ParsedRules) -> Iterator[Problem]:
    raw, last = rules.raw.get("segments"), len(rules.segments) - 1
    if isinstance(raw, list) and len(raw) < 2:
        yield Problem(("segments",), f"holds {len(raw)} of the two or more it needs; add segments")
    for i, segment in enumerate(rules.segments):
        if segment and segment.criteria and i == last:
            words = f"{segment.name!r} is last and takes everyone left; remove them, or add a segment after it"
            yield Problem(("segments", i, "criteria"), words)
        if segment and not segment.criteria and i < last:
            words = f"{segment.name!r} has none and would take everyone; add criteria, or move it to the end"
            yield Problem(("segments", i, "criteria"), words)


def _regions(segments: Sequence[Segment | None], metrics: Mapping[str, Metric]) -> dict[str, dict[Axis, Span]]:
    """Of the segments that take someone, but not everyone: the others have their own problem."""
    return {
        segment.name: region(segment.criteria, metrics)
        for segment in segments
        if segment and segment.criteria and not contradictions(segment.criteria, metrics)
    }


def _who_is_left(rules: ParsedRules) -> Iterator[Problem]:
    """Segments and audiences that nobody can be in. What takes too long to find out is refused as well: whoever reads
    such rules could not find it out either."""
    work = Work()
    try:
        yield from _reach(rules, work)
        yield from _campaign_segments(rules, work)
    except UndecidedError as error:
        yield Problem(("segments",), str(error))


def _reach(rules: ParsedRules, work: Work) -> Iterator[Problem]:
    for i, segment in enumerate(rules.segments):
        if not segment:
            continue
        where = ("segments", i, "criteria")
        for words in contradictions(segment.criteria, rules.metrics):
            yield Problem(where, f"{words} contradict each other, so nobody can meet them; correct a bound")
        if not contradictions(segment.criteria, rules.metrics):
            earlier = _regions(rules.segments[:i], rules.metrics)
            taken_by = takers(region(segment.criteria, rules.metrics), earlier, work)
            if taken_by:
                yield Problem(where, f"{segment.name!r} can never be reached: {_taken(taken_by)}")


def _taken(by: Sequence[str]) -> str:
    before = " and ".join(repr(name) for name in by)
    return f"everyone who meets its criteria is taken by {before} before; narrow {before}, or change the order"


def _campaign_segments(rules: ParsedRules, work: Work) -> Iterator[Problem]:
    known = names(rules.raw.get("segments")).values()
    by_name = {segment.name: i for i, segment in enumerate(rules.segments) if segment}
    for i, campaign in enumerate(rules.campaigns):
        if not campaign:
            continue
        if known and campaign.segment not in known:
            words = f"{campaign.segment!r} is no segment; {did_you_mean(campaign.segment, known)}"
            yield Problem(("campaigns", i, "segment"), words)
        if campaign.segment in by_name:
            position = by_name[campaign.segment]
            segment, earlier = rules.segments[position], _regions(rules.segments[:position], rules.metrics)
            if segment and (campaign.criteria or campaign.eligibility):
                where = ("campaigns", i, "eligibility" if campaign.eligibility else "criteria")
                yield from _empty_audience(where, campaign, segment, earlier, rules.metrics, work)


def _audience_codes(rules: ParsedRules) -> Iterator[Problem]:
    """One per audience, and none that says what the campaign or its segment is called."""
    seen: dict[str, int] = {}
    for i, campaign in enumerate(rules.campaigns):
        if not campaign:
            continue
        where, own = ("campaigns", i, "audience_code"), campaign.audience_code
        first = seen.setdefault(own, i)
        if first != i:
            yield Problem(where, f"{own!r} is the code of campaigns[{first}] too; give each its own")
        told = {*_words(campaign.name), *_words(campaign.segment)} & _words(own)
        if told and own != neutral_code(campaign.name):
            words = f"{own!r} tells an ad platform {', '.join(map(repr, sorted(told)))}, as its campaign or segment is"
            yield Problem(where, f"{words} called; use words that say nothing of a customer, or leave it out")


def _contact_policy(rules: ParsedRules) -> Iterator[Problem]:
    known = names(rules.raw.get("campaigns")).values()
    for i, name in enumerate(rules.contact_policy.order if rules.contact_policy else ()):
        if name not in known:
            yield Problem(("contact_policy", "order", i), f"{name!r} is no campaign; {did_you_mean(name, known)}")


def _words(name: str) -> set[str]:
    return {word for word in re.split(r"[^a-z0-9]+", name.lower()) if len(word) > 2}


def _empty_audience(
    where: tuple[str | int, ...],
    campaign: Campaign,
    segment: Segment,
    earlier: Mapping[str, Mapping[Axis, Span]],
    metrics: Mapping[str, Metric],
    work: Work,
) -> Iterator[Problem]:
    if contradictions(segment.criteria, metrics) or takers(region(segment.criteria, metrics), earlier, work):
        return
    together = (*segment.criteria, *campaign.criteria, *campaign.eligibility)
    for words in contradictions(together, metrics):
        yield Problem(
            where,
            f"{words} contradict each other in {segment.name!r}: the list is always empty; correct a bound",
        )
    if not contradictions(together, metrics):
        taken_by = takers(region(together, metrics), earlier, work)
        if taken_by:
            yield Problem(where, f"the list is always empty in {segment.name!r}: {_taken(taken_by)}")


def _exact(numbers: Iterable[Number]) -> Decimal:
    return sum((Decimal(str(one)) for one in numbers), Decimal(0))


def _shares(rules: ParsedRules) -> Iterator[Problem]:
    # A segment without a band may hold any share.
    bands = [segment.expected_share_pct or (0, 100) for segment in rules.segments if segment]
    if len(bands) < max(2, len(rules.segments)):
        return
    lowest, highest = (_exact(ends) for ends in zip(*bands, strict=True))
    if lowest > 100:
        words = f"the lower ends of expected_share_pct add up to {lowest}, above 100; lower some of them"
        yield Problem(("segments",), words)
    if highest < 100:
        words = f"the upper ends of expected_share_pct add up to {highest}, below 100; raise some of them"
        yield Problem(("segments",), words)


def _category_groups(rules: ParsedRules) -> Iterator[Problem]:
    """A category is in one group, so that the shares of two groups can be added up."""
    seen: dict[str, tuple[str, str]] = {}
    for group, categories in rules.category_groups.items():
        for i, name in enumerate(categories):
            other, as_written = seen.setdefault(code(name), (group, name))
            if other != group:
                words = f"{name!r} is in {other} too (as {as_written!r}); keep it in one group"
                yield Problem(("category_groups", group, i), words)


def _minimum_share(rules: ParsedRules) -> Iterator[Problem]:
    if not rules.audits:
        return
    of_all = ("audits", "minimum_segment_share_pct")
    minimum = _exact([rules.audits.minimum_segment_share_pct])
    own = [one.minimum_share_pct if one else None for one in rules.segments]
    floors = [minimum if floor is None else _exact([floor]) for floor in own]
    held = own.count(None)
    if minimum * held > 100:
        most = 100 // held
        words = f"{minimum} for each of {held} segments is more than 100; write {most} or less"
        yield Problem(of_all, words)
    elif sum(floors) > 100:
        words = (
            f"what each has to hold (minimum_share_pct, or {minimum}) adds up to {sum(floors)}, above 100; lower some"
        )
        yield Problem(("segments",), words)
    for i, (segment, floor) in enumerate(zip(rules.segments, floors, strict=True)):
        band = list(segment.expected_share_pct or ()) if segment else []
        if segment and band and _exact(band[1:]) < floor:
            where = of_all if own[i] is None else ("segments", i, "minimum_share_pct")
            words = f"{floor} would block {segment.name!r}, expected in {band}; lower it, or raise the band"
            yield Problem(where, words)


def _protected(rules: ParsedRules) -> Iterator[Problem]:
    """Names that speak of a protected characteristic or a proxy for one, and which nobody accepted with a reason."""
    for where, name in _names_that_decide(rules):
        parts = [part for part in re.split(r"[^a-z0-9]+", name.lower()) if part]
        # marital_status is one characteristic of two parts, and age is none of average.
        found = next((one for one in rules.privacy.protected if _holds(parts, one)), None)
        if found and name not in rules.privacy.accepted:
            words = (
                f"{name!r} speaks of {found!r}, a protected characteristic or what stands for one (privacy.protected),"
                f" and no rule may be made of it; leave it out, or say why it may be: privacy.accepted: {{{name}: ...}}"
            )
            yield Problem(where, words)


def _holds(parts: Sequence[str], protected: str) -> bool:
    wanted = [part for part in re.split(r"[^a-z0-9]+", protected.lower()) if part]
    return any(parts[i : i + len(wanted)] == wanted for i in range(len(parts) - len(wanted) + 1)) if wanted else False


def _names_that_decide(rules: ParsedRules) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Metrics, groups of categories and the company's own columns: whatever a criterion can be made of."""
    for key in ("metrics", "category_groups"):
        entries = rules.raw.get(key)
        for name in entries if isinstance(entries, dict) else ():
            yield (key, str(name)), str(name)
    for table, mapped in (rules.star_schema.tables if rules.star_schema else {}).items():
        for column, sql in (getattr(mapped, "columns", None) or {}).items():
            for name in dict.fromkeys(columns_of(sql)):
                yield ("star_schema", "tables", table, "columns", column), name


def look_backs(campaigns: Iterable[Campaign], policy: ContactPolicy | None) -> list[tuple[str, int]]:
    """What looks back on earlier lists, by address and by id, and on how many months."""
    found = [(f"cooldown_months of {one.name}", one.cooldown_months + 1) for one in campaigns if one.cooldown_months]
    return [*found, *([("contact_policy.per_months", policy.per_months)] if policy else [])]


def _kept_long_enough(rules: ParsedRules) -> Iterator[Problem]:
    """Where the rules say how long: what is looked back on has to be there."""
    kept, said = rules.privacy.retention_months, rules.raw.get("privacy")
    lists = look_backs(filter(None, rules.campaigns), rules.contact_policy)
    if rules.privacy.pseudonymise:
        lists.append(("the year of a holdout_epoch", 13))
        for i, one in enumerate(rules.campaigns):
            if one and one.holdout_epoch == "never":
                words = (
                    "'never' looks back on every list by id, and privacy.pseudonymise takes those of older lists away"
                )
                yield Problem(("campaigns", i, "holdout_epoch"), f"{words}; write year, or leave the ids")
    what, longest = max(lists, key=lambda one: one[1], default=("", 0))
    if isinstance(said, dict) and "retention_months" in said and longest > kept:
        words = f"{kept} is less than the {longest} months that {what} looks back on; keep {longest} or more"
        yield Problem(("privacy", "retention_months"), words)
