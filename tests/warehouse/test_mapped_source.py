"""A star schema of other names, types, signs and shapes, mapped by one YAML file, publishes what the contract's would.

Locks out: a mapping that reaches staging and is forgotten in a check, a test or an export; a moment that counts for the
day of another time zone; cents lost in a floating number; the SQL of dbt and that of Python going apart.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from segmentation_assets.dbt.project import Project, project_dir
from segmentation_assets.definitions import build_defs
from segmentation_assets.errors import SettingsError
from segmentation_assets.rules.load import load_rules, parse_rules
from segmentation_assets.rules.source_contract import CONTRACT
from segmentation_assets.settings import Settings
from segmentation_assets.sources import SourceError, contract
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.warehouse.duckdb import DuckDBSession
from tests.support.published_months import FILE, NOVEMBER, SEPTEMBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline

# A moment of local midday, as a moment of UTC: 23:30 in Berlin is another day in UTC half the year.
BANK = (
    """
    create schema "DWH";
    create table "DWH".f_base as select transaction_key as "POSTING_ID", customer_key as "CLIENT_ID",
        timezone('Europe/Berlin', cast(transaction_date as timestamp)
            + case transaction_key % 3 when 0 then interval 5 minute when 1 then interval '23 hours 50 minutes'
              else interval 12 hour end) as "POSTED_AT",
        cast(transaction_amount * 100 as bigint) as "AMOUNT_CENTS",
        case transaction_status when 'approved' then ' Posted' else 'X-' || transaction_status end as "STATUS",
        cast(merchant_category_key as varchar) as "MCC"
    from gold.fct_transactions;
    create view "DWH"."F POSTINGS" as select * from "DWH".f_base;
    create table "DWH"."D_CLIENT" as select customer_key as "CLIENT_KEY", customer_id as "CLIENT",
        first_name as "FORENAME", last_name as "SURNAME", email as "MAIL",
        valid_from as "VALID_FROM", valid_to as "VALID_TO",
        case when is_current then 'Y' else 'N' end as "CURRENT_FLAG" from gold.dim_customer;
    create table "DWH"."D_MCC" as select category_key as "MCC", category_name as "DESCR"
    from gold.dim_merchant_category;
    create table "DWH"."OPT_OUT" as select customer_id as "CLIENT" from gold.marketing_suppressions;
    """,
    """
    approved_statuses: [POSTED]
    other_statuses: [X-declined, X-reversed, X-pending]
    star_schema:
      schema: DWH
      time_zone: Europe/Berlin
      tables:
        fct_transactions:
          from: '"F POSTINGS"'
          columns:
            transaction_key: POSTING_ID
            customer_key: CLIENT_ID
            merchant_category_key: MCC
            transaction_date: POSTED_AT
            transaction_amount: AMOUNT_CENTS / 100.0
            transaction_status: STATUS
        dim_customer:
          from: D_CLIENT
          columns:
            customer_key: CLIENT_KEY
            customer_id: CLIENT
            first_name: FORENAME
            last_name: SURNAME
            email: MAIL
            valid_from: VALID_FROM
            valid_to: VALID_TO
            is_current: CURRENT_FLAG = 'Y'
        dim_merchant_category: {from: D_MCC, columns: {category_key: MCC, category_name: DESCR}}
        dim_date: generated
        marketing_suppressions: {from: OPT_OUT, columns: {customer_id: CLIENT}}
    """,
)
# A shop: debits negative and floating, days as numbers, keys of text, categories in the facts, and only approved facts.
SHOP = (
    """
    create schema shop;
    create table shop.sales as select 'T-' || transaction_key as receipt, 'K-' || customer_key as card,
        cast(strftime(transaction_date, '%Y%m%d') as integer) as date_key,
        -cast(transaction_amount as double) as amount, category_name as department
    from gold.fct_transactions left join gold.dim_merchant_category on merchant_category_key = category_key
    where transaction_status = 'approved';
    create table shop.cards as select 'K-' || customer_key as card, customer_id as member, first_name, last_name, email,
        valid_from, valid_to, is_current
    from gold.dim_customer;
    create table shop.marketing_suppressions as from gold.marketing_suppressions;
    """,
    """
    star_schema:
      schema: shop
      tables:
        fct_transactions:
          from: sales
          columns:
            transaction_key: receipt
            customer_key: card
            merchant_category_key: department
            transaction_date: date_key
            transaction_amount: -amount
        dim_customer:
          from: cards
          columns: {customer_key: card, customer_id: member, first_name: first_name, last_name: last_name, email: email,
            valid_from: valid_from, valid_to: valid_to, is_current: is_current}
        dim_merchant_category: in_facts
        dim_date: generated
    """,
)
SHAPES = {"bank": BANK, "shop": SHOP}
COMPARED = ("customer_segment_history", "segment_summary", "segment_transitions")
# What says by whom and under what a row was made, and keys that were made of text.
OF_THE_RUN = (
    "run_id", "published_at", "computed_at", "loaded_at", "decision_hash", "content_hash", "previous_content_hash",
    "rules_hash", "customer_key", "updated_at", "rollup_hash",
)  # fmt: skip


def rules_of(tmp_path: Path, mapping: str) -> Path:
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump(yaml.safe_load(mapping), allow_unicode=True))
    return path


@pytest.fixture(scope="module", params=list(SHAPES))
def mapped(
    request: pytest.FixtureRequest, published_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Pipeline, Pipeline, Path]]:
    """The canonical pipeline, the company's, and the company's rules; the company's three months are published."""
    statements, mapping = SHAPES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    canonical = Pipeline(published_file)
    with pytest.MonkeyPatch.context() as patch:
        rules = rules_of(folder, mapping)
        patch.setenv("SEGMENTATION_RULES", str(rules))
        patch.setenv("SEGMENTATION_SOURCE", "warehouse")
        with pipeline_at(folder / "company" / FILE, published_file) as company:
            company.execute(statements)
            for schema, name in company.rows(
                "select schema_name, table_name from duckdb_tables() where schema_name in ('gold', 'silver')"
            ):
                company.execute(f"drop table {schema}.{name}")
            for schema, name in company.rows(
                "select schema_name, view_name from duckdb_views() where schema_name in ('gold', 'silver')"
            ):
                company.execute(f"drop view {schema}.{name}")
            succeeded, said = company.dbt(SEPTEMBER, NOVEMBER, select="path:models")
            assert succeeded, "\n".join(said)
            yield canonical, company, rules


def compared(pipeline: Pipeline, table: str) -> list[tuple[Any, ...]]:
    columns = [name for (name, *_) in pipeline.rows(f"describe gold.{table}") if name not in OF_THE_RUN]
    return pipeline.rows(f"select {', '.join(columns)} from gold.{table} order by all")


def test_the_months_are_those_of_the_contracts_star_schema(mapped: tuple[Pipeline, Pipeline, Path]) -> None:
    canonical, company, _ = mapped
    for table in COMPARED:
        rows = compared(canonical, table)
        assert len(rows) > 3, table
        assert compared(company, table) == rows, table


def test_python_reads_the_source_as_dbt_does(mapped: tuple[Pipeline, Pipeline, Path]) -> None:
    _, company, rules = mapped
    with company.connection() as connection:
        star = StarSchema(DuckDBSession(connection), Settings.from_environment(), load_rules(project_dir(), rules))

        def differing(by_python: str, by_dbt: str) -> int:
            both = f"(({by_python}) except ({by_dbt})) union all (({by_dbt}) except ({by_python}))"
            return connection.execute(f"select count(*) from ({both})").fetchall()[0][0]

        approved = star.rules.source.approved_statuses[0]
        facts = (
            "select transaction_key, customer_key, cast(transaction_date as date) as day,"
            " cast(transaction_amount as decimal(18, 4)) as amount, occurred_at"
        )
        assert not differing(
            f"{facts} from {star.sql('fct_transactions')} where upper(trim(transaction_status)) = upper('{approved}')",
            "select transaction_key, customer_key, transaction_date, amount, occurred_at from silver.stg_transactions",
        )
        people = "select customer_key, customer_id, first_name, last_name, email, valid_from, valid_to, is_current"
        assert not differing(f"{people} from {star.sql('dim_customer')}", f"{people} from silver.stg_customers")
        named = "select cast(category_key as varchar) as category_key, category_name"
        assert not differing(
            f"{named} from {star.sql('dim_merchant_category')}", f"{named} from silver.stg_merchant_categories"
        )
        assert not differing(
            f"select full_date from {star.sql('dim_date')}", "select full_date from silver.calendar_periods"
        )


@pytest.mark.parametrize("mapped", ["bank"], indirect=True)
def test_the_job_reads_it_too_and_lists_are_sent(mapped: tuple[Pipeline, Pipeline, Path], tmp_path: Path) -> None:
    _, company, _ = mapped
    with pipeline_at(tmp_path / "copy" / FILE, company.path) as copy:
        ended = copy.run(NOVEMBER)
        assert ended.success, [event.message for event in ended.all_events if event.is_failure]
        (listed,) = copy.rows("select count(*) from gold.audience_premium_rewards")[0]
        assert listed
        names = {
            asset.key.path[-1]: asset.metadata["dagster/table_name"]
            for asset in build_defs().resolve_all_asset_specs()
            if asset.key.path[-1] in CONTRACT
        }
    assert set(names.values()) == {
        f"segmentation.DWH.{name}"
        for name in (
            "F POSTINGS",
            "D_CLIENT",
            "D_MCC",
            "dim_date",
            "OPT_OUT",
            "contact_history",
            "campaign_eligibility",
        )
    }


# What is wrong in the company's mapping -> what stands there, and what the line says.
FAULTS = {
    "f.columns.transaction_date": (
        "cast(POSTED as varchar)",
        "a date, a timestamp or a number as 20251130, found VARCHAR",
    ),
    "f.columns.transaction_amount": ("CURRENCY", "a number, found VARCHAR (CURRENCY); write cast(CURRENCY as decimal"),
    "f.columns.customer_key": ("CLEINT", "has no column CLEINT; did you mean client? (there are: amount, client,"),
    "f.from": ("F_POSTING", "there is no table or view"),
    "c.columns.is_current": ("FLAG", "true or false, found VARCHAR (FLAG); write a comparison, such as FLAG = 'Y'"),
    "c.columns.customer_id": ("CLIENT + 'x' * 2", "the SQL of star_schema cannot be computed for every row: "),
    "c.columns.customer_key": ("strptime(CLIENT, 7)", "dim_customer: the SQL of its columns cannot be computed: "),
}


@pytest.fixture(scope="module")
def small() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(
            """
            create schema dwh;
            create table dwh.f (id bigint, client bigint, posted timestamp, amount double, currency varchar);
            create table dwh.c (client bigint, flag varchar);
            create table dwh.m (code varchar, name varchar);
            insert into dwh.f values (1, 1, '2025-11-03 10:00', 10.10, 'EUR'), (2, 1, '2025-11-04', 0.1 + 0.2, 'EUR');
            insert into dwh.c values (1, 'Y');
            """
        )
        yield connection


def star_of(connection: duckdb.DuckDBPyConnection, changed: str = "", value: str = "") -> StarSchema:
    tables: dict[str, Any] = {
        "fct_transactions": {
            "from": "F",
            "columns": {
                "transaction_key": "ID", "customer_key": "CLIENT", "transaction_date": "POSTED",
                "transaction_amount": "AMOUNT",
            },
        },
        "dim_customer": {"from": "C", "columns": {"customer_key": "CLIENT", "customer_id": "CLIENT"}},
        "dim_merchant_category": {"from": "M", "columns": {"category_key": "CODE", "category_name": "NAME"}},
        "dim_date": "generated",
    }  # fmt: skip
    if changed:
        table, *keys = changed.split(".")
        place = tables[{"f": "fct_transactions", "c": "dim_customer"}[table]]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        if table == "c" and keys[-1] not in ("customer_key", "customer_id", "from"):
            place["customer_id"] = "CLIENT"
    shipped = load_rules(project_dir())
    rules = parse_rules({**shipped.raw, "star_schema": {"schema": "DWH", "tables": tables}}, "the rules")
    return StarSchema(DuckDBSession(connection), Settings.from_environment(), rules)


@pytest.mark.parametrize("changed", FAULTS)
def test_a_mapping_that_does_not_fit_is_refused(small: duckdb.DuckDBPyConnection, changed: str) -> None:
    value, words = FAULTS[changed]
    contract.check(star_of(small), date(2025, 12, 1))
    with pytest.raises(SourceError) as refused:
        contract.check(star_of(small, changed, value), date(2025, 12, 1))
    assert "schema 'DWH' breaks the source contract" in str(refused.value)
    assert words in str(refused.value), str(refused.value)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("insert into dwh.f values (3, 1, '2025-11-05', 0.12345, 'EUR')", "at most 4 decimals, found more in 1 rows"),
        ("insert into dwh.f values (3, 1, '2025-11-05', 'nan', 'EUR')", "expected amounts below 100,000,000,000"),
        ("insert into dwh.f values (3, 1, '1969-11-05', 1, 'EUR')", "dim_date.full_date: expected each day"),
        ("insert into dwh.c values (1, 'N')", "dim_customer.customer_key: expected a key of its own in every row"),
        ("insert into dwh.f values (3, 1, null, 1, 'EUR')", "NULL in 1 of 3 rows"),
    ],
)
def test_values_that_the_mapping_gives_are_looked_at(
    small: duckdb.DuckDBPyConnection, statement: str, words: str
) -> None:
    small.execute("begin")
    try:
        small.execute(statement)
        with pytest.raises(SourceError) as refused:
            contract.check(star_of(small), date(2025, 12, 1))
    finally:
        small.execute("rollback")
    assert words in str(refused.value), str(refused.value)


def test_a_mapping_beside_a_demo_or_of_another_database_is_refused(tmp_path: Path) -> None:
    tables = {"dim_date": "generated"}
    for mapping, source, words in (
        ({"tables": tables}, "synthetic", "set SEGMENTATION_SOURCE=warehouse"),
        ({"database": "ANALYTICS", "tables": tables}, "warehouse", "names the database 'ANALYTICS'"),
        ({"tables": {"dim_customer": {"from": "A.B.C"}}}, "warehouse", "names the database 'A'"),
    ):
        path = tmp_path / "rules.yml"
        path.write_text(yaml.safe_dump({"star_schema": mapping}))
        with pytest.raises(SettingsError, match=words):
            Project.load(Settings.given(rules=path, source=source))
