"""Every estimator against effects that are known, and against effects that aren't there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from whyrank.datasets import load_study
from whyrank.datasets.study_data import StudyData
from whyrank.datasets.world import WorldSpec, simulate, small_world, write_world
from whyrank.datasets.world.columns import SMALL
from whyrank.edge import Edge, Hypothesis
from whyrank.estimators.estimating import estimate_edges
from whyrank.estimators.judge import judge

if TYPE_CHECKING:
    from pathlib import Path

    from tests.estimators.conftest import Lab

USERS, ITEMS, ROWS = 300, 240, 12_000


def pick(rng: np.random.Generator, p: Any) -> Any:
    return (rng.random(len(p)) < p).astype(np.float64)


def shop(lab: Lab, seed: int = 1, **options: Any) -> StudyData:
    """A shop whose policy shows each item to the users it suits.

    Effects on y: items.sale +.3, items.size m +.2 and l -.4 against s, items.grade good +.2 against plain, best +.4,
    items.tags eco +.5, items.price -.2, users.member +.25, users.age +.3, events.top +.4, events.delay -.15;
    items.sale is worth +.4 more to members, +.2 more a unit of age, and in the north .3 more than in the south.
    """
    rng = np.random.default_rng(seed)
    quality, thirst = rng.normal(size=ITEMS), rng.normal(size=USERS)
    price = rng.normal(size=ITEMS)
    sale = pick(rng, 1 / (1 + np.exp(price)))
    eco = pick(rng, np.full(ITEMS, 0.4))
    vegan = pick(rng, np.where(eco > 0, 0.8, 0.2))
    size = rng.choice(["s", "m", "l"], ITEMS, p=[0.5, 0.3, 0.2])
    grade = rng.choice(["plain", "good", "best"], ITEMS, p=[0.4, 0.3, 0.3])
    age = rng.normal(size=USERS)
    member = pick(rng, 1 / (1 + np.exp(-age)))
    region = rng.choice(["north", "south", "west"], USERS, p=[0.3, 0.4, 0.3])
    user = rng.integers(0, USERS, 4 * ROWS)
    item = rng.integers(0, ITEMS, 4 * ROWS)
    suits = rng.random(4 * ROWS) < 1 / (1 + np.exp(-1.5 * age[user] * price[item]))
    user, item = user[suits][:ROWS], item[suits][:ROWS]
    top = pick(rng, 1 / (1 + np.exp(-0.8 * quality[item] + price[item])))
    delay = 0.5 * age[user] + rng.normal(size=ROWS)
    bonus = 0.4 * member[user] + 0.2 * age[user] + 0.3 * (region[user] == "north")
    y = (
        (0.3 + bonus) * sale[item]
        + 0.2 * (size[item] == "m")
        - 0.4 * (size[item] == "l")
        + 0.2 * (grade[item] == "good")
        + 0.4 * (grade[item] == "best")
        + 0.5 * eco[item]
        - 0.2 * price[item]
        + 0.25 * member[user]
        + 0.3 * age[user]
        + 0.4 * top
        - 0.15 * delay
        + 0.2 * quality[item]
        + 0.3 * thirst[user]
        + rng.normal(size=ROWS)
    )
    tags = [tuple(n for n, has in (("eco", e), ("vegan", v)) if has) for e, v in zip(eco, vegan, strict=True)]
    return lab.study(
        {"member": member, "age": age, "region": list(region)},
        {"sale": sale, "price": price, "size": list(size), "grade": list(grade), "tags": tags},
        {"user": user, "item": item, "y": y, "top": top, "delay": delay},
        ordinal={"items.grade": ("plain", "good", "best")},
        reference={"items.grade": "plain"},
        **options,
    )


@pytest.fixture(scope="module")
def data(lab: Lab) -> StudyData:
    return shop(lab)


BONUS = 0.4 * 0.5 + 0.3 * 0.3  # of an average user


@pytest.mark.parametrize(
    ("edge", "level", "truth"),
    [
        ("items.sale -> events.y", "1", 0.3 + BONUS),
        ("items.price -> events.y", "", -0.2),
        ("items.size -> events.y", "m", 0.2),
        ("items.size -> events.y", "l", -0.4),
        ("items.grade -> events.y", "good", 0.2),
        ("items.grade -> events.y", "best", 0.4),
        ("items.tags -> events.y", "eco", 0.5),
        ("items.tags -> events.y", "vegan", 0.0),
        ("users.member -> events.y", "1", 0.25 + 0.4 * 0.5),
        ("users.region -> events.y", "west", 0.0),
        ("events.top -> events.y", "1", 0.4),
        ("events.delay -> events.y", "", -0.15),
    ],
)
def test_main_effects(lab: Lab, data: StudyData, edge: str, level: str, truth: float) -> None:
    found = lab.estimate(data, edge, level)
    assert abs(found.estimate - truth) <= 3 * found.se
    assert found.se < 0.15
    assert found.ci_low < found.estimate < found.ci_high
    assert found.estimator == ("partialling-out" if level == "" else "AIPW")


@pytest.mark.parametrize(
    ("edge", "modifier_level", "truth"),
    [
        ("items.sale -> events.y | users.member", "1", 0.4 + 0.2 * 2 * 0.41),  # members are older by 2 · 0.41
        ("items.sale -> events.y | users.age", "", 0.2 + 0.4 * 0.206),  # slope of membership in age
        ("items.sale -> events.y | users.region", "north", 0.3),
        ("items.sale -> events.y | users.region", "west", 0.0),
        ("events.top -> events.y | items.sale", "1", 0.0),
        ("events.delay -> events.y | users.age", "", 0.0),
        ("items.price -> events.y | events.top", "1", 0.0),
    ],
)
def test_modified_effects(lab: Lab, data: StudyData, edge: str, modifier_level: str, truth: float) -> None:
    found = lab.estimate(data, edge, modifier_level=modifier_level)
    assert abs(found.estimate - truth) <= 3 * found.se
    assert found.se < 0.12


def test_measured_confounding_fools_the_naive_contrast_only(lab: Lab) -> None:
    rng = np.random.default_rng(3)
    price = rng.normal(size=ITEMS)
    sale = pick(rng, 1 / (1 + np.exp(price)))
    user, item = rng.integers(0, USERS, ROWS), rng.integers(0, ITEMS, ROWS)
    y = -0.4 * price[item] + rng.normal(size=ROWS) + 0.1 * rng.normal(size=ITEMS)[item]
    data = lab.study({}, {"sale": sale, "price": price}, {"user": user, "item": item, "y": y}, n_users=USERS)
    (verdict,) = lab.verdicts(data, "items.sale -> events.y")
    found = verdict.estimate
    assert found.naive_significant
    assert found.naive > 0.3
    assert abs(found.estimate) <= 3 * found.se
    assert verdict.verdict == "refuted"
    assert "takes that away" in verdict.reasons[0]


@pytest.mark.parametrize("cause", ["users.member", "users.age"])
def test_nuisances_that_no_line_fits(lab: Lab, cause: str) -> None:
    """Cause and outcome both follow a square; only trees can take it out."""
    rng = np.random.default_rng(4)
    users = 4_000
    x = rng.uniform(-1.7, 1.7, users)
    age = x**2 + rng.normal(size=users)
    member = pick(rng, 1 / (1 + np.exp(1.5 - 1.5 * x**2)))
    y = 1.0 * x**2 + rng.normal(size=users)
    events = {"user": np.arange(users), "item": rng.integers(0, 50, users), "y": y}
    column = member if cause == "users.member" else age
    data = lab.study({cause.split(".")[1]: column, "x": x}, {}, events, n_items=50)
    found = lab.estimate(data, f"{cause} -> events.y")
    assert abs(found.naive) > 0.3
    assert abs(found.estimate) <= 3 * found.se
    assert found.se < 0.06


def test_missing_values_in_cause_and_covariates(lab: Lab) -> None:
    """What is missing depends on what it would have been caused by, so dropping rows or filling in means is biased."""
    rng = np.random.default_rng(5)
    price = rng.normal(size=ITEMS)
    sale = pick(rng, 1 / (1 + np.exp(-price)))
    hidden_sale = np.where(rng.random(ITEMS) < 0.2, np.nan, sale)
    weight = rng.normal(size=ITEMS) + 0.5 * price
    hidden_weight = np.where(rng.random(ITEMS) < 0.3, np.nan, weight)
    size = [None if r < 0.2 else "sml"[int(3 * r) % 3] for r in rng.random(ITEMS)]
    user, item = rng.integers(0, USERS, ROWS), rng.integers(0, ITEMS, ROWS)
    y = 0.5 * sale[item] + 0.4 * price[item] + 0.3 * weight[item] + rng.normal(size=ROWS)
    data = lab.study(
        {"age": np.where(rng.random(USERS) < 0.5, np.nan, rng.normal(size=USERS))},
        {"sale": hidden_sale, "price": price, "weight": hidden_weight, "size": size},
        {"user": user, "item": item, "y": y},
    )
    binary, numeric = lab.estimate(data, "items.sale -> events.y"), lab.estimate(data, "items.weight -> events.y")
    assert abs(binary.estimate - 0.5) <= 3 * binary.se
    assert abs(numeric.estimate - 0.3) <= 3 * numeric.se
    assert binary.n == ROWS


def test_totals_of_users_and_attributes_of_one_table(lab: Lab) -> None:
    rng = np.random.default_rng(6)
    users, items = 800, 600
    age = rng.normal(size=users)
    member = pick(rng, 1 / (1 + np.exp(-age)))
    brand = rng.choice(["a", "b"], items)
    price = 2.0 * (brand == "b") + rng.normal(size=items)
    cheap = pick(rng, 1 / (1 + np.exp(price - 1)))
    seen = rng.poisson(4 + 2 * member)
    user = np.repeat(np.arange(users), seen)
    item = rng.integers(0, items, len(user))
    y = pick(rng, np.clip(0.3 + 0.1 * age[user], 0.05, 0.95))
    data = lab.study(
        {"member": member, "age": age},
        {"brand": pick(rng, np.zeros(items)) + (brand == "b"), "price": price, "cheap": cheap},
        {"user": user, "item": item, "y": y},
        graph=["items.price -> items.cheap"],
    )
    total = lab.estimate(data, "users.member -> users.y")
    assert total.grain == "user"
    assert total.n == users
    assert (
        abs(total.estimate - 2 * 0.3) <= 3 * total.se + 0.05
    )  # members see two more, of which three tenths are bought
    on_price = lab.estimate(data, "items.brand -> items.price")
    assert (on_price.grain, on_price.n, on_price.scale) == ("item", items, "mean")
    assert abs(on_price.estimate - 2.0) <= 3 * on_price.se
    assert "items.cheap" not in on_price.adjusted_for
    on_cheap = lab.estimate(data, "items.price -> items.cheap")
    assert on_cheap.scale == "probability"
    assert on_cheap.estimate < -3 * on_cheap.se


def test_a_declared_mediator_is_part_of_the_total_effect(lab: Lab) -> None:
    rng = np.random.default_rng(7)
    sale = pick(rng, np.full(ITEMS, 0.5))
    price = -1.0 * sale + rng.normal(size=ITEMS)
    fame = price + rng.normal(size=ITEMS)
    user, item = rng.integers(0, USERS, ROWS), rng.integers(0, ITEMS, ROWS)
    y = 0.2 * sale[item] - 0.3 * price[item] + rng.normal(size=ROWS)
    columns = {"sale": sale, "price": price, "fame": fame}
    events = {"user": user, "item": item, "y": y}
    total = lab.study(
        {}, columns, events, n_users=USERS, graph=["items.sale -> items.price", "items.price -> items.fame"]
    )
    found = lab.estimate(total, "items.sale -> events.y")
    assert abs(found.estimate - 0.5) <= 3 * found.se
    assert not {"items.price", "items.fame"} & set(found.adjusted_for)
    assert any("items.price, items.fame" in warning for warning in found.warnings)
    direct = lab.estimate(lab.study({}, columns, events, n_users=USERS), "items.sale -> events.y")
    assert abs(direct.estimate - 0.2) <= 3 * direct.se


def test_random_items_rescue_what_the_columns_cannot_identify(lab: Lab) -> None:
    """Unmeasured hours show sale items to eager users; a tenth of the exposures shows any item."""
    rng = np.random.default_rng(8)
    items, rows = 200, 20_000
    sale = pick(rng, np.full(items, 0.5))
    drawn = pick(rng, np.full(rows, 0.1))
    eager = rng.normal(size=rows)
    wanted = np.where(drawn > 0, rng.random(rows) < 0.5, rng.random(rows) < 1 / (1 + np.exp(-2 * eager)))
    item = np.where(wanted, rng.choice(np.flatnonzero(sale == 1), rows), rng.choice(np.flatnonzero(sale == 0), rows))
    y = 0.3 * sale[item] + eager + 0.5 * rng.normal(size=rows)
    columns = {"user": rng.integers(0, 500, rows), "item": item, "y": y}
    hidden = ["events.eager -> items.sale, events.y"]
    blocked = lab.estimate(
        lab.study({}, {"sale": sale}, columns, n_users=500, unmeasured=hidden), "items.sale -> events.y"
    )
    assert "items.sale <- events.eager -> events.y" in blocked.blocked
    rescued = lab.estimate(
        lab.study({}, {"sale": sale}, columns | {"randomised": drawn}, n_users=500, unmeasured=hidden),
        "items.sale -> events.y",
    )
    assert rescued.population == "randomised rows"
    assert rescued.n == int(drawn.sum())
    assert abs(rescued.estimate - 0.3) <= 3 * rescued.se
    assert any("drawn at random" in warning for warning in rescued.warnings)
    context = lab.study({"age": rng.normal(size=500)}, {"sale": sale}, columns | {"randomised": drawn}, n_users=500)
    assert lab.estimate(context, "users.age -> events.y").population == "all rows"


def test_a_random_slice_that_contradicts_all_rows_holds_a_verdict_back(lab: Lab) -> None:
    """As above, but nobody declared the hours: all rows say 1.4, the random tenth says .3, which is true."""
    rng = np.random.default_rng(8)
    items, rows = 200, 20_000
    sale = pick(rng, np.full(items, 0.5))
    drawn = pick(rng, np.full(rows, 0.1))
    eager = rng.normal(size=rows)
    wanted = rng.random(rows) < np.where(drawn > 0, 0.5, 1 / (1 + np.exp(-2 * eager)))
    item = np.where(wanted, rng.choice(np.flatnonzero(sale == 1), rows), rng.choice(np.flatnonzero(sale == 0), rows))
    y = 0.3 * sale[item] + eager + 0.5 * rng.normal(size=rows)
    events = {"user": rng.integers(0, 500, rows), "item": item, "y": y, "randomised": drawn}
    (verdict,) = lab.verdicts(lab.study({}, {"sale": sale}, events, n_users=500), "items.sale -> events.y")
    assert verdict.verdict != "validated" or abs(verdict.estimate.estimate - 0.3) <= 3 * verdict.estimate.se


@pytest.mark.parametrize("cause", ["items.sale", "events.top"])
def test_what_is_lasting_in_users_confounds_nothing(lab: Lab, cause: str) -> None:
    """Eager users, whom no column marks, are shown sale items on top; neither does anything."""
    rng = np.random.default_rng(9)
    users, items, rows = 600, 200, 12_000
    eager = rng.normal(size=users)
    sale = pick(rng, np.full(items, 0.5))
    user = rng.integers(0, users, rows)
    wanted = rng.random(rows) < 1 / (1 + np.exp(-eager[user]))
    item = np.where(wanted, rng.choice(np.flatnonzero(sale == 1), rows), rng.choice(np.flatnonzero(sale == 0), rows))
    top = pick(rng, 1 / (1 + np.exp(-eager[user])))
    y = 0.5 * eager[user] + rng.normal(size=rows)
    data = lab.study({}, {"sale": sale}, {"user": user, "item": item, "y": y, "top": top}, n_users=users)
    found = lab.estimate(data, f"{cause} -> events.y")
    assert abs(found.estimate) <= 3 * found.se


def small(folder: Path, **options: Any) -> StudyData:
    write_world(small_world(**options), folder)
    return without_audit(load_study(folder))


def without_audit(data: StudyData) -> StudyData:
    off = data.config.validation.model_copy(update={"audit": False})
    return replace(data, config=data.config.model_copy(update={"validation": off}))


def edges_of(data: StudyData) -> list[Edge]:
    return [Edge(name, outcome) for outcome in data.outcomes for name, a in data.attributes.items() if a.role == "any"]


@pytest.mark.parametrize("seed", [7, 8])
def test_in_a_null_world_nothing_is_validated(tmp_path: Path, seed: int) -> None:
    data = small(tmp_path, null=True, seed=seed)
    edges = edges_of(data)
    estimates = [e for _, found in estimate_edges(data, edges) for e in found]
    verdicts = judge(estimates, [Hypothesis(edge) for edge in edges], fdr=0.05, smallest_effect=0.0)
    assert len(verdicts) > 15
    assert [v.estimate.contrast.label for v in verdicts if v.verdict == "validated"] == []


def test_a_world_with_effects_is_found_out(tmp_path: Path) -> None:
    world = simulate(
        WorldSpec(n_users=600, n_items=150, n_events=10_000, columns=SMALL, effect_scale=2.0, item_sd=0.01, seed=3)
    )
    write_world(world, tmp_path)
    data = without_audit(load_study(tmp_path))
    truth = world.truth.set_index("edge")["estimate"].to_dict()
    edges = [Edge.parse(f"{r.cause} -> {r.effect}") for r in world.truth.itertuples() if r.modifier == ""]
    estimates = [e for _, found in estimate_edges(data, edges) for e in found if not e.blocked]
    z = np.array([(e.estimate - truth[e.contrast.label]) / e.se for e in estimates])
    assert len(z) > 15
    assert np.max(np.abs(z)) <= 3.5
    assert 0.6 < np.std(z) < 1.4
    verdicts = judge(estimates, [Hypothesis(edge) for edge in edges], fdr=0.05, smallest_effect=0.0)
    validated = {v.estimate.contrast.label for v in verdicts if v.verdict == "validated"}
    assert len(validated) >= 5
    assert all(truth[label] != 0 for label in validated)


@pytest.mark.parametrize("kind", ["numeric", "binary"])
def test_what_is_lasting_in_users_and_in_items_confounds_no_context(lab: Lab, kind: str) -> None:
    """Keen users meet worthy items more often, and both drive the context: items' means hold users too."""
    rng = np.random.default_rng(3)
    keen, worth = rng.normal(size=200), rng.normal(size=60)
    user, item = rng.integers(0, 200, 12_000), rng.choice(60, 12_000, p=rng.dirichlet(np.ones(60)))
    met = rng.random(12_000) < 1 / (1 + np.exp(-keen[user] * worth[item]))
    user, item = user[met], item[met]
    score = keen[user] + worth[item] + rng.normal(size=len(user))
    t = score if kind == "numeric" else (score > 0).astype(np.float64)
    y = 0.4 * t + keen[user] + worth[item] + rng.normal(size=len(user))
    data = lab.study(
        {"age": rng.normal(size=200)}, {"x": rng.normal(size=60)}, {"user": user, "item": item, "y": y, "t": t}
    )
    (verdict,) = lab.verdicts(data, "events.t -> events.y")
    found = verdict.estimate
    assert abs(found.estimate - 0.4) <= 2 * found.se
    assert found.se < 0.06
    assert found.naive > 0.8
