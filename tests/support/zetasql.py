"""Resolves statements in the order they were sent with Fivetran's analyzer of Snowflake SQL (zetasql_server.py).

No line of DuckDB, of dbt or of sqlglot has a say: a name that no table has, a function that Snowflake has not, an
argument or a comparison of types that it refuses fail here. The analyzer descends from BigQuery's and spells a few
things otherwise than Snowflake does. Those are written in its way first: STAND_INS, each with its reason.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from tests.support.zetasql_server import SERVICE, Analyzer

# Of the engine that the tables are read from, and what statements say, in the analyzer's words.
TYPES = {
    "BOOLEAN": "TYPE_BOOL", "DATE": "TYPE_DATE", "DOUBLE": "TYPE_DOUBLE", "FLOAT": "TYPE_DOUBLE",
    "INTEGER": "TYPE_INT64", "INT": "TYPE_INT64", "BIGINT": "TYPE_INT64", "SMALLINT": "TYPE_INT64",
    "HUGEINT": "TYPE_NUMERIC", "DECIMAL": "TYPE_NUMERIC", "NUMBER": "TYPE_NUMERIC", "NUMERIC": "TYPE_NUMERIC",
    "VARCHAR": "TYPE_STRING", "TEXT": "TYPE_STRING", "STRING": "TYPE_STRING",
    "TIMESTAMP": "TYPE_TIMESTAMP", "TIMESTAMP_NTZ": "TYPE_TIMESTAMP",
}  # fmt: skip
# Columns of Snowflake's own views that we ask for, from its reference.
INFORMATION_SCHEMA = {
    "tables": {
        "table_name": "TEXT", "table_schema": "TEXT", "comment": "TEXT", "retention_time": "NUMBER",
        "is_transient": "TEXT",
    },
    "views": {"table_name": "TEXT", "table_schema": "TEXT", "view_definition": "TEXT"},
    "schemata": {"schema_name": "TEXT"},
    "columns": {
        "table_schema": "TEXT", "table_name": "TEXT", "column_name": "TEXT", "data_type": "TEXT",
        "numeric_scale": "NUMBER", "ordinal_position": "NUMBER",
    },
}  # fmt: skip

_TEXT = re.compile(r"'(?:[^'\\]|''|\\.)*'|\"[^\"]*\"|\$\$.*?\$\$|--[^\n]*|/\*.*?\*/", re.S)


def _text(found: re.Match[str]) -> str:
    text = found[0]
    if text.startswith('"'):
        return text
    if text.startswith(("--", "/*")):
        return " "
    inside = text[2:-2].replace("\\", "\\\\").replace("'", "\\'") if text[0] == "$" else text[1:-1].replace("''", "\\'")
    return "'" + inside.replace("\n", "\\n").replace("\r", "\\r") + "'"


_WORD = re.compile(r"'(?:[^'\\]|\\.)*'|\"[^\"]*\"|[()]|\b(?:select|from|where)\b", re.I)


def _with_from(found: re.Match[str]) -> str:
    """Text by text, so that no word within one counts, and bracket by bracket."""
    sql, made, done, open_selects = found[0], "", 0, [""]
    for word in _WORD.finditer(sql):
        token = word[0].lower()
        if token == "(":
            open_selects.append("")
        elif token == ")" and len(open_selects) > 1:
            open_selects.pop()
        elif token in ("select", "from"):
            open_selects[-1] = token
        elif token == "where" and open_selects[-1] == "select":
            made, done = f"{made}{sql[done : word.start()]}from (select 1) ", word.start()
    return made + sql[done:]


@dataclass(frozen=True)
class StandIn:
    why: str
    example: str  # that Snowflake takes and the analyzer does not
    pattern: str
    by: str | Callable[[re.Match[str]], str]

    def instead(self, sql: str) -> str:
        return re.sub(self.pattern, self.by, sql, flags=re.I | re.S)


# In this order: what is within a text is out of the way first.
STAND_INS = (
    StandIn(
        "a text ends with its line, has a quote behind a backslash, and none stands between dollars",
        "select 'it''s' as a, $$it$$ as b", _TEXT.pattern, _text,
    ),
    StandIn(
        "NUMBER has 38 digits for a scale of 9 only",
        "select cast(n as decimal(38, 2)) as n from gold.t",
        r"\b(?:decimal|number|numeric)\(38,\s*(\d+)\)",
        lambda found: f"numeric({min(29 + int(found[1]), 38)}, {found[1]})",
    ),
    StandIn("HASH is a word of joins", "select hash(n) as h from gold.t", r"\bhash\(", "snowflake_hash("),
    StandIn("MD5 gives bytes", "select md5(c) || c as h from gold.t", r"\bmd5\(", "snowflake_md5("),
    StandIn(
        "LISTAGG has no order",
        "select listagg(c, ', ') within group (order by n) as c from gold.t",
        r"\)\s*within\s+group\s*\(\s*order\s+by\s[^()]*\)", ")",
    ),
    StandIn("a WHERE needs a FROM", "select 1 as n where false", r".+", _with_from),
    StandIn(
        "ROLLUP is no name",
        "with rollup as (select n from gold.t) select n from rollup", r"\brollup\b(?!\s*\()", "rolled_up_",
    ),
    StandIn(
        "no window is partitioned by a double",
        "select row_number() over (partition by c, measured order by n) as n from gold.t",
        r"(partition\s+by[^()]*?)\bmeasured\b", r"\1cast(measured as varchar)",
    ),
)  # fmt: skip
ANY_NUMBER = "any number of any type"
# Functions of Snowflake's reference that it lacks, or has as something else (above): arguments, and what they give.
FUNCTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "snowflake_hash": ((ANY_NUMBER,), "NUMBER"),
    "snowflake_md5": (("VARCHAR",), "VARCHAR"),
    "sha2": (("VARCHAR", "INTEGER"), "VARCHAR"),
    "split_part": (("VARCHAR", "VARCHAR", "INTEGER"), "VARCHAR"),
    "position": (("VARCHAR", "VARCHAR"), "INTEGER"),
}


@dataclass(frozen=True)
class Refused:
    statement: str
    sent_as: str
    why: str


@dataclass
class Outcome:
    statements: int = 0  # with a query, or a table that they make
    analyzed: int = 0  # of them, those that differ by more than a text
    refused: list[Refused] = field(default_factory=list)
    not_analyzed: dict[str, int] = field(default_factory=dict)


# They name one object and read nothing; and the emulator is given its rows as JSON, where an account has COPY INTO, and
# is asked for comments in a catalogue of its own.
NOT_ANALYZED = re.compile(
    r"\s*(?:(alter|begin|comment|commit|create schema|describe|drop|rollback|show|use)\b"
    r"|insert into \S+ select [^;]*? from table\(flatten\(input => parse_json\("
    r"|select [\w, ]+ from _fs_global\.)",
    re.I,
)
_MADE = r"\s*create\s+(?:or\s+replace\s+)?(?:transient\s+)?(?:table|view)\s+(?:if\s+not\s+exists\s+)?([\w.]+)\s*"
_MADE_OF_QUERY = re.compile(
    _MADE + r"(?:\(.*?\)\s*)?(?:comment\s*=\s*'[^']*'\s*)?(?:copy\s+(?:grants|tags)\s+)*"
    r"as\s*\(?\s*((?:select|with)\b.*?)\)?[\s;]*$",
    re.I | re.S,
)
_MADE_OF_COLUMNS = re.compile(_MADE + r"\((.*)\)[^()]*$", re.I | re.S)


_COLUMN = r'(?:^|,)\s*"?(\w+)"?\s+(\w+)'
# Of a working table, and of the schemas of a what-if: another one in every run.
_ID = re.compile(r"(?<=__dbt_tmp)_[0-9a-f]{8}\b|(?<=\bwhat_if)_\d+_[0-9a-f]+(?=_)", re.I)
_ANY_TEXT = re.compile(r"'(?:[^'\\]|\\.)*'")


class Resolver:
    """Tables of one database, which is the session's own; a statement that makes one adds it."""

    def __init__(self, analyzer: Analyzer, database: str, tables: Mapping[tuple[str, str], Mapping[str, str]]) -> None:
        self._analyzer, self._database = analyzer, database
        self._language = analyzer.call(
            "GetLanguageOptions",
            analyzer.message(f"{SERVICE}.LanguageOptionsRequest")(maximum_features=True),
            "zetasql.LanguageOptionsProto",
        )
        self._language.ClearField("supported_statement_kinds")  # all
        self._tables: dict[tuple[str, str], Any] = {}
        self._registered: int | None = None
        views = {("information_schema", name): columns for name, columns in INFORMATION_SCHEMA.items()}
        for (schema, name), columns in {**views, **tables}.items():
            self._add(f"{schema}.{name}", {column: self._type(kind) for column, kind in columns.items()})

    def _type(self, kind: str) -> Any:
        word = re.match(r"\w+", kind.upper())
        assert word
        return self._analyzer.message("zetasql.TypeProto")(
            type_kind=self._analyzer.number("zetasql.TypeKind", TYPES[word[0]])
        )

    def _add(self, name: str, columns: Mapping[str, Any]) -> None:
        *_, schema, table = name.lower().split(".")
        made = self._analyzer.message("zetasql.SimpleTableProto")(name=table)
        for column, kind in columns.items():
            made.column.add(name=column, type=kind)
        self._tables[schema, table] = made
        self._registered = None

    def _catalogue(self) -> int:
        """Its number at the server, where it is kept until a table is added."""
        if self._registered is None:
            request = self._analyzer.message(f"{SERVICE}.RegisterCatalogRequest")()
            account = request.simple_catalog
            account.name = "account"
            account.builtin_function_options.language_options.CopyFrom(self._language)
            for name, (arguments, gives) in FUNCTIONS.items():
                self._declare(account.custom_function.add(), name, arguments, gives)
            database = account.catalog.add(name=self._database)
            schemas: dict[str, list[Any]] = {}
            for (schema, _), table in self._tables.items():
                if schema not in schemas:
                    schemas[schema] = [within.catalog.add(name=schema) for within in (account, database)]
                for place in schemas[schema]:
                    place.table.append(table)
            answer = self._analyzer.call("RegisterCatalog", request, f"{SERVICE}.RegisterResponse")
            self._registered = answer.registered_id
        return self._registered

    def _declare(self, function: Any, name: str, arguments: Sequence[str], gives: str) -> None:
        def kind(word: str) -> int:
            return self._analyzer.number("zetasql.SignatureArgumentKind", word)

        function.name_path.append(name)
        function.group = "Snowflake"
        function.mode = self._analyzer.number("zetasql.FunctionEnums.Mode", "SCALAR")
        signature = function.signature.add()
        for argument in arguments:
            taken = signature.argument.add(num_occurrences=1)
            if argument == ANY_NUMBER:
                taken.kind = kind("ARG_TYPE_ARBITRARY")
                taken.options.cardinality = self._analyzer.number(
                    "zetasql.FunctionEnums.ArgumentCardinality", "REPEATED"
                )
            else:
                taken.kind, taken.type.type_kind = kind("ARG_TYPE_FIXED"), self._type(argument).type_kind
        signature.return_type.kind = kind("ARG_TYPE_FIXED")
        signature.return_type.type.CopyFrom(self._type(gives))
        signature.return_type.num_occurrences = 1

    def analyze(self, sql: str) -> dict[str, Any]:
        """Names and types of what it gives, where it is a query. Raises grpc.RpcError."""
        request = self._analyzer.message(f"{SERVICE}.AnalyzeRequest")(
            sql_statement=sql, registered_catalog_id=self._catalogue()
        )
        request.options.language_options.CopyFrom(self._language)
        answer = self._analyzer.call("Analyze", request, f"{SERVICE}.AnalyzeResponse")
        given = answer.resolved_statement.resolved_query_stmt_node.output_column_list
        return {one.name: one.column.type for one in given}

    def resolve(self, statements: Iterable[str]) -> Outcome:
        """Of statements that differ in texts and ids alone the first is asked about: names and types are the same."""
        outcome, seen = Outcome(), set[str]()
        for sql in statements:
            sent = _ID.sub("", in_its_words(sql))
            if found := NOT_ANALYZED.match(sent):
                kind = (found[1] or "of the emulator alone").lower()
                outcome.not_analyzed[kind] = outcome.not_analyzed.get(kind, 0) + 1
                continue
            outcome.statements += 1
            if (shape := _ANY_TEXT.sub("''", sent)) in seen:
                continue
            seen.add(shape)
            made = _MADE_OF_QUERY.match(sent)
            if made is None and (declared := _MADE_OF_COLUMNS.match(sent)):
                columns = re.findall(_COLUMN, re.sub(r"\([^)]*\)", "", declared[2]))
                self._add(declared[1], {name: self._type(kind) for name, kind in columns})
                continue
            query = made[2] if made else sent
            try:
                given = self.analyze(query)
            except grpc.RpcError as error:
                outcome.refused.append(Refused(sql, query, str(error.details())))  # pyright: ignore[reportAttributeAccessIssue]
                continue
            outcome.analyzed += 1
            if made:
                self._add(made[1], given)
        return outcome


def in_its_words(sql: str) -> str:
    for one in STAND_INS:
        sql = one.instead(sql)
    return sql
