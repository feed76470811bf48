"""What the READMEs tell readers to type works, on a small shop."""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from whyrank.cli import main
from whyrank.datasets.world import small_world, write_world
from whyrank.errors import WhyRankWarning

ROOT = Path(__file__).parent.parent


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[list[str]]:
    """Every command line, as words without comments."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def needs_a_model(words: list[str]) -> bool:
    """Whether a command asks or serves a model: those are tried in the slow lanes."""
    return words[1] in ("llm", "attributes") or "--rounds" in words


def test_the_readme_works_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_world(small_world(), tmp_path / "shop")
    for extra in ("whyrank.toml", "truth.csv"):
        (tmp_path / "shop" / extra).unlink()
    monkeypatch.chdir(tmp_path)
    said = {}
    for words in commands("README.md"):
        if words[0] == "whyrank" and needs_a_model(words):
            shown = CliRunner().invoke(main, [words[1], *([words[2]] if words[1] == "llm" else []), "--help"]).stdout
            assert [word for word in words if word.startswith("--") and word not in shown] == []
        elif words[0] == "whyrank":
            result = CliRunner().invoke(main, words[1:])
            assert result.exit_code == 0, (words, result.output)
            said[words[1]] = result.stdout
    assert list(said) == ["init", "check", "run", "verdicts", "recommend"]
    assert said["verdicts"].startswith("edge,cause,level,")
    assert "why: what each validated effect adds" in said["recommend"]
    assert re.search(r"[+-]0\.\d+ +\w+ = ", said["recommend"])

    (code,) = blocks("README.md", "python")
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WhyRankWarning)
        exec(compile(code, "README.md", "exec"), names)
    verdicts, items = names["verdicts"], names["items"]
    assert isinstance(verdicts, pd.DataFrame)
    assert isinstance(items, pd.DataFrame)
    assert "validated" in set(verdicts["verdict"])
    assert list(items["rank"]) == [*range(1, 11), *range(1, 11)]
    names["study"].close()  # type: ignore[attr-defined]


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pages = ("README.md", "README.zh-CN.md", "CONTRIBUTING.md")
    named = {words[1] for page in pages for words in commands(page) if words[0] == "make"}
    assert named == {"demo", "test", "check"}
    assert [name for name in named if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_the_chinese_readme_shows_the_same_commands() -> None:
    assert commands("README.zh-CN.md") == commands("README.md")
    english, chinese = (ast.dump(ast.parse(blocks(page, "python")[0])) for page in ("README.md", "README.zh-CN.md"))
    assert chinese == english
