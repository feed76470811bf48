"""Labels of items, read out of their texts by a model: votes or likelihoods, and nothing where they disagree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from whyrank.agents.client import Client, Progress, Question, Usage
from whyrank.agents.critic import choose_strategy
from whyrank.agents.likelihood import Scored, likelihood_usage, score_all
from whyrank.agents.schemas import answer_model, answered
from whyrank.datasets.study_data import StudyData
from whyrank.datasets.text_clean import IdMask, item_texts, shorten, text_hash
from whyrank.datasets.text_labels import Label, LabelBook
from whyrank.datasets.text_schema import TextAttribute, TextSchema
from whyrank.errors import InputError
from whyrank.prompts import Language, load_prompt

__all__ = ["UNCLEAR", "Labelled", "label_items"]

UNCLEAR = "unclear"
"""What a model may always say: then the label is missing."""

_SIMILAR = 0.05
"""How far apart, in cosines, two levels must be for the nearer one to be e times as probable."""

_COMPARED = 100
"""Texts of the catalogue that a likelihood is held against, at most."""

_EMBEDDED = 64
"""Texts in one request for embeddings."""


@dataclass(frozen=True)
class Labelled:
    """What labelling came to.

    Attributes
    ----------
    book : all labels, new and old.
    new : labels made now; missing ones count.
    method : how.
    usage : what it cost.
    """

    book: LabelBook
    new: int
    method: str
    usage: Usage


@dataclass(frozen=True)
class _Task:
    """One item's text and one attribute."""

    item: str
    text: str
    hash: str
    attribute: TextAttribute


def label_items(
    data: StudyData,
    schema: TextSchema,
    book: LabelBook,
    client: Client,
    *,
    again: bool = False,
    progress: Progress | None = None,
) -> Labelled:
    """Label every item that has no label for its text and the attribute's definition as they are now.

    Each label is the level that most votes, or most of the probability, fall on, with that share as its agreement;
    readers take one with less than `schema.agreement` as missing. It is "" if most say that the text doesn't tell. Ids
    are masked in what a model reads. Calls are kept in the client's store: after a kill nothing is asked twice.

    Parameters
    ----------
    data, schema, book : the study, the attributes, and the labels there are.
    client : whom to ask.
    again : label anew what has a label too, but for those that a person wrote.
    progress : called with what is being asked and how much of it is done.

    Raises
    ------
    InputError
        If the method asks for what the server can't do.
    ServerError
        If the server is gone.
    """
    language = data.config.study.language
    everything = _tasks(data, schema)
    tasks = [task for task in everything if _open(task, book, again)]
    if not tasks:
        return Labelled(book, 0, schema.method, Usage.of([]))
    method, usage = schema.method, Usage.of([])
    if method == "auto":
        chosen, usage = choose_strategy(client, language=language, progress=progress)
        method = "likelihood" if chosen == "normalised likelihood" else "votes"
    if method == "votes":
        shares, cost = _by_votes(tasks, schema, client, language, progress)
    elif method == "likelihood":
        shares, cost = _by_likelihood(tasks, everything, client, language, progress)
    else:
        shares, cost = _by_similarity(tasks, client, progress)
    made = [
        _label(task, share, method, client.backend.model)
        for task, share in zip(tasks, shares, strict=True)
        if share is not None
    ]
    return Labelled(book.updated(made), len(made), method, usage + cost)


def _tasks(data: StudyData, schema: TextSchema) -> list[_Task]:
    """Every item and attribute, but for items whose text is empty: nothing can be read out of it."""
    texts = item_texts(data.items, list(data.texts))
    hashes = [text_hash(text) for text in texts]
    mask = IdMask([*data.user_ids, *data.item_ids])
    tasks = []
    for attribute in schema.used:
        for item, text, hashed in zip(map(str, data.item_ids), texts, hashes, strict=True):
            if text:
                tasks.append(_Task(item, shorten(mask(text, item), schema.longest), hashed, attribute))
    return tasks


def _open(task: _Task, book: LabelBook, again: bool) -> bool:
    label = book.current(task.item, task.attribute, task.hash)
    return label is None or (again and label.by != "hand")


def _by_votes(
    tasks: Sequence[_Task], schema: TextSchema, client: Client, language: Language, progress: Progress | None
) -> tuple[list[dict[str, float] | None], Usage]:
    questions = [_question(task, vote, schema, language) for task in tasks for vote in range(schema.votes)]
    answers = client.ask_all(questions, what="labels of items", progress=progress)
    shares: list[dict[str, float] | None] = []
    for i in range(len(tasks)):
        mine = answers[i * schema.votes : (i + 1) * schema.votes]
        said = Counter(answered(one.answer)["answer"] for one in mine if one.answer is not None)
        shares.append({level: count / said.total() for level, count in said.items()} if said else None)
    return shares, Usage.of(answers)


def _question(task: _Task, vote: int, schema: TextSchema, language: Language) -> Question[BaseModel]:
    levels = list(task.attribute.levels.items())
    if vote % 2:
        levels.reverse()
    prompt = load_prompt("label", language).render(
        definition=task.attribute.definition, levels=levels, text=task.text, longest=schema.longest + 8
    )
    words = [*(level for level, _ in levels), UNCLEAR]
    return Question(prompt, answer_model({"answer": words}), "label", sample=vote // 2, max_tokens=32, temperature=0.4)


def _by_likelihood(
    tasks: Sequence[_Task],
    everything: Sequence[_Task],
    client: Client,
    language: Language,
    progress: Progress | None,
) -> tuple[list[dict[str, float] | None], Usage]:
    """The probability of each level's meaning after the text, beside that after any other text of the catalogue.

    A meaning that is a likely thing to say anyway wins nothing by it: its mean over texts of the catalogue is taken
    off, which are the same ones however few items are labelled now.
    """
    asked = [*tasks, *_typical(tasks, everything)]
    places: list[tuple[int, str]] = []
    texts: list[Scored] = []
    for i, task in enumerate(asked):
        for level, meaning in task.attribute.levels.items():
            places.append((i, level))
            texts.append(_scored(task.text, meaning or level, language))
    scores = score_all(client, texts, what="likelihoods of labels", progress=progress)
    told: dict[tuple[int, str], float] = {
        place: score.logprob for place, score in zip(places, scores, strict=True) if score is not None
    }
    typical: dict[tuple[str, str], list[float]] = {}
    for (i, level), logprob in told.items():
        if i >= len(tasks):
            typical.setdefault((asked[i].attribute.name, level), []).append(logprob)
    shares: list[dict[str, float] | None] = []
    for i, task in enumerate(tasks):
        gains = {
            level: told[i, level] - _mean(typical[task.attribute.name, level])
            for level in task.attribute.levels
            if (i, level) in told and (task.attribute.name, level) in typical
        }
        shares.append(_softmax(gains) if len(gains) == len(task.attribute.levels) else None)
    return shares, likelihood_usage(scores)


def _typical(tasks: Sequence[_Task], everything: Sequence[_Task]) -> list[_Task]:
    """Texts of the catalogue to compare with, for each attribute in question: always the same ones, by their hashes."""
    names = dict.fromkeys(task.attribute.name for task in tasks)
    ordered = sorted(everything, key=lambda task: task.hash)
    return [task for name in names for task in [t for t in ordered if t.attribute.name == name][:_COMPARED]]


def _scored(text: str, meaning: str, language: Language) -> Scored:
    whole = load_prompt("label_sentence", language).render(text=text, meaning=meaning).text
    start = whole[: whole.rindex(meaning)].rstrip()
    return Scored(start, whole[len(start) :])


def _by_similarity(
    tasks: Sequence[_Task], client: Client, progress: Progress | None
) -> tuple[list[dict[str, float] | None], Usage]:
    """The level whose meaning lies nearest to the text, by the server's embeddings."""
    embed: Any = getattr(client.backend, "embed", None)
    if embed is None:
        raise InputError(f"labels by similarity need embeddings, and the server of {client.backend.model!r} has none")
    phrases = list(dict.fromkeys(m or level for task in tasks for level, m in task.attribute.levels.items()))
    texts = list(dict.fromkeys(task.text for task in tasks))
    wanted, vectors = [*phrases, *texts], []
    for start in range(0, len(wanted), _EMBEDDED):
        vectors += embed(wanted[start : start + _EMBEDDED])
        if progress is not None:
            progress("embeddings of texts", len(vectors), len(wanted))
    found = dict(zip(wanted, vectors, strict=True))
    shares: list[dict[str, float] | None] = [
        _softmax(
            {
                level: _cosine(found[task.text], found[meaning or level]) / _SIMILAR
                for level, meaning in task.attribute.levels.items()
            }
        )
        for task in tasks
    ]
    return shares, Usage(questions=len(texts), calls=math.ceil(len(wanted) / _EMBEDDED), failures={})


def _label(task: _Task, shares: dict[str, float], method: Any, model: str) -> Label:
    level, share = max(shares.items(), key=lambda one: (one[1], one[0]))
    return Label(
        item=task.item,
        attribute=task.attribute.name,
        label="" if level == UNCLEAR else level,
        agreement=round(share, 4),
        by=method,
        model=model,
        text=task.hash,
        definition=task.attribute.hash,
    )


def _softmax(gains: dict[str, float]) -> dict[str, float]:
    most = max(gains.values())
    weights = {level: math.exp(gain - most) for level, gain in gains.items()}
    total = sum(weights.values())
    return {level: weight / total for level, weight in weights.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    size = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / size if size else 0.0
