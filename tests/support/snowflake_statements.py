"""Resolves statements for Snowflake, in the order they were sent, against the tables there are.

Names and types are sqlglot's reading of Snowflake, and need no engine: what DuckDB would let pass does not pass here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema


@dataclass(frozen=True)
class Unresolved:
    statement: str
    why: str


class Resolver:
    """Tables of one database; a statement that makes one adds it."""

    def __init__(self, database: str, tables: dict[tuple[str, str], dict[str, str]]) -> None:
        self._database = database
        self._schema = MappingSchema(dialect="snowflake")
        for (schema, name), columns in tables.items():
            self._schema.add_table(exp.table_(name, db=schema, catalog=database), columns, dialect="snowflake")

    def resolve(self, sql: str) -> int:
        """How many queries of the statement have been resolved. Raises SqlglotError."""
        tree = sqlglot.parse_one(sql, read="snowflake")
        if isinstance(tree, exp.Create) and isinstance(tree.this, exp.Schema) and tree.expression is None:
            columns = {one.name: one.kind for one in tree.this.expressions if isinstance(one, exp.ColumnDef)}
            made = tree.this.this.copy()
            if not made.args.get("catalog"):
                made.set("catalog", exp.to_identifier(self._database))
            self._schema.add_table(made, columns, dialect="snowflake")
        queries = list(_queries(tree))
        for query in queries:
            resolved = annotate_types(
                qualify(query.copy(), schema=self._schema, dialect="snowflake", catalog=self._database, db="gold"),
                schema=self._schema,
                dialect="snowflake",
            )
            if isinstance(tree, exp.Create):
                table = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
                columns = {one.alias_or_name: (one.type or exp.DataType.build("text")) for one in resolved.selects}
                self._schema.add_table(table, columns, dialect="snowflake")
        return len(queries)


def _queries(tree: exp.Expr) -> Iterator[exp.Query]:
    """The outermost one: of a statement that inserts or makes a table, what it takes; of a deletion, its conditions."""
    if isinstance(tree, exp.Query):
        yield tree
    elif isinstance(tree, (exp.Create, exp.Insert)):
        if isinstance(tree.expression, exp.Query):
            yield tree.expression
    elif isinstance(tree, (exp.Delete, exp.Update)):
        table = tree.this.copy()
        query = exp.select("1").from_(table)
        where = tree.args.get("where")
        yield query.where(where.this.copy()) if where else query


def unresolved(resolver: Resolver, statements: Iterable[str]) -> tuple[int, list[Unresolved]]:
    """How many queries were resolved, and the statements that were not."""
    count, found = 0, list[Unresolved]()
    for sql in statements:
        try:
            count += resolver.resolve(sql)
        except SqlglotError as error:
            found.append(Unresolved(sql, str(error)))
    return count, found
