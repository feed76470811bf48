"""Attributes that the catalogue's texts tell and no table holds: a model proposes them, people edit them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from whyrank.agents.client import Client, Progress, Question, Usage
from whyrank.agents.schemas import answer_model, answered
from whyrank.datasets.study_data import StudyData
from whyrank.datasets.text_clean import IdMask, item_texts, shorten
from whyrank.datasets.text_schema import TextAttribute, TextSchema
from whyrank.errors import InputError
from whyrank.prompts import load_prompt

__all__ = ["ProposedSchema", "propose_schema"]

_SAMPLE, _LONGEST, _KNOWN = 8, 200, 24
_FIELDS = ("name", "question", "one", "other")
_SIDES = {"en": ("no", "yes"), "zh": ("否", "是")}


@dataclass(frozen=True)
class ProposedSchema:
    """What a model proposed: usable attributes, answers that weren't, and the cost."""

    schema: TextSchema
    unusable: int
    usage: Usage


def propose_schema(
    data: StudyData, client: Client, *, seed: int, most: int = 3, progress: Progress | None = None
) -> ProposedSchema:
    """Ask what the texts tell that no table holds, each time with other texts; at most `most` attributes come back.

    Raises
    ------
    InputError
        If the study has no texts.
    ServerError
        If the server is gone.
    """
    if not data.texts:
        raise InputError("there are no texts to read: name text columns as `text` under [items]")
    language = data.config.study.language
    mask = IdMask([*data.user_ids, *data.item_ids])
    texts = item_texts(data.items, list(data.texts))
    rows = [i for i, text in enumerate(texts) if text]
    if not rows:
        raise InputError(f"every item's text is empty: {', '.join(data.texts)}")
    known = [a.column.replace("_", " ") for a in data.attributes.values() if a.table == "items"][:_KNOWN]
    schema = answer_model(dict.fromkeys(_FIELDS))
    questions = []
    for number in range(2 * most):
        drawn = np.random.default_rng([seed, 17, number]).permutation(rows)[:_SAMPLE]
        prompt = load_prompt("text_attributes", language).render(
            study=data.config.study.name,
            samples=[shorten(mask(texts[i], data.item_ids[i]), _LONGEST) for i in drawn],
            known=known,
        )
        questions.append(Question(prompt, schema, "text_attributes", sample=number, max_tokens=160, temperature=0.7))
    answers = client.ask_all(questions, what="what texts tell", progress=progress)
    taken = {a.column.casefold() for a in data.attributes.values()} | {text.casefold() for text in data.texts}
    found: dict[str, TextAttribute] = {}
    unusable = 0
    for answer in answers:
        attribute = None if answer.answer is None else _attribute(answered(answer.answer), language)
        if attribute is None or attribute.name.casefold() in taken:
            unusable += 1
        else:
            found.setdefault(attribute.name, attribute)
    return ProposedSchema(TextSchema(tuple(found.values())[:most]), unusable, Usage.of(answers))


def _attribute(said: dict[str, str], language: str) -> TextAttribute | None:
    """The attribute that an answer describes; None if it describes none."""
    clean = {field: " ".join(said[field].split()) for field in _FIELDS}
    name = re.sub(r"[^\w]+", "_", clean["name"].lower()).strip("_")[:32].strip("_")
    one, other = clean["one"][:80].rstrip(".。"), clean["other"][:80].rstrip(".。")
    if not re.fullmatch(r"[^\W\d]\w+", name) or len(clean["question"]) < 4 or not one or one == other or not other:
        return None
    no, yes = _SIDES[language]
    return TextAttribute(name, clean["question"][:200], {no: other, yes: one})
