"""Questions out, answers in: files for `vllm run-batch`, against the scripted model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from whyrank.agents.backend import request_body
from whyrank.agents.batch import OfflineClient, QuestionsPending, ReplyFile, write_questions
from whyrank.agents.calls import MemoryStore
from whyrank.agents.client import Client, Question, Usage
from whyrank.agents.propose import propose_llm
from whyrank.agents.schemas import answer_model, answered
from whyrank.agents.scripted import ScriptedModel, Sent
from whyrank.datasets.study_data import StudyData
from whyrank.errors import InputError
from whyrank.prompts import RenderedPrompt

WORD = answer_model({"items.price": ("raises", "lowers")})
GOOD = {"items.price": "lowers"}


def question(text: str, **more: Any) -> Question[BaseModel]:
    return Question(RenderedPrompt("test", text, "t:r"), WORD, "test", **more)


def any_answer(sent: Sent) -> dict[str, str]:
    """The first word that the schema offers, or a sentence."""
    properties = sent.params["schema"]["properties"]
    return {name: kind.get("enum", ["It costs less."])[0] for name, kind in properties.items()}


def work_off(questions: Path, replies: Path, *, spoil: Mapping[int, Any] | None = None) -> None:
    """Answer a file of questions as `vllm run-batch` does; `spoil` puts another line in the place of some."""
    lines = []
    for number, line in enumerate(questions.read_text(encoding="utf-8").splitlines()):
        asked = json.loads(line)
        assert (asked["method"], asked["url"]) == ("POST", "/v1/chat/completions")
        body = asked["body"]
        schema = body["response_format"]["json_schema"]["schema"]
        said = any_answer(Sent(tuple(body["messages"]), {"schema": schema}))
        completion = {
            "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": json.dumps(said)}}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2},
        }
        entry: Any = {
            "id": f"vllm-{number}",
            "custom_id": asked["custom_id"],
            "response": {"status_code": 200, "request_id": "1", "body": completion},
            "error": None,
        }
        change = (spoil or {}).get(number)
        lines.append(json.dumps(entry) if change is None else change(entry) if callable(change) else change)
    replies.write_text("\n".join(lines) + "\n", encoding="utf-8")


def content(text: str) -> Callable[[Any], str]:
    def change(entry: Any) -> str:
        entry["response"]["body"]["choices"][0]["message"]["content"] = text
        return json.dumps(entry)

    return change


def failed(entry: Any) -> str:
    return json.dumps(entry | {"response": {"status_code": 500, "body": None}, "error": "boom"})


def test_a_file_holds_what_would_be_sent_and_nothing_that_is_known(tmp_path: Path) -> None:
    store = MemoryStore()
    Client(ScriptedModel([GOOD], model="m"), store=store, seed=4).ask(question("One?"))
    client = OfflineClient("m", store=store, seed=4)
    with pytest.raises(QuestionsPending, match="2 calls for 'asking' wait") as waiting:
        client.ask_all([question("One?"), question("Two?"), question("Three?"), question("Two?")])
    write_questions(waiting.value, tmp_path / "questions.jsonl")

    model = ScriptedModel(lambda _: GOOD, model="m")
    live = Client(model, store=MemoryStore(), seed=4).ask_all([question("Two?"), question("Three?")])
    lines = [json.loads(line) for line in (tmp_path / "questions.jsonl").read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == [answer.keys[0] for answer in live]
    assert [line["body"] for line in lines] == [request_body("m", s.messages, s.params) for s in model.sent]


def test_replies_are_validated_like_live_ones(tmp_path: Path) -> None:
    questions = [question(f"{i}?") for i in range(8)]
    store = MemoryStore()
    with pytest.raises(QuestionsPending) as waiting:
        OfflineClient("m", store=store).ask_all(questions)
    write_questions(waiting.value, tmp_path / "q.jsonl")
    spoil = {1: content('{"items.price": "halves"}'), 2: content("  "), 3: failed, 4: "<html>", 5: '{"custom_id": "?"}'}
    work_off(tmp_path / "q.jsonl", tmp_path / "a.jsonl", spoil=spoil)

    replies = ReplyFile.open(tmp_path / "a.jsonl")
    client = OfflineClient("m", store=store, replies=replies)
    with pytest.raises(QuestionsPending) as still:
        client.ask_all(questions)
    assert (replies.replies, replies.unreadable, replies.unknown) == (7, 1, 1)
    assert (client.imported, dict(client.failures)) == (5, {"unknown_name": 1, "empty": 1, "server_error": 1})
    assert sorted(call.attempt for call in still.value.calls) == [1, 1, 1, 2, 2]
    kept = [record for record in store.records.values() if record.parsed]
    assert len(kept) == 3
    assert json.loads(kept[0].raw_reply)["choices"]

    model = ScriptedModel(lambda _: GOOD, model="m")
    answers = Client(model, store=store).ask_all(questions)
    assert len(model.sent) == 5
    assert Usage.of(answers).cached == 5
    assert all(answer.answer is not None and answered(answer.answer).keys() == GOOD.keys() for answer in answers)


def test_stage_by_stage_a_study_is_proposed_without_a_server(shop: Callable[..., StudyData], tmp_path: Path) -> None:
    data, store, stages = shop(), MemoryStore(), []
    replies = None
    for number in range(40):
        client = OfflineClient("m", store=store, seed=1, replies=replies)
        try:
            offline = propose_llm(data, client, seed=1)
        except QuestionsPending as pending:
            stages.append(pending.what)
            write_questions(pending, tmp_path / f"q{number}.jsonl")
            work_off(tmp_path / f"q{number}.jsonl", tmp_path / f"a{number}.jsonl")
            replies = ReplyFile.open(tmp_path / f"a{number}.jsonl")
        else:
            break
    assert len(stages) >= 3
    live = propose_llm(data, Client(ScriptedModel(any_answer, model="m"), seed=1), seed=1)
    assert offline.hypotheses == live.hypotheses != ()
    silent = ScriptedModel([], model="m")
    assert propose_llm(data, Client(silent, store=store, seed=1), seed=1).hypotheses == live.hypotheses


def twice(entry: Any) -> str:
    return "\n".join([failed(dict(entry)), json.dumps(entry), failed(dict(entry))])


def test_of_two_replies_to_one_question_the_one_that_worked_counts(tmp_path: Path) -> None:
    with pytest.raises(QuestionsPending) as waiting:
        OfflineClient("m").ask_all([question("One?")])
    write_questions(waiting.value, tmp_path / "q.jsonl")
    work_off(tmp_path / "q.jsonl", tmp_path / "a.jsonl", spoil={0: twice})
    client = OfflineClient("m", replies=ReplyFile.open(tmp_path / "a.jsonl"))
    assert client.ask_all([question("One?")])[0].answer is not None


@pytest.mark.parametrize(
    "text", ["", "\n\n", "<html></html>\n", '{"hello": 1}\n', "[1]\n", "\x00\xff\n", "[" * 100_000]
)
def test_a_file_that_holds_no_replies_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.jsonl.* holds no replies"):
        ReplyFile.open(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="can't be read"):
        ReplyFile.open(tmp_path / "missing.jsonl")


@pytest.mark.parametrize("body", [None, [], {"choices": []}, {"choices": [{"message": {"content": 7}}]}, "text"])
def test_odd_bodies_are_failures_not_crashes(tmp_path: Path, body: Any) -> None:
    with pytest.raises(QuestionsPending) as waiting:
        OfflineClient("m").ask_all([question("One?")])
    write_questions(waiting.value, tmp_path / "q.jsonl")

    def odd(entry: Any) -> str:
        return json.dumps(entry | {"response": {"status_code": 200, "body": body}})

    work_off(tmp_path / "q.jsonl", tmp_path / "a.jsonl", spoil={0: odd})
    client = OfflineClient("m", replies=ReplyFile.open(tmp_path / "a.jsonl"))
    with pytest.raises(QuestionsPending):
        client.ask_all([question("One?")])
    assert dict(client.failures) == {"not_a_completion": 1}


def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(QuestionsPending) as waiting:
        OfflineClient("m").ask_all([question("One?")])
    with pytest.raises(InputError, match=r"q\.jsonl.* can't be written"):
        write_questions(waiting.value, tmp_path / "no" / "q.jsonl")
