"""The audit: a validated effect is looked at once more by other people's code, on a copy of a sample of its rows.

DoWhy's `CausalModel` estimates it by linear regression and tries two of its refuters, and EconML's `LinearDML`
estimates it with its own cross-fitting. They know nothing of clusters, so only their points are compared, not their
errors.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from whyrank.estimators.effects import Effect
from whyrank.estimators.estimate import Check
from whyrank.estimators.panel import Codes, Floats
from whyrank.estimators.words import Language, say

__all__ = ["audit"]

AUDIT_ROWS = 12_000
"""Rows of the sample: DoWhy's refuters refit on every simulation."""

_SPREAD = 3.5
"""Standard errors, of the effect and of the sample together, by which an answer may differ."""


def audit(
    effect: Effect,
    cause: Floats,
    outcome: Floats,
    design: Callable[[npt.NDArray[np.intp]], npt.NDArray[np.float32]],
    identities: Sequence[Codes],
    *,
    se: float,
    discrete: bool,
    rng: np.random.Generator,
    language: Language = "en",
) -> Check:
    """Compare an effect with DoWhy's and EconML's answers, and let DoWhy's refuters try.

    Parameters
    ----------
    effect : the effect and its residuals; rows in which the residual cause is 0 don't count.
    cause, outcome : shape (n,); the cause is 0/1 if `discrete`.
    design : gives the adjustment columns of some rows, shape (rows, p).
    identities : clusters with an intercept of their own; the cause's mean in each is adjusted for (Mundlak 1978), which
        is what makes a regression compare within them.
    se : standard error of the effect.
    """
    rows = np.flatnonzero(effect.t_residual)
    means = [_cluster_mean(cause, codes, rows) for codes in identities]
    if effect.weight is not None:  # a sample drawn by weight stands for the weighted rows
        share = effect.weight[rows] / float(effect.weight[rows].sum())
        rows = np.sort(rng.choice(rows, min(AUDIT_ROWS, max(int(effect.ess), 1)), p=share))
    elif len(rows) > AUDIT_ROWS:
        rows = np.sort(rng.choice(rows, AUDIT_ROWS, replace=False))
    W = np.column_stack([design(rows).astype(np.float64), *(m[rows] for m in means)])
    if W.size:
        W = W[:, W.std(axis=0) > 1e-9]
        W = (W - W.mean(axis=0)) / W.std(axis=0)  # their answers hardly depend on it, their time does
    t, y = cause[rows], outcome[rows]
    rest = effect.y_residual[rows] - effect.estimate * effect.t_residual[rows]
    noise = float(np.std(rest) / (np.std(effect.t_residual[rows]) * np.sqrt(len(rows))))
    tolerance = _SPREAD * float(np.hypot(se, noise))
    seed = int(rng.integers(2**31))
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")  # both libraries warn about their own dependencies
        dowhy_point, moved, placebo = _dowhy(t, y, W, seed)
        econml_point = _econml(t, y, W, discrete, seed)
    worst = max(abs(dowhy_point - effect.estimate), abs(econml_point - effect.estimate))
    refuted = abs(moved - dowhy_point) > noise or abs(placebo) > _SPREAD * noise
    detail = say(
        language,
        "audit",
        rows=len(rows),
        dowhy=dowhy_point,
        econml=econml_point,
        tolerance=tolerance,
        placebo=placebo,
        moved=moved,
    )
    data = {"dowhy": dowhy_point, "econml": econml_point, "placebo": placebo, "random_common_cause": moved}
    told = bool(np.isfinite([dowhy_point, econml_point, placebo, moved]).all())  # DoWhy's own rule lets a NaN pass
    return Check("audit", bool(told and worst <= tolerance and not refuted), worst, tolerance, detail, data)


def _cluster_mean(values: Floats, codes: Codes, rows: npt.NDArray[np.intp]) -> Floats:
    counts = np.bincount(codes[rows], minlength=int(codes.max()) + 1)
    sums = np.bincount(codes[rows], weights=values[rows], minlength=len(counts))
    return np.divide(sums, counts, out=np.zeros(len(counts)), where=counts > 0)[codes]


def _dowhy(t: Floats, y: Floats, W: Floats, seed: int) -> tuple[float, float, float]:
    """Return DoWhy's linear estimate, the same with a random common cause, and its placebo."""
    from dowhy import CausalModel

    names = [f"w{i}" for i in range(W.shape[1])]
    frame = pd.DataFrame(W, columns=names).assign(t=t, y=y)
    model = CausalModel(data=frame.copy(), treatment="t", outcome="y", common_causes=names)
    estimand = copy.deepcopy(_identified(bool(names)))  # estimating writes into it
    estimand.backdoor_variables = dict.fromkeys(estimand.backdoor_variables, names)
    found = model.estimate_effect(estimand, method_name="backdoor.linear_regression", test_significance=False)

    def refute(name: str, **options: object) -> float:
        # A RandomState, not an integer: with an integer all simulations are the same.
        state = np.random.RandomState(seed)
        result = model.refute_estimate(
            estimand, found, method_name=name, num_simulations=1, random_state=state, show_progress_bar=False, **options
        )
        return float(np.mean(result.new_effect))

    return (
        float(found.value),
        refute("random_common_cause"),
        refute("placebo_treatment_refuter", placebo_type="permute"),
    )


@lru_cache(maxsize=2)
def _identified(confounded: bool) -> Any:
    """Return DoWhy's back-door estimand with one common cause, or none.

    All adjustment columns play the part of that one cause; named one by one, looking at them takes it minutes.
    """
    from dowhy import CausalModel

    names = ["w"] if confounded else []
    frame = pd.DataFrame(np.zeros((1, len(names) + 2)), columns=[*names, "t", "y"])
    model = CausalModel(data=frame, treatment="t", outcome="y", common_causes=names)
    return model.identify_effect(method_name="maximal-adjustment", proceed_when_unidentifiable=True)


def _econml(t: Floats, y: Floats, W: Floats, discrete: bool, seed: int) -> float:
    """Return EconML's average effect with penalised linear nuisances."""
    from econml.dml import LinearDML
    from sklearn.linear_model import LogisticRegression, Ridge

    learner = LinearDML(
        model_y=Ridge(alpha=1.0),
        model_t=LogisticRegression(solver="newton-cholesky") if discrete else Ridge(alpha=1.0),
        discrete_treatment=discrete,
        cv=3,
        random_state=seed,
    )
    learner.fit(y, t.astype(int) if discrete else t, X=None, W=W if W.shape[1] else None)
    return float(np.ravel(learner.ate())[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold DoWhy's informational logging back for a while."""
    logger = logging.getLogger("dowhy")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
