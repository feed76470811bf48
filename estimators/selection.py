r"""Ratings that people chose to give: whether to weigh rows by estimated propensities, decided on held-out outcomes.

Weights 1/p make the rated pairs look like all pairs, if the estimate p is right; if it isn't, or a few pairs carry the
weighted log, they do more harm than good. So rows are weighted by a power of the clipped weights,

.. math:: w_r \propto (1 / \max(p_r, p_0))^{\lambda}, \quad \lambda \in \{0, \tfrac12, 1\}

and the power is that whose outcome model predicts best out of fold in the fully weighted log; anything but 0 has to be
better by more than one standard error, clustered by user. With power 0 the effects are those among the pairs that were
rated; with another, among pairs nearer to all of them.

References
----------
Schnabel, Swaminathan, Singh, Chandak and Joachims (2016), Recommendations as treatments, ICML; Sugiyama, Krauledat and
Mueller (2007), Covariate shift adaptation by importance weighted cross validation, JMLR 8.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from whyrank.datasets.study_data import StudyData
from whyrank.estimators.panel import Codes
from whyrank.estimators.shared import SharedNuisances
from whyrank.estimators.weighting import Weighting, clip_to_ess
from whyrank.estimators.words import Language, say

__all__ = ["POWERS", "Selection", "select"]

Floats = npt.NDArray[np.float64]

POWERS = (0.5, 1.0)
"""Powers of the weights that are tried beside 0."""


@dataclass(frozen=True)
class Selection:
    """What held-out outcomes say about weighting by estimated propensities.

    Attributes
    ----------
    power : the power chosen; 0: rows are not weighted.
    shared : nuisances on weighted rows, at the power chosen, or at the best of `POWERS` for comparison.
    gain : share by which those weights lower the weighted out-of-fold loss; negative if they raise it.
    gain_se : its standard error, clustered by user.
    """

    power: float
    shared: SharedNuisances
    gain: float
    gain_se: float

    def note(self, other: float, language: Language) -> str:
        """Say what was chosen and why, and what the other choice gives."""
        weighting = self.shared.panel.weighting
        ess = weighting.ess if weighting is not None else float("nan")
        name = "selection weighted" if self.power else "selection unweighted"
        return say(language, name, power=self.power, ess=ess, gain=self.gain, se=self.gain_se, other=other)


def select(data: StudyData, shared: SharedNuisances) -> Selection | None:
    """Decide whether a panel's rows are weighted; None where the log has no estimated propensities.

    Parameters
    ----------
    data : the study.
    shared : the panel's nuisances, on unweighted rows.
    """
    panel = shared.panel
    events = data.config.events
    causes = [name for name in panel.blocks if name.startswith("items.")]
    known = panel.grain == "exposure" and events.propensity_kind == "estimated" and "propensity" in data.events
    if not known or not causes or panel.user is None:
        return None
    kept = np.isfinite(data.events[panel.outcome.split(".", 1)[1]].to_numpy(np.float64))
    full = clip_to_ess(1.0 / data.events["propensity"].to_numpy(np.float64)[kept])
    plain = _loss(shared, causes[0])
    tried = []
    for power in POWERS:
        weighted = SharedNuisances(replace(panel, weighting=_power(full, power)), shared.seed, shared.n_folds)
        gain, se = _gain(plain, _loss(weighted, causes[0]), full.weight, panel.user)
        tried.append(Selection(power, weighted, gain, se))
    best = max(tried, key=lambda choice: choice.gain)
    return best if best.gain > best.gain_se else replace(best, power=0.0)


def _power(full: Weighting, power: float) -> Weighting:
    weight = full.weight**power
    weight = weight / weight.mean()
    ess = float(weight.sum() ** 2 / (weight @ weight))
    return replace(full, weight=weight, ess=ess, design=False)


def _loss(shared: SharedNuisances, cause: str) -> Floats:
    """Return the squared error of each row's out-of-fold prediction from all columns, by a line.

    A line can't fit rated and unrated pairs alike where effects vary, and that is what weights are for; trees could.
    """
    columns = shared.columns(tuple(shared.panel.blocks))
    return np.asarray((shared.panel.y - shared.outcome(cause, np.sort(columns), lines=True).fitted) ** 2)


def _gain(plain: Floats, weighted: Floats, weight: Floats, user: Codes) -> tuple[float, float]:
    """Return by which share weights lower the weighted loss, and the standard error of that."""
    whole = float(weight @ plain)
    difference = np.bincount(user, weights=weight * (plain - weighted))
    gain = float(difference.sum()) / whole
    spread = difference - gain * np.bincount(user, weights=weight * plain)
    return gain, float(np.sqrt(spread @ spread)) / whole
