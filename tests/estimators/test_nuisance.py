"""Nuisances: out of fold, able to follow a curve, and able to say what another level would have given."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from whyrank.estimators.design import Design, Part
from whyrank.estimators.folded import Folded, make_folds
from whyrank.estimators.nuisance import Nuisance, fit_nuisance

ROWS = 6_000


def world(seed: int = 1) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Design (x, a 0/1 column), an outcome that bends in x and whose level pays only where x > 0, and items."""
    rng = np.random.default_rng(seed)
    item = rng.integers(0, 1_500, ROWS).astype(np.int32)
    x = rng.uniform(-2, 2, ROWS)
    has = (rng.random(ROWS) < 0.4).astype(np.float64)
    y = x**2 + 2 * has * (x > 0) + 0.5 * rng.normal(size=ROWS)
    return np.column_stack([x, has]).astype(np.float32), y, item


def fit(
    y: npt.NDArray[np.float64],
    design: npt.NDArray[np.float32],
    codes: npt.NDArray[np.int32],
    *,
    probability: bool = False,
    trees: bool = True,
) -> Nuisance:
    columns = np.arange(design.shape[1])
    folded = Folded(Design((Part(design),), len(y)), make_folds(codes, 5, np.random.default_rng(1)), 0, columns)
    return fit_nuisance(y, folded, columns, penalty=np.ones(len(columns)), probability=probability, trees=trees, seed=0)


def test_folds_are_whole_clusters_of_about_equal_number() -> None:
    codes = np.repeat(np.arange(103), 7).astype(np.int32)
    folds = make_folds(codes, 5, np.random.default_rng(0))
    assert len({(c, f) for c, f in zip(codes.tolist(), folds.tolist(), strict=True)}) == 103
    sizes = [len(np.unique(codes[folds == k])) for k in range(5)]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("probability", [False, True])
def test_no_row_is_predicted_from_its_own_cluster(probability: bool) -> None:
    design, y, item = world()
    y = (y > 1).astype(np.float64) if probability else y
    before = fit(y, design, item, probability=probability, trees=False).fitted
    folds = make_folds(item, 5, np.random.default_rng(1))
    changed = np.where(folds == 2, 1 - y if probability else y + 100, y)
    after = fit(changed, design, item, probability=probability, trees=False).fitted
    np.testing.assert_allclose(after[folds == 2], before[folds == 2], atol=1e-3 if probability else 1e-9)
    assert np.abs(after[folds != 2] - before[folds != 2]).max() > 0.01


def test_trees_follow_what_a_line_does_not() -> None:
    design, y, item = world()
    linear, curved = fit(y, design, item, trees=False), fit(y, design, item)
    assert curved.tree_share > 0
    assert np.mean((y - curved.fitted) ** 2) < 0.5 * np.mean((y - linear.fitted) ** 2)
    straight = np.random.default_rng(2).normal(size=ROWS) + design[:, 0]
    assert fit(straight, design, item).tree_share == 0


def test_another_level_is_asked_of_the_same_models() -> None:
    design, y, item = world()
    column = np.array([1])
    for trees in (False, True):
        nuisance = fit(y, design, item, trees=trees)
        ones, zeros = (nuisance.at(column, np.array([v], np.float32)) for v in (1.0, 0.0))
        has = design[:, 1] == 1
        np.testing.assert_allclose(ones[has], nuisance.fitted[has], atol=1e-9)
        np.testing.assert_allclose(zeros[~has], nuisance.fitted[~has], atol=1e-9)
        gain = ones - zeros
        assert gain.mean() == pytest.approx(1.0, abs=0.1)
    assert gain[design[:, 0] > 0.3].mean() > 1.5  # with trees, it depends on x
    assert gain[design[:, 0] < -0.3].mean() < 0.5


def test_probabilities_stay_inside() -> None:
    design, _, item = world()
    separated = (design[:, 0] > 0).astype(np.float64)
    p = fit(separated, design, item, probability=True).fitted
    assert p.min() > 0
    assert p.max() < 1
    assert np.mean((p > 0.5) == (separated > 0)) > 0.98
    rare = np.zeros(ROWS)
    rare[0] = 1
    p = fit(rare, design, item, probability=True).fitted
    assert 0 < p.mean() < 0.01


def test_an_intercept_stands_for_what_no_column_holds() -> None:
    rng = np.random.default_rng(3)
    user, item = rng.integers(0, 60, ROWS).astype(np.int32), rng.integers(0, 300, ROWS).astype(np.int32)
    thirst = rng.normal(size=60)
    y = thirst[user] + rng.normal(size=ROWS)
    none = np.zeros(0, np.intp)
    folds = make_folds(item, 5, np.random.default_rng(1))
    folded = Folded(Design((), ROWS), folds, 0, none)
    nuisance = fit_nuisance(y, folded, none, penalty=np.zeros(0), intercepts=(user,), seed=0)
    assert np.corrcoef(nuisance.fitted, thirst[user])[0, 1] > 0.98
    noise = rng.normal(size=ROWS)
    shrunk = fit_nuisance(noise, folded, none, penalty=np.zeros(0), intercepts=(user,), seed=0)
    assert np.std(shrunk.fitted) < 0.06  # sixty users, a hundred rows each: means alone would scatter by .1
