from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from whyrank.datasets.study_data import Finding
from whyrank.edge import Contrast, Edge, Hypothesis
from whyrank.estimators.estimate import Check, Estimate, Judgement, VerdictName
from whyrank.report import DataSummary, NamedThing, RecommendedItem, ReportContent, SampleRecommendation

SCRIPT = "<script>document.title='pwned'</script>"
IMAGE = '"><img src=x onerror="document.title=\'pwned\'">'
VERDICTS: tuple[VerdictName, ...] = ("validated", "refuted", "inconclusive", "unidentifiable")


@dataclass(frozen=True)
class Call:
    prompt: str
    raw_reply: str
    model: str = "SmolLM2-135M-Instruct"
    prompt_hash: str = "3f9ac0de" * 8


def judgement(
    contrast: Contrast,
    verdict: VerdictName,
    effect: float,
    *,
    scale: str = "probability",
    rng: np.random.Generator,
    reason: str = "",
) -> Judgement:
    se = abs(effect) / (5 if verdict == "validated" else 1.1) + 1e-4
    blocked = f"no overlap between {contrast.level!r} and {contrast.reference!r}" if verdict == "unidentifiable" else ""
    if blocked:
        effect = se = math.nan
    checks = () if blocked else (
        Check("overlap", True, 0.97, 0.5, "97 % of the rows could have had either level."),
        Check(
            "placebo",
            verdict != "inconclusive",
            effect,
            abs(effect) / 2,
            "The cause was permuted among items 500 times; 2 draws were as large as the effect.",
            {"draws": rng.normal(0, se if se == se else 1, 500).round(6).tolist()},
        ),
        Check("random_common_cause", True, 0.0001, 0.01, "A random column changes nothing."),
        Check("sensitivity", None, math.nan, math.nan, "No measured covariate to compare with."),
    )  # fmt: skip
    reasons = {
        "validated": "effect with q <.001, every gate passed",
        "refuted": "the association disappears once price and brand are adjusted for",
        "inconclusive": "the interval holds zero; about 40 more items would be needed",
        "unidentifiable": blocked,
    }
    estimate = Estimate(
        contrast=contrast,
        grain="exposure",
        population="all rows",
        scale=scale,
        scope="items like these",
        estimate=effect,
        se=se,
        ci_low=effect - 1.96 * se,
        ci_high=effect + 1.96 * se,
        naive=math.nan if blocked else effect * 1.6 + 0.001,
        naive_significant=not blocked,
        p_value=math.nan if blocked else 0.0004,
        dof=60,
        n=120_000,
        n_users=2_000,
        n_items=240,
        ess=math.nan if blocked else 98_211.4,
        clusters="user and item",
        overlap=0.97,
        robustness_value=0.041,
        adjusted_for=("items.price", "items.brand", "events.position"),
        estimator="AIPW",
        smaller_arm=61,
        blocked=blocked,
        warnings=("12 % of the propensities were clipped",) if verdict == "validated" else (),
        checks=checks,
    )
    return Judgement(
        estimate, verdict, (reason or reasons[verdict],), math.nan if blocked else 0.0012, "+", "llm, round 1"
    )


def _shop(rng: np.random.Generator) -> list[tuple[Contrast, VerdictName, float, str]]:
    click, purchase, dwell = "events.click", "events.purchase", "events.dwell_seconds"

    def c(cause: str, effect: str, level: str = "1", reference: str = "0", **more: object) -> Contrast:
        modifier = str(more.pop("modifier", "")) or None
        return Contrast(Edge(cause, effect, modifier), level, reference, **more)  # type: ignore[arg-type]

    return [
        (c("items.free_shipping", purchase), "validated", 0.0213, "probability"),
        (c("items.free_shipping", click), "validated", 0.0105, "probability"),
        (c("items.video", dwell), "validated", 4.31, "mean"),
        (c("items.brand", purchase, "premium", "plain", bracket=True), "refuted", 0.0009, "probability"),
        (c("items.brand", purchase, "plus", "plain", bracket=True), "inconclusive", 0.0031, "probability"),
        (c("items.brand", click, "premium", "plain", bracket=True), "validated", -0.0152, "probability"),
        (c("items.price", purchase, "", ""), "validated", -0.00121, "probability"),
        (c("items.price", dwell, "", ""), "inconclusive", 0.0121, "mean"),
        (
            c("items.discount", purchase, modifier="users.new_user", modifier_level="1", modifier_reference="0"),
            "validated",
            0.0187,
            "probability",
        ),
        (c("users.age", purchase, "", ""), "inconclusive", 0.0002, "probability"),
        (
            c("users.region", purchase, "north", "south", bracket=True),
            "unidentifiable",
            0.0,
            "probability",
        ),
        (c("users.new_user", "users.purchase"), "refuted", 0.01, "mean"),
        (c("events.position", click, "", ""), "validated", -0.0063, "probability"),
        (c("events.device", click, "phone", "desktop", bracket=True), "inconclusive", 0.0021, "probability"),
        (c("items.brand", "items.price", "premium", "plain", bracket=True), "validated", 31.2, "mean"),
    ]


def content(rows: list[Judgement], *, study: str = "shop", language: str = "en") -> ReportContent:
    hypotheses = [
        Hypothesis(
            j.estimate.contrast.edge,
            "+",
            "Buyers who need not pay for delivery have one reason less to leave.",
            ("items.price",),
            source="llm",
            confidence=0.8,
            call_keys=("k1", "k2"),
        )
        for j in rows
    ]
    hypotheses.append(Hypothesis(Edge("items.colour", "events.click"), "", "Colour draws the eye.", source="llm"))
    calls = {
        "k1": Call(
            "Which of these attributes cause a purchase?\n- items.price: shelf price", '{"causes": ["items.price"]}'
        ),
        "k2": Call("Why?", '{"mechanism": "Buyers who need not pay for delivery …"}'),
    }
    return ReportContent(
        study=study,
        created="2026-01-31 14:05 UTC",
        data=DataSummary(
            users=2_000,
            items=240,
            events=120_000,
            outcomes=(
                NamedThing("events.click", "probability", "opened the page"),
                NamedThing("events.purchase", "probability"),
                NamedThing("events.dwell_seconds", "mean"),
            ),
            attributes=(NamedThing("items.price", "numeric", "price in EUR", 3), NamedThing("users.age", "numeric")),
            dropped={"event of an unknown item": 41, "event without an outcome": 3},
            findings=(Finding("warning", "few_rows", "users.region 'north' has only 9 users"),),
            spread={"events.click": 0.3, "events.purchase": 0.14, "events.dwell_seconds": 30.0, "items.price": 25.0,
                    "users.age": 14.0, "events.position": 3.0},
        ),
        judgements=tuple(rows),
        hypotheses=tuple(hypotheses),
        calls=calls,
        recommendation=SampleRecommendation(
            "u17",
            "events.purchase",
            (
                RecommendedItem("i3", 0.0712, ("free_shipping = 1 raises it by 2.1 pp (validated)", "bought often")),
                RecommendedItem("i9", 0.0633, ("price = 12 raises it by 0.8 pp (validated)",), f"Blue cup {SCRIPT}"),
            ),
        ),
        versions={"whyrank": "0.1.0", "dowhy": "0.14", "econml": "0.17"},
        seed=7,
        fingerprint="9f" * 32,
        language=language,
    )  # fmt: skip


@pytest.fixture
def shop() -> ReportContent:
    """A study as most are."""
    rng = np.random.default_rng(1)
    return content([judgement(c, v, e, scale=s, rng=rng) for c, v, e, s in _shop(rng)])


@pytest.fixture
def nasty() -> ReportContent:
    """A study whose names, reasons, prompts and replies try to break out, and are partly Chinese."""
    rng = np.random.default_rng(2)
    rows = [
        judgement(
            Contrast(Edge(f"items.{SCRIPT}", "events.购买"), f"高级{IMAGE}", "a\"b'c&d", bracket=True),
            "validated",
            0.02,
            rng=rng,
            reason=f"效应稳健 {IMAGE}",
        ),
        judgement(
            Contrast(Edge("items.免运费", "events.购买", f"users.{IMAGE}"), "是", "否"), "refuted", 0.01, rng=rng
        ),
        judgement(Contrast(Edge("users.新用户", "events.{{ 7*7 }}</style>")), "inconclusive", 0.01, rng=rng),
        judgement(Contrast(Edge("items.很长的名字" * 12, "events." + "W" * 200)), "validated", 0.01, rng=rng),
    ]
    base = content(rows, study=f"商店 {SCRIPT}", language="zh")
    calls = {"k1": Call(f"请回答</pre>{SCRIPT}", f"\ud800 {IMAGE}"), "k2": Call("为什么？", SCRIPT)}
    return ReportContent(**{**vars(base), "calls": calls, "fingerprint": IMAGE})


@pytest.fixture
def many() -> Callable[[int], ReportContent]:
    """A study with as many edges as asked for, each with calls of its own."""

    def make(n: int) -> ReportContent:
        rng = np.random.default_rng(3)
        rows = [
            judgement(
                Contrast(
                    Edge(f"{('items', 'users', 'events')[i % 3]}.attribute_{i // 4}", f"events.outcome_{i % 4}"),
                    "1",
                    "0",
                ),
                VERDICTS[int(rng.choice(4, p=[0.02, 0.15, 0.73, 0.1]))],
                float(rng.normal(0, 0.02)),
                rng=rng,
            )
            for i in range(n)
        ]
        base = content(rows)
        calls = {f"c{i}": Call("a long prompt, " * 400, '{"causes": []}') for i in range(n)}
        hypotheses = tuple(
            Hypothesis(j.estimate.contrast.edge, "+", "It may.", source="llm", call_keys=(f"c{i}",))
            for i, j in enumerate(rows)
        )
        return ReportContent(**{**vars(base), "calls": calls, "hypotheses": hypotheses})

    return make
