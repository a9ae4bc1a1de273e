"""Writes the register of personal data into docs/personal_data.md, from the models' own metadata.

`python -m tools.personal_data` writes the tables; with `--check` it ends with 1 where the page says something else, or
where a column whose name speaks of a person declares nothing.
"""

import os
import sys
from pathlib import Path

from segmentation_assets.dbt.project import Project
from segmentation_assets.privacy import register

PAGE = Path(__file__).parents[1] / "docs" / "personal_data.md"
BEGIN, END = "<!-- register: python -m tools.personal_data -->", "<!-- end of register -->"
_SET = ("SEGMENTATION_", "SNOWFLAKE_", "DBT_")


def main(arguments: list[str]) -> int:
    # As shipped, whatever the person's own rules and names are.
    for name in [name for name in os.environ if name.startswith(_SET)]:
        del os.environ[name]
    project = Project.load()
    told = register.undeclared(project.entries.values())
    if told:
        print("\n".join(told))
        return 1
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = f"{before}{BEGIN}\n{register.page(register.register(project))}\n{END}{after}"
    if PAGE.read_text(encoding="utf-8") == wanted:
        return 0
    if "--check" in arguments:
        print("docs/personal_data.md: other than what the models declare: run `python -m tools.personal_data`.")
        return 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
