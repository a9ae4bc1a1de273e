"""Reading a YAML file strictly: what plain YAML lets pass in silence is told here, with the line.

Nothing in this module knows what a rule is.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

# libyaml's, ten times as fast, wherever PyYAML was built with it.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Everything that a company says fits a hundred times over. What is larger is another file, or made to use up memory: an
# alias of an alias of ... is a line of text and a billion values.
MOST_BYTES = 1_000_000
MOST_VALUES = 20_000
# The rules nest six deep, and whoever walks through them does so by recursion.
MOST_LEVELS = 20


def read_keys(path: Path) -> tuple[dict[Any, Any] | None, list[str]]:
    """The file's top-level keys and what is wrong with it, one line each; no keys when it cannot be read."""
    try:
        with path.open("rb") as file:
            read = file.read(MOST_BYTES + 1)
        content = read.decode("utf-8") if len(read) <= MOST_BYTES else ""
    except OSError as error:
        return None, [f"{path}: cannot be read ({error.strerror}); correct the path or the file's permissions"]
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return None, [f"{path}: line {line}: is not UTF-8; save the file as UTF-8"]
    if len(read) > MOST_BYTES:
        size = f"is larger than {MOST_BYTES:,} bytes, which rules never are"
        return None, [f"{path}: {size}; name the file that holds the rules"]
    try:
        if words := _beyond_bounds(content):
            return None, [f"{path}: {words}"]
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
    found = [*_repeated_keys(tree, "", set()), *_misread_numbers(tree, set())]
    return values, [f"{path}: {words}" for words in found]


# What YAML 1.1 takes for a number to base 8, 16, 2 or 60.
_OF_ANOTHER_BASE = re.compile(r"[-+]?0[0-9_]+|[-+]?0[xb].*|.*:.*")


def _misread_numbers(node: yaml.Node, seen: set[int]) -> Iterator[str]:
    """030 is 24 to YAML, and 1:30 is 90."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        is_number = node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        if is_number and _OF_ANOTHER_BASE.fullmatch(node.value):
            yield (
                f"line {node.start_mark.line + 1}: {node.value} is another number to YAML than it looks;"
                " write it in plain decimals, or in quotes where it is text"
            )
        return
    for child in node.value:
        for one in child if isinstance(child, tuple) else (child,):
            yield from _misread_numbers(one, seen)


def _beyond_bounds(content: str) -> str | None:
    """Why the content is not even put together: too deep, too many values, an alias inside what it stands for.

    By the parser's events, without recursion; an alias counts as what it stands for.
    """
    open_nodes: list[list[int]] = [[0, 0]]  # levels and values below each; the outermost is the file itself
    names: list[str | None] = [None]  # their anchors
    anchors: dict[str, tuple[int, int]] = {}
    for event in yaml.parse(content, Loader=LOADER):
        line = event.start_mark.line + 1
        levels, values = 0, 1
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append([0, 1])
            names.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            (levels, values), anchor = open_nodes.pop(), names.pop()
            levels += 1
            if anchor:
                anchors[anchor] = levels, values
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in names:
                return f"line {line}: *{event.anchor} stands inside what it stands for; write it out"
            levels, values = anchors.get(event.anchor, (0, 1))
        elif isinstance(event, yaml.ScalarEvent):
            if event.anchor:
                anchors[event.anchor] = 0, 1
        else:
            continue
        if not isinstance(event, yaml.CollectionStartEvent):
            around = open_nodes[-1]
            around[0], around[1] = max(around[0], levels), around[1] + values
        if len(open_nodes) - 1 + levels > MOST_LEVELS:
            return f"line {line}: is nested deeper than {MOST_LEVELS} levels, and rules need six; write it flat"
        if sum(node[1] for node in open_nodes) > MOST_VALUES:
            return f"line {line}: holds more than {MOST_VALUES:,} values, with aliases written out; shorten it"
    return None


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
