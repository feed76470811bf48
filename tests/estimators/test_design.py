"""The design in factors says what the written-out matrix says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from whyrank.estimators.design import Design, Part
from whyrank.estimators.panel import build_panel

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab

ROWS = 400


def factored(seed: int = 0) -> tuple[Design, npt.NDArray[np.float64]]:
    """A design of users, items and two columns of the rows, and the same written out."""
    rng = np.random.default_rng(seed)
    users, items = rng.normal(size=(30, 3)).astype(np.float32), rng.normal(size=(12, 2)).astype(np.float32)
    wide = rng.normal(size=(ROWS, 2)).astype(np.float32)
    user, item = rng.integers(0, 30, ROWS).astype(np.int32), rng.integers(0, 12, ROWS).astype(np.int32)
    design = Design((Part(users, user), Part(items, item), Part(wide)), ROWS)
    return design, np.column_stack([users[user], items[item], wide]).astype(np.float64)


def test_rows_columns_and_scores_are_those_of_the_matrix() -> None:
    design, matrix = factored()
    assert design.width == matrix.shape[1]
    index, columns = np.array([5, 0, 399]), np.array([6, 1, 3])
    np.testing.assert_array_equal(design.rows(index, columns), matrix[np.ix_(index, columns)].astype(np.float32))
    for j in range(design.width):
        np.testing.assert_array_equal(design.column(j), matrix[:, j].astype(np.float32))
    rng = np.random.default_rng(1)
    vectors, which = rng.normal(size=(4, design.width)), rng.integers(0, 4, ROWS).astype(np.int8)
    np.testing.assert_allclose(design.scores(vectors, which), np.einsum("ij,ij->i", matrix, vectors[which]), atol=1e-6)
    np.testing.assert_allclose(design.score(vectors[0]), matrix @ vectors[0], atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_gram_and_moment_are_those_of_the_matrix(weighted: bool) -> None:
    design, matrix = factored()
    rng = np.random.default_rng(2)
    weights = rng.uniform(0.1, 3, ROWS) if weighted else None
    rows, y = np.sort(rng.choice(ROWS, 300, replace=False)), rng.normal(size=ROWS)
    X = np.column_stack([np.ones(300), matrix[rows]])
    w = np.ones(300) if weights is None else weights[rows]
    np.testing.assert_allclose(design.gram(rows, weights), X.T @ (w[:, None] * X), atol=1e-4)
    np.testing.assert_allclose(design.moment(y, rows), X.T @ y[rows], atol=1e-5)


def test_means_are_those_of_each_cluster_and_a_mask_takes_rows() -> None:
    design, matrix = factored()
    codes = np.random.default_rng(3).integers(0, 9, ROWS).astype(np.int32)
    expected = np.stack([matrix[codes == g].mean(axis=0) for g in range(9)])
    np.testing.assert_allclose(design.means(codes), expected, atol=1e-5)
    mask = codes > 4
    np.testing.assert_array_equal(design.take(mask).rows(np.arange(mask.sum())), matrix[mask].astype(np.float32))


def test_a_panel_holds_tables_and_not_rows(lab: Lab) -> None:
    rng = np.random.default_rng(4)
    events = {
        "user": rng.integers(0, 20, 5_000),
        "item": rng.integers(0, 10, 5_000),
        "y": rng.normal(size=5_000),
        "device": rng.choice(["phone", "desktop", "tablet"], 5_000, p=[0.5, 0.25, 0.25]),
        "dwell": rng.normal(size=5_000),
    }
    panel = build_panel(
        lab.study({"age": rng.normal(size=20)}, {"price": rng.normal(size=10)}, events), "events.y", "exposure"
    )
    assert sorted(len(part.matrix) for part in panel.design.parts) == [3, 10, 10, 20, 20, 5_000]
    where = panel.blocks["events.device"].levels.index("tablet")
    column = panel.design.column(int(panel.blocks["events.device"].columns[where]))
    np.testing.assert_array_equal(column, (events["device"] == "tablet").astype(np.float32))
    np.testing.assert_allclose(panel.values("events.dwell"), events["dwell"])
    dwell = panel.design.column(int(panel.blocks["events.dwell"].columns[0]))
    lasting = sum(panel.design.column(int(place)) for place in panel.means["events.dwell"])
    for codes in (events["item"], events["user"]):  # nothing that lasts in either is left
        left = np.bincount(codes, weights=dwell - lasting) / np.bincount(codes)
        assert left - left.mean() == pytest.approx(np.zeros(len(left)), abs=1e-4)
