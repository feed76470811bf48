"""What is tested first, what a budget leaves out, and that neither makes a verdict easier to reach."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import whyrank
from whyrank import pipeline
from whyrank.agents.rounds import Round
from whyrank.agents.sources import propose_exhaustive
from whyrank.cli import main
from whyrank.datasets import load_study
from whyrank.datasets.study_data import StudyData
from whyrank.datasets.world import small_world, write_world
from whyrank.edge import Edge, Hypothesis
from whyrank.errors import InputError, WhyRankWarning
from whyrank.estimators.multiplicity import edge_q_values, q_values
from whyrank.ledger import Ledger
from whyrank.order_of_tests import Budget, Spending, contrasts_of, plan_tests
from whyrank.pipeline import plan, validate
from whyrank.screen import screen

pytestmark = pytest.mark.filterwarnings("ignore::whyrank.errors.WhyRankWarning")  # small arms, and said so


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small shop whose causes are known."""
    folder = tmp_path_factory.mktemp("shop")
    study = write_world(small_world(7), folder)
    study.write_text(f"{study.read_text()}\n[validation]\naudit = false\n")
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> StudyData:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WhyRankWarning)
        return load_study(folder)


def causal(folder: Path) -> set[str]:
    truth = pd.read_csv(folder / "truth.csv", keep_default_na=False)
    return set(truth.loc[(truth["causal"] == 1) & (truth["modifier"] == ""), "cause"])


def test_a_quick_look_tells_causes_from_what_goes_with_them(data: StudyData, folder: Path) -> None:
    edges = [h.edge for h in propose_exhaustive(data)]
    found = screen(data, edges)
    assert set(found) == set(edges)
    strongest = sorted(found, key=lambda e: -(found[e].association or 0.0))
    causes = causal(folder)
    assert {e.cause for e in strongest[: len(causes)]} == causes
    assert found == screen(data, reversed(edges)), "in whatever order, and every time"


def test_every_kind_of_edge_can_be_looked_at(data: StudyData) -> None:
    kinds = ["items.discount -> events.purchase | users.new_user", "items.brand -> events.purchase | users.segment",
             "items.brand -> items.price", "users.income -> users.purchase", "users.income -> events.display",
             "events.weekend -> events.display"]  # fmt: skip
    found = screen(data, [Edge.parse(text) for text in kinds])
    assert [str(e) for e in found] == sorted(kinds, key=lambda text: (Edge.parse(text).effect, text))
    assert all(s.association is not None and np.isfinite(s.association) for s in found.values())


def test_more_columns_than_rows_is_no_error(data: StudyData) -> None:
    few = dataclasses.replace(data, events=data.events.head(12).reset_index(drop=True))
    edges = [h.edge for h in propose_exhaustive(data)]
    assert len(plan_tests(few, [Hypothesis(edge) for edge in edges]).edges) == len(edges)


def test_purchases_alone_tell_nothing_before_the_test(data: StudyData) -> None:
    log = data.config.events.model_copy(update={"kind": "purchases"})
    bought = dataclasses.replace(data, config=data.config.model_copy(update={"events": log}))
    found = screen(bought, [Edge.parse("items.price -> events.purchase"), Edge.parse("items.brand -> items.price")])
    assert [str(e) for e in found] == ["items.brand -> items.price"]


def test_contrasts_are_counted_at_most(data: StudyData) -> None:
    assert [contrasts_of(Edge.parse(text), data) for text in (
        "items.price -> events.purchase", "items.brand -> events.purchase",
        "items.brand -> events.purchase | users.segment",
    )] == [1, 2, 4]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.data(), st.sampled_from(["bh", "by"]))
def test_nothing_is_found_under_a_budget_that_testing_everything_would_not_find(
    p: list[float], draw: st.DataObject, rule: str
) -> None:
    """Whatever the choice was made by: an edge passed over counts as p = 1, and q-values only grow with p-values."""
    chosen = np.array(draw.draw(st.lists(st.booleans(), min_size=len(p), max_size=len(p))))
    families = draw.draw(st.lists(st.integers(0, 5), min_size=len(p), max_size=len(p)))
    everything = np.array(p)
    kept = np.isin(families, np.array(families)[chosen]) if chosen.any() else chosen
    some = np.where(kept, everything, 1.0)
    assert np.all(q_values(some, rule)[kept] >= q_values(everything, rule)[kept] - 1e-12)  # type: ignore[arg-type]
    by_edge = edge_q_values(some, families, rule)[kept]  # type: ignore[arg-type]
    assert np.all(by_edge >= edge_q_values(everything, families, rule)[kept] - 1e-12)  # type: ignore[arg-type]


def test_a_budget_of_edges_and_one_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    edges = [Edge(f"items.c{i}", "events.click") for i in range(20)]
    assert [len(b) for b in Spending(Budget()).batches(edges)] == [20]
    three = Spending(Budget(edges=3))
    assert [len(b) for b in three.batches(edges[:2])] == [2]
    assert [list(b) for b in three.batches(edges[2:])] == [edges[2:3]], "what one round has spent the next has not"
    assert list(three.batches(edges)) == []
    clock = iter([0.0, 5.0, 11.0, 12.0])
    monkeypatch.setattr("whyrank.order_of_tests.time.monotonic", lambda: next(clock))
    ten = Spending(Budget(seconds=10))
    assert [list(b) for b in ten.batches(edges)] == [edges[:8], edges[8:16]]
    assert list(ten.batches(edges[16:])) == []
    with pytest.raises(InputError, match="a budget of 0 edges"):
        Budget(edges=0)
    with pytest.raises(InputError, match="a budget of -1 seconds"):
        Budget(seconds=-1)


@pytest.fixture(scope="module")
def spent(folder: Path) -> Callable[[], whyrank.Study]:
    """The shop with two edges tested of fourteen."""
    with warnings.catch_warnings(), whyrank.open(folder) as study:
        warnings.simplefilter("ignore", WhyRankWarning)
        study.propose(["exhaustive"])
        before = plan(study.data, study.ledger)
        study.validate(budget_edges=2)
        assert set(study.verdicts()["cause"]) == {text.split(" ->")[0] for text in before["edge"].head(2)}
    return lambda: whyrank.open(folder)


def test_what_was_passed_over_counts_now_and_later(spent: Callable[[], whyrank.Study]) -> None:
    with spent() as study:
        few = study.verdicts().set_index("edge")
        left = study.plan()
        assert len(left) == 12
        assert left["probability"].is_monotonic_decreasing
        named = study.validate(edges=[left["edge"].iloc[-1]]).set_index("edge")
        tests = sum(contrasts_of(h.edge, study.data) for h in study.propose(["exhaustive"]))
        best = few["p_value"].astype(float).min()
        assert few["q_value"].astype(float).min() == pytest.approx(best * tests / (few["p_value"] <= best).sum())
        assert (named["q_value"].loc[few.index] <= few["q_value"] + 1e-12).all()


def test_what_a_round_of_the_model_left_out_counts_too(data: StudyData, tmp_path: Path) -> None:
    def q(name: str, left_out: tuple[str, ...]) -> float:
        with Ledger.open(tmp_path / f"{name}.sqlite") as ledger:
            ledger.add_hypotheses([Hypothesis(Edge("items.price", "events.purchase"), source="llm")])
            ledger.add_round(pipeline._rounds_key(data), Round(1, passed_over=left_out))
            _, (judgement,) = validate(data, ledger)
            return judgement.q_value

    with pytest.warns(WhyRankWarning, match="a budget left 1 proposed edges untested"):
        some = q("some", ("items.brand -> events.purchase",))
    assert some == pytest.approx(3 * q("none", ()))


def test_the_commands_say_it(spent: Callable[[], whyrank.Study], folder: Path) -> None:
    shown = CliRunner().invoke(main, ["validate", str(folder), "--plan"])
    assert shown.exit_code == 0, shown.stderr
    assert "probability" in shown.stdout
    wrong = CliRunner().invoke(main, ["validate", str(folder), "--plan", "--edge", "items.price -> events.purchase"])
    assert (wrong.exit_code, "--edge names what is tested" in wrong.stderr) == (2, True)
    none = CliRunner().invoke(main, ["validate", str(folder), "--budget-edges", "0"])
    assert none.exit_code == 2
    empty = CliRunner().invoke(main, ["validate", str(folder), "--plan", "--workdir", str(folder / "new")])
    assert (empty.exit_code, "nothing is proposed yet" in empty.stderr) == (2, True)


def test_twins_are_said_and_tested_once(folder: Path, tmp_path: Path) -> None:
    world = small_world(7)
    doubled = dataclasses.replace(world, items=world.items.assign(cost=world.items["price"] * 1.1))
    write_world(doubled, tmp_path)
    with whyrank.open(tmp_path) as study:
        claims = [Hypothesis(Edge(f"items.{name}", "events.purchase"), source="llm") for name in ("price", "cost")]
        study.ledger.add_hypotheses(claims)
        with pytest.warns(WhyRankWarning, match=r"items\.price and items\.cost hold the same values"):
            validate(study.data, study.ledger)
        assert list(study.verdicts()["cause"]) == ["items.price"]
