"""Writes docs/rules.schema.json, by which editors complete and check a rules file, from the models that read one.

`python -m tools.rules_schema` writes it; with `--check` it ends with 1 where the file says something else.
"""

import sys
from pathlib import Path

from segmentation_assets.rules.json_schema import rules_schema_text

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docs" / "rules.schema.json"


def main(arguments: list[str]) -> int:
    wanted = rules_schema_text()
    if FILE.exists() and FILE.read_text(encoding="utf-8") == wanted:
        return 0
    if "--check" in arguments:
        print(f"{FILE.relative_to(ROOT)}: other than the models of the rules: run `python -m tools.rules_schema`.")
        return 1
    FILE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
