"""The ledger keeps what it is given, exactly, whoever writes and whenever it is killed."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.agents.calls import CallRecord
from whyrank.agents.rounds import Round
from whyrank.datasets import load_study
from whyrank.datasets.world import WorldSpec, simulate, write_world
from whyrank.edge import Contrast, Edge, Hypothesis
from whyrank.errors import LedgerError, NameNotFound
from whyrank.estimators.estimate import Check, Estimate, Judgement
from whyrank.ledger import Ledger
from whyrank.ledger.codec import decode, encode, write_json

NAN = float("nan")
PRICE = Edge("items.price", "events.purchase")


def an_estimate(edge: Edge = PRICE, level: str = "", **changes: Any) -> Estimate:
    """Return a blocked or plain estimate of one contrast."""
    values: dict[str, Any] = {
        "contrast": Contrast(edge, level=level, bracket=bool(level)),
        "grain": "exposure", "population": "all rows", "scale": "probability", "scope": "items like these",
        "estimate": -0.02, "se": 0.004, "ci_low": -0.028, "ci_high": -0.012, "naive": 0.01, "naive_significant": True,
        "p_value": 1e-7, "dof": 41.0, "n": 1000, "n_users": 100, "n_items": 42, "ess": 1000.0, "clusters": "user, item",
        "overlap": NAN, "robustness_value": 0.1, "adjusted_for": ("items.brand",), "estimator": "partialling-out",
        "smaller_arm": 42, "warnings": ("a warning",),
        "checks": (Check("placebo", True, 0.3, 0.05, "fine", {"draws": [0.1, NAN, -math.inf]}),),
    }  # fmt: skip
    return Estimate(**{**values, **changes})


def a_call(key: str = "k1", **changes: Any) -> CallRecord:
    """Return a call that was answered."""
    values: dict[str, Any] = {
        "key": key, "purpose": "causes", "model": "m", "prompt": "Which of these…?", "prompt_hash": "a:b",
        "params": "{}", "raw_reply": '{"causes":["items.price"]}', "parsed": "{}", "error": "",
        "tokens_in": 3, "tokens_out": 4, "seconds": 0.5, "created_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    return CallRecord(**{**values, **changes})


def same(a: object, b: object) -> bool:
    """Compare by text: NaN isn't equal to itself."""
    return encode(a) == encode(b)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a shop? 100%#" / ".whyrank" / "ledger.sqlite"


def test_estimates_and_checks_come_back_exactly(path: Path) -> None:
    estimates = [an_estimate(), an_estimate(Edge("items.brand", "events.click"), "premium", estimate=NAN, p_value=NAN)]
    with Ledger.open(path) as ledger:
        for estimate in estimates:
            ledger.add_estimate("f", "s", estimate)
            ledger.add_estimate("f", "s", dataclasses.replace(estimate, n=7))
        ledger.add_estimate("other data", "s", an_estimate(n=7))
    with Ledger.open(path) as ledger:
        found = ledger.estimates("f", "s")
        assert ledger.estimates("f", "other settings") == []
    assert [e.contrast.label for e in found] == [
        "items.brand[premium] -> events.click",
        "items.price -> events.purchase",
    ]
    assert same(found[0], estimates[1])
    assert same(found[1], estimates[0])
    draws = found[1].checks[0].data["draws"]
    assert math.isnan(draws[1])
    assert draws[2] == -math.inf
    assert isinstance(found[1].adjusted_for, tuple)


finite_or_not = st.floats(allow_nan=True, allow_infinity=True)
texts = st.text(max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    finite_or_not, finite_or_not, texts, st.lists(texts, max_size=3), st.dictionaries(texts, finite_or_not, max_size=2)
)
def test_any_judgement_survives_the_round_trip(
    number: float, statistic: float, text: str, several: list[str], data: dict[str, float]
) -> None:
    check = Check("placebo", None, statistic, number, text, dict(sorted(data.items())))
    estimate = an_estimate(PRICE, text, estimate=number, warnings=tuple(several), checks=(check, check))
    judgement = Judgement(estimate, "refuted", tuple(several), statistic, "+", text)
    back = decode(Judgement, encode(judgement))
    assert repr(back) == repr(judgement)
    json.loads(encode(judgement), parse_constant=pytest.fail)


def test_numpy_numbers_are_kept_as_numbers_and_objects_are_refused() -> None:
    assert (
        write_json({"a": np.float64(0.1), "b": np.array([1, 2]), "c": np.bool_(True)}) == '{"a":0.1,"b":[1,2],"c":true}'
    )
    with pytest.raises(LedgerError, match="got object"):
        write_json({"a": object()})


def test_verdict_sets_keep_their_order_and_the_latest_is_the_default(path: Path) -> None:
    first = [Judgement(an_estimate(), "inconclusive", ("few items",), NAN, "", "exhaustive")]
    plus, minus = (
        Judgement(an_estimate(), "refuted", (), 0.01, "+", "llm"),
        Judgement(an_estimate(), "validated", (), 0.01, "-", "llm"),
    )
    with Ledger.open(path) as ledger:
        assert ledger.judgements() == []
        ledger.add_verdicts("one", first)
        ledger.add_verdicts("two", [plus, minus], fingerprint="f", settings_hash="s")
        ledger.add_verdicts("one", first)
        assert list(map(encode, ledger.judgements())) == [encode(plus), encode(minus)]
        assert same(ledger.judgements("one")[0], first[0])
        assert [s.id for s in ledger.verdict_sets()] == ["one", "two"]
        with pytest.raises(LedgerError, match="'one' already holds other verdicts"):
            ledger.add_verdicts("one", [plus])
        with pytest.raises(LedgerError, match="no verdict set 'three'"):
            ledger.judgements("three")


def test_hypotheses_are_unique_and_ordered_by_meaning(path: Path) -> None:
    late = Hypothesis(PRICE, "-", "dear things sell less", source="llm", round=2, confidence=0.5, call_keys=("k1",))
    early = Hypothesis(PRICE, source="file")
    with Ledger.open(path) as ledger:
        ledger.add_hypotheses([late, early])
        ledger.add_hypotheses([dataclasses.replace(late, mechanism="another wording")])
        assert ledger.hypotheses() == [early, late]


def test_likelihood_and_unmeasured_causes_are_columns_too(path: Path) -> None:
    claim = Hypothesis(PRICE, source="llm", likelihood=-0.5, unmeasured=("quality", "口碑"))
    with Ledger.open(path) as ledger:
        ledger.add_hypotheses([claim, Hypothesis(Edge("items.brand", "events.click"))])
        assert claim in ledger.hypotheses()
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT likelihood, unmeasured FROM hypotheses ORDER BY id").fetchall()
    connection.close()
    assert found == [(-0.5, "quality, 口碑"), (None, None)]


def test_a_ledger_of_the_first_schema_is_brought_up_to_date(path: Path) -> None:
    old = Hypothesis(PRICE, "-", "dear things sell less", source="llm", call_keys=("k1",))
    record = json.loads(encode(old))
    del record["likelihood"], record["unmeasured"]
    Ledger.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE hypotheses DROP COLUMN likelihood")
        connection.execute("ALTER TABLE hypotheses DROP COLUMN unmeasured")
        connection.execute("DROP TABLE rounds")
        connection.execute("DELETE FROM migrations WHERE number > 1")
        connection.execute(
            "INSERT INTO hypotheses (edge, source, round, claimed_sign, record, created) "
            "VALUES (?, 'llm', 1, '-', ?, '')",
            (str(PRICE), json.dumps(record)),
        )
    connection.close()
    claim = Hypothesis(Edge("items.brand", "events.click"), source="llm", likelihood=0.5)
    with Ledger.open(path) as ledger:
        ledger.add_hypotheses([claim])
        ledger.add_round("k", Round(1))
        assert ledger.hypotheses() == [claim, old]
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("DELETE FROM rounds")
    connection.close()


def test_finished_rounds_come_back_in_order(path: Path) -> None:
    first = Round(1, proposed=9, merged=1, kept=8, calls=40, failures={"cut": 2}, notes=("a cycle",))
    with Ledger.open(path) as ledger:
        ledger.add_round("k", Round(2, calls=3))
        ledger.add_round("k", first)
        ledger.add_round("k", Round(1))
        ledger.add_round("other", Round(1))
        assert ledger.rounds("k") == [first, Round(2, calls=3)]


def test_a_failed_call_may_be_followed_by_a_success(path: Path) -> None:
    failed, answered = a_call(error="cut: at 10 tokens", parsed=None), a_call()
    with Ledger.open(path) as ledger:
        assert ledger.get("k1") is None
        ledger.put(failed)
        assert ledger.get("k1") == failed
        ledger.put(answered)
        ledger.put(dataclasses.replace(answered, created_at="later", seconds=9.0))
        ledger.put(dataclasses.replace(answered, raw_reply="another reply"))
        assert ledger.get("k1") == answered


def test_a_verdict_is_traced_to_its_prompt(path: Path) -> None:
    edge = Edge(PRICE.cause, PRICE.effect, "users.new_user")
    claim = Hypothesis(PRICE, "-", modifiers=("users.new_user",), source="llm", call_keys=("k1", "k2"))
    audited = an_estimate(edge, checks=(*an_estimate().checks, Check("audit", True, 0.0, 0.1, "agrees")))
    with Ledger.open(path) as ledger:
        run = ledger.start_run("validate", {"fdr": 0.05})
        ledger.put(a_call())
        ledger.put(a_call("k2", raw_reply="", error="timeout: 60 s", parsed=None))
        ledger.add_hypotheses([claim, Hypothesis(PRICE, source="file")])
        ledger.add_estimate("f", "s", an_estimate(edge))
        verdict = Judgement(audited, "validated", ("q = 0.01",), 0.01, "-", "llm")
        ledger.add_verdicts(run, [verdict], fingerprint="f", settings_hash="s", run=run)
        trace = ledger.trace("items.price->events.purchase | users.new_user")
        with pytest.raises(NameNotFound, match=r"did you mean 'items.price -> events.purchase"):
            ledger.trace("items.prise -> events.purchase")
    assert [call["raw_reply"] for call in trace["calls"]] == ['{"causes":["items.price"]}', ""]
    assert [h["source"] for h in trace["hypotheses"]] == ["llm"]
    assert [check["name"] for check in trace["checks"]] == ["placebo", "audit"]
    assert trace["verdict"]["verdict"] == "validated"
    assert trace["estimate"]["fingerprint"] == trace["fingerprint"]["fingerprint"] == "f"
    assert (trace["run"]["status"], trace["run"]["settings"]) == ("unfinished", {"fdr": 0.05})


def test_the_queries_in_the_docs_find_prompts_and_failed_gates(path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "ledger.md").read_text()
    prompts, gates = (block.partition("```")[0] for block in text.split("```sql\n")[1:])
    failed = Check("subset", False, 0.9, 0.5, "the effect moves")
    with Ledger.open(path) as ledger:
        ledger.put(a_call())
        ledger.add_hypotheses([Hypothesis(PRICE, source="llm", call_keys=("k1",)), Hypothesis(PRICE)])
        ledger.add_estimate("f", "s", an_estimate(checks=(*an_estimate().checks, failed)))
        ledger.add_verdicts("one", [Judgement(an_estimate(), "validated", (), 0.01, "", "llm")])
    connection = sqlite3.connect(path)
    assert connection.execute(prompts).fetchall() == [
        ("items.price -> events.purchase", "causes", "m", "Which of these…?", '{"causes":["items.price"]}')
    ]
    assert connection.execute(gates).fetchall() == [
        ("items.price -> events.purchase", "subset", 0.9, 0.5, "the effect moves")
    ]
    connection.close()


def test_the_data_behind_a_verdict_is_described(path: Path, tmp_path: Path) -> None:
    data = load_study(write_world(simulate(WorldSpec(n_users=40, n_items=25, n_events=400)), tmp_path / "shop"))
    with Ledger.open(path) as ledger:
        ledger.add_fingerprint(data)
        ledger.add_fingerprint(dataclasses.replace(data, dropped={"never kept": 1}))
        ledger.add_estimate(data.fingerprint, "s", an_estimate())
        found = ledger.trace(str(PRICE))["fingerprint"]
    assert found["rows"] == {"users": 40, "items": 25, "events": 400}
    assert found["dropped"] == data.dropped
    assert [f["message"] for f in found["findings"]] == [f.message for f in data.findings]


def test_tracing_an_edge_with_several_levels_asks_which(path: Path) -> None:
    brand = Edge("items.brand", "events.click")
    with Ledger.open(path) as ledger:
        for level in ("plus", "premium"):
            ledger.add_estimate("f", "s", an_estimate(brand, level))
        with pytest.raises(
            NameNotFound, match=r"name one of them: items.brand\[plus\] -> events.click, items.brand\[pr"
        ):
            ledger.trace("items.brand -> events.click")
        assert ledger.trace("items.brand[plus] -> events.click")["verdict"] is None


def test_runs_end_once(path: Path) -> None:
    with Ledger.open(path) as ledger:
        first = ledger.start_run("run", {"seed": 7})
        ledger.start_run("run", {})
        ledger.finish_run(first)
        ledger.finish_run(first, "failed")
        assert sorted(run.status for run in ledger.runs()) == ["finished", "unfinished"]
        assert all(run.libraries["numpy"] == np.__version__ for run in ledger.runs())


def test_what_is_written_cannot_be_changed(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.add_hypotheses([Hypothesis(PRICE)])
    connection = sqlite3.connect(path)
    for statement in ("UPDATE hypotheses SET round = 2", "DELETE FROM hypotheses"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


def test_a_newer_ledger_is_refused(path: Path) -> None:
    Ledger.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO migrations VALUES (99, 'from the future', '')")
    connection.close()
    with pytest.raises(LedgerError, match=r"ledger.sqlite' was written by a newer WhyRank \(schema 99"):
        Ledger.open(path)


def test_what_is_no_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but long enough to be looked at as one" * 50)
    with pytest.raises(LedgerError, match=r"notes.txt' cannot be used: file is not a database"):
        Ledger.open(text)
    other = tmp_path / "shop.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE users (id INTEGER)")
    connection.close()
    with pytest.raises(LedgerError, match=r"shop.sqlite' is not a ledger: it holds other tables \(users\)"):
        Ledger.open(other)
    with pytest.raises(LedgerError, match="must be a file, got a folder"):
        Ledger.open(tmp_path)
    with pytest.raises(LedgerError, match="cannot be opened"):
        Ledger.open("nosuchdialect://host/name")
    assert text.read_text().startswith("not a database")


WRITER = """
import sys
sys.path.insert(0, sys.argv[3])
from whyrank.edge import Edge, Hypothesis
from whyrank.ledger import Ledger
from test_ledger import an_estimate, PRICE
with Ledger.open(sys.argv[1]) as ledger:
    start, stop = map(int, sys.argv[2].split(","))
    for i in range(start, stop):
        edge = Edge(f"items.a{i}", "events.purchase")
        ledger.add_estimate("f", "s", an_estimate(edge))
        ledger.add_hypotheses([Hypothesis(edge)])
        print(i, flush=True)
"""


def start_writer(path: Path, span: str) -> subprocess.Popen[str]:
    """Start a process that writes estimates and says after each what is safely kept."""
    command = [sys.executable, "-c", WRITER, str(path), span, str(Path(__file__).parent)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_killed_writer_loses_at_most_the_unit_in_flight(path: Path) -> None:
    writer = start_writer(path, "0,100000")
    assert writer.stdout is not None
    said = [writer.stdout.readline() for _ in range(40)]
    writer.send_signal(signal.SIGKILL)
    rest = writer.stdout.read()
    writer.stdout.close()
    writer.wait()
    promised = len(said) + rest.count("\n")
    with Ledger.open(path) as ledger:
        kept = ledger.estimates("f", "s")
        assert promised <= len(kept) <= promised + 1
        assert promised <= len(ledger.hypotheses()) <= len(kept)
        assert all(len(e.checks) == 1 for e in kept)
        ledger.add_estimate("f", "s", an_estimate())
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_two_processes_write_at_once(path: Path) -> None:
    writers = [start_writer(path, span) for span in ("0,120", "60,180")]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.read().count("\n") == 120
        writer.stdout.close()
        assert writer.wait() == 0
    with Ledger.open(path) as ledger:
        assert len(ledger.estimates("f", "s")) == 180
        assert len(ledger.hypotheses()) == 180
