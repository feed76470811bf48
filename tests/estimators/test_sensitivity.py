"""How strong something unmeasured would have to be: against regressions, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from whyrank.estimators.effects import Effect
from whyrank.estimators.sensitivity import Benchmarks, confounder_like, e_value, robustness_value, sensitivity

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab

Floats = npt.NDArray[np.float64]
ROWS = 4_000


def benchmarks(t: Floats, y: Floats, w: Floats, identities: Any = ()) -> Benchmarks:
    """The columns adjusted for first, then the cause."""
    return Benchmarks.of(np.column_stack([w, t]).astype(np.float32), y, identities)


def regression_world(seed: int, effect: float, strength: float) -> tuple[Floats, Floats, Floats]:
    """Cause, outcome, and a measured confounder that acts on both with this strength."""
    draw = np.random.default_rng(seed)
    w = draw.normal(size=(ROWS, 2))
    t = strength * w[:, 0] + 0.1 * w[:, 1] + draw.normal(size=ROWS)
    y = effect * t + strength * w[:, 0] + 0.1 * w[:, 1] + draw.normal(size=ROWS)
    return t, y, w


def adjusted(lab: Lab, t: Floats, y: Floats, w: Floats) -> Effect:
    X = np.column_stack([np.ones(len(t)), w])
    off = [v - X @ np.linalg.lstsq(X, v, rcond=None)[0] for v in (y, t)]
    return lab.effect(*off)


@pytest.mark.parametrize(("size", "strength", "passes"), [(0.5, 0.3, True), (0.05, 0.6, False)])
def test_sensitivity(lab: Lab, size: float, strength: float, passes: bool) -> None:
    t, y, w = regression_world(9, size, strength)
    effect = adjusted(lab, t, y, w)
    blocks = {"items.x": np.array([0]), "items.z": np.array([1])}
    check = sensitivity(effect, benchmarks(t, y, w).strengths(2, np.arange(2), blocks))
    assert check.passed is passes
    assert check.data["strongest"] == "items.x"

    def partial_r2(target: Floats, others: Floats) -> float:
        X = np.column_stack([np.ones(ROWS), others])
        t_left, x_left = (v - X @ np.linalg.lstsq(X, v, rcond=None)[0] for v in (target, w[:, 0]))
        return float(np.corrcoef(t_left, x_left)[0, 1] ** 2)

    r_t, r_y = partial_r2(t, w[:, [1]]), partial_r2(y, np.column_stack([t, w[:, 1]]))
    left = effect.y_residual - effect.estimate * effect.t_residual
    expected = confounder_like(r_t, r_y) * left.std() / effect.t_residual.std()
    assert check.threshold == pytest.approx(expected, rel=1e-3)


def test_an_unmeasured_twin_of_a_measured_column_is_bounded() -> None:
    """Two confounders alike, one of them hidden: the measured one's strength bounds what the hidden one does."""
    draw = np.random.default_rng(12)
    z = draw.normal(size=(200_000, 2))
    t = 0.4 * z.sum(axis=1) + draw.normal(size=len(z))
    y = 0.3 * z.sum(axis=1) + draw.normal(size=len(z))

    def fit(target: Floats, *columns: Floats) -> tuple[Any, Any]:
        X = np.column_stack([np.ones(len(z)), *columns])
        b = np.linalg.lstsq(X, target, rcond=None)[0]
        return b, target - X @ b

    def partial_r2(target: Floats, of: Floats, *others: Floats) -> float:
        return float(np.corrcoef(fit(target, *others)[1], fit(of, *others)[1])[0, 1] ** 2)

    b, left = fit(y, t, z[:, 0])  # z[:, 1] is hidden, and t has no effect at all
    bound = confounder_like(partial_r2(t, z[:, 0]), partial_r2(y, z[:, 0], t)) * left.std() / fit(t, z[:, 0])[1].std()
    naive = np.sqrt(partial_r2(y, z[:, 0], t) * partial_r2(t, z[:, 0]) / (1 - partial_r2(t, z[:, 0])))
    assert b[1] == pytest.approx(bound, rel=0.06)  # two and a half standard errors
    assert b[1] > 1.1 * naive * left.std() / fit(t, z[:, 0])[1].std()


def test_sensitivity_without_anything_measured(lab: Lab) -> None:
    t, y, w = regression_world(10, 0.3, 0.0)
    check = sensitivity(lab.effect(y, t), benchmarks(t, y, w[:, :0]).strengths(0, np.arange(0), {}))
    assert check.passed
    assert check.threshold == 0
    assert "no measured column" in check.detail


def test_robustness_value_is_cinellis_and_hazletts(lab: Lab) -> None:
    t, y, w = regression_world(11, 0.3, 0.4)
    effect = adjusted(lab, t, y, w)
    X = np.column_stack([t, np.ones(ROWS), w])
    b = np.linalg.lstsq(X, y, rcond=None)[0]
    left = y - X @ b
    f = b[0] / np.sqrt((left @ left) * np.linalg.inv(X.T @ X)[0, 0])
    expected = 0.5 * (np.sqrt(f**4 + 4 * f**2) - f**2)
    assert robustness_value(effect) == pytest.approx(expected, rel=1e-6)
    assert 0 < robustness_value(effect) < 1


def test_strengths_are_those_of_regressions_within_items_and_users() -> None:
    """Blocks of several columns, one of them twice, one constant within items; dummies for every item and user."""
    draw = np.random.default_rng(12)
    n, users, items = 600, 20, 12
    user, item = draw.integers(0, users, n), draw.integers(0, items, n)
    w = draw.normal(size=(n, 3))
    fixed = draw.normal(size=items)[item]
    t = w @ [0.5, 0.2, 0.1] + fixed + draw.normal(size=n)
    y = 0.3 * t + w @ [0.4, -0.3, 0.0] + fixed + draw.normal(size=users)[user] + draw.normal(size=n)
    W = np.column_stack([w, w[:, 0], fixed])
    blocks = {"pair": np.array([0, 1, 3]), "one": np.array([2]), "fixed": np.array([4])}
    found = benchmarks(t, y, W, (item, user)).strengths(5, np.arange(5), blocks)
    dummies = [(codes[:, None] == np.arange(k)).astype(float) for codes, k in ((item, items), (user, users))]

    def rss(target: Floats, X: Floats) -> float:
        left = target - X @ np.linalg.lstsq(X, target, rcond=None)[0]
        return float(left @ left)

    for name, columns in (("pair", [0, 1]), ("one", [2])):
        others = np.column_stack([*dummies, np.delete(w, columns, axis=1)])
        for got, target, extra in zip(found[name], (t, y), (np.zeros((n, 0)), t[:, None]), strict=True):
            without = np.column_stack([others, extra])
            full = rss(target, np.column_stack([without, w[:, columns]]))
            assert got == pytest.approx(1 - full / rss(target, without), abs=2e-3)
    assert found["fixed"] == (0.0, 0.0)


def test_the_e_value_is_vanderweeles_and_dings() -> None:
    assert e_value(0.1, 0.1) == pytest.approx(2 + np.sqrt(2))  # a risk ratio of 2
    assert e_value(-0.1, 0.2) == pytest.approx(2 + np.sqrt(2))
    assert e_value(0.0, 0.3) == 1.0
    assert np.isnan(e_value(0.5, 0.6))
    assert np.isnan(e_value(-0.5, 0.4))


def test_the_e_value_is_told_of_probabilities(lab: Lab) -> None:
    t, y, _ = regression_world(13, 0.1, 0.0)
    effect = lab.effect(y, t)
    check = sensitivity(effect, {}, base=0.3)
    assert check.data["e_value"] == pytest.approx(e_value(effect.estimate, 0.3), rel=1e-5)
    assert "E-value" in check.detail
    assert "one standard deviation" in sensitivity(effect, {}, base=0.3, step=2.0).detail
    assert "E-value" not in sensitivity(effect, {}).detail
