from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import whyrank
from whyrank.cli import main
from whyrank.datasets.study_data import Finding
from whyrank.edge import Edge, Hypothesis
from whyrank.errors import InputError, NameNotFound, WhyRankWarning
from whyrank.estimators.estimate import VERDICT_COLUMNS
from whyrank.pipeline import RunSummary
from whyrank.ranker import Contribution, Explanation

NAN = float("nan")


def verdict_row(edge: str, verdict: str, estimate: float, **more: Any) -> dict[str, Any]:
    parsed = Edge.parse(edge)
    row: dict[str, Any] = dict.fromkeys(VERDICT_COLUMNS, "")
    row |= {"edge": edge, "cause": parsed.cause, "effect": parsed.effect, "verdict": verdict, "scale": "probability"}
    row |= {"estimate": estimate, "se": abs(estimate) / 5, "ci_low": estimate * 0.6, "ci_high": estimate * 1.4}
    row |= {"naive": estimate, "p_value": 0.001, "q_value": 0.1 + 0.2, "n": 10, "n_users": 3, "n_items": 2}
    row |= {"ess": NAN, "overlap": 1.0, "robustness_value": 0.1, "reasons": "first reason; second reason"}
    return row | more


VERDICTS = pd.DataFrame(
    [
        verdict_row("users.age -> events.purchase", "inconclusive", 0.001),
        verdict_row("users.region -> events.purchase", "unidentifiable", NAN, q_value=NAN),
        verdict_row("items.免运费 -> events.purchase", "validated", 0.0213),
        verdict_row("items.brand[premium] -> events.purchase", "refuted", 0.002, reasons="\x1b[31m[bold]x[/bold]"),
        verdict_row("items.discount -> events.purchase", "validated", 0.1 / 3),
        verdict_row(
            "items.a_long_name_" + "n" * 90 + " -> events.y", "validated", 123456.7, scale="mean", reasons="why " * 60
        ),
    ],
    columns=VERDICT_COLUMNS,
)


TRACE: dict[str, Any] = {
    "verdict": {"verdict": "validated", "reasons": ["it holds"], "q_value": 0.01, "estimate": {
        "estimate": 0.02, "ci_low": 0.01, "ci_high": 0.03, "se": 0.005, "naive": 0.05, "scale": "probability",
        "n": 1200, "adjusted_for": ["items.price"], "warnings": ["few rows"], "ess": None,
    }},
    "checks": [{"name": "random_common_cause", "passed": False, "detail": "it moved",
                "data": {"draws": [0.1] * 500}}],
    "hypotheses": [{"source": "llm", "round": 2, "claimed_sign": "+", "mechanism": "Cheaper."}],
    "calls": [{"model": "Smol", "prompt_hash": "3f", "prompt": "Which?\nSay.", "raw_reply": "{\"a\": 1}\x1b[2J"}],
}  # fmt: skip


class FakeRanker:
    data = SimpleNamespace(
        user_ids=["u1", "u2"],
        title=lambda item: f"Cup {item}",
        config=SimpleNamespace(study=SimpleNamespace(language="en")),
    )
    outcome = SimpleNamespace(name="events.purchase")

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def recommend(
        self,
        users: Sequence[str],
        *,
        k: int = 10,
        include_seen: bool | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        self.asked.append((tuple(users), k, include_seen, context))
        for user in users:
            if user not in self.data.user_ids:
                raise NameNotFound(f"no user {user!r} in this study")
        rows = [(u, f"i{r}", r, 0.1 / r) for u in users for r in range(1, k + 1)]
        return pd.DataFrame(rows, columns=["user_id", "item_id", "rank", "score"])

    def recommend_all(self, k: int = 10, **more: Any) -> pd.DataFrame:
        return self.recommend(self.data.user_ids, k=k, **more)

    def reasons(self, user: str, item: str, *, context: Mapping[str, Any] | None = None) -> list[str]:
        return [f"{item} has free_shipping = 1 (validated).", "Popularity counts 0.1."]

    def explain(self, user: str, item: str, *, context: Mapping[str, Any] | None = None) -> Explanation:
        part = Contribution(
            "items.discount", "1", "items.discount -> events.purchase", "validated", "1", 1.0, 0.5, 0.02, 0.01
        )
        return Explanation(user, item, "events.purchase", "probability", 0.11, 0.1, 0.01, "popularity", 1.0, (part,))


@dataclass
class FakeStudy:
    """What the command line calls, answering from constants and noting what it was asked."""

    judged: pd.DataFrame = field(default_factory=VERDICTS.copy)
    findings: list[Finding] = field(default_factory=list)
    fail: BaseException | None = None
    calls: list[tuple[str, Any]] = field(default_factory=list)
    the_ranker: FakeRanker = field(default_factory=FakeRanker)

    def check(self) -> list[Finding]:
        return self.findings

    def propose(self, sources: Sequence[str] = ("llm",), **_: Any) -> list[Hypothesis]:
        self.calls.append(("propose", tuple(sources)))
        return [Hypothesis(Edge("items.discount", "events.purchase"), "+", "Cheaper.", source="llm", confidence=0.8)]

    def validate(
        self,
        edges: Sequence[Edge] | None = None,
        *,
        budget_edges: int | None = None,
        budget_minutes: float | None = None,
    ) -> pd.DataFrame:
        self.calls.append(("validate", edges))
        return self.judged

    @property
    def data(self) -> Any:
        return SimpleNamespace(user_index={"u1": 0, "u2": 1}, outcome=lambda name: None)

    def run(
        self,
        sources: Sequence[str] = ("llm",),
        *,
        context: Any = None,
        budget_edges: int | None = None,
        budget_minutes: float | None = None,
        rounds: int | None = None,
    ) -> Any:
        self.calls.append(("run", tuple(sources)))
        return RunSummary(hypotheses=3, estimated=3, calls=2, cached=1, report=Path("shop/.whyrank/report.html"))

    def verdicts(self) -> pd.DataFrame:
        if self.fail is not None:
            raise self.fail
        warnings.warn("few\nrows", WhyRankWarning, stacklevel=1)
        warnings.warn("a library's", DeprecationWarning, stacklevel=1)
        return self.judged

    def weights(self, outcome: str | None = None, users: Sequence[str] | None = None) -> pd.DataFrame:
        self.calls.append(("weights", (outcome, users)))
        return pd.DataFrame({"user_id": ["u1"], "attribute": ["items.discount"], "weight": [0.1 / 3], "se": [NAN]})

    def ranker(self, outcome: str | None = None) -> FakeRanker:
        return self.the_ranker

    def explain(self, edge: str | Edge) -> dict[str, Any]:
        Edge.parse(str(edge))
        return TRACE | {"edge": str(edge)}

    def report(self, path: Path | None = None) -> Path:
        return path or Path("shop/.whyrank/report.html")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeStudy:
    """The study that every command opens."""
    study = FakeStudy()

    def open_(path: Path, *, workdir: Path | None = None) -> FakeStudy:
        if str(path) == "missing":
            raise InputError(f"there is no study at {str(path)!r}")
        study.calls.append(("open", (path, workdir)))
        return study

    monkeypatch.setattr(whyrank, "open", open_, raising=False)
    return study


@pytest.fixture
def whyrank_cli() -> Callable[..., Result]:
    """Run the program in this process."""

    def run(*arguments: object, **more: Any) -> Result:
        return CliRunner().invoke(main, [str(a) for a in arguments], **more)

    return run


@pytest.fixture
def ask(whyrank_cli: Callable[..., Result], tmp_path: Path) -> Callable[..., Result]:
    """Run the program with a workdir of its own; it must succeed."""

    def run(*arguments: object) -> Result:
        result = whyrank_cli(*arguments, "--workdir", tmp_path)
        assert result.exit_code == 0, result.stderr
        return result

    return run


@pytest.fixture
def records(ask: Callable[..., Result]) -> Callable[..., list[dict[str, Any]]]:
    """Run the program likewise, and return the rows that it prints as JSON."""

    def run(*arguments: object) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = json.loads(ask(*arguments, "--format", "json").stdout)
        return answer

    return run
