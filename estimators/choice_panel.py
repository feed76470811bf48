"""The choice sets one outcome of a purchases-only log is judged on, and the columns of items and modifiers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.datasets.alternatives import ChoiceSets, sample_alternatives
from whyrank.datasets.study_data import Attribute, StudyData
from whyrank.estimators.choice import ChoiceFit, ChoiceRows, fit_choice
from whyrank.estimators.encode import Encoded, encode
from whyrank.estimators.item_worth import WorthFit, fit_with_worth
from whyrank.estimators.words import say

__all__ = ["ChoiceArm", "ChoicePanel", "build_choice_panel", "choice_arms"]

Floats = npt.NDArray[np.float64]
Columns = npt.NDArray[np.intp]

MIN_SPARE_ITEMS = 20
"""Items beyond the number of columns from which their worths can be told from what the columns do."""


@dataclass(frozen=True)
class ChoiceArm:
    """One comparison of an attribute.

    Attributes
    ----------
    level, against, bracket : as in a contrast; empty for a numeric attribute.
    place : which of the attribute's columns it is.
    unit : what one step of that column is in the attribute's own units.
    rows, reference : rows of its table at the level and at the reference; numeric: rows with a value, and none.
    values : numeric: the attribute; else 1 at the level, 0 at the reference, NaN elsewhere.
    """

    level: str
    against: str
    bracket: bool
    place: int
    unit: float
    rows: npt.NDArray[np.bool_]
    reference: npt.NDArray[np.bool_]
    values: Floats

    @property
    def numeric(self) -> bool:
        """Whether it is a step of a numeric attribute."""
        return not self.reference.any() and self.level == ""


@dataclass
class ChoicePanel:
    """Choice sets, item columns, and the fits made on them so far.

    Attributes
    ----------
    outcome : what a purchase is.
    sets, rows : the choice sets as they were drawn, and for fitting.
    encoded : item attributes by name, those that have columns.
    columns : all of them, shape (items, p); `places` says whose they are, curves last.
    places, curves : each attribute's own columns, and what else a numeric one is adjusted for with.
    within : for attributes with levels too rare for a column, where the means of other attributes in its levels stand.
    warnings : what was done, in the study's language.
    """

    outcome: str
    sets: ChoiceSets
    rows: ChoiceRows
    encoded: dict[str, Encoded]
    columns: Floats
    places: dict[str, Columns]
    curves: dict[str, Columns]
    within: dict[str, dict[str, Columns]]
    warnings: tuple[str, ...]
    _fits: dict[tuple[bytes, bytes], ChoiceFit] = field(default_factory=dict)
    _worths: dict[bytes, WorthFit] = field(default_factory=dict)

    def adjustment(self, cause: str, adjust: tuple[str, ...]) -> Columns:
        """Return the columns of a model: the cause's own, and all of what is adjusted for."""
        parts = [self.places[cause]]
        for name in adjust:
            if name in self.places and name != cause:
                parts += [self.places[name], self.curves[name]]
                if name in self.within:
                    parts.append(self.within[name][cause])
        return np.unique(np.concatenate(parts))

    def with_worth(self, columns: Columns) -> WorthFit | ChoiceFit:
        """Return the model of some columns in which each item has a worth of its own; without, if items are few."""
        if len(np.unique(self.rows.item_of_row)) - len(columns) < MIN_SPARE_ITEMS:
            return self.fit(columns)
        key = columns.tobytes()
        if key not in self._worths:
            if len(self._worths) >= 8:
                self._worths.pop(next(iter(self._worths)))
            self._worths[key] = fit_with_worth(self.rows, self.columns[:, columns])
        return self._worths[key]

    def fit(self, columns: Columns, group: npt.NDArray[np.bool_] | None = None) -> ChoiceFit:
        """Return the model of some columns, on all purchases or on some; each is fitted once."""
        key = columns.tobytes(), b"" if group is None else np.packbits(group).tobytes()
        if key not in self._fits:
            if len(self._fits) >= 8:  # each holds a number for every alternative
                self._fits.pop(next(iter(self._fits)))
            self._fits[key] = fit_choice(
                self.rows if group is None else self.rows.take(group), self.columns[:, columns]
            )
        return self._fits[key]


def build_choice_panel(data: StudyData, outcome: str) -> ChoicePanel:
    """Draw the choice sets of an outcome: rows on which it is above zero are purchases."""
    language = data.config.study.language
    y = data.events[outcome.split(".", 1)[1]].to_numpy(np.float64)
    rng = np.random.default_rng([data.config.study.seed, 20])
    sets = sample_alternatives(data, np.flatnonzero(y > 0), rng=rng)
    rows = ChoiceRows(sets.items, sets.user, len(data.items))
    warnings = [say(language, "exposures unseen")]
    if sets.complete:
        warnings.append(say(language, "all alternatives"))
    else:
        warnings.append(say(language, "alternatives", count=sets.per_purchase))
    drawn = rows.n + sets.alone
    if drawn < sets.purchases:
        warnings.append(say(language, "purchases drawn", drawn=drawn, purchases=sets.purchases))
    if sets.contradicted:
        warnings.append(say(language, "outside dates", count=sets.contradicted))
    if sets.alone:
        warnings.append(say(language, "no alternative", count=sets.alone))
    offered = np.zeros(len(data.items), bool)
    offered[rows.item_of_row if rows.n else slice(None)] = True
    encoded: dict[str, Encoded] = {}
    places: dict[str, Columns] = {}
    curves: dict[str, Columns] = {}
    parts: list[Floats] = []
    start = 0
    for name, attribute in data.attributes.items():
        if attribute.table != "items" or attribute.role == "ignore":
            continue
        found = encode(attribute, data.items[attribute.column], offered.astype(np.float64))
        if found.matrix.shape[1] == 0:
            continue
        if found.pooled:
            warnings.append(say(language, "pooled", count=len(found.pooled), name=name))
        encoded[name] = found
        for kept, matrix in ((places, found.matrix), (curves, found.curved)):
            width = matrix.shape[1]
            kept[name] = np.arange(start, start + width)
            parts.append(matrix.astype(np.float64) if width else np.zeros((len(data.items), 0)))
            start += width
    within: dict[str, dict[str, Columns]] = {}
    for many in [name for name, found in encoded.items() if found.pooled and data.attributes[name].kind != "set"]:
        level = pd.factorize(data.items[data.attributes[many].column], use_na_sentinel=False)[0]
        within[many] = {}
        for name in [name for name in encoded if name != many]:
            means = _level_means(encoded[name].matrix.astype(np.float64), level, offered)
            within[many][name] = np.arange(start, start + means.shape[1])
            parts.append(means)
            start += means.shape[1]
    columns = np.hstack(parts) if parts else np.zeros((len(data.items), 0))
    return ChoicePanel(outcome, sets, rows, encoded, columns, places, curves, within, tuple(warnings))


def _level_means(columns: Floats, level: npt.NDArray[np.intp], offered: npt.NDArray[np.bool_]) -> Floats:
    """Return the mean of each column over the items on offer in each item's level (Mundlak 1978)."""
    counts = np.maximum(np.bincount(level, weights=offered), 1)
    sums = [np.bincount(level, weights=column * offered) / counts for column in columns.T]
    return np.stack([mean[level] for mean in sums], axis=1)


def choice_arms(attribute: Attribute, encoded: Encoded) -> list[ChoiceArm]:
    """Return the comparisons that an attribute allows."""
    values = encoded.values
    known = np.isfinite(values)
    nobody = np.zeros(len(values), bool)
    if attribute.kind == "numeric":
        return [ChoiceArm("", "", False, 0, _unit(values, encoded.matrix[:, 0]), known, nobody, values)]
    if attribute.kind == "binary":
        one, zero = attribute.levels[1], attribute.levels[0]
        return [ChoiceArm(one, zero, False, 0, 1.0, values == 1, values == 0, values)]
    out = []
    missing = nobody
    if "missing?" in encoded.levels:
        missing = encoded.matrix[:, encoded.levels.index("missing?")] > 0.5
    for place, level in enumerate(encoded.levels):
        if level in ("missing?", "pooled?"):
            continue
        if attribute.kind == "set":
            has = encoded.matrix[:, place] > 0.5
            rows, reference, against = has, ~has & ~missing, f"without {level}"
        else:
            rows, reference, against = values == place + 1, values == 0, attribute.reference
        numbers = np.where(rows, 1.0, np.where(reference, 0.0, np.nan))
        out.append(ChoiceArm(level, against, True, place, 1.0, rows, reference, numbers))
    return out


def _unit(values: Floats, column: npt.NDArray[np.float32]) -> float:
    """Return how much of a numeric attribute one unit of its standardised column is."""
    known = np.isfinite(values)
    low, high = int(np.argmin(np.where(known, values, np.inf))), int(np.argmax(np.where(known, values, -np.inf)))
    return float((values[high] - values[low]) / (float(column[high]) - float(column[low])))
