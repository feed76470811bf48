"""Features of the items' texts that no model is asked for: keywords, topics, tone and length, in English and Chinese.

They are computed from the texts alone, never from behaviour, so that no outcome leaks into them.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["FEATURES", "TextFeature", "TextFeatureName", "sentiment", "text_features", "tokens"]

TextFeatureName = Literal["keywords", "topics", "embeddings", "sentiment", "length"]
"""Words that many texts hold and many don't; themes; coordinates of meaning; how friendly, and how long, a text is."""

FEATURES: tuple[TextFeatureName, ...] = ("keywords", "topics", "embeddings", "sentiment", "length")

KEYWORDS = 12
"""Keywords that become attributes, at most."""

TOPICS = 5
"""Themes that become attributes, at most."""

DIMENSIONS = 8
"""Coordinates of an embedding, at most."""

_LEAST_TEXTS, _LEAST_SHARE, _MOST_SHARE = 5, 0.05, 0.6
_SAME = 0.8
_WORD = re.compile(r"[a-zà-öø-ÿ][a-zà-öø-ÿ'-]+")
_WIDE = re.compile(r"[\u3400-\u9fff]+")
_GOOD = frozenset(
    re.findall(
        r"\S+",
        """
    amazing beautiful best bright cheerful clever comfortable cosy delicious delightful durable easy elegant
    excellent fantastic fine fresh friendly fun good gorgeous great handy happy lovely luxurious nice perfect
    pleasant practical premium quality reliable robust safe smart soft strong stylish superb sturdy useful
    wonderful
    """,
    )
)
_BAD = frozenset(
    re.findall(
        r"\S+",
        """
    awful bad boring broken cheap clumsy damaged dangerous defective difficult dirty dull faulty flimsy fragile
    harsh heavy limited noisy old poor rough sad scratched slow stiff terrible ugly uncomfortable unreliable
    unsafe used useless weak worn worst wrong
    """,
    )
)
_NOT = frozenset(["no", "not", "never", "without", "hardly", "n't"])
_GOOD_ZH = (
    "好",
    "美",
    "优质",
    "精美",
    "舒适",
    "耐用",
    "可靠",
    "方便",
    "实用",
    "漂亮",
    "高端",
    "安全",
    "完美",
    "轻松",
    "时尚",
    "健康",
    "新鲜",
    "温馨",
)
_BAD_ZH = (
    "差",
    "坏",
    "破",
    "旧",
    "脏",
    "丑",
    "劣质",
    "危险",
    "损坏",
    "瑕疵",
    "难用",
    "笨重",
    "粗糙",
    "易碎",
    "缺陷",
    "噪音",
)
_NOT_ZH = ("不", "没", "无", "别", "非")


@dataclass(frozen=True)
class TextFeature:
    """One feature.

    Attributes
    ----------
    name : column, such as `text_wooden`, `topic_1`, `text_sentiment`.
    binary : whether it is 0/1; else it is a number.
    values : one per text; NaN where there is no text.
    description : what it is, for people and models.
    """

    name: str
    binary: bool
    values: npt.NDArray[np.float64]
    description: str


def text_features(texts: Sequence[str], wanted: Sequence[TextFeatureName]) -> list[TextFeature]:
    """Compute features of texts; the same texts give the same features, whatever their order.

    Parameters
    ----------
    texts : cleaned, one an item; "" where there is none.
    wanted : which.

    Examples
    --------
    >>> [f.name for f in text_features(["A lovely mug", "", "A mug"], ["sentiment", "length"])]
    ['text_sentiment', 'text_length']
    """
    there = np.array([bool(text) for text in texts])
    found: list[TextFeature] = []
    words = [tokens(text) for text in texts] if set(FEATURES) - {"sentiment"} & set(wanted) else []
    if "keywords" in wanted:
        found += _keywords(words, there)
    if "topics" in wanted:
        found += _topics(words, there)
    if "embeddings" in wanted:
        found += _embeddings(words, there)
    if "sentiment" in wanted:
        tone = np.array([sentiment(text) for text in texts])
        description = "how friendly the wording is, from -1 to 1"
        found.append(TextFeature("text_sentiment", False, np.where(there, tone, np.nan), description))
    if "length" in wanted:
        length = np.array([math.log1p(len(one)) for one in words])
        found.append(
            TextFeature("text_length", False, np.where(there, length, np.nan), "length of the text, log words")
        )
    return found


def tokens(text: str) -> list[str]:
    """Return the words of a text in lower case; Chinese runs give every two neighbouring characters.

    Examples
    --------
    >>> tokens("The WOODEN toy, 3 parts"), tokens("木制玩具")
    (['the', 'wooden', 'toy', 'parts'], ['木制', '制玩', '玩具'])
    """
    return [*_WORD.findall(text.lower()), *(pair for run in _WIDE.findall(text) for pair in _pairs(run))]


def _pairs(run: str) -> Iterator[str]:
    yield from ([run] if len(run) == 1 else [run[i : i + 2] for i in range(len(run) - 1)])


def sentiment(text: str) -> float:
    """Return the tone of a text, from -1 to 1: friendly words less unfriendly ones, turned round after a negation.

    A short list of words of the catalogue trade, no measure of opinion.

    Examples
    --------
    >>> sentiment("A lovely, sturdy box"), sentiment("not safe"), sentiment("做工精美"), sentiment("")
    (0.67, -0.5, 0.5, 0.0)
    """
    score = [0, 0]
    before = ""
    for word in re.findall(r"[a-z']+", text.lower()):
        sign = (word in _GOOD) - (word in _BAD)
        if sign:
            score[(sign > 0) == (before not in _NOT)] += 1
        before = word
    for words, sign in ((_GOOD_ZH, True), (_BAD_ZH, False)):
        for hit in re.finditer("|".join(sorted(words, key=lambda word: -len(word))), text):
            score[sign == (text[max(hit.start() - 1, 0) : hit.start()] not in _NOT_ZH)] += 1
    return round((score[1] - score[0]) / (score[0] + score[1] + 1), 2)


def _keywords(words: Sequence[Sequence[str]], there: npt.NDArray[np.bool_]) -> list[TextFeature]:
    """Words that tell texts apart: in neither too few nor too many, the most even ones first, none twice over."""
    holding = [set(one) for one in words]
    known = int(there.sum())
    counts = Counter(word for one in holding for word in one)
    least, most = max(_LEAST_TEXTS, _LEAST_SHARE * known), _MOST_SHARE * known
    stop = _stop_words()
    candidates = [word for word, count in counts.items() if least <= count <= most and word not in stop]
    candidates.sort(key=lambda word: (-counts[word] * (known - counts[word]), word))
    chosen: list[tuple[str, npt.NDArray[np.float64]]] = []
    for word in candidates[: 20 * KEYWORDS]:
        values = np.array([float(word in one) for one in holding])
        if all(_alike(values[there], other[there]) < _SAME for _, other in chosen):
            chosen.append((word, values))
        if len(chosen) == KEYWORDS:
            break
    return [
        TextFeature(f"text_{word}", True, np.where(there, values, np.nan), f"the text holds the word '{word}'")
        for word, values in chosen
    ]


def _alike(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    return abs(float(np.corrcoef(one, other)[0, 1])) if one.std() and other.std() else 0.0


def _topics(words: Sequence[Sequence[str]], there: npt.NDArray[np.bool_]) -> list[TextFeature]:
    """Themes by non-negative matrix factorisation of tf-idf weights (Lee and Seung 1999), the largest first."""
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    weights, names = _weights(words, there)
    count = min(TOPICS, weights.shape[1] - 1, weights.shape[0] // 10)
    if count < 2:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = NMF(count, init="nndsvda", random_state=0, max_iter=300)
        shares = model.fit_transform(weights)
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    order = np.argsort(-shares.sum(axis=0), kind="stable")
    found = []
    for place, topic in enumerate(order, start=1):
        values = np.full(len(there), np.nan)
        values[there] = np.round(shares[:, topic], 6)
        telling = ", ".join(names[np.argsort(-model.components_[topic], kind="stable")[:4]])
        found.append(TextFeature(f"topic_{place}", False, values, f"share of the theme: {telling}"))
    return found


def _embeddings(words: Sequence[Sequence[str]], there: npt.NDArray[np.bool_]) -> list[TextFeature]:
    """Coordinates of meaning: the leading singular vectors of tf-idf weights (Deerwester et al. 1990), largest first.

    Texts that use words which go together in the catalogue lie near each other. The sign is that of the largest weight.
    """
    from scipy.sparse.linalg import svds

    weights, names = _weights(words, there)
    count = min(DIMENSIONS, weights.shape[1] - 1, weights.shape[0] // 10)
    if count < 1:
        return []
    _, strengths, right = svds(weights, k=count, v0=np.ones(min(weights.shape)))
    found = []
    for place, axis in enumerate(np.argsort(-strengths, kind="stable"), start=1):
        along = right[axis] * np.sign(right[axis][np.argmax(np.abs(right[axis]))])
        values = np.full(len(there), np.nan)
        values[there] = np.round(weights @ along, 6)
        telling = ", ".join(names[np.argsort(-np.round(np.abs(along), 9), kind="stable")[:4]])
        found.append(TextFeature(f"text_meaning_{place}", False, values, f"coordinate of meaning: {telling}"))
    return found


def _weights(words: Sequence[Sequence[str]], there: npt.NDArray[np.bool_]) -> tuple[Any, npt.NDArray[np.object_]]:
    """Return tf-idf weights of the texts that there are, shape (texts, words), and the words; no words if none tell."""
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfVectorizer

    known = [list(one) for one, has in zip(words, there.tolist(), strict=True) if has]
    stop = _stop_words()
    vectorizer = TfidfVectorizer(
        analyzer=lambda one: [word for word in one if word not in stop],
        min_df=max(2, round(0.02 * len(known))),
        max_df=_MOST_SHARE,
    )
    try:
        weights = vectorizer.fit_transform(known)
    except ValueError:  # no word stands in enough texts
        return sparse.csr_matrix((len(known), 0)), np.array([], dtype=object)
    return weights, np.asarray(vectorizer.get_feature_names_out(), dtype=object)


def _stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)
