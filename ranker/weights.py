r"""Causal weights: what an attribute does to the outcome, for one user.

For attribute (or level) k and user u

.. math:: w_{uk} = B_k\,\hat\beta_k + \sum_m B_{km}\,\hat\delta_{km}\,(M_{um} - \bar M_m), \qquad
          B = \frac{\tau^2}{\tau^2 + se^2}

where beta_k is the validated average effect, delta_km the validated difference of that effect per unit (or for the
level) of the user attribute M_m, and M-bar its mean over the exposures of the log, the population that the average
effect is averaged over. Effects of different attributes have different units, so the spread tau² is taken on effects
times the standard deviation of what they multiply: tau² = max(0, mean((scale·effect)² − (scale·se)²)) over the
validated effects, one tau² for the averages and one for the differences (method of moments; Efron & Morris, 1973). The
average is drawn toward zero by its own noise, a user's effect toward the average. Only validated edges carry weight;
the standard error is that of the shrunken effects, taken as independent: sum of B·se²·(what it multiplies)².
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.datasets.study_data import Attribute, Outcome, StudyData
from whyrank.errors import NameNotFound, nearest
from whyrank.estimators.estimate import Judgement
from whyrank.ranker.features import column_values, fill_missing

__all__ = [
    "WEIGHT_COLUMNS",
    "Deviation",
    "Modifier",
    "Term",
    "Weights",
    "causal_weights",
    "distinct_rows",
    "fit_weights",
    "user_positions",
]

Floats = npt.NDArray[np.float64]

WEIGHT_COLUMNS = ("user_id", "attribute", "level", "outcome", "weight", "se", "verdict")
"""Columns of the weight table, in order."""


@dataclass(frozen=True)
class Term:
    """One tested attribute, or one level of it: its average effect, shrunken, and where it comes from.

    Attributes
    ----------
    attribute, level : what is multiplied; level "" for a numeric attribute.
    label, verdict : the edge of the average effect; "" if only its modifiers were tested.
    weight, se : shrunken average effect and its standard error; weight 0 unless validated (`se` is then that of the
        estimate).
    mean : mean of h over its table (the catalogue, the users, or the exposures).
    """

    attribute: Attribute
    level: str
    label: str
    verdict: str
    weight: float
    se: float
    mean: float


@dataclass(frozen=True)
class Modifier:
    """A user attribute, or one level of it, that changes effects; `mean` is over the exposures of the log."""

    attribute: Attribute
    level: str
    mean: float


@dataclass(frozen=True)
class Deviation:
    """A validated difference of term `term`'s effect per unit of modifier `modifier` (positions), shrunken."""

    term: int
    modifier: int
    label: str
    weight: float
    se: float


@dataclass(frozen=True)
class Weights:
    """Everything that makes up the weights of one outcome.

    Attributes
    ----------
    outcome : what the effects are on.
    terms, modifiers, deviations : in the study's order of attributes and levels.
    centred : each user's modifier values less their means, 0 where missing, shape (users, modifiers).
    """

    outcome: Outcome
    terms: tuple[Term, ...]
    modifiers: tuple[Modifier, ...]
    deviations: tuple[Deviation, ...]
    centred: Floats

    @cached_property
    def average(self) -> Floats:
        """Average effects, shape (terms,)."""
        return np.array([term.weight for term in self.terms], np.float64)

    @cached_property
    def differences(self) -> Floats:
        """Effect differences, shape (modifiers, terms)."""
        out = np.zeros((len(self.modifiers), len(self.terms)))
        for d in self.deviations:
            out[d.modifier, d.term] += d.weight
        return out

    def values(self, data: StudyData) -> list[Floats]:
        """Return h less its mean for each term, one number per row of the attribute's table; 0 where it is missing."""
        return [fill_missing(column_values(data, term.attribute, term.level), term.mean) for term in self.terms]

    @cached_property
    def verdicts(self) -> tuple[str, ...]:
        """Verdict of each term: validated if its average effect or one of its differences is."""
        varying = {d.term for d in self.deviations}
        return tuple("validated" if k in varying else term.verdict for k, term in enumerate(self.terms))

    def of(self, centred: Floats) -> tuple[Floats, Floats]:
        """Return weights and standard errors, shape (users, terms), of users with these centred modifier values."""
        weight = self.average[None, :] + centred @ self.differences
        variance = np.tile(np.array([term.se for term in self.terms], np.float64) ** 2, (len(centred), 1))
        for k, verdict in enumerate(self.verdicts):
            if verdict == "validated" and self.terms[k].verdict != "validated":
                variance[:, k] = 0.0  # no average effect in the weight: its noise isn't in there either
        for d in self.deviations:
            variance[:, d.term] += (d.se * centred[:, d.modifier]) ** 2
        return weight, np.sqrt(variance)


def causal_weights(
    data: StudyData, judgements: Sequence[Judgement], *, outcome: str | None = None, users: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the weight of every tested attribute for every user, in long format.

    Parameters
    ----------
    data, judgements
        The study and the verdicts on its edges.
    outcome
        One outcome, with or without `events.`; all of them by default.
    users
        User ids; all by default.

    Returns
    -------
    DataFrame
        `WEIGHT_COLUMNS`; a row per user and tested attribute or level. Weights are in outcome units, per unit of a
        numeric attribute. Where a verdict isn't "validated", the weight is 0 and `se` that of the estimate.

    Raises
    ------
    NameNotFound
        If an outcome or a user isn't in the study.
    """
    rows = user_positions(data, users)
    names = [data.outcome(outcome).name] if outcome is not None else list(data.outcomes)
    parts = [_long(data, fit_weights(data, judgements, outcome=name), rows) for name in names]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(WEIGHT_COLUMNS))


def _long(data: StudyData, weights: Weights, rows: npt.NDArray[np.intp]) -> pd.DataFrame:
    kinds, kind_of = distinct_rows(weights.centred[rows])
    weight, se = weights.of(kinds)
    count = len(weights.terms)

    def repeated(values: Iterable[str]) -> npt.NDArray[np.object_]:
        return np.tile(np.array(list(values), object), len(rows))

    return pd.DataFrame(
        {
            "user_id": np.repeat(data.user_ids[rows].astype(str).astype(object), count),
            "attribute": repeated(term.attribute.name for term in weights.terms),
            "level": repeated(term.level for term in weights.terms),
            "outcome": weights.outcome.name,
            "weight": weight[kind_of].ravel(),
            "se": se[kind_of].ravel(),
            "verdict": repeated(weights.verdicts),
        },
        columns=list(WEIGHT_COLUMNS),
    )


def distinct_rows(values: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return the distinct rows and which of them each row is: users with equal modifiers share their numbers."""
    if values.shape[1] == 0:
        return values[: min(1, len(values))], np.zeros(len(values), np.intp)
    kinds, kind_of = np.unique(values, axis=0, return_inverse=True)
    return kinds, kind_of.reshape(-1)


def user_positions(data: StudyData, users: Sequence[str] | None) -> npt.NDArray[np.intp]:
    """Return the positions of users, each once, in the order given; of all users for None.

    Raises
    ------
    NameNotFound
        If the study has no such user.
    """
    if users is None:
        return np.arange(len(data.user_ids))
    wanted = [users] if isinstance(users, str) else [str(user) for user in users]
    for user in wanted:
        if user not in data.user_index:
            near = (known for known in data.user_index if known[:1] == user[:1])
            raise NameNotFound(f"no user {user!r} in this study{nearest(user, _some(near))}")
    return np.array([data.user_index[user] for user in dict.fromkeys(wanted)], np.intp)


def _some(names: Iterable[str], most: int = 20_000) -> list[str]:
    """Return the first names: looking for the nearest of a million takes longer than anybody waits."""
    return [name for name, _ in zip(names, range(most), strict=False)]


def fit_weights(data: StudyData, judgements: Sequence[Judgement], *, outcome: str | None = None) -> Weights:
    """Shrink the validated effects on one outcome (the study's first by default) and lay them out by user.

    Effects modified by an item's or a context's attribute, and effects on anything but the outcome, are left out.
    """
    target = data.outcome(outcome)
    chosen = _by_contrast(judgements, target.name)
    weighed = {key[:2] for key, j in chosen.items() if not key[2] or j.verdict == "validated"}
    keys = sorted(weighed, key=lambda key: _place(data, *key))
    changing = sorted(
        {key[2:] for key, j in chosen.items() if key[2] and j.verdict == "validated"},
        key=lambda key: _place(data, *key),
    )
    columns = [column_values(data, data.attribute(name), level) for name, level in keys]
    seen = np.bincount(data.events["user"].to_numpy(), minlength=len(data.users)).astype(np.float64)
    modifiers, centred, spreads = _modifiers(data, changing, seen if seen.any() else np.ones(len(data.users)))
    means = [float(np.nanmean(c)) if np.isfinite(c).any() else 0.0 for c in columns]
    scales = np.array([float(np.nanstd(c)) if np.isfinite(c).any() else 0.0 for c in columns])

    plain = [chosen.get((*key, "", "")) for key in keys]
    shrunk = _shrink([j if j is not None and j.verdict == "validated" else None for j in plain], scales)
    terms = tuple(
        Term(
            data.attribute(name),
            level,
            j.estimate.contrast.label if j else "",
            j.verdict if j else "",
            weight,
            se if j and j.verdict == "validated" else j.estimate.se if j else 0.0,
            mean,
        )
        for (name, level), j, (weight, se), mean in zip(keys, plain, shrunk, means, strict=True)
    )
    pairs = [
        (keys.index(key[:2]), changing.index(key[2:]), j)
        for key, j in sorted(chosen.items())
        if key[2] and j.verdict == "validated"
    ]
    shrunk = _shrink([j for _, _, j in pairs], np.array([scales[k] * spreads[m] for k, m, _ in pairs]))
    deviations = tuple(
        Deviation(k, m, j.estimate.contrast.label, weight, se)
        for (k, m, j), (weight, se) in zip(pairs, shrunk, strict=True)
    )
    return Weights(target, terms, modifiers, deviations, centred)


_Key = tuple[str, str, str, str]


def _by_contrast(judgements: Sequence[Judgement], outcome: str) -> dict[_Key, Judgement]:
    """Return the judgement of each (cause, level, modifier, modifier level); a validated claim wins over others."""
    chosen: dict[_Key, Judgement] = {}
    for j in judgements:
        contrast = j.estimate.contrast
        modifier = contrast.edge.modifier or ""
        if contrast.edge.effect != outcome or (modifier and not modifier.startswith("users.")):
            continue
        key = (contrast.edge.cause, contrast.level, modifier, contrast.modifier_level)
        if key not in chosen or (j.verdict == "validated" and chosen[key].verdict != "validated"):
            chosen[key] = j
    return chosen


def _place(data: StudyData, name: str, level: str) -> tuple[int, int, str]:
    """Return where an attribute and its level stand in the study."""
    levels = data.attribute(name).levels
    return list(data.attributes).index(name), levels.index(level) if level in levels else -1, level


def _modifiers(
    data: StudyData, keys: Sequence[tuple[str, str]], exposures: Floats
) -> tuple[tuple[Modifier, ...], Floats, list[float]]:
    """Return the modifiers, the users' centred values, and each one's standard deviation over exposures."""
    modifiers, spreads = [], []
    centred = np.zeros((len(data.users), len(keys)))
    for m, (name, level) in enumerate(keys):
        values = column_values(data, data.attribute(name), level)
        known = np.where(np.isnan(values), 0.0, exposures)
        mean = float(np.average(np.nan_to_num(values), weights=known)) if known.any() else 0.0
        centred[:, m] = fill_missing(values, mean)
        spreads.append(float(np.sqrt(np.average(centred[:, m] ** 2, weights=exposures))))
        modifiers.append(Modifier(data.attribute(name), level, mean))
    return tuple(modifiers), centred, spreads


def _shrink(judgements: Sequence[Judgement | None], scales: Floats) -> list[tuple[float, float]]:
    """Return (weight, se) of each: tau²/(tau² + se²) times the effect, and se·sqrt of that factor; (0, 0) for None."""
    effect = np.array([j.estimate.estimate if j else np.nan for j in judgements], np.float64)
    se = np.array([j.estimate.se if j else np.nan for j in judgements], np.float64)
    usable = np.isfinite(effect) & np.isfinite(se)
    scale = np.where(scales > 0, scales, 1.0)
    counted = usable & (scales > 0) if (usable & (scales > 0)).any() else usable
    spread = (
        np.mean((scale[counted] * effect[counted]) ** 2 - (scale[counted] * se[counted]) ** 2) if counted.any() else 0.0
    )
    tau2 = np.maximum(spread, 0.0)
    noise = (scale * se) ** 2
    factor = np.divide(tau2, tau2 + noise, out=np.ones(len(effect)), where=tau2 + noise > 0)
    weight = np.where(usable, factor * effect, 0.0)
    return list(zip(weight.tolist(), np.where(usable, se * np.sqrt(factor), 0.0).tolist(), strict=True))
