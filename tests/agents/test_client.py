"""The client against a scripted model: what is sent, tried again, kept, and never asked twice."""

from __future__ import annotations

import json
import tracemalloc
from concurrent.futures import Future
from typing import Any

import pytest
from pydantic import BaseModel

from whyrank.agents.backend import CallFailed, Reply
from whyrank.agents.calls import CallRecord, MemoryStore
from whyrank.agents.client import Client, Question, Usage
from whyrank.agents.flow import Flow, Patience
from whyrank.agents.progress import Asking
from whyrank.agents.schemas import answer_model, answered, json_schema
from whyrank.agents.scripted import ScriptedModel, Sent
from whyrank.errors import ServerError
from whyrank.prompts import RenderedPrompt

WORD = answer_model({"items.price": ("raises", "lowers")})
GOOD = {"items.price": "lowers"}


def question(text: str = "Well?", **more: Any) -> Question[BaseModel]:
    return Question(RenderedPrompt("test", text, "t:r"), WORD, "test", **more)


def test_a_schema_holds_the_names_and_nothing_else() -> None:
    assert json_schema(WORD) == {
        "type": "object",
        "properties": {"items.price": {"type": "string", "enum": ["raises", "lowers"]}},
        "required": ["items.price"],
        "additionalProperties": False,
    }
    titled = answer_model({"title": None})
    assert json_schema(titled)["properties"] == {"title": {"type": "string"}}


def test_an_answer_is_validated_and_kept_with_all_that_led_to_it() -> None:
    model, store = ScriptedModel([GOOD]), MemoryStore()
    reply = Client(model, store=store).ask(question())

    assert reply.answer is not None
    assert answered(reply.answer) == GOOD
    assert [dict(m) for m in model.sent[0].messages] == [{"role": "user", "content": "Well?"}]
    (record,) = store.records.values()
    assert record.key == reply.keys[0]
    assert (record.purpose, record.model, record.prompt, record.prompt_hash) == (
        "test",
        "scripted",
        "[user]\nWell?",
        "t:r",
    )
    assert json.loads(record.params)["schema"] == json_schema(WORD)
    assert json.loads(record.raw_reply)["choices"][0]["message"]["content"] == json.dumps(GOOD)
    assert record.parsed is not None
    assert json.loads(record.parsed) == GOOD
    assert record.error == ""


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (Reply('{"items.price": "low', finish="length"), "cut"),
        (Reply('{"items.price":' + "\n " * 100, finish="length"), "white_space"),
        (Reply(" \n" * 100, finish="length"), "white_space"),
        (Reply(""), "empty"),
        (Reply("", reasoning="The price, I think, lowers it."), "reasoning_only"),
        (Reply("", finish="content_filter"), "filtered"),
        (Reply("Prices lower sales."), "not_json"),
        (Reply("[" * 100_000), "not_json"),
        (Reply('{"items.price": "\\ud800"}'), "not_json"),
        (Reply('{"items.price": "halves"}'), "unknown_name"),
        (Reply('{"items.price": "lowers", "items.prize": "raises"}'), "unknown_name"),
        (Reply("{}"), "wrong_shape"),
        (Reply('["items.price"]'), "wrong_shape"),
    ],
)
def test_a_bad_reply_is_told_what_is_wrong_and_gets_two_more_tries(bad: Reply, kind: str) -> None:
    model, store = ScriptedModel([bad, GOOD]), MemoryStore()
    reply = Client(model, store=store).ask(question())

    assert reply.answer is not None
    assert [failure.partition(":")[0] for failure in reply.failures] == [kind]
    first, second = store.records.values()
    assert first.failure == kind
    assert first.parsed is None
    assert second.purpose == "retry:test"
    roles = [message["role"] for message in model.sent[1].messages]
    assert roles == ["user", "assistant", "user"]
    detail = first.error.partition(": ")[2]
    assert model.sent[1].text.startswith(f"That can't be used: {detail}.")

    stubborn = ScriptedModel([bad, bad, bad])
    given_up = Client(stubborn).ask(question())
    assert given_up.answer is None
    assert len(stubborn.sent) == len(given_up.failures) == len(given_up.keys) == 3


def test_json_in_the_reasoning_or_whole_before_the_limit_is_an_answer() -> None:
    for reply in (Reply("", reasoning=json.dumps(GOOD)), Reply(json.dumps(GOOD) + "\n" * 50, finish="length")):
        assert Client(ScriptedModel([reply])).ask(question()).answer is not None


def test_a_cut_reply_gets_more_room() -> None:
    model = ScriptedModel([Reply("{", finish="length"), GOOD])
    Client(model).ask(question(max_tokens=100))
    assert [sent.params["max_tokens"] for sent in model.sent] == [100, 150]


def test_nothing_is_asked_twice_bad_replies_included() -> None:
    store = MemoryStore()
    script: list[Any] = ["no", GOOD, "no", "no", "no"]
    questions = [question("One?"), question("Two?")]
    first = Client(ScriptedModel(script), store=store).ask_all(questions)
    silent = ScriptedModel([])
    second = Client(silent, store=store).ask_all(questions)

    assert silent.sent == []
    assert [a.answer for a in second] == [a.answer for a in first]
    assert Usage.of(second) == Usage(questions=2, unanswered=1, calls=0, cached=5, failures={"not_json": 4})


def test_equal_questions_in_one_go_are_asked_once() -> None:
    model = ScriptedModel([GOOD], slots=4)
    replies = Client(model).ask_all([question(), question(), question()])
    assert len(model.sent) == 1
    assert [r.cached for r in replies] == [0, 1, 1]


def test_what_determines_a_reply_is_in_its_key() -> None:
    variants = [question(), question("Other?"), question(sample=1), question(max_tokens=9), question(temperature=0.0)]
    keys = {Client(ScriptedModel([GOOD])).ask(q).keys for q in variants}
    keys.add(Client(ScriptedModel([GOOD], model="another")).ask(question()).keys)
    keys.add(Client(ScriptedModel([GOOD]), seed=1).ask(question()).keys)
    assert len(keys) == 7


def test_a_call_without_a_reply_is_kept_and_asked_again_next_time() -> None:
    store = MemoryStore()
    lost = Client(ScriptedModel([CallFailed("timeout", "too slow")]), store=store).ask(question())
    assert lost.answer is None
    assert lost.failures == ("timeout: too slow",)
    assert next(iter(store.records.values())).failure == "timeout"
    found = Client(ScriptedModel([GOOD]), store=store).ask(question())
    assert found.answer is not None
    assert found.cached == 0


def test_a_server_that_stops_answering_stops_the_run() -> None:
    store = MemoryStore()
    script: list[Any] = [GOOD, *[CallFailed("server_error", "boom")] * 20]
    questions = [question(str(i)) for i in range(50)]
    with pytest.raises(ServerError, match=r"stopped answering .*boom"):
        Client(ScriptedModel(script), store=store).ask_all(questions)
    assert len(store.records) == 21

    with pytest.raises(ServerError, match="gone"):
        Client(ScriptedModel([CallFailed("unreachable", "gone")])).ask_all(questions)


def test_one_refused_request_does_not_stop_the_others() -> None:
    model = ScriptedModel(lambda sent: CallFailed("rejected", "too long") if "long" in sent.text else GOOD)
    replies = Client(model).ask_all([question("long"), question("short")])
    assert [r.answer is None for r in replies] == [True, False]


def test_answers_keep_the_order_of_the_questions_and_progress_is_told() -> None:
    def echo(sent: Sent) -> dict[str, str]:
        return {"items.price": "raises" if int(sent.text) % 2 else "lowers"}

    told: list[tuple[str, int, int]] = []
    model = ScriptedModel(echo, slots=8)
    replies = Client(model).ask_all(
        [question(str(i)) for i in range(40)], what="asking", progress=lambda *args: told.append(args)
    )
    words = [answered(r.answer)["items.price"] for r in replies if r.answer is not None]
    assert words == ["lowers", "raises"] * 20
    assert told == [("asking", i, 40) for i in range(1, 41)]


class _KilledStore(MemoryStore):
    """Dies after some calls, as a process may at any moment."""

    def put(self, record: CallRecord) -> None:
        super().put(record)
        if len(self.records) == 3:
            raise KeyboardInterrupt


def test_after_a_kill_only_the_rest_is_asked() -> None:
    store = _KilledStore()
    questions = [question(str(i)) for i in range(10)]
    with pytest.raises(KeyboardInterrupt):
        Client(ScriptedModel(lambda _: GOOD), store=store).ask_all(questions)
    model = ScriptedModel(lambda _: GOOD)
    Client(model, store=MemoryStore(store.records)).ask_all(questions)
    assert len(model.sent) == 7


def test_prompts_that_begin_alike_are_asked_one_after_the_other() -> None:
    shops = {name: name * 300 for name in "abc"}
    texts = [shops[name] + shelf * 900 + str(i) for i in range(2) for shelf in "xy" for name in "abc"]
    model = ScriptedModel(lambda _: GOOD)
    client = Client(model)
    replies = client.ask_all([question(text) for text in texts])
    sent = [(one.text[0], one.text[300]) for one in model.sent]
    assert sent == [(name, shelf) for name in "abc" for shelf in "xy" for _ in range(2)]
    again = [client.ask(question(text)) for text in texts]
    assert [reply.keys for reply in replies] == [reply.keys for reply in again]


class _Watcher:
    def __init__(self) -> None:
        self.seen: list[Asking] = []

    def __call__(self, what: str, done: int, total: int) -> None:
        pass

    def show(self, asking: Asking) -> None:
        self.seen.append(asking)


def test_costs_are_told_as_they_come() -> None:
    store = MemoryStore()
    Client(ScriptedModel([GOOD]), store=store).ask(question("0"))
    script: list[Any] = [Reply(json.dumps(GOOD), tokens_in=100, tokens_out=20, retried=("overloaded",))]
    script += [Reply("no", tokens_in=100, tokens_out=1), GOOD, CallFailed("timeout", "slow")]
    watcher = _Watcher()
    replies = Client(ScriptedModel(script), store=store).ask_all(
        [question(str(i)) for i in range(4)], what="causes", progress=watcher
    )
    last = watcher.seen[-1]
    assert (last.what, last.done, last.total, last.calls, last.cached) == ("causes", 4, 4, 4, 1)
    assert (last.tokens_in, last.tokens_out) == (200, 21)
    assert (last.failures, last.retried) == ({"not_json": 1, "timeout": 1}, {"overloaded": 1})
    assert last.seconds_left == 0
    assert "4 calls, 221 tokens" in str(last)
    assert "1 known, 1 not_json, 1 timeout, 1 sent again" in str(last)
    usage = Usage.of(replies)
    assert (usage.calls, usage.cached, usage.tokens_in, usage.tokens_out) == (4, 1, 200, 21)
    assert (usage + usage).failures == {"not_json": 2, "timeout": 2}


class _Gone:
    """Answers three questions, and is gone when it is asked the fourth."""

    model, slots = "scripted", 8

    def __init__(self) -> None:
        self.flow = Flow(8, Patience())
        self.asked = 0

    def send(self, messages: Any, params: Any) -> Reply:
        raise NotImplementedError

    def submit(self, messages: Any, params: Any) -> Future[Reply]:
        self.asked += 1
        future: Future[Reply] = Future()
        if self.asked == 1:
            future.set_exception(ServerError("gone"))
        else:
            future.set_result(Reply(json.dumps(GOOD)))
        return future


def test_what_came_in_before_the_server_went_is_kept() -> None:
    store = MemoryStore()
    with pytest.raises(ServerError, match="gone"):
        Client(_Gone(), store=store).ask_all([question(str(i)) for i in range(20)])
    assert len(store.records) == 7


class _Blind(MemoryStore):
    """Keeps nothing: what stays in memory is the client's."""

    def put(self, record: CallRecord) -> None:
        pass


def test_memory_doesn_t_grow_with_what_was_asked() -> None:
    """Of a finished question its answer stays, and nothing of what was sent and received."""

    def grown(count: int) -> int:
        questions = [question(f"{i} " + "x" * 4000) for i in range(count)]
        client = Client(_Instant(), store=_Blind())
        tracemalloc.start()
        replies = client.ask_all(questions)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert all(reply.answer is not None for reply in replies)
        return peak

    few, many = grown(50), grown(350)
    assert (many - few) / 300 < 2_500, "bytes a question; its prompt alone has 4,000"


class _Instant(_Gone):
    def submit(self, messages: Any, params: Any) -> Future[Reply]:
        self.asked += 1
        return super().submit(messages, params)
