"""Proposing without a server: questions go out as a file, `vllm run-batch` or another program answers, answers come in.

Later questions follow from earlier answers, so it goes in steps: export, have the file answered, import and export what
is asked next, until nothing is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from whyrank.agents.batch import OfflineClient, QuestionsPending, ReplyFile, write_questions
from whyrank.agents.client import Progress
from whyrank.datasets.study_data import StudyData
from whyrank.errors import InputError
from whyrank.hypothesis_rounds import run_rounds
from whyrank.ledger import Ledger

__all__ = ["OfflineStep", "propose_offline"]


@dataclass(frozen=True)
class OfflineStep:
    """What one step came to.

    Attributes
    ----------
    imported : replies that were kept now.
    failures : replies and requests that couldn't be used, by kind; they are asked again.
    unknown, unreadable : replies in the file that nobody asked for, and lines that are none.
    what : what is asked next; "" if nothing is.
    pending : calls that wait for an answer.
    hypotheses : of the model, known by now.
    """

    imported: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    unknown: int = 0
    unreadable: int = 0
    what: str = ""
    pending: int = 0
    hypotheses: int = 0


def propose_offline(
    data: StudyData,
    ledger: Ledger,
    *,
    replies: Path | None = None,
    questions: Path | None = None,
    model: str | None = None,
    progress: Progress | None = None,
) -> OfflineStep:
    """Take in a file of replies, and write the questions that are to be answered next.

    Only the model's first round is asked this way: the next ones wait for verdicts. The critic asks for votes, since
    files hold no likelihoods.

    Parameters
    ----------
    data, ledger : the study.
    replies : in OpenAI's batch format; None to take in nothing.
    questions : where to write; None to write nothing.
    model : the model's name as it will be served, which is part of what is kept; the study's own by default.
    progress : called with what is being looked up and how much of it is done.

    Raises
    ------
    InputError
        If a file can't be used, or no model is named.
    """
    from whyrank.pipeline import memory_of

    llm = data.config.llm
    name = model or llm.model
    if name == "auto":
        raise InputError("name the model that will answer: `model` under [llm], or --model")
    found = ReplyFile.open(replies) if replies is not None else None
    study = data.config.study
    client = OfflineClient(name, store=ledger, seed=study.seed, language=study.language, replies=found)
    ledger.add_fingerprint(data)
    pending: QuestionsPending | None = None
    try:
        run_rounds(data, memory_of(data, ledger), validate=None, client=client, progress=progress)
    except QuestionsPending as waiting:
        pending = waiting
    if pending is not None and questions is not None:
        write_questions(pending, questions)
    return OfflineStep(
        imported=client.imported,
        failures=dict(sorted(client.failures.items())),
        unknown=found.unknown if found is not None else 0,
        unreadable=found.unreadable if found is not None else 0,
        what=pending.what if pending is not None else "",
        pending=len(pending.calls) if pending is not None else 0,
        hypotheses=sum(h.source == "llm" for h in ledger.hypotheses()),
    )
