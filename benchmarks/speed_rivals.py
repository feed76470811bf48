"""What the speed benchmark compares with: loops over DoWhy, DoWhy with EconML, and plain numpy refits."""

from __future__ import annotations

import importlib
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["DOWHY_REFUTERS", "Measured", "dowhy_edge", "linear_dml", "numpy_edge", "quiet"]

Floats = npt.NDArray[np.float64]

DOWHY_REFUTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "placebo": ("placebo_treatment_refuter", {"placebo_type": "permute"}),
    "random_common_cause": ("random_common_cause", {}),
    "data_subset": ("data_subset_refuter", {"subset_fraction": 0.8}),
    "bootstrap": ("bootstrap_refuter", {}),
}
"""Our name of a refuter, DoWhy's, and its options."""

DEFAULT_SIMULATIONS = 100


@dataclass(frozen=True)
class Measured:
    """One edge in a loop.

    Attributes
    ----------
    estimate : the effect.
    seconds : with the default number of simulations; extrapolated if fewer were run.
    drawn : the estimates of each refuter's simulations.
    """

    estimate: float
    seconds: float
    drawn: dict[str, Floats] = field(default_factory=dict)


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what the libraries log and warn about."""
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def dowhy_edge(
    table: pd.DataFrame,
    cause: str,
    outcome: str,
    adjust: Sequence[str],
    *,
    simulations: int,
    seed: int,
    method: str = "backdoor.linear_regression",
    method_params: dict[str, Any] | None = None,
) -> Measured:
    """Estimate and refute one edge with DoWhy, as its documentation does, on a copy of the columns."""
    from dowhy import CausalModel

    drawn: dict[str, Floats] = {}
    with quiet():
        start = time.perf_counter()
        frame = table[[cause, outcome, *adjust]].copy()
        model = CausalModel(data=frame, treatment=cause, outcome=outcome, common_causes=list(adjust))
        estimand = model.identify_effect(proceed_when_unidentifiable=True)
        options = {} if method_params is None else {"method_params": method_params}
        found = model.estimate_effect(estimand, method_name=method, test_significance=False, **options)
        fixed, simulated = time.perf_counter() - start, 0.0
        for name, (theirs, refuter_options) in DOWHY_REFUTERS.items():
            with _recorded(theirs) as estimates:
                start = time.perf_counter()
                # A RandomState, not an integer: with an integer all subsets are the same.
                model.refute_estimate(
                    estimand,
                    found,
                    method_name=theirs,
                    num_simulations=simulations,
                    random_state=np.random.RandomState(seed),
                    show_progress_bar=False,
                    **refuter_options,
                )
                simulated += time.perf_counter() - start
            drawn[name] = np.concatenate([np.ravel(e) for e in estimates])
            if len(drawn[name]) != simulations:
                raise SystemExit(f"DoWhy's {theirs} gave {len(drawn[name])} estimates instead of {simulations}")
    return Measured(float(found.value), fixed + simulated * DEFAULT_SIMULATIONS / simulations, drawn)


@contextmanager
def _recorded(refuter: str) -> Iterator[list[Floats]]:
    """Keep the simulated estimates, of which DoWhy returns only the mean, on their way to its significance test."""
    module = importlib.import_module(f"dowhy.causal_refuters.{refuter}")
    original: Callable[..., Any] = module.test_significance
    seen: list[Floats] = []

    def recording(estimate: Any, simulations: Any, *args: Any, **options: Any) -> Any:
        seen.append(np.asarray(simulations, float))
        return original(estimate, simulations, *args, **options)

    with mock.patch.object(module, "test_significance", recording):
        yield seen


def linear_dml(learner: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the options that make DoWhy use EconML's LinearDML with a fixed LightGBM."""
    from lightgbm import LGBMRegressor

    models = {"model_y": LGBMRegressor(**learner), "model_t": LGBMRegressor(**learner)}
    return {"init_params": {**models, "random_state": seed, "cv": 2}, "fit_params": {}}


def numpy_edge(t: Floats, y: Floats, W: Floats, *, simulations: int, seed: int) -> Measured:
    """Estimate and refute one edge by normal equations, refitted for each simulation."""
    rng = np.random.default_rng(seed)
    n, p = W.shape
    kept = int(0.8 * n)
    start = time.perf_counter()
    X = np.column_stack([t, np.ones(n), W])
    wide = W.std(axis=0) * 0.1
    estimate = _fit(X, y)
    drawn = {name: np.empty(simulations) for name in DOWHY_REFUTERS}
    placebo, more = X.copy(), np.column_stack([X, np.zeros(n)])
    for b in range(simulations):
        placebo[:, 0] = rng.permutation(t)
        drawn["placebo"][b] = _fit(placebo, y)
    for b in range(simulations):
        more[:, -1] = rng.standard_normal(n)
        drawn["random_common_cause"][b] = _fit(more, y)
    for b in range(simulations):
        rows = rng.permutation(n)[:kept]
        drawn["data_subset"][b] = _fit(X[rows], y[rows])
    for b in range(simulations):
        again: npt.NDArray[np.int64] = np.asarray(rng.integers(0, n, size=n))
        noisy = X[again]
        noisy[:, 2:] += rng.standard_normal((n, p)) * wide
        drawn["bootstrap"][b] = _fit(noisy, y[again])
    took = time.perf_counter() - start
    return Measured(estimate, took * DEFAULT_SIMULATIONS / simulations, drawn)


def _fit(X: Floats, y: Floats) -> float:
    return float(np.linalg.solve(X.T @ X, X.T @ y)[0])
