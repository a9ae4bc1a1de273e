"""The models of the campaigns, made from their entries in the rules: SQL, contract, tests and exposures of each list.

Nothing of a campaign is written by hand: a column that it `shows` has the type and the description that
customer_segment_history gives it.
"""

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml

from segmentation_assets.dbt.personal_data import PERSONAL_DATA
from segmentation_assets.errors import UserError
from segmentation_assets.rules.load import Rules
from segmentation_assets.rules.schema import Campaign
from segmentation_assets.rules.strict_yaml import LOADER

Column = dict[str, Any]

FOLDER = "models/audiences"
READERS = "models/exposures.yml"
PROFILE = "models/insights/customer_360_profile.yml"
HISTORY = "models/segments/customer_segment_history.yml"
# What the macro refuse_other_campaigns compares with the rules that dbt is given.
MADE = "macros/audiences/campaigns_made.sql"
# What a campaign may show beside the columns of the history; its SQL is in the macro shown_metric.
PROJECTED = {
    "name": "projected_annual_value",
    "data_type": "double",
    "description": "Twelve times avg_monthly_spend.",
}
NOT_NULL = {"constraints": [{"type": "not_null"}]}


def _holds(kind: str) -> dict[str, Any]:
    """As a model's yml declares it; the kinds are of personal_data.py."""
    return {"config": {"meta": {PERSONAL_DATA: kind}}}


BEFORE = (
    {"name": "snapshot_month", "data_type": "date", "description": "The month just closed, by its first day."},
    {"name": "campaign", "data_type": "varchar", "description": "The name of the campaign, {name}."},
    {
        "name": "audience_rank",
        "data_type": "bigint",
        "description": "1 for the best-ranked customer of the month, without gaps; ties go to the smaller customer_id.",
    },
    {
        "name": "customer_id",
        "data_type": "varchar",
        "description": "The durable key of the customer.",
        **_holds("customer_id"),
    },
)
EMAIL = {
    "name": "email",
    "data_type": "varchar",
    "description": "The address on file now, without blanks around it; NULL where the campaign's channel needs none.",
    **_holds("email"),
}
NAMES = (
    {"name": "first_name", "data_type": "varchar", "description": "First name on file now.", **_holds("name")},
    {"name": "last_name", "data_type": "varchar", "description": "Last name on file now.", **_holds("name")},
)
SIDE = {
    "name": "treatment_group",
    "data_type": "varchar",
    "description": "target is sent the campaign; holdout is not, so that the two can be compared.",
}
AFTER = (
    {
        "name": "holdout_unit",
        "data_type": "varchar",
        "description": "{{ doc('holdout_unit') }}",
        **_holds("customer_id"),
    },
    {"name": "content_hash", "data_type": "varchar", "description": "{{ doc('content_hash') }}"},
    {"name": "holdout_epoch", "data_type": "varchar", "description": "{{ doc('holdout_epoch') }}"},
)
# The columns of every list, of whatever campaign and version.
# What a list holds of a person, for one that no model describes any more.
HELD_BY_LISTS = {column["name"]: column for column in (*BEFORE, EMAIL, *NAMES, SIDE, *AFTER)}
OF_EVERY_LIST = ("snapshot_month", "campaign", "audience_rank", "customer_id", "email", "treatment_group")
TESTS = (
    "audience_members_meet_the_rules", "audience_ranks_run_from_one", "audience_ranks_follow_the_rules",
    "audience_is_within_its_cap", "audience_addresses_are_deliverable", "audience_addresses_are_unique",
    "audience_holds_nobody_suppressed", "audience_holdout_follows_the_hash", "audience_is_not_empty",
    "audience_size_is_near_last_months",
)  # fmt: skip
# libyaml's, several times as fast, wherever PyYAML was built with it.
DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
ORDERS = {"highest_first": "highest first", "lowest_first": "lowest first"}


class HandWrittenCampaignError(UserError):
    """A model of a campaign that somebody wrote, as versions before needed it."""


def campaign_models(rules: Rules, files: Mapping[str, bytes]) -> dict[str, str]:
    """Path -> text of what the campaigns add to the project's `files`. Raises HandWrittenCampaignError."""
    _refuse_hand_written(rules, files)
    # Metrics that the rules add stand behind the columns of the history.
    further = load_yaml(files["dbt_project.yml"])["vars"].get("further_columns", [])
    shown = {column["name"]: column for column in (*columns_of(files, HISTORY), *further, PROJECTED)}
    made = {
        MADE: _campaigns_made(rules),
        PROFILE: _profile(rules, files),
        READERS: _readers(rules, files),
    }
    for campaign in rules.campaigns:
        audience = f"{FOLDER}/audience_{campaign.name}"
        made[f"{audience}.sql"] = f"{{{{ audience('{campaign.name}') }}}}\n"
        made[f"{audience}.yml"] = as_yaml(
            {
                "version": 2,
                "models": [_model(campaign, [shown[name] for name in campaign.shows])],
                "exposures": _exposures(campaign),
            }
        )
    return made


def load_yaml(content: bytes) -> Any:
    return yaml.load(content, LOADER)


def as_yaml(content: object) -> str:
    return yaml.dump(content, Dumper=DUMPER, sort_keys=False, allow_unicode=True, width=120)


def _profile(rules: Rules, files: Mapping[str, bytes]) -> str:
    """The yml of customer_360_profile with a column per campaign, before the one that names the lists, with the metrics
    that the rules add, and with the groups that a customer can be focused on, as the macro focus_groups has them."""
    said, variables = load_yaml(files[PROFILE]), load_yaml(files["dbt_project.yml"])["vars"]
    columns = said["models"][0]["columns"]
    groups = [name for name in variables["insights"]["focus_at_least_pct"] if name in variables["category_groups"]]
    (spending,) = (column for column in columns if column["name"] == "spending_profile")
    spending["data_tests"][0]["accepted_values"]["arguments"]["values"][:0] = [f"{name}-focused" for name in groups]
    (place,) = (i for i, column in enumerate(columns) if column["name"] == "audiences")
    columns[place:place] = [
        {
            "name": f"eligible_for_{campaign.name}",
            "data_type": "boolean",
            "description": (
                f"Whether the customer is in the segment of {campaign.name} and meets its criteria. Address,"
                " objection, cooldown and cap are judged after that; audiences says who came through."
            ),
        }
        for campaign in rules.campaigns
    ]
    columns += variables.get("further_columns", [])
    return as_yaml(said)


def _readers(rules: Rules, files: Mapping[str, bytes]) -> str:
    """The exposures of what reads more than one list: the report counts contacts over all of them."""
    said = load_yaml(files[READERS])
    (report,) = (one for one in said["exposures"] if one["name"] == "segment_report")
    report["depends_on"] += [f"ref('audience_{campaign.name}')" for campaign in rules.campaigns]
    return as_yaml(said)


def columns_of(files: Mapping[str, bytes], path: str) -> list[Column]:
    """Names, types and descriptions of the columns that the yml of one model declares."""
    (model,) = load_yaml(files[path])["models"]
    return [{key: column[key] for key in ("name", "data_type", "description")} for column in model["columns"]]


def _model(campaign: Campaign, shown: list[Column]) -> dict[str, Any]:
    before = [{**column, "description": column["description"].format(name=campaign.name)} for column in BEFORE]
    columns = [
        *({**column, **NOT_NULL} for column in before),
        {**EMAIL, **(NOT_NULL if campaign.needs_address else {})},
        *NAMES,
        *shown,
        {**SIDE, **NOT_NULL},
        *AFTER,
    ]
    unique = {"arguments": {"combination_of_columns": ["snapshot_month", "customer_id"]}}
    return {
        "name": f"audience_{campaign.name}",
        "description": _description(campaign),
        "config": {
            "access": "public",
            "tags": ["published", "contact_details"],
            "contract": {"enforced": True},
            "meta": {"granted_to": "SNOWFLAKE_LISTS_ROLE", "dagster": {"owners": ["team:customer-analytics"]}},
        },
        "columns": columns,
        "data_tests": [
            {"unique_combination_of_columns": {**unique, "config": {"where": "__asked_months__"}}},
            *TESTS,
        ],
    }


def _description(campaign: Campaign) -> str:
    criteria = " and ".join(str(one).replace(one.operator, one.operator.replace("_", " ")) for one in campaign.criteria)
    among = f" with {criteria}" if criteria else ""
    return (
        f"One row per month and customer on the list of {campaign.name}: customers of"
        f" {literal(campaign.segment)}{among}, by {campaign.rank_by.metric}, {ORDERS[campaign.rank_by.order]}; within"
        " the cap, holdout included. Made from the published month, with the contact details and suppressions of the"
        " day it was made: a month made again leaves out whoever has objected since. Criteria, ranking, cap, holdout"
        " and cooldown are the campaign's entry in the rules."
    )


def literal(text: str) -> str:
    """Text of a person's in a description, which dbt renders as a template."""
    return text.replace("{", "{{ '{' }}")


def _exposures(campaign: Campaign) -> list[dict[str, Any]]:
    def exposure(name: str, label: str, description: str, *reads: str) -> dict[str, Any]:
        return {
            "name": f"{name}_{campaign.name}",
            "label": f"{label} {campaign.name}",
            "type": "application",
            "maturity": "high",
            "description": description,
            "depends_on": [f"ref('{model}')" for model in (f"audience_{campaign.name}", *reads)],
            "owner": {"name": "customer-analytics"},
            "config": {"meta": {"campaign": campaign.name}},
        }

    return [
        exposure(
            "campaign",
            "Campaign",
            "Marketing writes to the customers of the list that are not held out, once per mailbox.",
            "campaign_outcome_groups",
        ),
        exposure(
            "export",
            "Export files of",
            "A folder of files per month, from which mailing tools and ad platforms take the list.",
            "audience_waterfall",
        ),
    ]


def _campaigns_made(rules: Rules) -> str:
    made = [{"name": one.name, "channel": one.channel, "shows": list(one.shows)} for one in rules.campaigns]
    return f"{{% macro campaigns_made() %}}{{{{ return({json.dumps(made)}) }}}}{{% endmacro %}}\n"


def _refuse_hand_written(rules: Rules, files: Mapping[str, bytes]) -> None:
    names = {campaign.name for campaign in rules.campaigns}
    told = []
    for path in map(PurePosixPath, sorted(files)):
        name = path.stem.removeprefix("audience_")
        if path.parts[0] != "models" or name == path.stem or path.suffix not in (".sql", ".yml", ".yaml"):
            continue
        calls = path.suffix == ".sql" and re.search(rb"\{\{-?\s*audience\(", files[str(path)])
        if name in names or calls:
            entry = "has all that it needs" if name in names else "is needed, and all that is"
            told.append(
                f"{path}: a campaign's model is made from the rules and no longer written by hand. Remove this file:"
                f" the entry {name} under campaigns in dbt_project.yml, or in the file of SEGMENTATION_RULES, {entry}."
            )
    if told:
        raise HandWrittenCampaignError("\n".join(told))
