"""Traps of the libraries that WhyRank stands on: each is shown to be there, and not to be WhyRank's.

When a library mends one, the assertion on it fails and says so: then the care that is taken of it may go.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from whyrank.datasets.study_data import StudyData
from whyrank.estimators.audit import audit
from whyrank.estimators.clusters import two_way_se
from whyrank.estimators.effects import Effect, partialling_out

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab

Floats = npt.NDArray[np.float64]
ROWS = 400
MENDED = "the library has mended this trap: what WhyRank does about it can go"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Hold back what the libraries say of their own dependencies and of the traps."""
    logger, level = logging.getLogger("dowhy"), logging.getLogger("dowhy").level
    logger.setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        for module in ("dowhy", "econml", "sklearn", "statsmodels", "networkx", "numba", "shap", "joblib"):
            warnings.filterwarnings("ignore", module=rf"{module}\b.*")
        yield
    logger.setLevel(level)


def world(seed: int = 0) -> dict[str, Floats]:
    """Two causes that share a confounder: `a` is worth .5, `b` -.3."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=ROWS)
    a = (rng.random(ROWS) < 1 / (1 + np.exp(-w))).astype(np.float64)
    b = (rng.random(ROWS) < 1 / (1 + np.exp(2 * w))).astype(np.float64)
    return {"w": w, "a": a, "b": b, "y": w + 0.5 * a - 0.3 * b + rng.normal(size=ROWS)}


def people(lab: Lab, columns: dict[str, Any], **options: Any) -> StudyData:
    """Make users of these columns; the log has one exposure each, and says nothing."""
    n = len(columns["y"])
    events = {"user": np.arange(n), "item": np.zeros(n, int), "seen": np.arange(n) % 2}
    return lab.study(columns, {}, events, outcomes=("seen",), n_items=1, **options)


def dowhy_model(frame: pd.DataFrame, treatment: str, common: list[str], **options: Any) -> tuple[Any, Any]:
    from dowhy import CausalModel

    model = CausalModel(data=frame, treatment=treatment, outcome="y", common_causes=common, **options)
    return model, model.identify_effect(method_name="maximal-adjustment", proceed_when_unidentifiable=True)


def estimated(frame: pd.DataFrame, treatment: str, method: str, **options: Any) -> tuple[Any, Any, Any]:
    model, estimand = dowhy_model(frame, treatment, ["w"], **options)
    return model, estimand, model.estimate_effect(estimand, method_name=f"backdoor.{method}")


def audited(columns: dict[str, Floats], cause: str) -> tuple[Effect, Any]:
    """Audit one cause of the world, adjusted for everything else."""
    others = [name for name in columns if name not in (cause, "y")]
    W = np.column_stack([columns[name] for name in others])
    X = np.column_stack([np.ones(ROWS), W])
    y, t = (v - X @ np.linalg.lstsq(X, v, rcond=None)[0] for v in (columns["y"], columns[cause]))
    effect = partialling_out(y, t, float(columns[cause].var()))
    se, table = two_way_se(effect.influence, ()), W.astype(np.float32)
    rng = np.random.default_rng(1)
    check = audit(effect, columns[cause], columns["y"], lambda rows: table[rows], (), se=se, discrete=True, rng=rng)
    return effect, check


def test_propensities_are_written_into_the_callers_frame_and_used_again(lab: Lab) -> None:
    made = world()
    frame = pd.DataFrame(made).astype({"a": bool, "b": bool})
    fresh = frame.copy()
    estimated(frame, "a", "propensity_score_weighting")
    assert "propensity_score" in frame, MENDED
    second = estimated(frame, "b", "propensity_score_weighting")[2].value
    alone = estimated(fresh, "b", "propensity_score_weighting")[2].value
    assert abs(second - alone) > 0.3, MENDED
    data = people(lab, made)
    before = data.users.copy()
    together = lab.estimates(data, "users.a -> users.y", "users.b -> users.y")
    assert repr(together[1]) == repr(lab.estimate(data, "users.b -> users.y"))
    pd.testing.assert_frame_equal(data.users, before)


def test_an_integer_seed_makes_all_subsets_the_same() -> None:
    model, estimand, found = estimated(pd.DataFrame(world()), "a", "linear_regression")

    def p_value(state: Any) -> float:
        options = {"num_simulations": 5, "subset_fraction": 0.8, "show_progress_bar": False}
        refuted = model.refute_estimate(
            estimand, found, method_name="data_subset_refuter", random_state=state, **options
        )
        return float(refuted.refutation_result["p_value"])

    assert p_value(42) == 0, MENDED  # five times the same subset has no spread, so that any shift is significant
    assert 0 < p_value(np.random.RandomState(42)) < 1
    _, check = audited(world(), "a")
    assert check.passed
    assert len({round(check.data[name], 9) for name in ("dowhy", "random_common_cause", "placebo")}) == 3


def test_subsets_of_the_gate_differ(lab: Lab) -> None:
    found = lab.estimate(people(lab, world()), "users.a -> users.y")
    draws = next(check for check in found.checks if check.name == "subset").data["draws"]
    assert len(set(draws)) > 50


def test_the_placebo_of_a_cause_in_floats_is_nothing_and_passes(lab: Lab) -> None:
    model, estimand, found = estimated(pd.DataFrame(world()), "a", "linear_regression")
    options = {"num_simulations": 5, "show_progress_bar": False, "random_state": np.random.RandomState(1)}
    name = "placebo_treatment_refuter"
    default = model.refute_estimate(estimand, found, method_name=name, **options)
    assert default.new_effect == 0, MENDED
    assert np.isnan(default.refutation_result["p_value"]), MENDED
    assert not default.refutation_result["is_statistically_significant"]  # which reads as a test that was passed
    _, check = audited(world(), "a")
    assert 0 < abs(check.data["placebo"]) < 0.5
    gate = next(c for c in lab.estimate(people(lab, world()), "users.a -> users.y").checks if c.name == "placebo")
    assert len(set(gate.data["draws"])) > 100


def test_one_missing_value_is_a_crash(lab: Lab) -> None:
    made = world()
    made["w"][3] = np.nan
    with pytest.raises(Exception, match="inf or nans"):
        estimated(pd.DataFrame(made), "a", "linear_regression")
    found = lab.estimate(people(lab, made), "users.a -> users.y")
    assert found.n == ROWS
    assert abs(found.estimate - 0.5) <= 3 * found.se


def test_refuters_do_not_tell_a_spurious_effect_from_a_real_one(lab: Lab) -> None:
    """Nothing does anything here but a confounder that no column holds; every refuter is satisfied."""
    rng = np.random.default_rng(2)
    hidden = rng.normal(size=ROWS)
    made = {"t": hidden + rng.normal(size=ROWS), "y": hidden + rng.normal(size=ROWS), "w": rng.normal(size=ROWS)}
    model, estimand, found = estimated(pd.DataFrame(made), "t", "linear_regression")
    assert found.value > 0.3
    for name, options in (
        ("placebo_treatment_refuter", {"placebo_type": "permute"}),
        ("random_common_cause", {}),
        ("data_subset_refuter", {}),
    ):
        state = np.random.RandomState(3)
        refuted = model.refute_estimate(
            estimand,
            found,
            method_name=name,
            num_simulations=10,
            random_state=state,
            show_progress_bar=False,
            **options,
        )
        assert refuted.refutation_result["p_value"] > 0.05, MENDED
    data = people(lab, made, unmeasured=["users.hidden -> users.t, users.y"])
    (told,) = lab.verdicts(data, "users.t -> users.y")
    assert told.verdict == "unidentifiable"
    made["t"] = rng.normal(size=ROWS)  # and where there is nothing at all, satisfied gates are no evidence
    (null,) = lab.verdicts(people(lab, made), "users.t -> users.y")
    assert null.verdict in ("inconclusive", "refuted")


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the sets of columns that DoWhy looks at."""
    from dowhy.causal_identifier import auto_identifier

    check: Callable[..., Any] = auto_identifier.check_valid_backdoor_set
    seen: list[int] = []

    def counted(*args: Any, **options: Any) -> Any:
        seen.append(len(seen))
        return check(*args, **options)

    monkeypatch.setattr(auto_identifier, "check_valid_backdoor_set", counted)
    return seen


def test_identification_looks_at_every_subset_of_the_columns(lab: Lab, looked_at: list[int]) -> None:
    """Eleven columns, as the dummies of one category would be, are two thousand sets; a hundred would never end."""
    from dowhy import CausalModel

    counts = []
    for width in (10, 11):
        names = [f"w{i}" for i in range(width)]
        frame = pd.DataFrame(0.0, index=range(3), columns=[*names, "a", "y"])
        looked_at.clear()
        model = CausalModel(data=frame, treatment="a", outcome="y", common_causes=names)
        model.identify_effect(proceed_when_unidentifiable=True)
        counts.append(len(looked_at))
    assert counts[0] > 2**10, MENDED
    assert counts[1] > 1.9 * counts[0], MENDED
    rng, looked_so_far = np.random.default_rng(3), len(looked_at)
    made: dict[str, Any] = {f"w{i}": rng.normal(size=ROWS) for i in range(100)}
    made["place"] = [f"p{i}" for i in rng.integers(0, 40, ROWS)]
    made |= {"a": rng.normal(size=ROWS), "y": rng.normal(size=ROWS)}
    assert np.isfinite(lab.estimate(people(lab, made), "users.a -> users.y").estimate)
    assert len(looked_at) - looked_so_far < 20


def test_a_text_as_modifier_is_a_key_error(lab: Lab) -> None:
    made = world()
    rng = np.random.default_rng(4)
    region = list(rng.choice(["north", "south"], ROWS))
    frame = pd.DataFrame(made | {"region": region})
    model, estimand = dowhy_model(frame, "a", ["w"], effect_modifiers=["region"])
    init = {"model_y": LinearRegression(), "model_t": LinearRegression(), "cv": 2, "random_state": 1}
    with pytest.raises(KeyError):
        model.estimate_effect(
            estimand,
            method_name="backdoor.econml.dml.LinearDML",
            method_params={"init_params": init, "fit_params": {}},
        )
    found = lab.estimate(people(lab, made | {"region": region}), "users.a -> users.y | users.region")
    assert abs(found.estimate) <= 3 * found.se


def test_bootstrap_of_a_category_is_an_unbound_name(lab: Lab) -> None:
    made: dict[str, Any] = world() | {"w": list(np.random.default_rng(5).choice(["p", "q", "r"], ROWS))}
    frame = pd.DataFrame(made).astype({"w": "category"})
    model, estimand, found = estimated(frame, "a", "linear_regression")
    with pytest.raises((UnboundLocalError, TypeError)):  # which of the two depends on the order of a set
        model.refute_estimate(
            estimand, found, method_name="bootstrap_refuter", num_simulations=2, show_progress_bar=False
        )
    assert all(check.passed is not None for check in lab.estimate(people(lab, made), "users.a -> users.y").checks)


def test_a_constant_modifier(lab: Lab) -> None:
    made = world() | {"same": np.ones(ROWS)}
    *_, found = estimated(pd.DataFrame(made), "a", "linear_regression", effect_modifiers=["same"])
    with pytest.raises(TypeError, match="not subscriptable"):
        found.estimate_conditional_effects(["same"])
    told = lab.estimates(people(lab, made), "users.a -> users.y | users.same")
    assert all(estimate.blocked for estimate in told)


def test_a_classifier_for_a_binary_outcome(lab: Lab) -> None:
    """Older versions took 0/1 predictions and found next to nothing; now it is an error until one knows the option."""
    from econml.dml import LinearDML

    rng = np.random.default_rng(6)
    made = world()
    made["y"] = (rng.random(ROWS) < np.clip(0.3 + 0.3 * made["a"] + 0.05 * made["w"], 0, 1)).astype(np.float64)

    def learner(**options: Any) -> Any:
        models = {"model_y": LogisticRegression(), "model_t": LogisticRegression()}
        return LinearDML(**models, discrete_treatment=True, cv=2, random_state=1, **options)

    with pytest.raises(AttributeError, match="classifier"):
        learner().fit(made["y"].astype(int), made["a"].astype(int), W=made["w"][:, None])
    right = learner(discrete_outcome=True).fit(made["y"].astype(int), made["a"].astype(int), W=made["w"][:, None])
    found = lab.estimate(people(lab, made), "users.a -> users.y")
    assert found.scale == "probability"
    assert abs(found.estimate - 0.3) <= 3 * found.se
    assert abs(found.estimate - float(np.ravel(right.ate())[0])) <= 2 * found.se


def test_folds_that_lack_an_arm(lab: Lab) -> None:
    from econml.dr import LinearDRLearner

    made = world()
    made["a"] = (np.arange(ROWS) == 17).astype(np.float64)
    learner = LinearDRLearner(
        model_propensity=LogisticRegression(), model_regression=LinearRegression(), cv=2, random_state=1
    )
    with pytest.raises(AttributeError, match="don't contain all treatments"):
        learner.fit(made["y"], made["a"].astype(int), X=made["w"][:, None])
    made["a"][[3, 40]] = 1.0
    (told,) = lab.verdicts(people(lab, made), "users.a -> users.y")
    assert told.verdict in ("inconclusive", "unidentifiable")


def test_propensities_out_of_reach_are_clipped_without_a_word(lab: Lab) -> None:
    """The learner is many of its own standard errors off; WhyRank says for whom it speaks, and holds the truth."""
    from econml.dr import LinearDRLearner

    rng = np.random.default_rng(7)
    x = 3 * rng.normal(size=ROWS)
    t = (rng.random(ROWS) < 1 / (1 + np.exp(-4 * x))).astype(np.float64)
    made = {"x": x, "t": t, "y": x * np.abs(x) + 0.5 * t + rng.normal(size=ROWS)}
    models = {"model_propensity": LogisticRegression(C=1e6), "model_regression": LinearRegression()}
    learner = LinearDRLearner(**models, cv=2, random_state=1)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        learner.fit(made["y"], t.astype(int), X=None, W=x[:, None])
    assert not [w for w in said if "propensit" in str(w.message) or "overlap" in str(w.message)], MENDED
    inference = learner.ate_inference()
    point, se = float(np.ravel(inference.mean_point)[0]), float(np.ravel(inference.stderr_mean)[0])
    assert abs(point - 0.5) > 4 * se
    (told,) = lab.verdicts(people(lab, made), "users.t -> users.y")
    found = told.estimate
    assert found.population == "overlap"
    assert found.overlap < 0.7
    assert abs(found.estimate - 0.5) <= 3 * found.se


def test_collinear_columns(lab: Lab) -> None:
    from econml.dml import LinearDML

    made = world()
    X = np.column_stack([made["w"], made["w"], 2 * made["w"]])
    learner = LinearDML(model_y=LinearRegression(), model_t=LinearRegression(), cv=2, random_state=1)
    with pytest.warns(UserWarning, match="Inference will be invalid"):
        learner.fit(made["y"], made["a"], X=X)
    assert np.all(learner.coef__inference().stderr > 0)  # and errors are given all the same
    once = people(lab, {name: made[name] for name in ("w", "a", "y")})
    thrice = people(lab, made | {"again": made["w"], "twice": 2 * made["w"], "b": made["w"]})
    edge = "users.a -> users.y"
    one, three = lab.estimate(once, edge), lab.estimate(thrice, edge)
    assert three.estimate == pytest.approx(one.estimate, abs=0.2 * one.se)
    assert three.se == pytest.approx(one.se, rel=0.1)
    itself = people(lab, made | {"copy": made["w"]})
    assert lab.estimate(itself, "users.copy -> users.y").blocked


def test_dowhys_default_estimate_counts_every_exposure_of_an_item_as_another_item(lab: Lab) -> None:
    """An attribute of sixty items that does nothing: per-row p-values reject it more often than not."""
    from dowhy import CausalModel

    rejected, honest = 0, 0
    for seed in range(6):
        rng = np.random.default_rng(100 + seed)
        item = rng.integers(0, 60, 3_000)
        sale, worth = (rng.random(60) < 0.5).astype(np.float64), rng.normal(size=60)
        y = worth[item] + rng.normal(size=3_000)
        frame = pd.DataFrame({"sale": sale[item], "y": y})
        model = CausalModel(data=frame, graph=nx.DiGraph([("sale", "y")]), treatment="sale", outcome="y")
        estimand = model.identify_effect(method_name="maximal-adjustment", proceed_when_unidentifiable=True)
        found = model.estimate_effect(estimand, method_name="backdoor.linear_regression")
        rejected += float(np.ravel(found.test_stat_significance()["p_value"])[0]) < 0.05
        events = {"user": rng.integers(0, 200, 3_000), "item": item, "y": y}
        honest += (
            lab.estimate(lab.study({}, {"sale": sale}, events, n_users=200), "items.sale -> events.y").p_value < 0.05
        )
    assert rejected >= 4, MENDED
    assert honest <= 1
