"""What counts as one id and as one code. Locks out: a blank that nobody sees and that makes another customer, a capital
that makes another status, and ids of two customers that count as one.
"""

import itertools
import unicodedata

import duckdb
import pytest

from segmentation_assets.spelling import UNSEEN, code, trimmed, trimmed_sql
from tests.support.spellings import HARD_CASES, SAME_CODE, macro_sql


def test_spellings_of_one_code_are_one_and_others_are_not() -> None:
    codes = [{code(text) for text in line} for line in SAME_CODE]
    assert [len(found) for found in codes] == [1] * len(codes)
    assert not any(one & other for one, other in itertools.combinations(codes, 2))


def test_everything_unseen_is_trimmed() -> None:
    unseen = [
        chr(number) for number in range(0x110000) if unicodedata.category(chr(number)) in ("Cc", "Cf", "Zs", "Zl", "Zp")
    ]
    assert set(unseen) <= set(UNSEEN)
    assert trimmed("".join(unseen) + "C 1" + "".join(unseen)) == "C 1"
    # The rest is drawn as nothing, though it is a letter or a symbol, or is unseen in a later Unicode only.
    assert {unicodedata.category(one) for one in set(UNSEEN) - set(unseen)} <= {"Lo", "So", "Cn", "Mn"}


def test_an_id_keeps_its_capitals_and_what_is_inside() -> None:
    assert [trimmed(text) for text in (" C1\u00a0", "c1", "C\u00a01")] == ["C1", "c1", "C\u00a01"]


@pytest.mark.parametrize(("name", "engine"), [("trimmed", "duckdb"), ("code", "duckdb"), ("code", "snowflake")])
def test_duckdb_says_what_python_says(name: str, engine: str) -> None:
    """Snowflake's table of letters too, which the engines compute alike."""
    twin = {"trimmed": trimmed, "code": code}[name]
    cases = [*HARD_CASES, *(f"{one}x{one}" for one in UNSEEN)]
    found = duckdb.execute(f"select text, {macro_sql(name, 'text', engine)} from (select unnest(?) as text)", [cases])
    assert dict(found.fetchall()) == {text: twin(text) for text in cases}


def test_the_macro_and_python_write_the_same_sql() -> None:
    assert macro_sql("trimmed", "text") == trimmed_sql("text")
