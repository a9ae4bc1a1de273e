"""Writes the source contract, from the one definition that the code uses, for people and for other tools.

`python -m tools.source_contract` writes the table in docs/your_data.md and docs/source_contract.odcs.yaml, an open data
contract (ODCS 3); with `--check` it ends with 1 where either says something else. Kinds and what holds without a column
are of segmentation_assets/rules/source_contract.py, meanings and tests of dbt_models/models/staging/sources.yml.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from segmentation_assets.rules.source_contract import COLUMNS, OPTIONAL, WORDS, WORDS_FOR_TABLES
from segmentation_assets.sources.contract import NEVER_NULL, UNIQUE

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "your_data.md"
ODCS = ROOT / "docs" / "source_contract.odcs.yaml"
BEGIN, END = "<!-- contract: python -m tools.source_contract -->", "<!-- end of contract -->"
LOGICAL = {
    "key": "string",
    "customer_key": "integer",
    "text": "string",
    "day": "date",
    "money": "number",
    "flag": "boolean",
}
PHYSICAL = {
    "key": "BIGINT", "customer_key": "BIGINT", "text": "VARCHAR", "day": "DATE", "money": "DECIMAL(18,4)",
    "flag": "BOOLEAN",
}  # fmt: skip
PERSONAL = ("first_name", "last_name", "email")
HEAD = "# Written by python -m tools.source_contract; checked by make lint.\n"


def described() -> dict[str, dict[str, Any]]:
    """Table -> what sources.yml says of it."""
    text = (ROOT / "dbt_models" / "models" / "staging" / "sources.yml").read_text(encoding="utf-8")
    (source,) = yaml.safe_load(text)["sources"]
    return {table["name"]: table for table in source["tables"]}


def meaning(table: dict[str, Any], column: str) -> str:
    found = next(one for one in table["columns"] if one["name"] == column)
    return " ".join(found["description"].split())


def is_needed(table: str, column: str) -> bool:
    return COLUMNS[table][column].left_out is None


def page_table() -> str:
    lines: list[str] = []
    for table, columns in COLUMNS.items():
        said = described()[table]
        words = "".join(f", or the word `{word}` instead" for word in WORDS_FOR_TABLES.get(table, ()))
        absent = " (may be absent)" if table in OPTIONAL else ""
        lines += [
            f"**`{table}`**: {said['description'].rstrip('.')}{absent}{words}.",
            "",
            "| Column | Meaning | Type | Without it in a mapping |",
            "|---|---|---|---|",
        ]
        for column, kind in columns.items():
            without = kind.without or "it has to be mapped"
            lines.append(f"| `{column}` | {meaning(said, column)} | {WORDS[kind.kinds]} | {without} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def contract() -> dict[str, Any]:
    """As the Open Data Contract Standard 3 has it."""
    return {
        "apiVersion": "v3.0.2",
        "kind": "DataContract",
        "id": "customer-segmentation-source",
        "name": "Star schema of card transactions",
        "version": "1.0.0",
        "status": "active",
        "domain": "customer-analytics",
        "description": {
            "purpose": "What the customer segmentation reads: facts, customers by version, categories, a calendar.",
            "usage": "Read once a month, and by every export. Extra columns are ignored.",
            "limitations": "A company's own tables are mapped to these by star_schema in its rules.",
        },
        "schema": [
            {
                "name": table,
                "physicalType": "table",
                "description": described()[table]["description"],
                "properties": [
                    {
                        "name": column,
                        "logicalType": LOGICAL[kind.kind],
                        "physicalType": PHYSICAL[kind.kind],
                        "description": meaning(described()[table], column),
                        "required": column in NEVER_NULL.get(table, ()) or UNIQUE.get(table) == column,
                        "unique": UNIQUE.get(table) == column or column == "transaction_key",
                        "classification": "restricted"
                        if column in ("first_name", "last_name", "email")
                        else "internal",
                    }
                    for column, kind in columns.items()
                ],
            }
            for table, columns in COLUMNS.items()
        ],
    }


def main(arguments: list[str]) -> int:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = {
        PAGE: f"{before}{BEGIN}\n{page_table()}\n{END}{after}",
        ODCS: HEAD + yaml.safe_dump(contract(), sort_keys=False, allow_unicode=True, width=1_000),
    }
    others = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in arguments and others:
        names = " and ".join(str(path.relative_to(ROOT)) for path in others)
        print(f"{names}: other than the code's contract: run `python -m tools.source_contract`.")
        return 1
    for path in others:
        path.write_text(wanted[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
