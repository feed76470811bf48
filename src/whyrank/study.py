"""A study from Python: what `whyrank.open` returns."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from whyrank.config import StudyConfig, load_config
from whyrank.datasets import check_study, load_study
from whyrank.datasets.study_data import Finding, StudyData
from whyrank.edge import Edge, Hypothesis
from whyrank.errors import InputError, LedgerError, WhyRankWarning
from whyrank.ledger import Ledger

if TYPE_CHECKING:
    from whyrank.effects import VaryingEffects
    from whyrank.order_of_tests import Budget
    from whyrank.pipeline import RunSummary
    from whyrank.ranker import ContextLike, Ranker
    from whyrank.text_attributes import TextReport

__all__ = ["Study", "open_study"]


def _budget(edges: int | None, minutes: float | None) -> Budget | None:
    from whyrank.order_of_tests import Budget

    if edges is None and minutes is None:
        return None
    return Budget(edges, None if minutes is None else minutes * 60)


def open_study(path: str | os.PathLike[str], *, workdir: str | os.PathLike[str] | None = None) -> Study:
    """Open a study: its `whyrank.toml`, or the folder it lies in.

    Parameters
    ----------
    path : the study file or its folder.
    workdir : where results live; `.whyrank` beside the study file by default.

    Raises
    ------
    StudyFileError
        If there is no study file, or it says something wrong.
    """
    return Study(load_config(Path(path)), None if workdir is None else Path(workdir))


class Study:
    """One study: its data, its ledger, and what can be asked of them.

    Tables are read when they are first needed. Results live in `workdir`: a second `Study` on it sees them.
    """

    def __init__(self, config: StudyConfig, workdir: Path | None = None) -> None:
        self.config = config
        self.workdir = workdir or config.path.parent / ".whyrank"

    def __repr__(self) -> str:
        return f"Study({str(self.config.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the ledger, if it was opened."""
        if "ledger" in self.__dict__:
            self.ledger.close()
            del self.__dict__["ledger"]

    @cached_property
    def data(self) -> StudyData:
        """The study's tables, checked and typed."""
        data = load_study(self.config.path)
        for finding in data.findings:
            warnings.warn(finding.message, WhyRankWarning, stacklevel=2)
        return data

    @cached_property
    def ledger(self) -> Ledger:
        """Everything that was done so far."""
        try:
            self.workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(f"the work folder {str(self.workdir)!r} can't be made: {error}") from error
        return Ledger.open(self.workdir / "ledger.sqlite")

    def check(self) -> list[Finding]:
        """Read everything and return what is wrong or doubtful; nothing is estimated."""
        return check_study(self.config.path)

    def run(
        self,
        sources: Sequence[str] = ("llm",),
        *,
        context: ContextLike | None = None,
        budget_edges: int | None = None,
        budget_minutes: float | None = None,
        rounds: int | None = None,
    ) -> RunSummary:
        """Propose, validate, rank and report; resumes where it was stopped.

        Parameters
        ----------
        sources : "llm", "exhaustive", or paths of `.jsonl` files.
        context : what the report's sample recommendation is ranked in; see `Ranker.recommend`.
        budget_edges, budget_minutes : as in `validate`.
        rounds : of the language model, at most: after each it reads the verdicts and proposes again. The study's own
            number by default.
        """
        from whyrank import pipeline

        if rounds is not None and rounds < 1:
            raise InputError(f"{rounds!r} rounds propose nothing: expected 1 or more")
        budget = _budget(budget_edges, budget_minutes)
        return pipeline.run(
            self.data, self.ledger, self.workdir, sources, context=context, budget=budget, rounds=rounds
        )

    def propose(self, sources: Sequence[str] = ("llm",)) -> list[Hypothesis]:
        """Collect hypotheses, and return all that are known; see `run` for `sources`.

        Nothing is tested, so that the language model proposes once.
        """
        from whyrank import pipeline

        return pipeline.propose(self.data, self.ledger, sources).hypotheses

    @property
    def text_schema_path(self) -> Path:
        """Where `attributes.toml` lies, or would lie: attributes that are read out of the items' texts."""
        from whyrank.datasets.text_columns import schema_path

        return schema_path(self.config)

    def propose_text_attributes(self, *, force: bool = False) -> TextReport:
        """Have the study's model read texts and write `attributes.toml`, for people to edit; `force` replaces one."""
        from whyrank import pipeline

        report = pipeline.read_texts(self.data, self.ledger, label=False, force=force)
        self.__dict__.pop("data", None)
        return report

    def label_texts(self, *, force: bool = False) -> TextReport:
        """Have the study's model label the items whose text or attribute has no label yet; the study is read anew.

        With `force` it labels all of them, by another model or method say; what a person wrote stays.
        """
        from whyrank import pipeline

        report = pipeline.read_texts(self.data, self.ledger, label=True, force=force)
        self.__dict__.pop("data", None)
        return report

    def text_attributes(self) -> pd.DataFrame:
        """Return how the labels stand: items, agreement and method by attribute and level."""
        from whyrank.text_attributes import text_table

        return text_table(self.data)

    def validate(
        self,
        edges: Sequence[Edge | str] | None = None,
        *,
        budget_edges: int | None = None,
        budget_minutes: float | None = None,
    ) -> pd.DataFrame:
        """Estimate and refute what is proposed and not yet judged, or just `edges`; returns the verdict table.

        Parameters
        ----------
        edges : only these.
        budget_edges, budget_minutes : without `edges`, how many are estimated now at most, and for how long further
            ones are begun; the most promising come first (see `plan`), and those passed over count as tests that found
            nothing.
        """
        from whyrank import pipeline

        wanted = None if edges is None else [e if isinstance(e, Edge) else Edge.parse(e) for e in edges]
        pipeline.validate(self.data, self.ledger, edges=wanted, budget=_budget(budget_edges, budget_minutes))
        return self.verdicts()

    def plan(self) -> pd.DataFrame:
        """Return what is proposed and not yet estimated in the order in which a budget is spent on it.

        Columns: edge; probability, that of being validated, given the verdicts so far; association, in standard errors,
        of a quick adjusted look; confidence, the share of votes; likelihood; source.
        """
        from whyrank import pipeline

        return pipeline.plan(self.data, self.ledger)

    def verdicts(self) -> pd.DataFrame:
        """Return the verdict table, one row per tested contrast.

        Raises
        ------
        InputError
            If nothing was judged yet.
        """
        from whyrank.estimators.estimate import VERDICT_COLUMNS

        rows = [judgement.row() for judgement in self._judged()]
        return pd.DataFrame(rows, columns=list(VERDICT_COLUMNS))

    def weights(self, outcome: str | None = None, users: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the causal weights per user and attribute; only validated edges carry one other than 0."""
        from whyrank.ranker import causal_weights

        return causal_weights(self.data, self._judged(fresh=True), outcome=outcome, users=users)

    def effects(
        self,
        edge: str | Edge,
        *,
        users: Sequence[str] | pd.DataFrame | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> VaryingEffects:
        """Estimate how the effect of an edge varies between users, and test whether the differences are real.

        Parameters
        ----------
        edge : the edge, without a modifier; `items.brand[premium] -> events.purchase` picks one level of a categorical
            cause. It need not be validated, but a warning says so.
        users : ids, or a table of new users' attributes; all of the study's by default.
        progress : called with what is about to be done.

        Raises
        ------
        InputError
            If the edge can't be tested or estimated, or a user isn't known.
        """
        from whyrank.effects import varying_effects

        begun = (self.workdir / "ledger.sqlite").exists() and self.ledger.verdict_sets()
        judged = self._judged(fresh=True) if begun else []
        return varying_effects(self.data, edge, judged, users=users, progress=progress)

    def ranker(self, outcome: str | None = None) -> Ranker:
        """Return a ranker for one outcome (the study's first by default)."""
        from whyrank import pipeline

        return pipeline.rank(self.data, self._judged(fresh=True), outcome=outcome)

    def explain(self, edge: str | Edge) -> dict[str, Any]:
        """Return the evidence behind a verdict: estimate, checks, data, hypotheses, prompts and replies."""
        self._judged()
        return self.ledger.trace(str(edge))

    def report(self, path: str | os.PathLike[str] | None = None, *, context: ContextLike | None = None) -> Path:
        """Write the report and return its path (`report.html` in the work folder by default); `context` as in `run`."""
        from whyrank import pipeline

        target = self.workdir / "report.html" if path is None else Path(path)
        return pipeline.report(self.data, self.ledger, self._judged(fresh=True), target, context=context)

    def _judged(self, *, fresh: bool = False) -> list[Any]:
        """Return the latest verdicts; with `fresh`, warn if they were reached on other data."""
        nothing = f"nothing judged yet: run `whyrank run {self.config.path.parent}` first"
        if not (self.workdir / "ledger.sqlite").exists():
            raise InputError(nothing)
        sets = self.ledger.verdict_sets()
        if not sets:
            raise InputError(nothing)
        if fresh and sets[-1].fingerprint != self.data.fingerprint:
            warnings.warn(
                "the study's tables or settings changed since its verdicts were reached: run it again",
                WhyRankWarning,
                stacklevel=3,
            )
        return self.ledger.judgements()
