"""The shape of each kind of rule: criterion, segment, campaign, audit bounds.

What a single value may be is in rule_values.py, what must hold between rules (reach, shares, names) in
rule_checks.py, reading the files in rules.py.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
    model_validator,
)

from segmentation_assets.rules.validators import (
    CHANNELS,
    EPOCHS,
    METRICS,
    OPERATORS,
    ORDERS,
    SHOWN_ONLY,
    TRIGGERS,
    Metric,
    Number,
    a_list,
    between,
    campaign_name,
    distinct,
    distinct_codes,
    flag,
    neutral_code,
    not_empty,
    not_empty_statuses,
    number,
    one_of,
    plain_name,
    platform_code,
    positive_psi,
    share_band,
    text,
    whole,
)
from segmentation_assets.spelling import code

Text = Annotated[str, PlainValidator(text)]
Name = Annotated[str, PlainValidator(plain_name)]
Percentage = Annotated[Number, PlainValidator(between(0, 100))]


def _metrics(info: ValidationInfo) -> Mapping[str, Metric]:
    """Those of the rules that are read; the published ones where nobody said."""
    return (info.context or {}).get("metrics", METRICS)


def metric(value: object, info: ValidationInfo) -> str:
    return one_of(tuple(name for name, one in _metrics(info).items() if one.kind != "date"), "metric")(value)


def numeric_metric(value: object, info: ValidationInfo) -> str:
    numeric = (name for name, one in _metrics(info).items() if one.kind not in ("date", "flag"))
    return one_of(tuple(numeric), "metric to rank by")(value)


def shown(value: object, info: ValidationInfo) -> str:
    return one_of((*_metrics(info), SHOWN_ONLY), "column")(value)


Shown = Annotated[str, PlainValidator(shown)]
Categories = Annotated[
    tuple[Name, ...], BeforeValidator(a_list), AfterValidator(not_empty), AfterValidator(distinct_codes)
]


class Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Criterion(Rule):
    """A metric compared with a bound: exactly one of the operators is set. A NULL metric fails it."""

    metric: Annotated[str, PlainValidator(metric)]
    at_least: Number | None = None
    at_most: Number | None = None
    above: Number | None = None
    below: Number | None = None
    is_: bool | None = Field(default=None, alias="is")

    @field_validator("at_least", "at_most", "above", "below", "is_", mode="plain")
    @classmethod
    def _fits_the_metric(cls, value: object, info: ValidationInfo) -> Number | bool:
        earlier = [name for name in OPERATORS if info.data.get(name) is not None]
        if earlier:
            raise ValueError(f"is a second operator beside {earlier[0]!r}; a criterion has one, write two criteria")
        metric = info.data.get("metric")  # absent when it was refused itself
        is_flag = metric is not None and _metrics(info)[metric].kind == "flag"
        if info.field_name == "is_":
            if metric is not None and not is_flag:
                raise ValueError(
                    f"is for true or false, but {metric} is a number; use at_least, at_most, above or below"
                )
            if not isinstance(value, bool):
                raise ValueError("is neither true nor false; write is: true or is: false, without quotes")
            return value
        if is_flag:
            raise ValueError(f"is for numbers, but {metric} is true or false; write is: true or is: false")
        return number(value)

    @model_validator(mode="after")
    def _has_an_operator(self) -> Self:
        if not self._set_operators():
            raise ValueError(f"has no operator; add one of {', '.join(OPERATORS)}")
        return self

    def _set_operators(self) -> list[tuple[str, Number | bool]]:
        values = (self.at_least, self.at_most, self.above, self.below, self.is_)
        return [(name, value) for name, value in zip(OPERATORS, values, strict=True) if value is not None]

    @property
    def operator(self) -> str:
        return self._set_operators()[0][0]

    @property
    def bound(self) -> Number | bool:
        return self._set_operators()[0][1]

    def __str__(self) -> str:
        return f"{self.metric} {self.operator} {str(self.bound).lower()}"


def _a_few(value: object, info: ValidationInfo) -> object:
    """Two bounds of every metric, and some to spare: more of them say the same twice."""
    most = 3 * len(_metrics(info))
    if len(criteria := cast("list[object]", a_list(value))) > most:
        raise ValueError(f"holds {len(criteria):,} criteria; {most} at most, as a metric needs two bounds and no more")
    return value


Criteria = Annotated[tuple[Criterion, ...], BeforeValidator(_a_few)]


class Segment(Rule):
    name: Name
    criteria: Criteria = ()
    # Left out, no share is expected: nothing warns about it and nothing draws it.
    expected_share_pct: Annotated[tuple[Number, Number] | None, PlainValidator(share_band)] = None
    # In place of audits.minimum_segment_share_pct: a small segment may be no fault.
    minimum_share_pct: Percentage | None = None
    purpose: Text = ""

    def minimum_share(self, of_all: Number) -> Number:
        """What it has to hold, where `of_all` is the bound of the audits."""
        return of_all if self.minimum_share_pct is None else self.minimum_share_pct


class RankBy(Rule):
    metric: Annotated[str, PlainValidator(numeric_metric)]
    order: Annotated[Literal["highest_first", "lowest_first"], PlainValidator(one_of(ORDERS, "order"))]


class Campaign(Rule):
    """An audience: the segment's members that meet the extra criteria, ranked, capped, less a holdout."""

    name: Annotated[str, PlainValidator(campaign_name)]
    channel: Annotated[str, PlainValidator(one_of(tuple(CHANNELS), "channel"))] = "email"
    segment: Text
    criteria: Criteria = ()
    # entered: only who came into the segment in the month, by segment_moves. Left out: everybody in it.
    trigger: Annotated[Literal["entered"] | None, PlainValidator(one_of(TRIGGERS, "trigger"))] = None
    # Who may be made the offer at all: criteria too, and a step of their own on the way to the list.
    eligibility: Criteria = ()
    rank_by: RankBy
    cap: Annotated[int, PlainValidator(whole(1))]
    # Above one half the control group would be the larger one.
    holdout_pct: Annotated[Number, PlainValidator(between(0, 50))] = 10
    # The calendar year or quarter after which other people are held back, or never.
    holdout_epoch: Annotated[str, PlainValidator(one_of(EPOCHS, "epoch"))] = "year"
    # What of a unit of spend is earned, and what one contact costs: they turn more spend into profit and return.
    margin_pct: Annotated[Number | None, PlainValidator(between(0, 100))] = None
    cost_per_contact: Annotated[Number, PlainValidator(between(0, 1_000_000))] = 0
    cooldown_months: Annotated[int, PlainValidator(whole(0))] = 0
    shows: Annotated[tuple[Shown, ...], BeforeValidator(a_list), AfterValidator(distinct)] = ()
    objective: Text = ""
    actions: Annotated[tuple[Text, ...], BeforeValidator(a_list)] = ()
    # What an ad platform may know the audience by: it must not tell that somebody is rich, or spends less.
    audience_code: Annotated[str, PlainValidator(platform_code)] = ""

    @property
    def needs_address(self) -> bool:
        """Else its unit of contact is the customer, and not the mailbox."""
        return CHANNELS[self.channel]

    @model_validator(mode="after")
    def _has_a_code(self) -> Self:
        if not self.audience_code:
            object.__setattr__(self, "audience_code", neutral_code(self.name))  # frozen for everybody else
        return self


class Program(Rule):
    """What holds over all campaigns. Each is a key of the rules by itself, and none has to be there."""

    # Above one half the control group would be the larger one.
    universal_holdout_pct: Annotated[Number, PlainValidator(between(0, 50))] = 0


class ContactPolicy(Rule):
    """How often anybody may be contacted, over all campaigns: `at_most` times in `per_months` months, the list's own
    the last of them. Within a month the campaigns choose in the `order`; those that it leaves out after it, by name."""

    at_most: Annotated[int, PlainValidator(whole(1, 100))]
    # Two years are as far back as anybody says "lately" of.
    per_months: Annotated[int, PlainValidator(whole(1, 24))]
    order: Annotated[tuple[Text, ...], BeforeValidator(a_list), AfterValidator(distinct)] = ()

    def in_turn(self, campaigns: Iterable[str]) -> tuple[str, ...]:
        """The campaigns' names as they choose: what the macro campaigns_in_turn gives."""
        if not self.order:
            return tuple(campaigns)
        return (*self.order, *sorted(set(campaigns) - set(self.order)))


class Audits(Rule):
    """Bounds of the audits; dbt_project.yml says why each has the value it has."""

    minimum_segment_share_pct: Percentage
    drift_baseline_months: Annotated[int, PlainValidator(whole(1, 24))]
    facts_may_end_days_early: Annotated[int, PlainValidator(whole(0, 27))]  # 28 is a whole month
    # With the shipped values as defaults: a rules file of an earlier version does not name them.
    usual_day_min_facts: Annotated[int, PlainValidator(whole(1))] = 20
    absent_days_max: Annotated[int, PlainValidator(whole(0, 31))] = 0
    thin_day_below_pct: Percentage = 50
    thin_days_max: Annotated[int, PlainValidator(whole(0, 31))] = 2
    drift_max_psi: Annotated[Number, PlainValidator(positive_psi)]
    drift_max_change_points: Percentage
    unknown_category_max_share_pct: Percentage
    future_dated_max_share_pct: Percentage
    # A company's own bounds, written before these were, need not name them: audit_bound in macros/publication/audits.
    unknown_status_max_share_pct: Percentage = 1
    unknown_members_max: Annotated[int, PlainValidator(whole(0))] = 3
    unknown_member_max_share_pct: Percentage = 1
    suppressions_max_loss_pct: Percentage = 10
    suppressions_max_unmatched_pct: Percentage = 5


Statuses = Annotated[tuple[Name, ...], BeforeValidator(a_list), AfterValidator(distinct_codes)]


class UnknownCustomers(Rule):
    """Keys and ids in dim_customer that are nobody's; case and blanks around an id do not count."""

    keys: Annotated[tuple[Annotated[int, PlainValidator(whole(-(2**63)))], ...], BeforeValidator(a_list)] = (-1, 0)
    ids: Annotated[tuple[Name, ...], BeforeValidator(a_list)] = ("-1", "0", "UNKNOWN")


class Freshness(Rule):
    """Days from the newest fact to now from which `dbt source freshness` warns, and fails."""

    warn_after_days: Annotated[int, PlainValidator(whole(1))] = 33
    error_after_days: Annotated[int, PlainValidator(whole(1))] = 64

    @model_validator(mode="after")
    def _warns_first(self) -> Self:
        if self.error_after_days < self.warn_after_days:
            raise ValueError(
                f"fails after {self.error_after_days} days, before it warns after {self.warn_after_days};"
                " error_after_days has to be at least warn_after_days"
            )
        return self


class Source(Rule):
    """What the values of the star schema mean. Each is a key of the rules by itself, and none has to be there."""

    approved_statuses: Annotated[Statuses, AfterValidator(not_empty_statuses)] = ("approved",)
    other_statuses: Statuses = ("declined", "reversed", "pending")
    unknown_customers: UnknownCustomers = UnknownCustomers()
    freshness: Freshness = Freshness()
    suppressions: Annotated[
        Literal["required", "none"], PlainValidator(one_of(("required", "none"), "word for the table of objections"))
    ] = "required"

    @field_validator("other_statuses")
    @classmethod
    def _counts_as_spend_or_not(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        approved = {code(status) for status in info.data.get("approved_statuses", ())}
        both = [status for status in value if code(status) in approved]
        if both:
            raise ValueError(f"names {both[0]!r}, which approved_statuses names too; remove one")
        return value


class RecencyDays(Rule):
    """Days since the last transaction, up to and including each; beyond the last a customer is inactive."""

    active: Annotated[int, PlainValidator(whole(0))]
    recent: Annotated[int, PlainValidator(whole(0))]
    at_risk: Annotated[int, PlainValidator(whole(0))]

    @model_validator(mode="after")
    def _ascend(self) -> Self:
        if not self.active <= self.recent <= self.at_risk:
            raise ValueError("does not ascend from active over recent to at_risk; raise the later ones")
        return self


class Insights(Rule):
    """What customer_360_profile calls a customer; dbt_project.yml says why."""

    recency_days: RecencyDays
    # Category group -> share from which a customer is focused on it, the first that fits.
    focus_at_least_pct: dict[Name, Percentage] = Field(default_factory=dict)


class Exports(Rule):
    """What may go out in the campaigns' files, and for how long; dbt_project.yml says why."""

    allow_formula_ids: Annotated[bool, PlainValidator(flag)] = False
    replaced_versions_days: Annotated[int, PlainValidator(whole(0, 365))] = 7


# Characteristics that the law protects, and what stands for one: its words, as parts of a name (age in age_group).
PROTECTED = (
    "age", "birth", "birthday", "birthdate", "born", "sex", "gender", "pregnancy", "pregnant", "marital", "married",
    "postcode", "postal", "zip", "language", "nationality", "citizenship", "ethnicity", "ethnic", "race", "religion",
    "religious", "faith", "disability", "disabled", "orientation", "political",
)  # fmt: skip


class Privacy(Rule):
    """What is kept of a person, and what no rule may be made of; docs/personal_data.md says more."""

    # A year's lists and the month they are compared with.
    retention_months: Annotated[int, PlainValidator(whole(1, 120))] = 13
    pseudonymise: Annotated[bool, PlainValidator(flag)] = False
    protected: Annotated[tuple[Name, ...], BeforeValidator(a_list), AfterValidator(distinct)] = PROTECTED
    # Name of a metric, group or column -> why a rule may be made of it all the same.
    accepted: dict[Name, Text] = Field(default_factory=dict)
