"""The company's own star schema as the source contract has it: what to write behind `from`, for what Python asks of it.

The macros in macros/sources/star_schema.sql give the same to dbt; tests/warehouse/test_mapped_source.py holds the two
together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import NamedTuple

from segmentation_assets.errors import SettingsError
from segmentation_assets.rules.load import Rules
from segmentation_assets.rules.source_contract import (
    APPROVED,
    COLUMNS,
    GENERATED,
    IN_FACTS,
    NO_TEXT,
    NONE,
    SAID_IN_A_WORD,
)
from segmentation_assets.rules.star_schema import MappedTable
from segmentation_assets.settings import Settings, database_name
from segmentation_assets.warehouse.catalog import quoted
from segmentation_assets.warehouse.session import Session

FACTS, CUSTOMERS = "fct_transactions", "dim_customer"
_DOUBLES = ("double", "double precision", "real", "float", "float4", "float8")
_NUMBERS = ("decimal", "numeric", "number", "fixed")
_DIGITS = "(select 0 as digit" + "".join(f" union all select {digit}" for digit in range(1, 10)) + ")"
_PLACES = {"ones": 1, "tens": 10, "hundreds": 100, "thousands": 1000, "myriads": 10000}
# In the dialect of dbt's macro generated_days.
_DAY = "cast('1970-01-01' as date) + (" + " + ".join(
    f"{place}.digit" if factor == 1 else f"{factor} * {place}.digit" for place, factor in _PLACES.items()
) + ")"  # fmt: skip


def is_text(kind: str) -> bool:
    return any(word in kind for word in ("char", "text", "string", "uuid", "enum"))


def is_zoned(kind: str) -> bool:
    return any(word in kind for word in ("with time zone", "_tz", "_ltz", "timestamptz"))


def is_double(kind: str) -> bool:
    return kind.split("(")[0] in _DOUBLES


def is_number(kind: str) -> bool:
    bare = kind.split("(")[0]
    return "int" in bare or bare in _NUMBERS


def refuse_unusable_mapping(settings: Settings, rules: Rules) -> None:
    """Raises SettingsError where the rules say where a company's tables are, and the settings look elsewhere."""
    _refuse_another_database(settings)
    said = rules.star_schema
    if said is None:
        return
    if settings.source == "synthetic":
        raise SettingsError(
            f"The rules say where your star schema is (star_schema in {settings.rules}), and SEGMENTATION_SOURCE"
            f" {'is' if settings.named_source else 'is not set, which means'} 'synthetic', a demo that makes one: set"
            " SEGMENTATION_SOURCE=warehouse."
        )
    if settings.target != "duckdb":
        return
    own = database_name(settings.duckdb_path)
    others = {said.database or settings.source_database or own} | {
        mapped.from_.split(".")[0]
        for mapped in said.tables.values()
        if isinstance(mapped, MappedTable) and mapped.from_ and mapped.from_.count(".") == 2
    }
    for other in sorted(others):
        if other.strip('"').lower() != own.lower():
            raise SettingsError(
                f"star_schema in {settings.rules} names the database {other!r}, and a DuckDB file holds one, which is"
                f" called as the file is: {own!r} ({settings.duckdb_path}). Leave the database out, or name its file in"
                " SEGMENTATION_DUCKDB_PATH."
            )


def _refuse_another_database(settings: Settings) -> None:
    """A demo makes its tables in the target's database; a DuckDB file is one database."""
    named = settings.source_database
    if settings.target == "duckdb":
        own, place = database_name(settings.duckdb_path), f"the DuckDB file {settings.duckdb_path} holds one"
    else:
        own, place = settings.snowflake.database, "a demo fills the target's"
    is_own = not named or named.lower() == own.lower()
    if not is_own and (settings.target == "duckdb" or settings.source != "warehouse"):
        raise SettingsError(
            f"SEGMENTATION_SOURCE_DATABASE is {named!r}, and {place}, which is called {own!r}: leave it out, or"
            " set SEGMENTATION_TARGET=snowflake and SEGMENTATION_SOURCE=warehouse."
        )


def schema_of(settings: Settings, rules: Rules) -> str:
    return (rules.star_schema and rules.star_schema.schema_) or settings.source_schema


def parts_of(settings: Settings, rules: Rules, table: str) -> list[str]:
    """Database (where one is named), schema and name of the company's table for one of the contract's."""
    said = rules.star_schema
    mapped = said.tables.get(table) if said else None
    named = (mapped.from_ or table) if isinstance(mapped, MappedTable) else table
    given = named.split(".")
    before = [(said and said.database) or settings.source_database, schema_of(settings, rules)][
        : max(0, 3 - len(given))
    ]
    return [part for part in (*before, *given) if part]


class FoundColumn(NamedTuple):
    data_type: str
    scale: int  # of a number


@dataclass(frozen=True)
class StarSchema:
    """Of one session: types are asked of the warehouse once."""

    session: Session
    settings: Settings
    rules: Rules

    @property
    def schema(self) -> str:
        """Where tables are looked for, as a person wrote it."""
        return schema_of(self.settings, self.rules)

    def mapping(self, table: str) -> MappedTable | str | None:
        """How the rules map it; None where the table is as the contract has it."""
        return self.rules.star_schema.tables.get(table) if self.rules.star_schema else None

    def size_of_facts(self) -> str | None:
        """What the catalogue says of the size of the facts' table, where that takes no warehouse; None where it does,
        and of a view, an external table or a query."""
        if isinstance(self.mapping(FACTS), str):
            return None
        *schema, name = parts_of(self.settings, self.rules, FACTS)
        return self.session.size_of(".".join(quoted(self.session, part) for part in schema), name)

    def place(self, table: str) -> str:
        """The table or view itself, as SQL; of one that is said in a word, what it is made of."""
        mapped = self.mapping(table)
        if mapped == IN_FACTS:
            return self.place(FACTS)
        return ".".join(self._name(part) for part in self.parts(table))

    def parts(self, table: str) -> list[str]:
        """The names of its place, from the outermost on, as they were written."""
        return parts_of(self.settings, self.rules, table)

    def _name(self, name: str) -> str:
        return name if name.startswith('"') else quoted(self.session, name)

    def sql(self, table: str) -> str:
        """What to select from: the table, or a query in parentheses and a name."""
        return self.place(table) if self.mapping(table) is None else f"({self.query(table)}) as {table}"

    def expressions(self, table: str) -> dict[str, str]:
        """Column of the contract -> the company's SQL, of the columns that the rules map."""
        mapped = self.mapping(table)
        if not isinstance(mapped, MappedTable):
            return {}
        return mapped.columns or {column: column for column in COLUMNS[table] if column not in self.absent(table)}

    def absent(self, table: str) -> list[str]:
        """Columns that it may be without, and is."""
        optional = [column for column, said in COLUMNS[table].items() if said.may_be_absent]
        found = (self.present(table) or {}) if optional else {}
        return [column for column in optional if column not in found]

    def present(self, table: str) -> Mapping[str, str] | None:
        """Column -> type of the table that it is read from, asked for once; None where there is none. A statement that
        names it says so sooner than a catalogue, which is asked only where that fails."""
        if table not in self._present:
            try:
                self._present[table] = self.session.types(f"select * from {self.place(table)} where 1 = 0")
            except self.session.engine_error:
                if self._is_in_the_catalog(table):
                    raise
                self._present[table] = None
        return self._present[table]

    @cached_property
    def _present(self) -> dict[str, Mapping[str, str] | None]:
        return {}

    def column(self, table: str, column: str) -> str:
        """One of `sql(table)`, as SQL; what stands for it where a table that is not mapped is without it."""
        is_absent = self.mapping(table) is None and column in self.absent(table)
        return str(COLUMNS[table][column].left_out) if is_absent else column

    def types_query(self, table: str) -> str:
        selected = ", ".join(f"({given}) as {column}" for column, given in self.expressions(table).items())
        return f"select {selected} from {self.place(table)} where 1 = 0"

    @cached_property
    def _types(self) -> dict[str, Mapping[str, str]]:
        return {}

    def types(self, table: str) -> Mapping[str, str]:
        """Column of the contract -> type of what the mapping gives for it, in small letters, as the engine calls it."""
        if not self.expressions(table):
            return {}
        if table not in self._types:
            self._types[table] = self.session.types(self.types_query(table))
        return self._types[table]

    def query(self, table: str) -> str:
        """The company's table with the columns of the contract; amounts are as the company has them."""
        mapped = self.mapping(table)
        if mapped == GENERATED:
            joined = " cross join ".join(f"{_DIGITS} as {place}" for place in _PLACES)
            return (
                f"select cast(null as integer) as date_key, cast({_DAY} as date) as full_date from {joined}"
                f" where {_DAY} < cast('2100-01-01' as date)"
            )
        if mapped == NONE:
            return f"select {NO_TEXT} as category_key, {NO_TEXT} as category_name where 1 = 0"
        if mapped == IN_FACTS:
            category = f"({self.expressions(FACTS)['merchant_category_key']})"
            return (
                f"select distinct {category} as category_key, cast({category} as varchar) as category_name"
                f" from {self.place(FACTS)} where {category} is not null"
            )
        given, types = self.expressions(table), self.types(table)
        selected = [f"{self._value(table, column, given, types)} as {column}" for column in COLUMNS[table]]
        if table == FACTS:
            selected.append(f"({given['transaction_date']}) as occurred_at")
        return f"select {', '.join(selected)} from {self.place(table)}"

    def _value(self, table: str, column: str, expressions: Mapping[str, str], types: Mapping[str, str]) -> str:
        said = COLUMNS[table][column]
        if column not in expressions:
            status = self.rules.source.approved_statuses[0].replace("'", "''")
            return f"'{status}'" if said.left_out == APPROVED else str(said.left_out)
        given, kind = f"({expressions[column]})", types.get(column, "")
        match said.kind:
            case "text":
                return f"cast({given} as varchar)"
            case "customer_key" if self.customer_keys_are_text:
                return self._number_of_text_key(f"cast({given} as varchar)")
            case "day" if is_zoned(kind):
                return self._local_time(given)
            case "day" if is_number(kind):
                return self._day_of_number(given)
            case "key" if is_double(kind):
                return f"cast({given} as bigint)"
            case _:
                return given

    @property
    def customer_keys_are_text(self) -> bool:
        return any(self._has_text_keys(table) for table in (FACTS, CUSTOMERS))

    def _has_text_keys(self, table: str) -> bool:
        try:
            return is_text(self.types(table).get("customer_key", ""))
        except self.session.engine_error:
            return False  # a mapping that cannot be computed is told where its own table is looked at

    def _number_of_text_key(self, text: str) -> str:
        number = self._hash_number(text)
        whens = " ".join(f"when {text} = '{key}' then {key}" for key in self.rules.source.unknown_customers.keys)
        return f"case {whens} else {number} end" if whens else number

    def _hash_number(self, text: str) -> str:
        if not self.session.folds_names:
            return f"cast('0x' || substr(md5({text}), 1, 15) as bigint)"
        digits = (
            f"length(split_part('0123456789abcdef', substr(md5({text}), {place + 1}, 1), 1)) * {16 ** (14 - place)}"
            for place in range(15)
        )
        return f"({' + '.join(digits)})"

    def _local_time(self, moment: str) -> str:
        zone = self.rules.star_schema.time_zone if self.rules.star_schema else "UTC"
        if self.session.folds_names:
            return f"cast(convert_timezone('{zone}', {moment}) as timestamp_ntz)"
        return f"timezone('{zone}', {moment})"

    def _day_of_number(self, number: str) -> str:
        if self.session.folds_names:
            return f"try_to_date(cast(cast({number} as bigint) as varchar), 'YYYYMMDD')"
        whole = f"cast({number} as bigint)"
        return f"try(make_date({whole} // 10000, {whole} // 100 % 100, {whole} % 100))"

    def and_occurred(self, first: date | None, end: date | None) -> str:
        """What lets an engine skip facts beside a condition on transaction_date; see the macro of the same name."""
        kind = self.types(FACTS).get("transaction_date", "date")
        if kind == "date" or is_text(kind):
            return ""
        day = timedelta(days=1)
        lower = f" and occurred_at >= {self._moment(first - day, kind)}" if first else ""
        return lower + (f" and occurred_at < {self._moment(end + day, kind)}" if end else "")

    def _moment(self, day: date, kind: str) -> str:
        if is_number(kind):
            return day.strftime("%Y%m%d")
        if is_zoned(kind):
            named = "timestamp_tz" if self.session.folds_names else "timestamptz"
            return f"cast('{day} 00:00:00+00:00' as {named})"
        return f"cast('{day}' as {'timestamp_ntz' if self.session.folds_names else 'timestamp'})"

    def found_columns(self) -> dict[str, dict[str, FoundColumn] | None]:
        """Table of the contract -> the columns of the table that it is read from, by their names in small letters; None
        where there is no such table."""
        places: dict[tuple[str, str], list[str]] = {}
        read = [table for table in COLUMNS if self.mapping(table) not in SAID_IN_A_WORD]
        for table in read:
            *outer, schema, _ = self.parts(table)
            places.setdefault((outer[0] if outer else "", schema), []).append(table)
        found: dict[str, dict[str, FoundColumn] | None] = {}
        for (database, schema), tables in places.items():
            named = {table: self.parts(table)[-1].strip('"').lower() for table in tables}
            marks = ", ".join("?" * len(named))
            rows = self.session.rows(
                "select lower(table_name) as table_name, lower(column_name) as column_name, data_type, numeric_scale"
                f" from {self._catalog(database)}columns"
                f" where lower(table_schema) = lower(?) and lower(table_name) in ({marks})",
                (schema.strip('"'), *named.values()),
            )
            for table, name in named.items():
                columns = {
                    row["column_name"]: FoundColumn(row["data_type"], int(row["numeric_scale"] or 0))
                    for row in rows
                    if row["table_name"] == name
                }
                found[table] = columns or None
        return found

    def _catalog(self, database: str) -> str:
        """Snowflake has a catalog for each database; DuckDB has one of everything, and one database here."""
        own = f"{self._name(database)}." if database and self.session.folds_names else ""
        return f"{own}information_schema."

    def exists(self, table: str) -> bool:
        """Whether there is the table or view that it is read from."""
        return self.mapping(table) in SAID_IN_A_WORD or self.present(table) is not None

    def _is_in_the_catalog(self, table: str) -> bool:
        *outer, schema, name = self.parts(table)
        catalog = self._catalog(outer[0] if outer else "")
        named = "lower(table_schema) = lower(?) and lower(table_name) = lower(?)"
        plain = (schema.strip('"'), name.strip('"'))
        (row,) = self.session.rows(
            f"select (select count(*) from {catalog}tables where {named})"
            f" + (select count(*) from {catalog}views where {named}) as n",
            (*plain, *plain),
        )
        return bool(row["n"])
