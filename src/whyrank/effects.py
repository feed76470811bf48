"""Effects that vary: theta(x) of one edge for each user, whether the differences are real, and along what they run."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from whyrank.datasets.study_data import StudyData
from whyrank.datasets.tiers import allowed
from whyrank.edge import Edge
from whyrank.errors import DataError, InputError, NameNotFound, WhyRankWarning, nearest
from whyrank.estimators.bootstrap import t_quantile
from whyrank.estimators.estimate import Judgement
from whyrank.estimators.held_out import choose
from whyrank.estimators.heterogeneity import Heterogeneity, heterogeneity
from whyrank.estimators.modifiers import UserColumns, user_columns
from whyrank.estimators.pieces import Pieces, modifier_rows, modifiers_of, pieces_of
from whyrank.estimators.varying import (
    SecondStage,
    SecondStageName,
    fit_constant,
    fit_forest,
    fit_linear,
)
from whyrank.ranker.features import canonical_value
from whyrank.ranker.weights import user_positions
from whyrank.report.effects_picture import draw_effects, effects_page
from whyrank.report.numbers import effect_text, interval_text, q_text

__all__ = ["MODIFIER_COLUMNS", "USER_COLUMNS", "VaryingEffect", "VaryingEffects", "varying_effects"]

USER_COLUMNS = ("user_id", "effect", "se", "ci_low", "ci_high")
"""Columns of the table of users, after `edge`."""

MODIFIER_COLUMNS = (
    "modifier", "level", "reference", "difference", "se", "ci_low", "ci_high", "p_value", "p_adjusted", "importance",
    "proposal",
)  # fmt: skip
"""Columns of the table of modifiers, after `edge`."""

MIN_USERS = 30
"""Users with rows that it takes to look for differences between them."""

_PROPOSED = 0.05
"""Adjusted p-value up to which a modifier is proposed."""

_BLOCK = 20_000


@dataclass(frozen=True, repr=False)
class VaryingEffect:
    """How the effect of one contrast varies between users.

    Attributes
    ----------
    edge : the contrast, as the verdict table writes it.
    verdict : of the average effect; "" if it wasn't judged.
    scale : unit of the effects: "probability" or "mean".
    estimate, se, ci_low, ci_high : the average effect.
    chosen : second stage that is used: the simplest that predicts users best that it hasn't seen.
    losses : mean held-out loss of each.
    gains : what each takes off the constant's loss, with its standard error.
    users : a row per user, columns `edge` and `USER_COLUMNS`; intervals hold at each user's attributes, not for the
        best or the worst of them.
    modifiers : a row per user attribute or level of it, columns `edge` and `MODIFIER_COLUMNS`.
    test : whether predicted differences are found again in users not learned from.
    """

    edge: str
    verdict: str
    scale: str
    estimate: float
    se: float
    ci_low: float
    ci_high: float
    chosen: SecondStageName
    losses: dict[SecondStageName, float]
    gains: dict[SecondStageName, tuple[float, float]]
    users: pd.DataFrame
    modifiers: pd.DataFrame
    test: Heterogeneity
    _model: _Model

    @property
    def proposals(self) -> list[str]:
        """Edges with a modifier that are worth testing: adjusted p-value at most 0.05, the most certain first."""
        found = self.modifiers[self.modifiers["p_adjusted"] <= _PROPOSED].sort_values("p_adjusted", kind="stable")
        return list(dict.fromkeys(found["proposal"]))

    def predict(self, users: pd.DataFrame) -> pd.DataFrame:
        """Return effects for users known by their attributes alone, with the columns of `users`.

        Parameters
        ----------
        users : a row per user; columns are attributes, with or without `users.`, and maybe the study's user key.
            What is missing counts as average.

        Raises
        ------
        InputError
            If a column isn't an attribute of the study's users, or a value isn't one of its attribute's.
        """
        return self._model.predict(self.edge, users)

    def figure(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture of the groups and of the targeting curve: `.svg`, or `.html` with the figures beside it."""
        return _write_figure(path, [self])

    def summary(self) -> str:
        """Return what was found, in a few sentences."""
        test = self.test
        text = [f"{self.edge}: {interval_text(self.estimate, self.ci_low, self.ci_high, self.scale)} on average"]
        text.append(f"({self.verdict or 'not judged'}).")
        if np.isfinite(test.p_value):
            real = "are found again" if test.p_value <= _PROPOSED else "are not found again"
            text.append(
                f"Predicted differences {real} in users not learned from "
                f"(calibration {test.calibration.estimate:.2f}, p {q_text(test.p_value)})."
            )
        else:
            text.append("There are no differences to predict.")
        if self.chosen == "constant":
            text.append("No second stage predicts such users better than the average: everybody gets it.")
        else:
            low, high = (float(self.users["effect"].quantile(q)) for q in (0.1, 0.9))
            spread = high - low
            text.append(
                f"{self.chosen.capitalize()} second stage: from {effect_text(low, self.scale, width=spread / 4)} (10th "
                f"percentile of the users) to {effect_text(high, self.scale, width=spread / 4)} (90th)."
            )
        if self.proposals:
            text.append(f"Worth testing: {', '.join(self.proposals)}.")
        return " ".join(text)

    def __repr__(self) -> str:
        return f"<VaryingEffect {self.summary()}>"

    def _repr_html_(self) -> str:
        return str(draw_effects(self.test, self.estimate, self.scale))


@dataclass(frozen=True, repr=False)
class VaryingEffects(Sequence[VaryingEffect]):
    """The effects of one edge: one result, or one for each level of a categorical cause.

    `effects["premium"]` is that of a level. Of a single result `test`, `chosen`, `losses` and `predict` can be had
    without taking it out.
    """

    results: tuple[VaryingEffect, ...]
    levels: tuple[str, ...]
    named: str = field(default="")

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[VaryingEffect]:
        return iter(self.results)

    def __getitem__(self, which: int | str) -> VaryingEffect:  # type: ignore[override]
        if isinstance(which, str):
            if which not in self.levels:
                raise NameNotFound(f"{self.named} has no result for level {which!r}{nearest(which, self.levels)}")
            which = self.levels.index(which)
        return self.results[which]

    @property
    def users(self) -> pd.DataFrame:
        """A row per user (and level): `edge`, `user_id`, `effect`, `se`, `ci_low`, `ci_high`."""
        return pd.concat([result.users for result in self.results], ignore_index=True)

    @property
    def modifiers(self) -> pd.DataFrame:
        """A row per modifier and level of it (and level of the cause)."""
        return pd.concat([result.modifiers for result in self.results], ignore_index=True)

    @property
    def proposals(self) -> list[str]:
        """Edges with a modifier that are worth testing: pass them to `study.validate`."""
        return list(dict.fromkeys(edge for result in self.results for edge in result.proposals))

    @property
    def test(self) -> Heterogeneity:
        """Whether the differences are real."""
        return self._only.test

    @property
    def chosen(self) -> SecondStageName:
        """The second stage that is used."""
        return self._only.chosen

    @property
    def losses(self) -> dict[SecondStageName, float]:
        """Held-out loss of each second stage."""
        return self._only.losses

    def predict(self, users: pd.DataFrame) -> pd.DataFrame:
        """Return effects for users known by their attributes alone; see `VaryingEffect.predict`."""
        return pd.concat([result.predict(users) for result in self.results], ignore_index=True)

    def figure(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture of each result, one below the other: `.svg` for a single one, or `.html`."""
        return _write_figure(path, self.results)

    def __repr__(self) -> str:
        return f"<VaryingEffects {' · '.join(result.summary() for result in self.results)}>"

    def _repr_html_(self) -> str:
        return "".join(result._repr_html_() for result in self.results)

    @property
    def _only(self) -> VaryingEffect:
        if len(self.results) > 1:
            raise InputError(f"{self.named} has a result per level: take one of {', '.join(map(repr, self.levels))}")
        return self.results[0]


def varying_effects(
    data: StudyData,
    edge: Edge | str,
    judgements: Sequence[Judgement] = (),
    *,
    users: Sequence[str] | pd.DataFrame | None = None,
    progress: Callable[[str], None] | None = None,
) -> VaryingEffects:
    """Estimate how the effect of an edge varies between users.

    Parameters
    ----------
    data : the study.
    edge : the edge; a categorical cause may name one level, as in `items.brand[premium] -> events.purchase`.
    judgements : verdicts reached so far; an edge that isn't validated brings a warning.
    users : ids, or a table of new users' attributes; all of the study's by default.
    progress : called with what is about to be done.

    Raises
    ------
    InputError
        If the edge can't be tested or estimated, or a user isn't known.
    """
    plain, level = _parse(data, edge)
    why = allowed(plain, data)
    if why:
        raise InputError(f"edge {str(plain)!r} can't be tested: {why}")
    asked = users if isinstance(users, pd.DataFrame) else user_positions(data, users)
    tell = progress or (lambda _: None)
    tell(f"{plain}: the average effect")
    every = pieces_of(data, plain, level)
    good = [pieces for pieces in every if not pieces.blocked]
    for pieces in every:
        if pieces.blocked:
            said = f"{pieces.contrast.label} can't be estimated: {pieces.blocked}"
            if not good:
                raise InputError(said)
            warnings.warn(said, WhyRankWarning, stacklevel=3)
    known = {j.estimate.contrast.label: j.verdict for j in judgements}
    results = [_result(data, plain, pieces, known.get(pieces.contrast.label, ""), asked, tell) for pieces in good]
    for result in results:
        if result.verdict != "validated":
            what = f"is {result.verdict}" if result.verdict else "was not judged"
            warnings.warn(
                f"{result.edge} {what}, not validated: its effects by user are estimates, not findings",
                WhyRankWarning,
                stacklevel=3,
            )
    return VaryingEffects(tuple(results), tuple(p.contrast.level for p in good), str(plain))


def _parse(data: StudyData, edge: Edge | str) -> tuple[Edge, str | None]:
    """Return the edge and, if its cause names one in brackets, the level."""
    parsed = edge if isinstance(edge, Edge) else Edge.parse(edge)
    found = re.fullmatch(r"(.+)\[(.*)\]", parsed.cause, re.DOTALL)
    if found is None or parsed.cause in data.attributes:
        return parsed, None
    return Edge(found[1], parsed.effect, parsed.modifier), found[2]


def _result(
    data: StudyData,
    edge: Edge,
    pieces: Pieces,
    verdict: str,
    asked: npt.NDArray[np.intp] | pd.DataFrame,
    tell: Callable[[str], None],
) -> VaryingEffect:
    label, told = pieces.contrast.label, pieces.told
    if not told.se > 0:
        raise InputError(f"{label}: all rows are of one user or item, so there is nothing to tell the error from")
    scores = pieces.scores(len(data.users))
    weight = scores.per_user(scores.weight)
    present = int(np.sum(weight > 0))
    if present < MIN_USERS:
        raise InputError(f"{label}: {present} users have rows, and it takes {MIN_USERS} to tell how effects vary")
    names = modifiers_of(data, edge, pieces.panel)
    columns = user_columns(data.users, [data.attributes[name] for name in names], weight)
    X = columns.encode(data.users)
    rng = pieces.shared.rng("varying", label)
    with threadpool_limits(limits=1):
        tell(f"{label}: which second stage predicts best")
        choice = choose(scores, X, rng)
        tell(f"{label}: effects by user")
        stage: SecondStage = fit_constant(scores, X)
        if choice.chosen in ("sparse", "linear"):
            stage = fit_linear(scores, X, sparse=choice.chosen == "sparse")
        elif choice.chosen == "forest":
            stage = fit_forest(scores, X, rng)
        model = _Model(data, columns, stage, t_quantile(told.dof))
        if isinstance(asked, pd.DataFrame):
            users = model.predict(label, asked)
        else:
            users = model.table(label, data.user_ids[asked].astype(str).astype(object), X[asked])
        tell(f"{label}: is it real")
        test = heterogeneity(scores, X, rng)
        tell(f"{label}: along what")
        modifiers = _modifiers(pieces, names, columns, stage)
    return VaryingEffect(
        edge=label,
        verdict=verdict,
        scale=pieces.panel.scale,
        estimate=pieces.effect.estimate,
        se=told.se,
        ci_low=told.low,
        ci_high=told.high,
        chosen=choice.chosen,
        losses=choice.losses,
        gains=choice.gains,
        users=users,
        modifiers=modifiers,
        test=test,
        _model=model,
    )


def _modifiers(pieces: Pieces, names: Sequence[str], columns: UserColumns, stage: SecondStage) -> pd.DataFrame:
    importance = columns.importance(stage.importance)
    edge = pieces.contrast.edge
    rows = [
        {
            "edge": pieces.contrast.label,
            "modifier": row.modifier,
            "level": row.level,
            "reference": row.reference,
            "difference": row.difference,
            "se": row.se,
            "ci_low": row.ci_low,
            "ci_high": row.ci_high,
            "p_value": row.p_value,
            "p_adjusted": row.p_adjusted,
            "importance": importance.get((row.modifier, row.level), importance.get((row.modifier, ""), 0.0)),
            "proposal": str(Edge(edge.cause, edge.effect, row.modifier)),
        }
        for row in modifier_rows(pieces, names)
    ]
    frame = pd.DataFrame(rows, columns=["edge", *MODIFIER_COLUMNS])
    return frame.sort_values("p_value", kind="stable", ignore_index=True)


@dataclass(frozen=True)
class _Model:
    """theta(x) with what it takes to apply it to users by their attributes."""

    data: StudyData
    columns: UserColumns
    stage: SecondStage
    quantile: float

    def predict(self, edge: str, users: pd.DataFrame) -> pd.DataFrame:
        """Return effects for a table of users' attributes."""
        key = self.data.config.users.key
        known = {a.column: a for a in self.data.attributes.values() if a.table == "users"}
        table = users.rename(columns=lambda name: str(name).removeprefix("users."))
        twice = table.columns[table.columns.duplicated()]
        if len(twice):
            raise DataError(f"the table of users has column {twice[0]!r} more than once")
        for name in table.columns:
            if name != key and name not in known:
                raise NameNotFound(f"no user attribute {name!r} in this study{nearest(name, known)}")
        ids = table[key].astype(str).to_numpy(object) if key in table else np.full(len(table), "new", object)
        canonical = {
            name: pd.Series([canonical_value(known[name], value) for value in table[name]], dtype=object)
            for name in table.columns
            if name in known
        }
        return self.table(edge, ids, self.columns.encode(pd.DataFrame(canonical, index=range(len(table)))))

    def table(self, edge: str, ids: npt.NDArray[np.object_], X: npt.NDArray[np.float64]) -> pd.DataFrame:
        """Return effects for rows of columns, computed once for users that are alike."""
        kinds, kind = np.unique(X, axis=0, return_inverse=True) if X.shape[1] else (X[:1], np.zeros(len(X), np.intp))
        parts = [kinds[start : start + _BLOCK] for start in range(0, len(kinds), _BLOCK)]
        effect = np.concatenate([self.stage.predict(part) for part in parts] or [np.zeros(0)])[kind.ravel()]
        se = np.concatenate([self.stage.se(part) for part in parts] or [np.zeros(0)])[kind.ravel()]
        half = self.quantile * se
        values = (ids, effect, se, effect - half, effect + half)
        return pd.DataFrame({"edge": edge, **dict(zip(USER_COLUMNS, values, strict=True))})


def _write_figure(path: str | os.PathLike[str], results: Sequence[VaryingEffect]) -> Path:
    target = Path(path)
    if target.suffix.lower() not in (".svg", ".html"):
        raise InputError(f"a figure is an .svg or .html file, not {target.name!r}")
    if target.suffix.lower() == ".svg" and len(results) > 1:
        raise InputError(f"{target.name!r} would hold {len(results)} pictures, one per level: name an .html file")
    shown = [(r.summary(), r.test, r.estimate, r.scale) for r in results]
    text = effects_page(shown) if target.suffix.lower() == ".html" else str(draw_effects(*shown[0][1:], alone=True))
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {str(target)!r}: {error.strerror or error}") from error
    return target
