"""The fast top-N is a full stable sort, cut off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.ranker.topn import top_n


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 3000),
    st.integers(1, 40),
    st.integers(1, 50),
    st.integers(0, 2**31),
    st.booleans(),
)
def test_top_n_is_the_head_of_a_stable_sort(rows: int, items: int, n: int, ties: int, seed: int, holes: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, ties, (rows, items)) / ties
    if holes:
        scores[rng.random((rows, items)) < 0.9] = -np.inf
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    np.testing.assert_array_equal(top_n(scores, n), expected)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_nothing_to_rank(shape: tuple[int, int]) -> None:
    assert top_n(np.zeros(shape), 4).shape == (shape[0], min(4, shape[1]))
