"""What the page shows of each verdict: its line in the table and its evidence, ready to be laid out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from whyrank.edge import Edge, Hypothesis
from whyrank.estimators.estimate import Check, Estimate, Judgement
from whyrank.report.content import CallLike, ReportContent
from whyrank.report.numbers import interval_text, number
from whyrank.report.order import by_interest, strength
from whyrank.report.pictures import axis_groups, axis_key, draw_compare, draw_draws, draw_row

__all__ = ["CallView", "CheckView", "Proposal", "Row", "View", "build_view"]

_CALLS_BUDGET = 2_500_000
"""Bytes of prompts and replies that a page carries at most; the ledger has the rest."""

_TEXT_LIMIT = 40_000

_CHECK_NAMES = {
    "random_common_cause": "random common cause",
    "leave_one_out": "leave one cluster out",
    "negative_control": "negative-control outcome",
    "smaller_arm": "size of the smaller arm",
}


@dataclass(frozen=True)
class CheckView:
    """One gate: `word` is passed, failed or "doesn't apply"."""

    name: str
    word: str
    statistic: str
    threshold: str
    detail: str
    picture: Markup


@dataclass(frozen=True)
class CallView:
    """One model call; `number` is its place in the page, and its anchor."""

    number: int
    model: str
    prompt_hash: str
    prompt: str
    raw_reply: str


@dataclass(frozen=True)
class Proposal:
    """A hypothesis with the calls it came from: numbers of those in the page, and how many are only in the ledger."""

    hypothesis: Hypothesis
    calls: tuple[int, ...]
    calls_left_out: int


@dataclass(frozen=True)
class Row:
    """One verdict as the page shows it."""

    anchor: str
    judgement: Judgement
    effect: str
    strength: float
    title: str
    picture: Markup
    compare: Markup
    checks: tuple[CheckView, ...]
    proposals: tuple[Proposal, ...]

    @property
    def estimate(self) -> Estimate:
        """The estimate that was judged."""
        return self.judgement.estimate

    @property
    def label(self) -> str:
        """The contrast as the verdict table writes it."""
        return self.judgement.estimate.contrast.label


@dataclass(frozen=True)
class View:
    """All rows, sorted by interest, with the calls and the proposals that were not judged."""

    rows: tuple[Row, ...]
    calls: tuple[CallView, ...]
    calls_left_out: int
    not_judged: tuple[Proposal, ...]


def _finite(value: float) -> str:
    return "" if math.isnan(value) else number(value)


def _check(check: Check, estimate: Estimate) -> CheckView:
    word = {True: "passed", False: "failed", None: "doesn't apply"}[check.passed]
    picture = Markup("")
    draws = check.data.get("draws")
    if isinstance(draws, Sequence) and not isinstance(draws, str):
        # placebos are drawn on the scale of the gate's own statistic, which is close to the estimate
        observed = check.statistic if check.name == "placebo" else estimate.estimate
        picture = draw_draws([float(d) for d in draws], observed, estimate.scale)
    name = _CHECK_NAMES.get(check.name, check.name.replace("_", " "))
    return CheckView(name, word, _finite(check.statistic), _finite(check.threshold), check.detail, picture)


def _cut(text: str) -> str:
    rest = len(text) - _TEXT_LIMIT
    return text if rest <= 0 else f"{text[:_TEXT_LIMIT]}\n… ({rest:,} more characters are in the ledger)"


def _calls(keys: Sequence[str], calls: Mapping[str, CallLike]) -> dict[str, CallView]:
    """Take calls in the order of `keys` until the budget is spent."""
    views: dict[str, CallView] = {}
    spent = 0
    for key in keys:
        call = calls.get(key)
        if call is None or key in views:
            continue
        prompt, reply = _cut(call.prompt), _cut(call.raw_reply)
        spent += len(f"{prompt}{reply}".encode("utf-8", errors="replace"))
        if spent > _CALLS_BUDGET:
            break
        views[key] = CallView(len(views) + 1, call.model, call.prompt_hash, prompt, reply)
    return views


def build_view(content: ReportContent) -> View:
    """Lay out what `content` says, most telling verdicts first."""
    spread = content.data.spread
    judgements = by_interest(content.judgements, spread)
    judged = {j.estimate.contrast.edge for j in judgements}
    proposed: dict[Edge, list[Hypothesis]] = {}
    for hypothesis in content.hypotheses:
        proposed.setdefault(hypothesis.edge, []).append(hypothesis)

    edges = list(dict.fromkeys(j.estimate.contrast.edge for j in judgements))
    edges += [edge for edge in proposed if edge not in judged]
    keys = [key for edge in edges for h in proposed.get(edge, []) for key in h.call_keys]
    calls = _calls(keys, content.calls)

    def proposal(hypothesis: Hypothesis) -> Proposal:
        numbers = tuple(calls[key].number for key in hypothesis.call_keys if key in calls)
        return Proposal(hypothesis, numbers, len(hypothesis.call_keys) - len(numbers))

    axes = axis_groups(judgements)
    rows: list[Row] = []
    for i, judgement in enumerate(judgements, start=1):
        estimate = judgement.estimate
        axis = axes.get(axis_key(estimate))
        drawn = axis is not None and math.isfinite(estimate.estimate)
        effect = interval_text(estimate.estimate, estimate.ci_low, estimate.ci_high, estimate.scale)
        rows.append(
            Row(
                anchor=f"e-{i}",
                judgement=judgement,
                effect=effect,
                strength=strength(estimate, spread),
                title=f"{estimate.contrast.label}: {judgement.verdict}, {effect}",
                picture=draw_row(judgement, axis) if drawn and axis is not None else Markup(""),
                compare=draw_compare(judgement),
                checks=tuple(_check(c, estimate) for c in estimate.checks),
                proposals=tuple(proposal(h) for h in proposed.get(estimate.contrast.edge, [])),
            )
        )
    return View(
        rows=tuple(rows),
        calls=tuple(calls.values()),
        calls_left_out=len({key for key in keys if key in content.calls}) - len(calls),
        not_judged=tuple(proposal(h) for e, hs in proposed.items() if e not in judged for h in hs),
    )
