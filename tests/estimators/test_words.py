"""The sentences: each in both languages, telling the same."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest

from whyrank.estimators import words
from whyrank.estimators.words import _SENTENCES, say


def blanks(sentence: str) -> dict[str, str]:
    return {name: spec or "" for _, name, spec, _ in string.Formatter().parse(sentence) if name is not None}


@pytest.mark.parametrize("name", list(_SENTENCES))
def test_both_languages_tell_the_same(name: str) -> None:
    en, zh = _SENTENCES[name]
    assert en
    assert zh
    assert blanks(en) == blanks(zh)
    assert "；" not in zh  # reasons are joined by "; "
    assert "; " not in en


def test_every_sentence_that_is_asked_for_exists() -> None:
    """And every one that exists is asked for: by name in a call of `say`, or as what blocks an effect."""
    asked: set[str] = set()
    for file in Path(words.__file__).parent.glob("*.py"):
        if file.name != "words.py":
            tree = ast.parse(file.read_text(encoding="utf-8"))
            asked |= {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
            for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
                if isinstance(call.func, ast.Name) and call.func.id == "say" and len(call.args) > 1:
                    name = call.args[1]
                    if isinstance(name, ast.Constant):
                        assert name.value in _SENTENCES
    built = {"estimated propensity", "logged propensity", "user", "item", "cluster", "items", "users", "users or items"}
    built |= {"each of items", "each of users", "purchase"}
    assert set(_SENTENCES) - asked - built == set()


def test_a_sentence_is_filled_in() -> None:
    assert say("en", "overlap", share=0.25) == "25% of rows could have had either level"
    assert "25%" in say("zh", "overlap", share=0.25)
    with pytest.raises(KeyError, match="nothing of the kind"):
        say("en", "nothing of the kind")
