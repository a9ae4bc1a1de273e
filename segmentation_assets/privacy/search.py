"""Search for people in text and bytes: ids, addresses and names, thousands of them in one pass."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from segmentation_assets.atomic import atomically

REPLACED = b"[erased]"
_WORD = re.compile(rb"[A-Za-z0-9\x80-\xff]+")
_LETTER = re.compile(rb"[A-Za-z\x80-\xff]")
_HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]+")
_QUOTES, _END_QUOTES = (b"'", b'"'), (b"'", b'"', b"\\")
# A shorter word stands everywhere: an id of two digits is looked for in tables alone.
_SHORTEST = 4


class Search:
    """Whatever is looked for stands by itself: CUST1 is not found in CUST12. An id without a letter, or of the letters
    of hexadecimal numbers, is found in quotes alone: elsewhere it may as well be a count, a time of day or a part of a
    run's id, and a JSON that lost it would be none. One of letters alone is looked for in tables and lists only: it
    may be any word, of dbt's or Dagster's too."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._by_word: dict[bytes, list[tuple[bytes, int]]] = {}  # first word -> text, and where in it the word is
        for text in set(texts):
            for spelling in {text, text.lower(), json.dumps(text)[1:-1]}:
                found = spelling.encode()
                word = _WORD.search(found)
                if word and len(found) >= _SHORTEST and not text.isalpha():
                    self._by_word.setdefault(word[0], []).append((found, word.start()))
        for found in self._by_word.values():
            found.sort(key=lambda one: len(one[0]), reverse=True)

    def finds(self, content: bytes) -> bool:
        return next(self._places(content), None) is not None

    def without(self, content: bytes) -> tuple[bytes, int]:
        """The content with each person replaced, and how often one was."""
        parts: list[bytes] = []
        end = places = 0
        for start, length in self._places(content):
            if start >= end:
                parts += [content[end:start], REPLACED]
                end, places = start + length, places + 1
        return (b"".join([*parts, content[end:]]), places) if places else (content, 0)

    def _places(self, content: bytes) -> Iterator[tuple[int, int]]:
        """Where somebody stands, and how long."""
        for word in _WORD.finditer(content):
            for text, offset in self._by_word.get(word[0], ()):
                start = word.start() - offset
                if start >= 0 and content.startswith(text, start) and _stands_alone(content, start, text):
                    yield start, len(text)
                    break


def _stands_alone(content: bytes, start: int, text: bytes) -> bool:
    before, after = content[max(start - 1, 0) : start], content[start + len(text) : start + len(text) + 1]
    if _LETTER.search(text) and not _HEXADECIMAL.fullmatch(text):
        return not _WORD.match(after)
    return before in _QUOTES and after in _END_QUOTES


def clean_file(path: Path, search: Search) -> int:
    """Replaces whoever is found in a file, all at once; how many places."""
    content = path.read_bytes()
    cleaned, places = search.without(content)
    if places:
        with atomically(path, mode=path.stat().st_mode & 0o777) as partial:
            partial.write_bytes(cleaned)
    return places
