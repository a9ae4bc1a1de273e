"""Draws the layers of segmentation_assets, from the import-linter contract, into docs/architecture.md.

`python -m tools.layers` writes the picture; with `--check` it ends with 1 where the page shows another. What a layer is
for is the first sentence of its package or module.
"""

import ast
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- layers: python -m tools.layers -->", "<!-- end of layers -->"


def layers() -> list[list[str]]:
    """From the top down; names on one line do not import each other."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    contract = next(one for one in contracts if one["type"] == "layers")
    return [[name.strip() for name in line.split("|")] for line in contract["layers"]]


def purpose(name: str) -> str:
    """The first line of the module's or package's docstring."""
    package = ROOT / "segmentation_assets" / name
    file = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
    documented = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    return (documented or "").splitlines()[0].rstrip(".")


def modules(name: str) -> str:
    package = ROOT / "segmentation_assets" / name
    found = sorted(path.stem for path in package.glob("*.py") if not path.stem.startswith("__"))
    return ", ".join(f"`{module}`" for module in found)


def picture() -> str:
    lines = ["```mermaid", "flowchart TB"]
    above: list[str] = []
    for row in layers():
        lines += [f'  {name}["{name}"]' for name in row]
        # One arrow per layer is enough: a layer may import from every layer below it.
        lines += [f"  {upper} --> {lower}" for upper in above[:1] for lower in row]
        above = row
    lines += ["```", "", "| Layer | Modules | What is in it |", "|---|---|---|"]
    lines += [f"| `{name}` | {modules(name)} | {purpose(name)} |" for row in layers() for name in row]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    drawn = f"{before}{BEGIN}\n{picture()}\n{END}{after}"
    if drawn == page:
        return 0
    if "--check" in arguments:
        print("docs/architecture.md shows other layers than pyproject.toml: run `python -m tools.layers`.")
        return 1
    PAGE.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
