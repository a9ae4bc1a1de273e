"""Locks out: a person left in a log, somebody else taken for them, and a JSON that is none any more."""

import json

import pytest

from segmentation_assets.privacy.search import Search

PEOPLE = ("CUST00000042", "Ada.O'Hara@Example.com", "Ángela García", "4711")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("of CUST00000042, and", "of [erased], and"),
        ("own|a|2025-11-01|CUST00000042", "own|a|2025-11-01|[erased]"),
        ("CUST000000421 and XCUST00000042", None),
        ("to Ada.O'Hara@Example.com.", "to [erased]."),
        ("to ada.o'hara@example.com", "to [erased]"),
        ("to ada.o'hara@example.community", None),
        ("Ángela García is gone", "[erased] is gone"),
        ("Angela and García", None),
        ("pid 4711 took 4711 ms", None),
        ("customer '4711'", "customer '[erased]'"),
        ("CUST00000042CUST00000042 CUST00000042 CUST00000042", "CUST00000042CUST00000042 [erased] [erased]"),
    ],
)
def test_whoever_stands_by_themselves_is_found(text: str, cleaned: str | None) -> None:
    search = Search(PEOPLE)
    found, places = search.without(text.encode())
    assert found.decode() == (text if cleaned is None else cleaned)
    assert search.finds(text.encode()) == (cleaned is not None) == (places > 0)


def test_a_json_stays_one() -> None:
    told = {"pid": 4711, "who": "Ángela García", "ids": ["CUST00000042", "4711"], "in": json.dumps({"id": "4711"})}
    cleaned, places = Search(PEOPLE).without(json.dumps(told).encode())
    assert json.loads(cleaned) == {
        "pid": 4711, "who": "[erased]", "ids": ["[erased]", "[erased]"], "in": '{"id": "[erased]"}'
    }  # fmt: skip
    assert places == 4


def test_a_short_id_is_looked_for_in_tables_alone() -> None:
    assert not Search(["7", "A1"]).finds(b"7 of A1 'A1' '7'")


def test_an_id_that_is_a_word_or_a_part_of_a_runs_id_is_not_taken_for_one() -> None:
    """Of a project and of Dagster's storage nothing would be left that can be read."""
    assert not Search(["test", "Ada"]).finds(b'test-paths: [tests] "resource_type": "test" test.segmentation.x')
    run = b"run 12345678-a001-4bcd-8ef0-1234567890ab of 'A001'"
    assert Search(["A001"]).without(run) == (b"run 12345678-a001-4bcd-8ef0-1234567890ab of '[erased]'", 1)
