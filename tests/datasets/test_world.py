"""The simulated shop: its truth is true, its log is confounded enough, and careful work can recover the truth."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import sparse, stats

from whyrank.datasets import load_study
from whyrank.datasets.world import World, WorldSpec, null_world, simulate, small_world, write_world
from whyrank.datasets.world.columns import COLUMNS, INTERACTIONS
from whyrank.datasets.world.draw import draw_table
from whyrank.datasets.world.effects import Predictor, true_effects
from whyrank.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@pytest.fixture(scope="module")
def world() -> World:
    return simulate()


@pytest.fixture(scope="module")
def small() -> World:
    return small_world()


def _positions(world: World) -> tuple[Ints, Ints]:
    codes = [np.asarray(world.events[key].cat.codes, dtype=np.int64) for key in ("user_id", "item_id")]
    return codes[0], codes[1]


def _dummies(world: World) -> tuple[pd.DataFrame, Ints, Ints]:
    """One column per unmodified contrast, named by edge; codes of users and of items."""
    user, item = _positions(world)
    columns = {}
    for row in world.truth[world.truth["modifier"] == ""].itertuples():
        table, name = str(row.cause).split(".", 1)
        frame = getattr(world, table)[name]
        values = frame if table == "events" else frame.take(user if table == "users" else item)
        x = values.to_numpy() if row.level == "" else values.astype(str).to_numpy() == row.level
        columns[str(row.edge)] = x.astype(np.float64)
    return pd.DataFrame(columns), user, item


def _sums(values: Floats, groups: Ints) -> Floats:
    pick = sparse.csr_matrix((np.ones(len(groups)), (groups, np.arange(len(groups)))))
    return np.asarray(pick @ values)


def _outer(scores: Floats, groups: Ints) -> Floats:
    sums = _sums(scores, groups)
    return np.asarray(sums.T @ sums)


def _least_squares(x: Floats, y: Floats, user: Ints, item: Ints) -> tuple[Floats, Floats]:
    """Coefficients and two-way cluster-robust standard errors."""
    bread = np.linalg.inv(x.T @ x)
    beta = bread @ (x.T @ y)
    scores = x * (y - x @ beta)[:, None]
    pair = np.unique(user * (item.max() + 1) + item, return_inverse=True)[1]
    meat = _outer(scores, user) + _outer(scores, item) - _outer(scores, pair)
    return beta, np.sqrt(np.diag(bread @ meat @ bread))


def _naive_p_values(world: World) -> Floats:
    """p-values of one regression per attribute, rows taken as independent."""
    x, _, _ = _dummies(world)
    y = world.events["purchase"].to_numpy(dtype=np.float64)
    p = []
    for _, group in world.truth[world.truth["modifier"] == ""].groupby("cause", sort=False):
        d = np.column_stack([np.ones(len(y)), x[list(group["edge"])]])
        bread = np.linalg.inv(d.T @ d)
        beta = bread @ (d.T @ y)
        se = np.sqrt(np.diag(bread) * np.mean((y - d @ beta) ** 2))
        p += list(2 * stats.norm.sf(np.abs(beta / se)[1:]))
    return np.array(p)


def test_world_has_seventy_contrasts_a_third_of_them_causal(world: World) -> None:
    plain = world.truth[world.truth["modifier"] == ""]
    assert len(plain) == 70
    assert plain["causal"].sum() == 23
    assert (plain.loc[plain["causal"] == 0, "estimate"] == 0).all()
    assert plain.loc[(plain["causal"] == 1) & (plain["level"] != ""), "estimate"].abs().min() > 0.02
    modified = world.truth[world.truth["modifier"] != ""]
    assert list(modified["causal"]) == [1, 1, 1, 1, 0, 0]


def test_per_row_regressions_validate_many_false_edges() -> None:
    counts = []
    for seed in range(1, 5):
        world = simulate(WorldSpec(seed=seed))
        truth = world.truth[world.truth["modifier"] == ""]
        found = stats.false_discovery_control(_naive_p_values(world)) <= 0.05
        counts.append(int((found & (truth["causal"].to_numpy() == 0)).sum()))
        assert (found & (truth["causal"].to_numpy() == 1)).sum() >= 20
    assert 12 <= np.mean(counts) <= 25


def test_adjusting_for_all_attributes_with_clusters_recovers_the_truth(world: World) -> None:
    x, user, item = _dummies(world)
    y = world.events["purchase"].to_numpy(dtype=np.float64)
    beta, se = _least_squares(np.column_stack([np.ones(len(y)), x]), y, user, item)
    truth = world.truth[world.truth["modifier"] == ""]
    z = (beta[1:] - truth["estimate"].to_numpy()) / se[1:]
    of_users_and_items = np.array([not str(cause).startswith("events.") for cause in truth["cause"]])
    assert np.abs(z[of_users_and_items]).max() < 3.7
    assert np.sqrt(np.mean(z[of_users_and_items] ** 2)) < 1.35
    assert np.abs(beta / se)[1:][truth["causal"] == 1].min() > 5
    # Quality isn't measured: context that follows it stays confounded without item effects.
    assert z[list(x).index("events.highlight -> events.purchase")] > 3


def test_context_is_identified_within_items(world: World) -> None:
    x, user, item = _dummies(world)
    y = world.events["purchase"].to_numpy(dtype=np.float64)
    x = x.drop(columns=[name for name in x if str(name).startswith("items.")])
    both = np.column_stack([x, y])
    within = both - (_sums(both, item) / np.bincount(item)[:, None])[item]
    beta, se = _least_squares(within[:, :-1], within[:, -1], user, item)
    truth = world.truth[world.truth["modifier"] == ""].set_index("edge")["estimate"]
    for name, b, s in zip(x.columns, beta, se, strict=True):
        if str(name).startswith("events."):
            assert abs(b - truth[name]) < 3.3 * s, name


@pytest.mark.parametrize("nonlinear", [False, True])
def test_truth_equals_counterfactual_probabilities(nonlinear: bool) -> None:
    rng = np.random.default_rng(1)
    table, _ = draw_table(COLUMNS, 4_000, {}, rng)
    rows: Mapping[str, pd.Series] = {c.name: table[c.column] for c in COLUMNS}
    predictor = Predictor(COLUMNS, INTERACTIONS, 1.0, 0.35, nonlinear)
    start = 0.05 * rng.standard_normal(4_000)
    pair = ("items.discount", "users.new_user")
    truth = true_effects(predictor, rows, predictor.linear(rows, start), (pair,)).set_index("edge")["estimate"]

    def mean(name: str, value: int | str, where: npt.NDArray[np.bool_] | slice = slice(None)) -> float:
        old = rows[name]
        changed = {**rows, name: pd.Series([value] * len(old)).astype(old.dtype)}
        return float(predictor.link(predictor.linear(changed, start))[where].mean())

    cases: list[tuple[str, int | str, int | str, str]] = [
        ("items.discount", 1, 0, "items.discount"),
        ("users.new_user", 1, 0, "users.new_user"),
        ("items.brand", "premium", "basic", "items.brand[premium]"),
    ]
    for name, level, ref, edge in cases:
        assert truth[f"{edge} -> events.purchase"] == pytest.approx(mean(name, level) - mean(name, ref), abs=1e-12)
    new = rows["users.new_user"].to_numpy() == 1
    by_group = [mean("items.discount", 1, w) - mean("items.discount", 0, w) for w in (new, ~new)]
    assert truth["items.discount -> events.purchase | users.new_user"] == pytest.approx(by_group[0] - by_group[1])
    h = 1e-5
    up, down = (
        predictor.link(predictor.linear({**rows, "items.price": rows["items.price"] + d}, start)) for d in (h, -h)
    )
    assert truth["items.price -> events.purchase"] == pytest.approx(np.mean(up - down) / (2 * h), rel=1e-4)


def test_null_world_keeps_the_policy_and_has_no_effects() -> None:
    world = null_world()
    assert (world.truth["estimate"] == 0).all()
    assert (world.truth["causal"] == 0).all()
    user, item = _positions(world)
    newsletter, discount = world.users["newsletter"].to_numpy()[user], world.items["discount"].to_numpy()[item]
    assert discount[newsletter == 1].mean() > discount[newsletter == 0].mean() + 0.1


def test_same_seed_same_world_and_other_seed_other_world(small: World) -> None:
    again, other = small_world(), small_world(8)
    pd.testing.assert_frame_equal(small.events, again.events)
    pd.testing.assert_frame_equal(small.truth, again.truth)
    assert not small.events["purchase"].equals(other.events["purchase"])


def test_affinity_is_the_probability_of_a_purchase(world: World) -> None:
    user, item = _positions(world)
    said = world.affinity[user, item]
    tenth = np.argsort(np.argsort(said)) * 10 // len(said)
    got, expected = (np.bincount(tenth, v) / np.bincount(tenth) for v in (world.events["purchase"].to_numpy(), said))
    # Display and position follow quality and popularity, which the mean context leaves out: good items do better.
    assert np.abs(got - expected).max() < 0.05


@pytest.mark.parametrize("language", ["en", "zh"])
def test_texts_tell_the_attributes_and_hold_no_ids(language: str) -> None:
    items = small_world(language="zh" if language == "zh" else "en").items
    text = items["title"] + " " + items["description"]
    word = {"en": "reduced price", "zh": "打折"}[language]
    assert (text.str.contains(word) == (items["discount"] == 1)).all()
    assert not text.str.contains(re.compile(r"\b[iu]\d+")).any()
    assert text.str.contains(r"[\u4e00-\u9fff]").all() == (language == "zh")


def test_written_study_is_the_world(tmp_path: Path, small: World) -> None:
    study = write_world(small, tmp_path / "shop")
    assert sorted(p.name for p in study.parent.iterdir()) == [
        "events.csv", "items.csv", "truth.csv", "users.csv", "whyrank.toml",
    ]  # fmt: skip
    parsed = tomllib.loads(study.read_text(encoding="utf-8"))
    assert parsed["study"]["seed"] == 7
    truth = pd.read_csv(study.parent / "truth.csv", dtype=str, keep_default_na=False)
    assert list(truth["edge"]) == list(small.truth["edge"])
    first = {p.name: p.read_bytes() for p in study.parent.iterdir()}
    write_world(small, tmp_path / "shop")
    assert first == {p.name: p.read_bytes() for p in study.parent.iterdir()}


def test_loaded_study_has_the_references_of_the_truth(tmp_path: Path, small: World) -> None:
    data = load_study(write_world(small, tmp_path))
    assert len(data.events) == 8_000
    for row in small.truth.itertuples():
        attribute = data.attribute(str(row.cause))
        if row.level == "":
            assert attribute.kind == "numeric"
        else:
            assert attribute.reference == row.reference
            assert row.level in attribute.levels


@pytest.mark.parametrize(
    ("bad", "says"),
    [({"n_items": 3}, "n_items = 3"), ({"item_sd": -1.0}, "item_sd = -1.0"), ({"base": 2.0}, "base = 2.0")],
)
def test_impossible_spec_is_refused(bad: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        WorldSpec(**bad)  # type: ignore[arg-type]
