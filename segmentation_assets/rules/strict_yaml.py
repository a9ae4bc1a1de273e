"""Reading a YAML file strictly: what plain YAML lets pass in silence is told here, with the line.

Nothing in this module knows what a rule is.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

# libyaml's, ten times as fast, wherever PyYAML was built with it.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_keys(path: Path) -> tuple[dict[Any, Any] | None, list[str]]:
    """The file's top-level keys and what is wrong with it, one line each; no keys when it cannot be read."""
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        return None, [f"{path}: cannot be read ({error.strerror}); correct the path or the file's permissions"]
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return None, [f"{path}: line {line}: is not UTF-8; save the file as UTF-8"]
    try:
        loader = LOADER(content)
        tree = loader.get_single_node()
        values = None if tree is None else loader.construct_document(tree)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        return None, [f"{path}: {line}is not valid YAML ({error.problem or error.context}); correct it there"]
    except yaml.reader.ReaderError as error:
        line = content.count("\n", 0, error.position) + 1
        return None, [f"{path}: line {line}: holds a character YAML does not allow; remove it"]
    except ValueError as error:  # a date such as 2025-13-01
        return None, [f"{path}: holds a value YAML cannot read ({error}); correct it or put it in quotes"]
    if tree is None or values is None:
        return None, [f"{path}: line 1: is empty; write the keys it should hold, or do not name it"]
    if not isinstance(values, dict):
        return None, [f"{path}: line {tree.start_mark.line + 1}: holds no 'key: value' pairs at its top; write them"]
    return values, [f"{path}: {words}" for words in _repeated_keys(tree, "", set())]


def _repeated_keys(node: yaml.Node, inside: str, seen: set[int]) -> Iterator[str]:
    """YAML silently keeps the last of two equal keys: half a rule would be gone without a word."""
    if id(node) in seen:  # an alias: told at its anchor, and an anchor may hold itself
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield from _repeated_keys(item, f"{inside}[{i}]", seen)
    if isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            path = f"{inside}.{key.value}".removeprefix(".")
            line = key.start_mark.line + 1
            name = (key.tag, str(key.value))
            if name in lines:
                yield f"line {line}: {path}: the key is there twice (first in line {lines[name]}); remove one"
            lines.setdefault(name, line)
            yield from _repeated_keys(value, path, seen)
