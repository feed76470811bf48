"""The flow: propose, validate, rank, report. Each step calls one room and writes what came of it into the ledger."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from whyrank.agents.merge import merge_hypotheses
from whyrank.agents.progress import AskingBar
from whyrank.agents.rounds import LoopResult, Round
from whyrank.agents.sources import propose_exhaustive, read_hypotheses
from whyrank.agents.twins import find_twins
from whyrank.datasets.study_data import StudyData
from whyrank.datasets.tiers import allowed
from whyrank.edge import Edge, Hypothesis
from whyrank.errors import InputError, WhyRankWarning
from whyrank.estimators.estimate import Estimate, Judgement
from whyrank.estimators.judge import judge
from whyrank.hypothesis_rounds import LedgerMemory, run_rounds, validated_by
from whyrank.ledger import Ledger
from whyrank.order_of_tests import Budget, Spending, contrasts_of, plan_tests, record_of
from whyrank.ranker import ContextLike, Ranker, read_context
from whyrank.report import DataSummary, RecommendedItem, ReportContent, SampleRecommendation, write_report

if TYPE_CHECKING:
    import pandas as pd
    from rich.progress import Progress

    from whyrank.text_attributes import TextReport

__all__ = [
    "Proposed",
    "RunSummary",
    "memory_of",
    "plan",
    "propose",
    "rank",
    "read_texts",
    "report",
    "run",
    "settings_hash",
    "validate",
]

ESTIMATOR_VERSION = 5
"""Raised when the judge's numbers change, so that an older ledger's estimates aren't mixed with new ones."""

_BATCH = 8
"""Edges estimated between two writes to the ledger: what a kill can lose."""


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    Attributes
    ----------
    hypotheses, estimated, judged : edges proposed, contrasts estimated now, verdicts reached.
    calls, cached : model calls sent, and calls answered from the ledger.
    rounds : what each round of the language model came to, earlier runs' included.
    validated : by round, validated contrasts that it was the first to propose.
    verdicts : number of each verdict.
    report : where the report lies.
    """

    hypotheses: int = 0
    estimated: int = 0
    judged: int = 0
    calls: int = 0
    cached: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    report: Path | None = None
    rounds: tuple[Round, ...] = ()
    validated: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Proposed:
    """What is proposed by now, with calls sent, calls the ledger answered, and the model's rounds."""

    hypotheses: list[Hypothesis]
    calls: int = 0
    cached: int = 0
    rounds: tuple[Round, ...] = ()


def run(
    data: StudyData,
    ledger: Ledger,
    workdir: Path,
    sources: Sequence[str],
    *,
    context: ContextLike | None = None,
    budget: Budget | None = None,
    rounds: int | None = None,
) -> RunSummary:
    """Do the whole job; what an earlier run finished is read from the ledger instead of done again.

    The report's sample recommendation is ranked in `context`; `budget` is that of `validate`; `rounds` is the number of
    the language model's rounds, the study's own by default.
    """
    context = read_context(data, context)  # a mistake is told before anything is estimated
    run_id = ledger.start_run(f"run --source {','.join(sources)}", settings(data))
    try:
        counted = 0
        spending = None if budget is None else Spending(budget)

        def test() -> list[Judgement]:
            nonlocal counted
            count, reached = validate(data, ledger, budget=spending, run_id=run_id)
            counted += count
            return reached

        proposed = propose(data, ledger, sources, test=test, rounds=rounds)
        judgements = test()
        path = report(data, ledger, judgements, workdir / "report.html", context=context)
    except BaseException:
        ledger.finish_run(run_id, "failed")
        raise
    ledger.finish_run(run_id)
    counts: dict[str, int] = {}
    for judgement in judgements:
        counts[judgement.verdict] = counts.get(judgement.verdict, 0) + 1
    return RunSummary(
        len(proposed.hypotheses),
        counted,
        len(judgements),
        proposed.calls,
        proposed.cached,
        counts,
        path,
        proposed.rounds,
        validated_by(proposed.hypotheses, judgements),
    )


def propose(
    data: StudyData,
    ledger: Ledger,
    sources: Sequence[str],
    *,
    test: Callable[[], Sequence[Judgement]] | None = None,
    rounds: int | None = None,
) -> Proposed:
    """Collect hypotheses from each source once, the language model's last.

    Parameters
    ----------
    sources : "llm", "exhaustive", or paths of `.jsonl` files.
    test : tests what is proposed by now; the model reads the verdicts and proposes again. None: it proposes once.
    rounds : of the model, at most; the study's own number by default.

    Raises
    ------
    InputError
        If a source is unknown, or a file of hypotheses can't be used.
    """
    ledger.add_fingerprint(data)
    asked = LoopResult()
    for source in sorted(sources, key=lambda name: name == "llm"):
        if source == "exhaustive":
            ledger.add_hypotheses(propose_exhaustive(data))
        elif source == "llm":
            asked = _ask_model(data, ledger, test, rounds)
        elif source.endswith(".jsonl"):
            ledger.add_hypotheses(read_hypotheses(source, data))
        else:
            raise InputError(f"source {source!r} is not 'llm', 'exhaustive' or the path of a .jsonl file")
    return Proposed(usable_hypotheses(data, ledger), asked.calls, asked.cached, asked.rounds)


def usable_hypotheses(data: StudyData, ledger: Ledger) -> list[Hypothesis]:
    """Return the ledger's hypotheses that this study can test; those it no longer can are counted in a warning."""
    usable, lost = [], []
    for hypothesis in ledger.hypotheses():
        why = allowed(hypothesis.edge, data)
        if why:
            lost.append(f"{hypothesis.edge}: {why}")
        else:
            usable.append(hypothesis)
    if lost:
        warnings.warn(
            f"{len(lost)} earlier hypotheses can't be tested in the study as it is now, the first: {lost[0]}",
            WhyRankWarning,
            stacklevel=2,
        )
    return usable


def validate(
    data: StudyData,
    ledger: Ledger,
    *,
    edges: Sequence[Edge] | None = None,
    budget: Budget | Spending | None = None,
    run_id: str = "",
) -> tuple[int, list[Judgement]]:
    """Estimate what is proposed and not yet estimated, then reach the verdicts over everything tested so far.

    Parameters
    ----------
    edges : only these are estimated now; one that nobody proposed counts as proposed by the caller.
    budget : what may be spent on edges that weren't named: the most promising are estimated first, and those passed
        over count as tests that found nothing, in these verdicts and in later ones. A `Spending` goes on from what it
        has spent before.
    run_id : the run that the verdicts belong to.

    Returns
    -------
    Number of contrasts estimated now, and the judgements.

    Raises
    ------
    InputError
        If an edge can't be tested, or nothing was proposed yet.
    """
    ledger.add_fingerprint(data)
    for edge in edges or ():
        why = allowed(edge, data)
        if why:
            raise InputError(f"edge {str(edge)!r} can't be tested: {why}")
    known = usable_hypotheses(data, ledger)
    if edges:
        proposed = {h.edge for h in known}
        ledger.add_hypotheses(Hypothesis(edge, source="file") for edge in edges if edge not in proposed)
        known = usable_hypotheses(data, ledger)
    if not known:
        raise InputError("nothing is proposed yet: run `whyrank propose` first, or name an edge with --edge")
    settings_key = settings_hash(data)
    instruments = _suggested(data, known)
    done = {e.contrast.edge for e in _estimates(data, ledger, settings_key, instruments)}
    merged = merge_hypotheses(known, find_twins(data))
    for twins in merged.twins:
        warnings.warn(twins.sentence(data.config.study.language), WhyRankWarning, stacklevel=2)
    proposed_edges = [h.edge for h in merged.hypotheses]
    passed_over = _hash({"data": data.fingerprint, "settings": settings_key})
    with _progress() as progress:
        if edges or budget is None:
            batches: Iterable[Sequence[Edge]] = [sorted(set(edges or proposed_edges) - done, key=str)]
        else:
            before = _judged_before(data, ledger, settings_key)
            ranked = plan_tests(data, merged.hypotheses, before, progress=AskingBar(progress))
            todo = [edge for edge in ranked.edges if edge not in done]
            batches = (Spending(budget) if isinstance(budget, Budget) else budget).batches(todo)
            if todo:  # whatever is left out from now on, by a kill too, was left out after a look at the data
                ledger.mark_stage("passed over", passed_over)
        count = _estimate(data, ledger, settings_key, batches, instruments, progress)
    tested = {h.edge for h in known}
    estimates = [e for e in _estimates(data, ledger, settings_key, instruments) if e.contrast.edge in tested]
    left = {Edge.parse(text) for kept in ledger.rounds(_rounds_key(data)) for text in kept.passed_over}
    if ledger.stage_done("passed over", passed_over):
        left |= set(proposed_edges)
    left -= {e.contrast.edge for e in estimates}
    untested = {edge: contrasts_of(edge, data) for edge in sorted(left, key=str)}
    if untested:
        said = f"a budget left {len(untested)} proposed edges untested; they count as tests that found nothing"
        warnings.warn(said, WhyRankWarning, stacklevel=2)
    v = data.config.validation
    language = data.config.study.language
    judgements = judge(
        estimates,
        known,
        fdr=v.fdr,
        smallest_effect=v.smallest_effect,
        multiplicity=v.multiplicity,
        untested=untested,
        language=language,
    )
    ledger.add_verdicts(
        _set_id(data, settings_key, judgements),
        judgements,
        fingerprint=data.fingerprint,
        settings_hash=settings_key,
        run=run_id,
    )
    return count, judgements


def plan(data: StudyData, ledger: Ledger) -> pd.DataFrame:
    """Return what is proposed and not yet estimated, most promising first; see `Study.plan`.

    Raises
    ------
    InputError
        If nothing was proposed yet.
    """
    known = usable_hypotheses(data, ledger)
    if not known:
        raise InputError("nothing is proposed yet: run `whyrank propose` first")
    settings_key = settings_hash(data)
    done = {e.contrast.edge for e in _estimates(data, ledger, settings_key, _suggested(data, known))}
    merged = merge_hypotheses(known, find_twins(data))
    with _progress() as progress:
        before = _judged_before(data, ledger, settings_key)
        found = plan_tests(data, merged.hypotheses, before, progress=AskingBar(progress))
    return found.table(skip=done)


def _estimate(
    data: StudyData,
    ledger: Ledger,
    settings_key: str,
    batches: Iterable[Sequence[Edge]],
    instruments: Mapping[Edge, tuple[str, ...]],
    progress: Progress,
) -> int:
    """Estimate batch after batch, and keep what comes of it; returns the number of contrasts."""
    from whyrank.estimators.estimating import estimate_edges

    task, total, count = None, 0, 0
    for batch in batches:
        if not batch:
            continue
        total += len(batch)
        task = progress.add_task("estimating", total=total) if task is None else task
        progress.update(task, total=total)
        waiting: dict[str, list[Estimate]] = {}
        for number, (edge, estimates) in enumerate(estimate_edges(data, batch, instruments=instruments), start=1):
            waiting.setdefault(_estimate_key(settings_key, edge, instruments), []).extend(estimates)
            count += len(estimates)
            if number % _BATCH == 0 or number == len(batch):  # each wanted edge comes once
                for key, made in waiting.items():
                    ledger.add_estimates(data.fingerprint, key, made)
                waiting = {}
            progress.advance(task)
    return count


def _judged_before(data: StudyData, ledger: Ledger, settings_key: str) -> list[Judgement]:
    """Return the latest verdicts, if they were reached on this data with these settings."""
    sets = ledger.verdict_sets()
    fits = bool(sets) and (sets[-1].fingerprint, sets[-1].settings_hash) == (data.fingerprint, settings_key)
    return ledger.judgements(sets[-1].id) if fits else []


def _suggested(data: StudyData, hypotheses: Sequence[Hypothesis]) -> dict[Edge, tuple[str, ...]]:
    """Return the instruments that proposers suggest for each edge, where something unmeasured may make them needed."""
    if not data.config.graph.unmeasured:
        return {}
    found: dict[Edge, set[str]] = {}
    for h in hypotheses:
        if h.instruments:
            found.setdefault(Edge(h.edge.cause, h.edge.effect), set()).update(h.instruments)
    return {edge: tuple(sorted(names)) for edge, names in found.items()}


def _estimate_key(settings_key: str, edge: Edge, instruments: Mapping[Edge, tuple[str, ...]]) -> str:
    """Return the key under which an edge's estimates are kept: the settings', and what instruments were suggested."""
    names = instruments.get(Edge(edge.cause, edge.effect), ())
    return f"{settings_key}+{_hash(names)[:16]}" if names else settings_key


def _estimates(
    data: StudyData, ledger: Ledger, settings_key: str, instruments: Mapping[Edge, tuple[str, ...]]
) -> list[Estimate]:
    """Return the ledger's estimates of each edge, made with the instruments that are suggested for it now."""
    keys = dict.fromkeys([settings_key, *(_estimate_key(settings_key, edge, instruments) for edge in instruments)])
    found = [
        e
        for key in keys
        for e in ledger.estimates(data.fingerprint, key)
        if _estimate_key(settings_key, e.contrast.edge, instruments) == key
    ]
    return sorted(found, key=lambda e: e.contrast.label)


def rank(data: StudyData, judgements: Sequence[Judgement], *, outcome: str | None = None) -> Ranker:
    """Return the study's ranker."""
    options = data.config.ranker
    return Ranker(data, judgements, outcome=outcome, base=options.base, exclude_seen=options.exclude_seen)


def report(
    data: StudyData,
    ledger: Ledger,
    judgements: Sequence[Judgement],
    path: Path,
    *,
    context: ContextLike | None = None,
) -> Path:
    """Write the report of these judgements; its sample recommendation is ranked in `context`."""
    hypotheses = ledger.hypotheses()
    keys = dict.fromkeys(key for h in hypotheses for key in h.call_keys)
    calls = {key: record for key in keys if (record := ledger.get(key)) is not None}
    runs = ledger.runs()
    v, language = data.config.validation, data.config.study.language
    with _progress() as progress:
        kept = record_of(data, hypotheses, judgements, progress=AskingBar(progress))
    content = ReportContent(
        study=data.config.study.name,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        data=DataSummary.of(data),
        judgements=tuple(judgements),
        hypotheses=tuple(hypotheses),
        calls=calls,
        recommendation=_sample(data, judgements, context),
        versions={"whyrank": runs[-1].version, **runs[-1].libraries} if runs else {},
        seed=data.config.study.seed,
        fingerprint=data.fingerprint,
        fdr=v.fdr,
        smallest_effect=v.smallest_effect,
        language=language,
        record=kept,
        merged=tuple(t.sentence(language) for t in merge_hypotheses(hypotheses, find_twins(data)).twins),
    )
    return write_report(content, path)


def settings(data: StudyData) -> dict[str, object]:
    """Return the settings that estimates depend on, beside the data."""
    v, study = data.config.validation, data.config.study
    return {
        "estimator": ESTIMATOR_VERSION,
        "seed": study.seed,
        "scope": v.scope,
        "audit": v.audit,
        "fdr": v.fdr if v.audit else None,  # what was audited depends on it
        "language": study.language,
    }


def settings_hash(data: StudyData) -> str:
    """Return the hash of those settings: estimates made under others are kept apart."""
    return _hash(settings(data))


def _ask_model(
    data: StudyData, ledger: Ledger, test: Callable[[], Sequence[Judgement]] | None, rounds: int | None
) -> LoopResult:
    with _progress() as progress:
        return run_rounds(data, memory_of(data, ledger), validate=test, rounds=rounds, progress=AskingBar(progress))


def read_texts(data: StudyData, ledger: Ledger, *, label: bool, force: bool = False) -> TextReport:
    """Have the study's model propose attributes that the texts tell, or label the items by them.

    With `force` an `attributes.toml` that is there is replaced, or what has a label is labelled anew.
    """
    from whyrank.agents.connect import open_client
    from whyrank.text_attributes import label_study, propose_text_attributes

    study = data.config.study
    with (
        open_client(data.config.llm, store=ledger, seed=study.seed, language=study.language) as client,
        _progress() as progress,
    ):
        if label:
            return label_study(data, client, again=force, progress=AskingBar(progress))
        return propose_text_attributes(data, client, force=force, progress=AskingBar(progress))


def memory_of(data: StudyData, ledger: Ledger) -> LedgerMemory:
    """Return where the rounds of this study's model are kept, as data and settings are now."""
    return LedgerMemory(ledger, _rounds_key(data), lambda: usable_hypotheses(data, ledger))


def _rounds_key(data: StudyData) -> str:
    """Return the key under which the model's rounds are kept: a hash of what they depend on."""
    llm, study = data.config.llm, data.config.study
    parts = llm.model_dump(mode="json", include={"base_url", "model", "samples", "critic"})
    return _hash({"data": data.fingerprint, "llm": parts, "seed": study.seed, "language": study.language})


def _sample(
    data: StudyData, judgements: Sequence[Judgement], context: ContextLike | None
) -> SampleRecommendation | None:
    """Return the first ten items of the first user who has any left."""
    ranker = rank(data, judgements)
    for user in map(str, data.user_ids[:50]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WhyRankWarning)
            frame = ranker.recommend([user], k=10, context=context)
        if len(frame):
            items = tuple(
                RecommendedItem(
                    item, float(score), tuple(ranker.reasons(user, item, context=context)), data.title(item)
                )
                for item, score in zip(map(str, frame["item_id"]), frame["score"], strict=True)
            )
            return SampleRecommendation(user, ranker.outcome.name, items)
    return None


def _set_id(data: StudyData, settings_key: str, judgements: Sequence[Judgement]) -> str:
    rows = [repr(replace(j.estimate, checks=())) + j.verdict + str(j.q_value) + j.source for j in judgements]
    v = data.config.validation
    return _hash({"data": data.fingerprint, "settings": settings_key, "fdr": v.fdr, "rows": rows})[:16]


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=False,
    )
