"""Causal weights, scores in which only validated effects move an item, and the reasons behind them."""

from __future__ import annotations

from whyrank.ranker.context import Context, ContextLike, read_context
from whyrank.ranker.explain import Contribution, Explanation
from whyrank.ranker.rank import RECOMMEND_COLUMNS, Ranker
from whyrank.ranker.weights import WEIGHT_COLUMNS, Weights, causal_weights, fit_weights

__all__ = [
    "RECOMMEND_COLUMNS",
    "WEIGHT_COLUMNS",
    "Context",
    "ContextLike",
    "Contribution",
    "Explanation",
    "Ranker",
    "Weights",
    "causal_weights",
    "fit_weights",
    "read_context",
]
