"""Snowflake's semantic view of the published tables, written from the definitions that MetricFlow reads.

One definition, two readers: `mf query` on any engine, and whatever asks a semantic view in the account. Syntax:
docs.snowflake.com, CREATE SEMANTIC VIEW; NON ADDITIVE BY is there since March 2026.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from segmentation_assets.errors import UserError

Definition = Mapping[str, Any]
NAME = "segmentation_metrics"
_AGGREGATES = {"sum": "sum", "max": "max", "min": "min", "average": "avg", "count_distinct": "count(distinct"}


class SemanticViewError(UserError):
    """A definition that the semantic view cannot say; names it."""


def ddl(semantic_manifest: Definition, *, database: str = "") -> str:
    """`create or replace semantic view ...`, in the schema of the published tables.

    Names are written without quotes, as everywhere on Snowflake. `database` is left out where none is given: then it
    is that of the session. Raises SemanticViewError.
    """
    models = semantic_manifest["semantic_models"]
    schema = f"{database}.{models[0]['node_relation']['schema_name']}".removeprefix(".")
    tables = [_table(model, database) for model in models]
    dimensions = [line for model in models for line in _dimensions(model)]
    metrics = list(_metrics(semantic_manifest["metrics"], models))
    return (
        f"create or replace semantic view {schema}.{NAME}\n"
        + "\n".join(
            f"  {clause} (\n" + ",\n".join(f"    {line}" for line in lines) + "\n  )"
            for clause, lines in (("tables", tables), ("dimensions", dimensions), ("metrics", metrics))
        )
        + "\n  comment = 'Published customer segments. Written by segmentation semantic-view.'\n  copy grants;\n"
    )


def _table(model: Definition, database: str) -> str:
    relation = model["node_relation"]
    name = ".".join(filter(None, (database, relation["schema_name"], relation["alias"])))
    return f"{model['name']} as {name} primary key ({', '.join(_key(model))}){_comment(model)}"


def _key(model: Definition) -> Sequence[str]:
    """The columns of the primary entity; where it is made of several, as the config's meta says."""
    for entity in model["entities"]:
        if entity["type"] == "primary":
            return [entity["expr"] or entity["name"]]
    try:
        return model["config"]["meta"]["primary_key"]
    except (KeyError, TypeError):
        raise SemanticViewError(
            f"semantic model {model['name']} has no primary entity; name its key in config.meta.primary_key."
        ) from None


def _dimensions(model: Definition) -> Iterator[str]:
    for dimension in (*model["entities"], *model["dimensions"]):
        expression = dimension["expr"] or dimension["name"]
        # MetricFlow cuts a date to its grain when it is asked; what is asked of a semantic view is the column.
        yield f"{model['name']}.{dimension['name']} as {expression}{_comment(dimension)}"


def _metrics(metrics: Sequence[Definition], models: Sequence[Definition]) -> Iterator[str]:
    """In an order in which each stands behind those it is made of."""
    measures = {measure["name"]: (model, measure) for model in models for measure in model["measures"]}
    by_name = {metric["name"]: metric for metric in metrics}
    table: dict[str, str] = {}
    waiting = sorted(by_name.values(), key=lambda metric: (metric["type"] != "simple", metric["name"]))
    for metric in waiting:
        name, kind, parts = metric["name"], metric["type"], metric["type_params"]
        if metric["filter"] or kind not in ("simple", "ratio", "derived"):
            raise SemanticViewError(f"metric {name} is {kind} or filtered; the semantic view has no words for that.")
        if kind == "simple":
            model, measure = measures[parts["measure"]["name"]]
            table[name] = model["name"]
            yield f"{model['name']}.{name}{_non_additive(measure)} as {_aggregate(measure)}{_comment(metric)}"
            continue
        asked = [parts["numerator"], parts["denominator"]] if kind == "ratio" else parts["metrics"]
        inputs = [part["name"] for part in asked]
        if not table.keys() >= {*inputs}:
            raise SemanticViewError(f"metric {name} is made of {', '.join(inputs)}, of which one is not simple.")
        owners = {table[part] for part in inputs}
        qualified = {part: f"{table[part]}.{part}" for part in inputs}
        if kind == "ratio":
            above, below = (qualified[part] for part in inputs)
            expression = f"cast({above} as double) / cast(nullif({below}, 0) as double)"
        else:
            expression = _qualified(parts["expr"], qualified)
        # One that is made of several tables belongs to none.
        place = f"{owners.pop()}." if len(owners) == 1 else ""
        yield f"{place}{name} as {expression}{_comment(metric)}"


def _qualified(expression: str, metrics: Mapping[str, str]) -> str:
    return re.sub(r"[A-Za-z_]\w*", lambda word: metrics.get(word.group(), word.group()), expression)


def _aggregate(measure: Definition) -> str:
    function = _AGGREGATES.get(measure["agg"])
    if function is None:
        raise SemanticViewError(f"measure {measure['name']} is a {measure['agg']}, which the semantic view cannot say.")
    opened = f"{function} " if "(" in function else f"{function}("
    return f"{opened}{measure['expr'] or measure['name']})"


def _non_additive(measure: Definition) -> str:
    """Over months the newest counts. Snowflake takes the last value, which is what window_choice max means."""
    found = measure["non_additive_dimension"]
    if not found:
        return ""
    if found["window_choice"] != "max":
        raise SemanticViewError(f"measure {measure['name']} takes the first month; the semantic view takes the last.")
    return f" non additive by ({found['name']})"


def _comment(definition: Definition) -> str:
    words = " ".join((definition.get("description") or "").split())
    return f" comment = '{words.replace(chr(39), chr(39) * 2)}'" if words else ""
