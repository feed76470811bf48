"""Questions to the proposing model: one opening for all of them, small flat answers, options in both orders.

Every prompt begins with the same text, the study's opening with its sample of the catalogue, and goes from what many
questions share to what is this one's own: a server that caches prefixes reads the shared part once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from zlib import crc32

import numpy as np
from pydantic import BaseModel

from whyrank.agents.catalogue import sample_texts
from whyrank.agents.client import Question
from whyrank.agents.schemas import answer_model
from whyrank.datasets.study_data import Attribute, StudyData
from whyrank.prompts import load_prompt

__all__ = ["NONE", "Letters", "short_sentence"]

NONE = "none"
"""The word for "no attribute"; no attribute is called so, since their names have a dot."""

_TEXTS_SHOWN = 4
_TEMPERATURE = 0.4
_LONGEST_SENTENCE = 200


@dataclass(frozen=True)
class Letters:
    """Writes the questions about one study; the same `seed` writes the same letters."""

    data: StudyData
    seed: int

    def question(
        self,
        name: str,
        fields: Mapping[str, Sequence[str] | None],
        *,
        max_tokens: int,
        sample: int = 0,
        example: Sequence[str] | None = None,
        **variables: Any,
    ) -> Question[BaseModel]:
        """Return the question of the prompt `name`, answered by `fields` (see `answer_model`).

        Parameters
        ----------
        name : of the prompt.
        fields : what the answer must hold.
        max_tokens : room for the answer.
        sample : the same question with another number is another draw.
        example : fields that the prompt shows as an example; all of them by default.
        variables : the prompt's own, beside the study and the sample of its catalogue.
        """
        shown = dict.fromkeys(fields if example is None else example, "...")
        prompt = load_prompt(name, self.data.config.study.language).render(
            study=self.data.config.study.name,
            samples=self._texts,
            example=json.dumps(shown, ensure_ascii=False, separators=(",", ":")),
            **variables,
        )
        return Question(
            prompt, answer_model(fields), name, sample=sample, max_tokens=max_tokens, temperature=_TEMPERATURE
        )

    def rng(self, *what: str) -> np.random.Generator:
        """A stream for each question, so that a further attribute or outcome leaves the others as they were."""
        return np.random.default_rng([self.seed, crc32("/".join(what).encode())])

    def some(self, attributes: Sequence[Attribute], most: int, *what: str) -> list[Attribute]:
        """At most `most` of them, drawn at random for the question `what`, in their own order."""
        if len(attributes) <= most:
            return list(attributes)
        drawn = self.rng(*what).choice(len(attributes), size=most, replace=False)
        return [attributes[i] for i in sorted(drawn)]

    @cached_property
    def longest_name(self) -> int:
        """Characters of the longest name of an attribute."""
        return max((len(name) for name in self.data.attributes), default=0)

    @cached_property
    def _texts(self) -> list[str]:
        return sample_texts(self.data, _TEXTS_SHOWN, self.seed)


def short_sentence(said: str | None) -> str:
    """Return what a model wrote as one short line, or "" if it is a name, a mark or "none".

    Examples
    --------
    >>> short_sentence("People look at  what it costs."), short_sentence("items.price"), short_sentence("None.")
    ('People look at what it costs.', '', '')
    """
    text = " ".join((said or "").split())[:_LONGEST_SENTENCE]
    several = len(text.split()) > 1 or (len(text) > 3 and not text.isascii())
    return text if several else ""
