"""Every testable edge, and edges from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from whyrank.agents.sources import propose_exhaustive, read_hypotheses, write_hypotheses
from whyrank.config import GraphConfig
from whyrank.datasets.study_data import StudyData
from whyrank.edge import Edge, Hypothesis
from whyrank.errors import DataError, InputError

Shop = Callable[..., StudyData]


def test_exhaustive_is_every_testable_attribute_on_every_outcome(shop: Shop) -> None:
    graph = GraphConfig(forbidden=(Edge("users.age", "events.spend"),))
    edges = [str(h.edge) for h in propose_exhaustive(shop(graph=graph))]
    causes = [
        "users.new_user", "users.age", "users.region", "items.price", "items.free_shipping", "items.brand",
        "events.position",
    ]  # fmt: skip
    expected = [f"{cause} -> {effect}" for effect in ("events.click", "events.spend") for cause in causes]
    expected.remove("users.age -> events.spend")
    assert edges == expected


def test_what_is_written_is_read(shop: Shop, tmp_path: Path) -> None:
    written = [
        Hypothesis(
            Edge.parse("items.price -> events.click | users.new_user"),
            claimed_sign="-",
            mechanism="贵了就少点",
            confounders=("items.season",),
            modifiers=("users.age",),
            source="file",
            confidence=0.75,
            instruments=("items.brand",),
            likelihood=-0.25,
            unmeasured=("quality of the item", "商店的名声"),
        ),
        Hypothesis(Edge.parse("users.age -> events.click"), source="file"),
    ]
    path = tmp_path / "h.jsonl"
    write_hypotheses(written, path)
    assert read_hypotheses(path, shop()) == written


def test_blank_lines_are_skipped_and_doubles_count_once(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    line = '{"edge": "items.price -> events.click"}'
    path.write_text(f"\ufeff{line}\n\n{line}\r\n", encoding="utf-8")
    assert [str(h.edge) for h in read_hypotheses(path, shop())] == ["items.price -> events.click"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("items.price", "not a JSON object"),
        ('["items.price -> events.click"]', "the line"),
        ('{"claimed_sign": "+"}', "the key 'edge' is missing"),
        ('{"edge": "items.price"}', "is not an edge"),
        ('{"edge": "items.price -> events.click", "sign": "+"}', "unknown key 'sign'"),
        ('{"edge": "items.price -> events.click", "claimed_sign": "up"}', "claimed_sign"),
        ('{"edge": "items.prize -> events.click"}', "did you mean 'items.price'"),
        ('{"edge": "items.season -> events.click"}', "is a confounder"),
        ('{"edge": "items.title -> events.click"}', "is a text column"),
        ('{"edge": "items.price -> events.click", "confounders": ["items.saison"]}', "did you mean 'items.season'"),
        ('{"edge": "items.price -> events.click", "instruments": ["items.brnd"]}', "did you mean 'items.brand'"),
        ('{"edge": "items.price -> events.click", "confidence": 2}', "between 0 and 1"),
        ('{"edge": "items.price -> events.click", "likelihood": 1e999}', "likelihood"),
        ('{"edge": "items.price -> events.click", "unmeasured": ["taste", " "]}', "a cause without a name"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(shop: Shop, tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text(f'{{"edge": "users.age -> events.click"}}\n\n{line}\n', encoding="utf-8")
    with pytest.raises(InputError, match="line 3: ") as failed:
        read_hypotheses(path, shop())
    assert complaint in str(failed.value)


def test_a_file_that_is_not_there_is_the_callers_mistake(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        read_hypotheses(tmp_path / "nowhere.jsonl", shop())
