"""The holes that tools/mutants.py makes in the gate. Locks out one that changes nothing since its line was edited."""

from pathlib import Path

import pytest

from tools.mutants import MUTANTS, ROOT


@pytest.mark.parametrize("name", MUTANTS)
def test_what_is_taken_out_is_there_once(name: str) -> None:
    mutant = MUTANTS[name]
    text = Path(ROOT / mutant.file).read_text(encoding="utf-8")
    assert {old: text.count(old) for old in mutant.replaced} == dict.fromkeys(mutant.replaced, 1)
