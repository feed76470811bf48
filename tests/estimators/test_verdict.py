"""The rule: every line of its table, in both languages, and the multiplicity before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from whyrank.edge import Contrast, Edge, Hypothesis
from whyrank.estimators.estimate import VERDICT_COLUMNS, Together
from whyrank.estimators.judge import judge
from whyrank.estimators.multiplicity import (
    Multiplicity,
    benjamini_hochberg,
    benjamini_yekutieli,
    edge_q_values,
    q_values,
)
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
    (
        "confounded out of reach",
        WIDE | {"failing": ("overlap", 0.2)},
        {"q_value": 0.7},
        "inconclusive",
        "can't be told from zero what overlap says",
        "无法与零区分 what overlap says",
    ),
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


def test_these_items_need_ten_users(lab: Lab) -> None:
    """Three items may carry it, if that is all that is spoken of; two users may not."""
    options: dict[str, Any] = {"q_value": 0.01, "claimed_sign": "", "fdr": 0.05, "smallest_effect": 0.0}
    verdict, reasons = decide(lab.made(smaller_arm=2, scope="these items"), **options)
    assert verdict == "inconclusive"
    assert "only 2 users carry it" in reasons[0]
    draw = np.random.default_rng(1)
    item, user = draw.integers(0, 6, 4_000), draw.integers(0, 80, 4_000)
    y = 0.5 * (item < 3) + 0.5 * (user < 2) + draw.normal(size=4_000)
    columns = {"few": np.arange(80) < 2}, {"three": np.arange(6) < 3}, {"user": user, "item": item, "y": y}
    these = lab.study(*columns, scope="these items")
    three, few = lab.verdicts(these, "items.three -> events.y", "users.few -> events.y")
    assert (three.verdict, three.estimate.smaller_arm) == ("validated", 80)
    assert (few.verdict, few.estimate.smaller_arm) == ("inconclusive", 2)
    assert "only 2 users carry it" in few.reasons[0]
    assert lab.estimate(lab.study(*columns), "items.three -> events.y").smaller_arm == 3


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


@pytest.mark.parametrize(
    ("variance", "said"),
    [
        ({"items": 0.9, "users": 0.06, "exposures": 0.04}, ("about 220 items (there are 100)", "the same items would")),
        ({"items": 0.05, "users": 0.05, "exposures": 0.9}, ("about 22,000 exposures (there are 10,000)",)),
        ({"items": 0.1, "users": 0.7, "exposures": 0.2}, ("about 1,700 users (there are 500)",)),
        ({"items": 0.4, "users": 0.3, "exposures": 0.3}, ("2 times as many items, users and exposures",)),
    ],
)
def test_more_of_what_dominates_the_error(lab: Lab, variance: dict[str, float], said: tuple[str, ...]) -> None:
    """To find an effect of .04 where one of .056 can be found, half of the variance has to go."""
    estimate = lab.made(**WIDE, naive_significant=False, variance=variance)
    _, reasons = decide(estimate, q_value=0.7, claimed_sign="", fdr=0.05, smallest_effect=0.0396)
    assert len(reasons) == 2 + len(said)
    for sentence, expected in zip(reasons[2:], said, strict=True):
        assert expected in sentence


def test_levels_are_looked_at_together(lab: Lab) -> None:
    options: dict[str, Any] = {"q_value": 0.03, "claimed_sign": "", "fdr": 0.05, "smallest_effect": 0.0}
    levels = lab.made(p_value=0.02, together=Together(4, 0.06, -0.01, 0.41, 0.04))
    verdict, reasons = decide(levels, edge_q_value=0.08, **options)
    assert verdict == "inconclusive"
    assert "p = 0.02 alone, but q = 0.08 once its 4 levels" in reasons[0]
    verdict, reasons = decide(levels, edge_q_value=0.04, **options)
    assert verdict == "validated"
    assert "with all 4 levels looked at together the interval is -0.01 to +0.41" in reasons


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_benjamini_hochberg_is_scipys(p: list[float]) -> None:
    given_ = np.array(p)
    q = benjamini_hochberg(given_)
    assert q == pytest.approx(stats.false_discovery_control(given_), rel=1e-12, abs=1e-300)
    padded = benjamini_hochberg(np.r_[np.nan, given_, np.nan])
    assert np.isnan(padded[[0, -1]]).all()
    assert padded[1:-1].tolist() == q.tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_benjamini_yekutieli_is_scipys(p: list[float]) -> None:
    given_ = np.array(p)
    expected = stats.false_discovery_control(given_, method="by")
    assert benjamini_yekutieli(given_) == pytest.approx(expected, rel=1e-12, abs=1e-300)
    assert q_values(given_, "by") == pytest.approx(expected, rel=1e-12, abs=1e-300)
    assert q_values(given_, "bh").tolist() == benjamini_hochberg(given_).tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6)), min_size=1, max_size=25), st.sampled_from(["bh", "by"]))
def test_q_values_over_edges(tests: list[tuple[float, int]], rule: Multiplicity) -> None:
    """A contrast is found at a rate where its edge is selected and its own p-value is below the same threshold."""
    p, edges = np.array([t[0] for t in tests]), [t[1] for t in tests]
    q = edge_q_values(p, edges, rule)
    best = {edge: min(v for v, e in tests if e == edge) for edge in edges}
    if len(best) == len(p):
        assert q == pytest.approx(q_values(p, rule), rel=1e-12)
    m, smallest = len(best), np.sort(list(best.values()))
    factor = 1.0 if rule == "bh" else float(np.sum(1 / np.arange(1, m + 1)))
    for rate in (0.03, 0.2, 0.7):
        selected = max((k for k in range(1, m + 1) if smallest[k - 1] <= rate * k / (m * factor)), default=0)
        found = p <= rate * selected / (m * factor)
        clear = np.abs(q - rate) > 1e-9
        assert ((q <= rate) == found)[clear].all()
    assert np.isnan(edge_q_values(np.array([np.nan]), ["a"])).all()


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
