"""The JSON schema of a rules file, from the models that read it: editors complete and check by it while one types.

What a validator lets through is said here by what it is; what holds between rules, only loading the file tells.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, cast

from pydantic import Field, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from segmentation_assets.rules import metrics, schema, star_schema, validators
from segmentation_assets.rules.load import MOST_RULES
from segmentation_assets.rules.metrics import AnyDefinition, Window
from segmentation_assets.rules.schema import (
    Audits,
    Campaign,
    Categories,
    ContactPolicy,
    Criterion,
    Exports,
    Insights,
    Privacy,
    Program,
    Rule,
    Segment,
    Source,
)
from segmentation_assets.rules.star_schema import StarSchema
from segmentation_assets.rules.validators import METRICS

# Key at the top of the file -> its model, and what it says. The keys of Source and Program stand at the top too.
TOP: Mapping[str, tuple[Any, str]] = {
    "segments": (list[Segment], "In priority order: the first whose criteria all hold wins, the last has none."),
    "category_groups": (
        dict[str, Categories | None],
        "Merchant categories by group; two shares of spend are measured for each.",
    ),
    "windows": (dict[str, Window | None], "Windows of whole days before the as-of date, by name."),
    "metrics": (
        dict[str, Annotated[AnyDefinition, Field(discriminator="kind")] | None],
        "What is measured of each customer, by the name of its column (docs/rules.md).",
    ),
    "campaigns": (list[Campaign], "One list a month each; its table, checks and files are made from the entry."),
    "audits": (Audits, "Bounds that a month has to keep before it is published, or that are warned of."),
    "contact_policy": (ContactPolicy, "How often anybody may be contacted, over all campaigns."),
    "privacy": (Privacy, "What is kept of a person, and what no rule may be made of (docs/personal_data.md)."),
    "exports": (Exports, "What may go out in the campaigns' files, and for how long."),
    "insights": (Insights, "What customer_360_profile calls a customer."),
    "star_schema": (StarSchema, "Where the company's tables and columns are (docs/your_data.md)."),
}
TEXT = {"type": "string", "minLength": 1}
IDENTIFIER = {
    "type": "string", "pattern": "^[a-z][a-z0-9]*(_[a-z0-9]+)*$", "maxLength": validators.LONGEST_COLUMN_NAME,
}  # fmt: skip


def _metrics(*published: str) -> JsonSchemaValue:
    """One of these, or one that the file defines."""
    return {"anyOf": [{"enum": list(published)}, IDENTIFIER]}


OF_VALIDATORS: Mapping[Callable[..., object], JsonSchemaValue] = {
    validators.text: {**TEXT, "maxLength": validators.LONGEST_TEXT},
    validators.plain_name: {**TEXT, "maxLength": validators.LONGEST_NAME},
    validators.campaign_name: {
        "type": "string",
        "pattern": "^[a-z][a-z0-9]*(_[a-z0-9]+)*$",
        "maxLength": validators.LONGEST_CAMPAIGN_NAME,
    },
    validators.platform_code: {
        "type": "string",
        "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$",
        "maxLength": validators.LONGEST_CAMPAIGN_NAME,
    },
    validators.share_band: {
        "type": "array",
        "items": {"type": "number", "minimum": 0, "maximum": 100},
        "minItems": 2,
        "maxItems": 2,
    },
    validators.positive_psi: {"type": "number", "exclusiveMinimum": 0, "maximum": 10},
    validators.flag: {"type": "boolean"},
    validators.column_name: IDENTIFIER,
    metrics.metric_or_number: {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, *_metrics(*METRICS)["anyOf"]]},
    schema.metric: _metrics(*METRICS),
    schema.numeric_metric: _metrics(*(name for name, one in METRICS.items() if one.kind != "flag")),
    schema.shown: _metrics(*METRICS, *metrics.PUBLISHED_DATES, validators.SHOWN_ONLY),
    star_schema.expression: TEXT,
    star_schema.a_place: TEXT,
    star_schema.one_name: TEXT,
    star_schema.a_time_zone: TEXT,
}


class _Generator(GenerateJsonSchema):
    def function_plain_schema(self, schema: Any) -> JsonSchemaValue:
        return dict(_of(schema["function"]["function"]))


def _of(validator: Callable[..., object]) -> Mapping[str, Any]:
    """What a validator takes. Those that are made for a bound or a list of words hold it in their closure."""
    if validator in OF_VALIDATORS:
        return OF_VALIDATORS[validator]
    held = inspect.getclosurevars(validator).nonlocals
    if "known" in held:
        return {"enum": list(held["known"])}
    if "low" in held:
        kind = "integer" if validator.__qualname__.startswith("whole.") else "number"
        highest = {} if held["high"] is None else {"maximum": held["high"]}
        return {"type": kind, "minimum": held["low"], **highest}
    return {}


def rules_schema() -> dict[str, Any]:
    fields: dict[str, Any] = {key: (model, Field(default=None, description=said)) for key, (model, said) in TOP.items()}
    fields |= {key: (field.annotation, field) for one in (Source, Program) for key, field in one.model_fields.items()}
    model = create_model("CustomerSegmentationRules", __base__=Rule, **fields)
    made = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    for key in TOP:
        made["properties"][key].pop("default")
    for key, most in MOST_RULES.items():
        made["properties"][key]["maxItems"] = most
    made["properties"]["segments"]["minItems"] = 2
    for key, most in metrics.MOST.items():
        made["properties"][key] |= {"propertyNames": IDENTIFIER, "maxProperties": most}
    _operators(made["$defs"][Criterion.__name__])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": "Rules of customer-segmentation",
        "description": "A file for SEGMENTATION_RULES. A key that is left out is as in dbt_project.yml.",
    }


def rules_schema_text() -> str:
    return json.dumps(rules_schema(), indent=2, ensure_ascii=False) + "\n"


def _operators(criterion: dict[str, Any]) -> None:
    """Exactly one of them, a number or a flag."""
    properties = cast("dict[str, Any]", criterion["properties"])
    for operator in validators.OPERATORS:
        properties[operator] = {"type": "boolean" if operator == "is" else "number"}
    criterion["oneOf"] = [{"required": [operator]} for operator in validators.OPERATORS]
