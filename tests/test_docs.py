"""The pages say what the code does: the rule, the gates, the keys of the study file, and where links lead."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from whyrank import config
from whyrank.estimators import verdict

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SECTIONS: dict[str, type[BaseModel]] = {
    "[study]": config.StudySection,
    "[users]": config.UsersConfig,
    "[items]": config.ItemsConfig,
    "[events]": config.EventsConfig,
    '[attributes."items.price"]': config.AttributeConfig,
    "[graph]": config.GraphConfig,
    "[llm]": config.LlmConfig,
    "[validation]": config.ValidationConfig,
    "[ranker]": config.RankerConfig,
}
IN_WORDS = {("[study]", "name"), ("[attributes]", "kind"), ("[attributes]", "reference")}
"""Keys whose default isn't a constant; the page tells it in words."""


def table_under(page: str, heading: str) -> list[tuple[str, ...]]:
    """Rows of the first table under a heading, without its head."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    part = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in part.splitlines() if line.startswith("| ")]
    cells = (re.split(r"(?<!\\)\|", row.strip()[1:-1]) for row in rows[2:])
    return [tuple(cell.strip().replace("\\|", "|") for cell in row) for row in cells]


def test_the_rule_is_the_docstring_s() -> None:
    lines = (verdict.__doc__ or "").splitlines()
    start, head, end = (i for i, line in enumerate(lines) if line.startswith("==="))
    assert head == start + 2
    width = len(lines[start].split()[0])
    told = [(line[:width].strip(), line[width:].strip()) for line in lines[head + 1 : end]]
    assert table_under("verdicts.md", "The rule") == told


def test_every_gate_is_told() -> None:
    named = {
        ast.literal_eval(node.args[0])
        for module in (ROOT / "estimators").glob("*.py")
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Check"
    }
    assert {row[0].strip("`") for row in table_under("verdicts.md", "Gates")} == named


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_told_with_its_default(section: str) -> None:
    fields = SECTIONS[section].model_fields
    told = {row[0].strip("`"): row for row in table_under("study.md", f"`{section}`")}
    assert list(told) == list(fields)
    for key, field in fields.items():
        assert len(told[key]) == 3
        if (section.split(".")[0].rstrip("]") + "]", key) in IN_WORDS:
            continue
        if field.default is PydanticUndefined:
            expected = "required"
        elif field.default is None:
            expected = "none"
        else:
            expected = f"`{json.dumps(field.default)}`"
        assert told[key][1] == expected, key


def test_the_sections_are_all() -> None:
    known = {section.split(".")[0].strip("[]") for section in SECTIONS}
    assert known == set(config.StudyConfig.model_fields) - {"path"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [t.split("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in t]
    assert [t for t in targets if t and not (page.parent / t).exists()] == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert [p.name for p in (ROOT / "docs").glob("*.md") if p.name != "README.md" and f"({p.name})" not in index] == []
