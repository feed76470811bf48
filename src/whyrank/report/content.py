"""What a report says: the pipeline fills these, and nothing else reaches the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from whyrank.agents.reliability import TrackRecord
from whyrank.datasets.study_data import Finding, StudyData
from whyrank.edge import Hypothesis
from whyrank.estimators.estimate import Judgement

__all__ = ["CallLike", "DataSummary", "NamedThing", "RecommendedItem", "ReportContent", "SampleRecommendation"]


class CallLike(Protocol):
    """A model call as the report shows it; the ledger's own record of a call fits."""

    @property
    def prompt(self) -> str:
        """The rendered prompt, as it was sent."""

    @property
    def raw_reply(self) -> str:
        """The reply, as it came."""

    @property
    def model(self) -> str:
        """The model's name, as the server gives it."""

    @property
    def prompt_hash(self) -> str:
        """Content hash of the rendered prompt."""


@dataclass(frozen=True)
class NamedThing:
    """An attribute or an outcome of the study: `kind` is its type (`binary`, `numeric`, ...) or its scale."""

    name: str
    kind: str
    description: str = ""
    missing: int = 0


@dataclass(frozen=True)
class DataSummary:
    """The data in numbers.

    Attributes
    ----------
    users, items, events : rows that were used.
    outcomes, attributes : in the study's order.
    dropped : rows left out, by reason.
    findings : what the checks found.
    spread : standard deviation of each outcome and each numeric attribute, by name; it sets how thick the lines of the
        causal map are. A name that is missing counts as 1.
    events_word : what one row of events is, in the plural.
    """

    users: int
    items: int
    events: int
    outcomes: tuple[NamedThing, ...] = ()
    attributes: tuple[NamedThing, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    spread: Mapping[str, float] = field(default_factory=dict)
    events_word: Literal["exposures", "purchases"] = "exposures"

    @classmethod
    def of(cls, data: StudyData) -> DataSummary:
        """Summarise a study as it is in memory."""
        frames = {"users": data.users, "items": data.items, "events": data.events}
        numeric = [a for a in data.attributes.values() if a.kind == "numeric"]
        spread = {a.name: float(frames[a.table][a.column].std()) for a in numeric}
        spread |= {o.name: float(data.events[o.column].std()) for o in data.outcomes.values()}
        return cls(
            users=len(data.users),
            items=len(data.items),
            events=len(data.events),
            outcomes=tuple(NamedThing(o.name, o.scale, o.description) for o in data.outcomes.values()),
            attributes=tuple(NamedThing(a.name, a.kind, a.description, a.missing) for a in data.attributes.values()),
            dropped=dict(data.dropped),
            findings=tuple(data.findings),
            spread=spread,
            events_word="purchases" if data.config.events.kind == "purchases" else "exposures",
        )


@dataclass(frozen=True)
class RecommendedItem:
    """One recommended item; the reasons are short sentences that name a verdict each, `title` says what it is."""

    item: str
    score: float
    reasons: tuple[str, ...] = ()
    title: str = ""


@dataclass(frozen=True)
class SampleRecommendation:
    """What one user of the study would be shown."""

    user: str
    outcome: str
    items: tuple[RecommendedItem, ...]


@dataclass(frozen=True)
class ReportContent:
    """Everything in one report.

    Attributes
    ----------
    study : name of the study.
    created : when the run ended, as the page writes it, e.g. `2026-01-31 14:05 UTC`.
    data : the data in numbers.
    judgements : verdicts, in any order.
    hypotheses : what was proposed, judged or not.
    calls : model calls by ledger key; those that `hypotheses` name are shown.
    recommendation : one user's ranked items, if the study has any to show.
    versions : versions of the libraries that made the numbers.
    seed, fingerprint : of the run and of the data.
    fdr, smallest_effect : the settings that the verdicts were reached with.
    language : of the study: "en" or "zh".
    record : what became of the proposers' claims.
    merged : sentences about columns that are one thing under two names.
    """

    study: str
    created: str
    data: DataSummary
    judgements: tuple[Judgement, ...]
    hypotheses: tuple[Hypothesis, ...] = ()
    calls: Mapping[str, CallLike] = field(default_factory=dict)
    recommendation: SampleRecommendation | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    fingerprint: str = ""
    fdr: float = 0.05
    smallest_effect: float = 0.0
    language: str = "en"
    record: TrackRecord | None = None
    merged: tuple[str, ...] = ()
