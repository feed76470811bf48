"""Do the proposer's promises keep? Predicted against validated shares, for its votes and for calibrated predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from whyrank.agents.reliability import FEWEST, Bin, Reliability, TrackRecord
from whyrank.report.svg import join, tag

__all__ = ["RecordView", "build_record", "draw_record"]

_W, _H = 760.0, 322.0
_TOP, _BOTTOM = 46.0, 252.0
_PANELS, _SIDE = ((62.0, 358.0), (456.0, 752.0)), 20.0

_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "heading": "Proposer",
        "votes": "The model's votes",
        "predictions": "Calibrated predictions",
        "x": "predicted",
        "y": "validated",
        "few": "too few verdicts",
        "none": "no votes were cast",
        "label": "Predicted and validated shares of edges, for votes and for calibrated predictions",
        "told": "{verdicts} proposed edges were judged; {validated} of them were validated ({share:.0%}).",
        "few votes": "Too few verdicts on edges that a model voted on to tell how its votes keep ({verdicts}, "
        "{validated} of them validated; it takes {fewest}, of both kinds).",
        "few predictions": "Too few verdicts to tell how well the order of testing predicts them ({verdicts} edges, "
        "{validated} of them validated; it takes {fewest}, of both kinds).",
        "score": "{what}: Brier score {brier:.3f}, {base:.3f} for a forecast that always tells the base rate; log "
        "score {log:.3f} and {log_base:.3f} nats. Smaller is better; {judged}.",
        "better": "the forecasts tell more than the base rate",
        "worse": "the forecasts tell no more than the base rate",
        "note": "A dot is a group of edges with similar predictions, with a 95 % interval and the number of edges. On "
        "the dashed line promises are kept; the dotted line is the share of all. Each prediction comes from the "
        "verdicts about other causes, from votes, likelihood, kind of edge and a quick adjusted look at the data; it "
        "decides what is tested first and has no part in any verdict.",
    },
    "zh": {
        "heading": "提出者",
        "votes": "模型的投票",
        "predictions": "校准后的预测",
        "x": "预测",
        "y": "通过验证",
        "few": "结论太少",
        "none": "没有投票",
        "label": "边的预测比例与通过验证的比例:投票与校准后的预测",
        "told": "共判定了 {verdicts} 条提出的边,其中 {validated} 条通过验证({share:.0%})。",
        "few votes": "模型投过票的边中得到结论的太少,无法说明其投票是否可靠({verdicts} 条,{validated} 条通过验证;"
        "至少需要 {fewest} 条,且两类都有)。",
        "few predictions": "结论太少,无法说明检验顺序预测得如何({verdicts} 条边,{validated} 条通过验证;至少需要 "
        "{fewest} 条,且两类都有)。",
        "score": "{what}:Brier 分数 {brier:.3f},始终预测总体比例时为 {base:.3f};对数分数 {log:.3f},后者为 "
        "{log_base:.3f}(nat)。越小越好;{judged}。",
        "better": "预测比总体比例提供了更多信息",
        "worse": "预测并不比总体比例提供更多信息",
        "note": "每个点是一组预测相近的边,附 95 % 区间和边数。虚线上表示承诺兑现;点线是总体比例。每个预测只用关于其他"
        "原因的结论,以及投票、似然、边的类型和对数据的一次快速调整分析;它只决定先检验什么,不影响任何结论。",
    },
}


@dataclass(frozen=True)
class RecordView:
    """What the page shows of a proposer's record, in the study's language."""

    heading: str
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    picture: Markup


def build_record(record: TrackRecord | None, language: Literal["en", "zh"]) -> RecordView | None:
    """Lay out a record; None where nothing was judged."""
    if record is None or not record.predictions.verdicts:
        return None
    words, all_edges = _WORDS[language], record.predictions
    share = all_edges.validated / all_edges.verdicts
    told = words["told"].format(verdicts=all_edges.verdicts, validated=all_edges.validated, share=share)
    sentences = [told]
    for kind in ("votes", "predictions"):
        found: Reliability = getattr(record, kind)
        if found.enough:
            sentences.append(_score(words, kind, found))
        elif found.verdicts or kind == "predictions":
            few = words[f"few {kind}"]
            sentences.append(few.format(verdicts=found.verdicts, validated=found.validated, fewest=FEWEST))
    drawn = record.votes.enough or record.predictions.enough
    return RecordView(
        words["heading"],
        tuple(sentences),
        (words["note"],) if drawn else (),
        draw_record(record, language) if drawn else Markup(""),
    )


def _score(words: Mapping[str, str], kind: str, found: Reliability) -> str:
    better = found.brier < found.brier_base and found.log_loss < found.log_loss_base
    return words["score"].format(
        what=words[kind],
        brier=found.brier,
        base=found.brier_base,
        log=found.log_loss,
        log_base=found.log_loss_base,
        judged=words["better" if better else "worse"],
    )


def draw_record(record: TrackRecord, language: Literal["en", "zh"]) -> Markup:
    """Draw votes and predictions side by side, as predicted against validated shares."""
    words = _WORDS[language]
    parts: list[Markup] = []
    for (left, right), kind in zip(_PANELS, ("votes", "predictions"), strict=True):
        parts += _panel(left, right, words, words[kind], getattr(record, kind))
    return tag(
        "svg", join(parts), viewBox=f"0 0 {_W:.0f} {_H:.0f}", class_="kept", role="img", aria_label=words["label"]
    )


def _panel(left: float, right: float, words: Mapping[str, str], head: str, found: Reliability) -> list[Markup]:
    def x(share: float) -> float:
        return left + _SIDE + share * (right - left - 2 * _SIDE)

    parts = [tag("text", head, x=left, y=20.0, class_="head")]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(share)
        parts.append(tag("path", d=f"M{left:.0f} {y:.1f}H{right:.0f}", class_="grid"))
        parts.append(tag("text", f"{share:.0%}", x=left - 8, y=y + 4, text_anchor="end", class_="tick"))
        parts.append(tag("text", f"{share:.0%}", x=x(share), y=_BOTTOM + 18, text_anchor="middle", class_="tick"))
    parts.append(tag("text", words["x"], x=(left + right) / 2, y=_BOTTOM + 38, text_anchor="middle", class_="tick"))
    parts.append(tag("text", words["y"], x=left - 8, y=_TOP - 12, text_anchor="middle", class_="tick"))
    if not found.enough:
        why = words["few" if found.verdicts else "none"]
        middle = tag("text", why, x=(left + right) / 2, y=_y(0.5) - 6, text_anchor="middle", class_="tick")
        return [*parts, middle]
    base = _y(found.validated / found.verdicts)
    parts.append(tag("path", d=f"M{left:.0f} {base:.1f}H{right:.0f}", class_="base"))
    parts.append(tag("path", d=f"M{x(0):.1f} {_y(0):.1f}L{x(1):.1f} {_y(1):.1f}", class_="even"))
    for group in found.bins:
        parts += _group(x(group.predicted), group)
    return parts


def _group(x: float, group: Bin) -> list[Markup]:
    low, high, at = _y(group.low), _y(group.high), _y(group.share)
    told = f"{group.validated}/{group.count}: {group.predicted:.0%} → {group.share:.0%}"
    count = tag("text", f"n={group.count}", x=x, y=high - 6, text_anchor="middle", class_="tick")
    return [
        tag("path", d=f"M{x:.1f} {low:.1f}V{high:.1f}M{x - 4:.1f} {low:.1f}h8M{x - 4:.1f} {high:.1f}h8", class_="ci"),
        tag("circle", tag("title", told), cx=x, cy=at, r=4.5, class_="est"),
        count,
    ]


def _y(share: float) -> float:
    return _BOTTOM - share * (_BOTTOM - _TOP)
