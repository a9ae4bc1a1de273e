"""Locks out a column about a person that nobody declared, and a rule made of a protected characteristic."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from segmentation_assets.dbt.generated import project_files
from segmentation_assets.dbt.personal_data import CONTACT_DETAILS, KINDS, NONE, PSEUDONYMOUS, of_table, problems, tag_of
from segmentation_assets.dbt.tags import tags
from segmentation_assets.publication.reader_copy import published_models
from segmentation_assets.rules.load import RulesError, load_rules, parse_rules

SHIPPED = Path(__file__).parents[2] / "dbt_models"


@pytest.fixture(scope="module")
def described() -> Mapping[str, Mapping[str, Any]]:
    """Table -> column -> what its yml says, of every model and source, those that the rules make too."""
    found: dict[str, Mapping[str, Any]] = {}
    for path, content in project_files(SHIPPED, load_rules(SHIPPED)).items():
        if path.startswith("models/") and path.endswith((".yml", ".yaml")):
            said = yaml.safe_load(content)
            sources = [table for source in said.get("sources", []) for table in source["tables"]]
            for table in (*said.get("models", []), *sources):
                found[table["name"]] = {column["name"]: column for column in table.get("columns", [])}
    return found


def test_every_column_about_a_person_declares_what_it_holds(described: Mapping[str, Mapping[str, Any]]) -> None:
    assert len(described) > 45
    assert [line for table, columns in described.items() for line in problems(table, columns)] == []
    kinds = {name: tag_of(name, column) for name, column in described["audience_core_retention"].items()}
    assert {name for name, tag in kinds.items() if tag == CONTACT_DETAILS} == {"email", "first_name", "last_name"}
    assert {name for name, tag in kinds.items() if tag == PSEUDONYMOUS} == {"customer_id", "holdout_unit"}
    assert of_table(described["dim_customer"]) == CONTACT_DETAILS
    assert of_table(described["customer_period_spend"]) == PSEUDONYMOUS
    assert of_table(described["segment_summary"]) == NONE


@pytest.mark.parametrize(
    "name",
    ["email", "e_mail", "home_email", "first_name", "surname", "customer_id", "customer_key", "external_id", "phone",
     "street", "birth_date", "iban", "holdout_unit", "mailbox", "transaction_key", "accepted_by"],
)  # fmt: skip
def test_what_nobody_declared_is_told_and_counts_as_contact_details(name: str) -> None:
    column: dict[str, Any] = {"name": name}
    (told,) = problems("a_table", {name: column})
    assert f"a_table.{name}" in told and "personal_data" in told
    assert tags("gold", {name: column})["personal_data"] == CONTACT_DETAILS
    declared = {"name": name, "config": {"meta": {"personal_data": "customer_id"}}}
    assert problems("a_table", {name: declared}) == []
    assert tags("gold", {name: declared})["personal_data"] == PSEUDONYMOUS


def test_a_kind_nobody_knows_is_told_and_shown_to_no_reader() -> None:
    wrong = {"name": "score", "config": {"meta": {"personal_data": "e-mail"}}}
    (told,) = problems("a_table", {"score": wrong})
    assert "'e-mail'" in told and all(kind in told for kind in KINDS)
    entry = {
        "resource_type": "model", "config": {"schema": "gold"}, "unique_id": "model.p.t", "name": "t", "alias": "t",
        "depends_on": {"nodes": []},
        "columns": {"score": wrong, "phone": {"name": "phone"}, "months": {"name": "months"}},
    }  # fmt: skip
    (shown,) = published_models([entry])
    assert shown.columns == ("months",) and shown.hides


@pytest.mark.parametrize("name", ["average_amount", "lifetime_value", "customers", "stage", "name", "card_spend"])
def test_a_name_that_speaks_of_nobody_needs_no_word(name: str) -> None:
    assert problems("a_table", {name: {"name": name}}) == []


def rules(**said: Any) -> Iterator[str]:
    """What is wrong with the shipped rules, with these keys in place of theirs."""
    shipped = yaml.safe_load((SHIPPED / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    changed = {**shipped, **{key: {**(shipped.get(key) or {}), **value} for key, value in said.items()}}
    try:
        parse_rules(changed, "rules.yml")
    except RulesError as error:
        yield from str(error).splitlines()


def test_a_rule_of_a_protected_characteristic_is_refused_unless_it_is_accepted_with_a_reason() -> None:
    spend = {"kind": "sum", "window": "last_90_days"}
    for name, word in (("spend_by_age_group", "age"), ("postcode_spend", "postcode"), ("marital_spend", "marital")):
        (told,) = rules(metrics={name: spend})
        assert f"metrics.{name}" in told and repr(word) in told and "privacy.accepted" in told
        assert list(rules(metrics={name: spend}, privacy={"accepted": {name: "Asked for by the regulator."}})) == []
    (told,) = rules(category_groups={"religion": ["Churches"]})
    assert "category_groups.religion" in told
    (told,) = rules(metrics={"income_spend": spend}, privacy={"protected": ["income"]})
    assert "'income'" in told


def test_a_column_of_the_company_that_names_one_is_refused() -> None:
    mapped = {"from": "MCC", "columns": {"category_key": "CODE", "category_name": "upper(CLIENT_LANGUAGE)"}}
    (told,) = rules(star_schema={"tables": {"dim_merchant_category": mapped}})
    assert "category_name" in told and "'language'" in told


def test_a_reason_is_needed_and_a_word_inside_another_is_none() -> None:
    spend = {"kind": "sum", "window": "last_90_days"}
    assert list(rules(metrics={"average_spend": spend, "unisex_spend": spend, "trace_spend": spend})) == []
    told = list(rules(metrics={"age_spend": spend}, privacy={"accepted": {"age_spend": "  "}}))
    assert any("privacy.accepted.age_spend" in line for line in told)
    (told,) = rules(privacy={"retention_months": 0})
    assert "privacy.retention_months" in told
