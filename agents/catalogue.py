"""Texts of the catalogue that a model may see: a few, never with an id in them."""

from __future__ import annotations

import numpy as np

from whyrank.datasets.study_data import StudyData

__all__ = ["sample_texts"]


def sample_texts(data: StudyData, most: int, seed: int) -> list[str]:
    """Return at most `most` different texts of the study's first text column, drawn at random.

    A text that holds its own item's id, or a word that is some item's id, is passed over.
    """
    if not data.texts:
        return []
    column = data.items[data.texts[0].removeprefix("items.")]
    chosen: dict[str, None] = {}
    for i in np.random.default_rng([seed, 1]).permutation(len(column)):
        text = column.iloc[i]
        if not isinstance(text, str) or not text.strip():
            continue
        words = "".join(c if c.isalnum() or c in "-_" else " " for c in text).split()
        if str(data.item_ids[i]) in text or any(word in data.item_index for word in words):
            continue
        chosen[text.strip()] = None
        if len(chosen) == most:
            break
    return list(chosen)
