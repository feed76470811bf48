"""The rule: every line of its table, in both languages, and the multiplicity before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from whyrank.edge import Contrast, Edge, Hypothesis
from whyrank.estimators.estimate import VERDICT_COLUMNS
from whyrank.estimators.judge import judge
from whyrank.estimators.multiplicity import benjamini_hochberg
from whyrank.estimators.verdict import decide
from whyrank.estimators.words import Language

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab

NAN = float("nan")
DOWN: dict[str, Any] = {"estimate": -0.2, "ci_low": -0.24, "ci_high": -0.16}
WIDE: dict[str, Any] = {"estimate": 0.01, "ci_low": -0.03, "ci_high": 0.05, "p_value": 0.6}

ROWS: list[tuple[str, dict[str, Any], dict[str, Any], str, str, str]] = [
    ("blocked", {"blocked": "the path is open"}, {}, "unidentifiable", "the path is open", "the path is open"),
    ("no overlap", {"failing": ("overlap", 0.04)}, {}, "unidentifiable", "what overlap says", "what overlap says"),
    ("few items", {"smaller_arm": 9}, {}, "inconclusive", "only 9 items carry it", "只有 9 个商品"),
    ("no error", {"se": NAN, "p_value": NAN}, {"q_value": NAN}, "inconclusive", "can't be told", "无法判断其误差"),
    ("nothing of interest", {}, {"smallest_effect": 0.3}, "refuted", "lies within ±0.3", "最小关注值 ±0.3"),
    ("a gate failed", {"failing": ("placebo", 0.1)}, {}, "inconclusive", "but what placebo says", "但是what placebo"),
    ("poor overlap", {"failing": ("overlap", 0.06)}, {}, "inconclusive", "but what overlap says", "但是what overlap"),
    ("other sign", {}, {"claimed_sign": "-"}, "refuted", "claimed that it lowers it", "提出者认为它降低"),
    ("validated", {}, {}, "validated", "raises it, adjusted for", "仍然提高结果"),
    ("validated as claimed", {}, {"claimed_sign": "+"}, "validated", "raises it", "提高结果"),
    ("validated downwards", DOWN, {"claimed_sign": "-"}, "validated", "lowers it", "降低结果"),
    ("confounded", WIDE, {"q_value": 0.7}, "refuted", "looks like +0.25, but adjusting for", "未调整时看似 +0.25"),
    ("too little", WIDE | {"naive": 0.02}, {"q_value": 0.7}, "inconclusive", "can't be told from zero", "无法与零区分"),
    ("many tests", {"p_value": 0.02}, {"q_value": 0.2}, "inconclusive", "p = 0.02 alone, but q", "单独检验 p = 0.02"),
]  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("changes", "given_", "verdict", "en", "zh"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS]
)
def test_each_line_of_the_table(
    lab: Lab, changes: dict[str, Any], given_: dict[str, Any], verdict: str, en: str, zh: str, language: Language
) -> None:
    changes = dict(changes)
    name, statistic = changes.pop("failing", ("", 0.0))
    if name:
        changes["checks"] = (lab.check("subset"), lab.check(name, False, statistic, 0.5))
    options: dict[str, Any] = {"q_value": 1e-8, "claimed_sign": "", "fdr": 0.05, "smallest_effect": 0.0} | given_
    found, reasons = decide(lab.made(**changes), language=language, **options)
    assert found == verdict
    assert (en if language == "en" else zh) in reasons[0] + " " + " ".join(reasons[1:])


def test_the_order_of_the_lines(lab: Lab) -> None:
    """Everything at once: what comes first in the table decides."""
    failing = (lab.check("overlap", False, 0.01, 0.5), lab.check("placebo", False))
    everything: dict[str, Any] = {"blocked": "blocked", "smaller_arm": 3, "checks": failing}
    options: dict[str, Any] = {"q_value": 1e-8, "claimed_sign": "-", "fdr": 0.05, "smallest_effect": 0.3}
    seen = [decide(lab.made(**everything), **options)]
    for key in ("blocked", "checks", "smaller_arm"):
        del everything[key]
        if key == "checks":
            everything["checks"] = (lab.check("placebo", False),)
        seen.append(decide(lab.made(**everything), **options))
    seen.append(decide(lab.made(**everything), **(options | {"smallest_effect": 0.0})))
    everything["checks"] = ()
    seen.append(decide(lab.made(**everything), **(options | {"smallest_effect": 0.0})))
    starts = ["blocked", "what overlap", "only 3 items", "the effect lies", "an effect of", "claimed that"]
    assert [reasons[0].startswith(start) for (_, reasons), start in zip(seen, starts, strict=True)] == [True] * 6


def test_these_items_need_no_ten(lab: Lab) -> None:
    few = lab.made(smaller_arm=3, scope="these items")
    assert decide(few, q_value=0.01, claimed_sign="", fdr=0.05, smallest_effect=0.0)[0] == "validated"


def test_a_gate_that_does_not_apply_is_no_failure(lab: Lab) -> None:
    estimate = lab.made(checks=(lab.check("audit", None),))
    assert decide(estimate, q_value=0.01, claimed_sign="", fdr=0.05, smallest_effect=0.0)[0] == "validated"


def test_what_it_takes(lab: Lab) -> None:
    """A standard error of .02 finds effects of .056; to find .01 takes (5.6)² times the 100 items."""
    estimate = lab.made(**WIDE, naive_significant=False)
    _, reasons = decide(estimate, q_value=0.7, claimed_sign="", fdr=0.05, smallest_effect=0.0)
    assert reasons[1:] == (
        "this log can find effects of 0.056 and more",
        "one of 0.01 would take about 3,100 items (there are 100)",
    )
    _, wanted = decide(estimate, q_value=0.7, claimed_sign="", fdr=0.05, smallest_effect=0.028)
    assert "one of 0.028 would take about 400 items" in wanted[2]
    tiny = lab.made(**(WIDE | {"estimate": 1e-9}), naive_significant=False)
    assert "over 1,000 times as many" in decide(tiny, q_value=0.7, claimed_sign="", fdr=0.05, smallest_effect=0.0)[1][2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_benjamini_hochberg_is_scipys(p: list[float]) -> None:
    given_ = np.array(p)
    q = benjamini_hochberg(given_)
    assert q == pytest.approx(stats.false_discovery_control(given_), rel=1e-12, abs=1e-300)
    padded = benjamini_hochberg(np.r_[np.nan, given_, np.nan])
    assert np.isnan(padded[[0, -1]]).all()
    assert padded[1:-1].tolist() == q.tolist()


def test_nothing_tested_is_nothing_found() -> None:
    assert benjamini_hochberg(np.array([])).tolist() == []
    assert np.isnan(benjamini_hochberg(np.array([np.nan, np.nan]))).all()


def test_claims_count_where_they_can_and_agree(lab: Lab) -> None:
    plain, modified = Edge("items.a", "events.y"), Edge("items.a", "events.y", "users.c")
    levels = Edge("items.brand", "events.y")
    estimates = [
        lab.made(),
        lab.made(contrast=Contrast(modified, "1", "0", "1", "0")),
        lab.made(contrast=Contrast(levels, "plus", "basic", bracket=True)),
        lab.made(blocked="blocked", p_value=NAN),
    ]
    claims = [
        Hypothesis(plain, claimed_sign="-", source="llm", round=2),
        Hypothesis(plain, claimed_sign="", source="exhaustive"),
        Hypothesis(modified, claimed_sign="-"),
        Hypothesis(levels, claimed_sign="-"),
    ]
    found = judge(estimates, claims, fdr=0.05, smallest_effect=0.0)
    assert [v.verdict for v in found] == ["refuted", "validated", "validated", "unidentifiable"]
    assert [v.claimed_sign for v in found] == ["-", "", "", "-"]
    assert found[0].source == "exhaustive (round 1), llm (round 2)"
    assert found[0].q_value == pytest.approx(1e-9)
    assert np.isnan(found[3].q_value)
    doubtful = [*claims, Hypothesis(plain, claimed_sign="+", source="file")]
    assert judge(estimates, doubtful, fdr=0.05, smallest_effect=0.0)[0].verdict == "validated"


def test_a_row_has_the_columns_of_the_table(lab: Lab) -> None:
    (verdict,) = judge([lab.made(warnings=("w1", "w2"))], [], fdr=0.05, smallest_effect=0.0)
    row = verdict.row()
    assert tuple(row) == VERDICT_COLUMNS
    assert row["edge"] == "items.a -> events.y"
    assert row["warnings"] == "w1; w2"
    assert row["reasons"].count("; ") == 1
    assert row["adjusted_for"] == "items.b, users.c"
