"""Many edges on one plain table: other people's regressions, refuters that simulations confirm, honest on nulls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.sandwich_covariance import cov_cluster, cov_cluster_2groups

import whyrank
from whyrank.errors import DataError, InputError, NameNotFound
from whyrank.estimators.many import effects_of_residuals, estimate_many

Floats = npt.NDArray[np.float64]

W = ["w0", "w1", "w2"]
T = ["t0", "t1", "t2"]
Y = ["y0", "y1", "y2"]


def made(n: int = 3_000, seed: int = 0, effect: float = 0.2) -> pd.DataFrame:
    """Users and items with lasting traits; t2 is a trait of the user; y1 is noisy where w0 is large, y2 is 0/1."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, n // 20, n), rng.integers(0, 40, n)
    w = rng.normal(size=(n, 3)) * [1.0, 5.0, 0.2] + [0.0, 100.0, 0.0]
    t0 = w @ [0.5, 0.1, 1.0] + rng.normal(size=n)
    t1 = (w[:, 0] + rng.normal(size=n) > 0).astype(float)
    t2 = rng.normal(size=n)[user]
    base = w @ [0.4, -0.1, 0.0] + rng.normal(size=n)[user] * 0.5 + rng.normal(size=n)[item] * 0.3
    y0 = base + effect * (t0 + t1 + t2) + rng.normal(size=n)
    y1 = base + effect * t0 + rng.normal(size=n) * (1 + np.abs(w[:, 0]))
    y2 = (base + rng.normal(size=n) > -10).astype(float)
    values = np.column_stack([w, t0, t1, t2, y0, y1, y2])
    return pd.DataFrame(values, columns=[*W, *T, *Y]).assign(user=[f"u{u}" for u in user], item=item)


def row(found: pd.DataFrame, cause: str, outcome: str) -> Any:
    return found[(found["cause"] == cause) & (found["outcome"] == outcome)].iloc[0]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return made()


def ols(table: pd.DataFrame, cause: str, outcome: str, adjust: list[str]) -> Any:
    return sm.OLS(table[outcome], sm.add_constant(table[[cause, *adjust]]))


def test_estimates_and_robust_errors_are_those_of_least_squares(table: pd.DataFrame) -> None:
    found = estimate_many(table, T, Y, W)
    for cause in T:
        for outcome in Y:
            theirs, mine = ols(table, cause, outcome, W).fit(cov_type="HC1", use_t=True), row(found, cause, outcome)
            assert mine["estimate"] == pytest.approx(theirs.params[cause], abs=1e-10)
            assert mine["se"] == pytest.approx(theirs.bse[cause], rel=1e-8)
            assert mine["p_value"] == pytest.approx(theirs.pvalues[cause], rel=1e-6)
            assert [mine["ci_low"], mine["ci_high"]] == pytest.approx(theirs.conf_int().loc[cause], rel=1e-8)
            naive = np.cov(table[cause], table[outcome])
            assert mine["naive"] == pytest.approx(naive[0, 1] / naive[0, 0])


def test_clustered_errors_are_those_of_statsmodels(table: pd.DataFrame) -> None:
    users, items = pd.factorize(table["user"])[0], table["item"].to_numpy()
    one, two = (estimate_many(table, T, Y, W, clusters=c) for c in ("user", ["user", "item"]))
    for cause in T:
        fitted = ols(table, cause, "y0", W).fit()
        by_user = cov_cluster(fitted, users)[1, 1]
        assert row(one, cause, "y0")["se"] == pytest.approx(np.sqrt(by_user), rel=1e-8)
        both, first, second = (c[1, 1] for c in cov_cluster_2groups(fitted, users, items))
        assert row(two, cause, "y0")["se"] == pytest.approx(np.sqrt(max(both, first, second)), rel=1e-8)
    assert set(two["dof"]) == {39.0}, "fewer items than users: their number less one"


def test_each_edge_may_have_its_own_adjustment_set(table: pd.DataFrame) -> None:
    sets = {(t, y): [*W[: i + 1], *[c for c in T if c != t][:j]] for i, t in enumerate(T) for j, y in enumerate(Y)}
    found = estimate_many(table, T, Y, sets)
    assert found["adjusted_for"].nunique() == 9
    for (cause, outcome), names in sets.items():
        theirs = ols(table, cause, outcome, names).fit(cov_type="HC1")
        mine = row(found, cause, outcome)
        assert [mine["estimate"], mine["se"]] == pytest.approx([theirs.params[cause], theirs.bse[cause]], rel=1e-8)
        alone = row(estimate_many(table, [cause], [outcome], names, clusters="user"), cause, outcome)
        together = row(estimate_many(table, T, Y, sets, clusters="user"), cause, outcome)
        numbers = [name for name, kind in found.dtypes.items() if kind.kind == "f"]
        assert together[numbers].tolist() == pytest.approx(alone[numbers].tolist(), rel=1e-7)


def test_by_cause_and_beyond_what_fits_into_one_pass(table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = {"t0": W, "t1": W[:1], "t2": W}
    whole = estimate_many(table, T, Y, sets, clusters=["user", "item"])
    monkeypatch.setattr("whyrank.estimators.many_sums.CLUSTER_BYTES", 8_000)
    monkeypatch.setattr("whyrank.estimators.grams.KEPT_BYTES", 0)
    pd.testing.assert_frame_equal(estimate_many(table, T, Y, sets, clusters=["user", "item"], chunk_rows=700), whole)


@pytest.mark.parametrize("folds", [1, 3])
def test_chunks_are_the_whole_and_the_order_of_rows_is_nothing(table: pd.DataFrame, folds: int, tmp_path: Path) -> None:
    options: dict[str, Any] = {"clusters": ["user", "item"], "folds": folds}
    whole = estimate_many(table, T, Y, W, **options)
    table.to_parquet(tmp_path / "table.parquet", row_group_size=500)
    pieces = [table.iloc[i : i + 431] for i in range(0, len(table), 431)]

    def again() -> Iterator[pd.DataFrame]:
        return iter(pieces)

    shuffled = table.sample(frac=1, random_state=3)
    columns = {name: table[name].to_numpy() for name in table}
    others: list[Any] = [tmp_path / "table.parquet", pieces, again, shuffled, columns]
    for other in others:
        pd.testing.assert_frame_equal(estimate_many(other, T, Y, W, chunk_rows=400, **options), whole, rtol=1e-8)


def test_units_and_shifts_move_with_the_columns(table: pd.DataFrame) -> None:
    moved = table.assign(t0=table["t0"] * 1e-4 + 1e3, y0=table["y0"] * 1e5 - 7, w1=table["w1"] * 1e6)
    before, after = (row(estimate_many(t, ["t0"], ["y0"], W), "t0", "y0") for t in (table, moved))
    for name in ("estimate", "se", "naive", "placebo_sd", "random_common_cause_sd", "bootstrap_mean", "bootstrap_sd"):
        assert after[name] == pytest.approx(before[name] * 1e9, rel=1e-6)
    assert after["p_value"] == pytest.approx(before["p_value"], rel=1e-5)
    assert after["robustness_value"] == pytest.approx(before["robustness_value"], rel=1e-6)


def test_collinear_and_constant_columns(table: pd.DataFrame) -> None:
    odd = table.assign(copy=table["w0"] * 2 + 1, flat=4.0, mix=table["w0"] - table["w1"])
    found = estimate_many(odd, ["t0", "flat", "mix"], ["y0"], [*W, "copy"])
    assert found["problem"].tolist() == ["", "the cause is constant", "the adjustment columns determine the cause"]
    assert found["estimate"].isna().tolist() == [False, True, True]
    plain = estimate_many(table, ["t0"], ["y0"], W)
    assert found["estimate"].iloc[0] == pytest.approx(plain["estimate"].iloc[0], rel=1e-8)


def refits(table: pd.DataFrame, cause: str, outcome: str, draws: int) -> dict[str, Floats]:
    """What DoWhy's four refuters do, by refitting."""
    rng = np.random.default_rng(5)
    w, t, y = table[W].to_numpy(), table[cause].to_numpy(), table[outcome].to_numpy()
    n, wide = len(t), w.std(axis=0)

    def fit(t: Floats, w: Floats, y: Floats) -> float:
        X = np.column_stack([np.ones(len(t)), t, w])
        return float(np.linalg.lstsq(X, y)[0][1])

    out: dict[str, list[float]] = {"placebo": [], "random_common_cause": [], "data_subset": [], "bootstrap": []}
    for _ in range(draws):
        out["placebo"].append(fit(rng.permutation(t), w, y))
        out["random_common_cause"].append(fit(t, np.column_stack([w, rng.normal(size=n)]), y))
        some = rng.choice(n, int(0.8 * n), replace=False)
        out["data_subset"].append(fit(t[some], w[some], y[some]))
        drawn = rng.integers(0, n, n)
        out["bootstrap"].append(fit(t[drawn], w[drawn] + rng.normal(size=w.shape) * 0.1 * wide, y[drawn]))
    return {name: np.array(values) for name, values in out.items()}


@pytest.mark.parametrize(("cause", "outcome"), [("t0", "y0"), ("t1", "y1")])
def test_refuters_in_closed_form_are_what_simulations_give(cause: str, outcome: str) -> None:
    table, draws = made(1_000, seed=4), 500
    mine = row(estimate_many(table, [cause], [outcome], W), cause, outcome)
    for name, drawn in refits(table, cause, outcome, draws).items():
        sd = drawn.std(ddof=1)
        assert mine[f"{name}_mean"] == pytest.approx(drawn.mean(), abs=3.5 * sd / np.sqrt(draws)), name
        assert mine[f"{name}_sd"] == pytest.approx(sd, rel=0.12), name


def test_a_placebo_among_clusters_is_as_wide_as_the_error() -> None:
    """A trait of users shuffled over rows gives placebos that are too narrow; shuffled among users it doesn't."""
    table = made(6_000, seed=2, effect=0.0)
    rows, users = (row(estimate_many(table, ["t2"], ["y0"], W, clusters=c), "t2", "y0") for c in (None, "user"))
    assert users["placebo_sd"] == pytest.approx(users["se"], rel=0.25)
    assert rows["placebo_sd"] < 0.6 * users["placebo_sd"]


def test_nulls_are_rejected_as_often_as_they_should_be() -> None:
    """Sixty traits of users without any effect, in three worlds; taken row by row they would seem to have one."""
    p: dict[str, list[float]] = {"user": [], "rows": []}
    for seed in range(3):
        table, rng = made(4_000, seed=10 + seed), np.random.default_rng(seed)
        code = pd.factorize(table["user"])[0]
        traits = {f"x{i}": rng.normal(size=code.max() + 1)[code] for i in range(60)}
        wide = pd.concat([table, pd.DataFrame(traits)], axis=1)
        p["user"] += estimate_many(wide, list(traits), ["y0"], W, clusters="user", folds=3)["p_value"].tolist()
        p["rows"] += estimate_many(wide, list(traits), ["y0"], W)["p_value"].tolist()
    share = {name: float(np.mean(np.array(values) < 0.05)) for name, values in p.items()}
    assert stats.binomtest(int(180 * share["user"]), 180, 0.05).pvalue > 0.01
    assert share["rows"] > 0.15


@pytest.mark.parametrize("nuisances", ["linear", "lightgbm"])
def test_the_true_effect_is_found_out_of_fold(nuisances: Any) -> None:
    table = made(6_000, seed=8)
    bent = table.assign(y1=table["y1"] + (0.5 * table["w0"] ** 2 if nuisances == "lightgbm" else 0))
    found = row(estimate_many(bent, ["t0", "t1"], ["y0", "y1"], W, nuisances=nuisances, folds=3), "t0", "y1")
    assert abs(found["estimate"] - 0.2) <= 3 * found["se"]
    assert found["se"] < 0.06


def test_trees_are_those_of_econml_on_the_same_folds() -> None:
    from econml.dml import LinearDML
    from lightgbm import LGBMRegressor

    table = made(1_200, seed=3)
    found = row(estimate_many(table, T[:2], Y[:2], W, nuisances="lightgbm", folds=2, seed=4), "t0", "y1")
    fold = np.random.default_rng([4, 1]).permutation(len(table)) % 2
    splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(2)]
    fixed: dict[str, Any] = {"n_estimators": 100, "random_state": 4, "n_jobs": 1, "verbose": -1, "deterministic": True}
    learner = LinearDML(
        model_y=LGBMRegressor(**fixed, force_row_wise=True),
        model_t=LGBMRegressor(**fixed, force_row_wise=True),
        cv=splits,
        fit_cate_intercept=True,
    )
    learner.fit(table["y1"].to_numpy(), table["t0"].to_numpy(), W=table[W].to_numpy(), cache_values=True)
    assert found["estimate"] == pytest.approx(float(np.ravel(learner.ate())[0]), abs=0.02 * found["se"])
    y_res, t_res = learner.residuals_[:2]
    same = effects_of_residuals(pd.DataFrame({"t0": t_res}), pd.DataFrame({"y1": y_res}))
    assert same["estimate"].iloc[0] == pytest.approx(found["estimate"], abs=1e-8)
    assert same["se"].iloc[0] == pytest.approx(found["se"], rel=1e-2)


def test_half_the_precision_moves_no_estimate(table: pd.DataFrame) -> None:
    double, single = (estimate_many(table, T, Y, W, precision=p) for p in ("double", "single"))
    assert np.array_equal(double["estimate"], single["estimate"])
    assert single["se"].to_numpy() == pytest.approx(double["se"].to_numpy(), rel=1e-5)


def test_the_same_call_gives_the_same_bytes(table: pd.DataFrame) -> None:
    one, two = (whyrank.estimate_many(table, T, Y, W, folds=3, nuisances="lightgbm", seed=1) for _ in range(2))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"w1": np.nan}, {}, r"column 'w1' has missing or infinite values \(rows 7, 9\)"),
        ({"y0": np.inf}, {}, "column 'y0' has missing or infinite values"),
        ({"w0": "red"}, {}, "column 'w0' holds .*not numbers.*encode it as 0/1 columns"),
        ({}, {"causes": ["user_"]}, r"no column 'user_' \(did you mean"),
        ({}, {"adjust": ["w0", "t0"]}, "t0 -> y0: the cause stands in its own adjustment set"),
        ({}, {"adjust": "w0"}, "adjust = 'w0': expected a list"),
        ({}, {"adjust": {"t1": W}}, "adjust says nothing about t0 -> y0"),
        ({}, {"causes": ["t0", "t0"]}, "causes name 't0' twice"),
        ({}, {"causes": "t0"}, "causes = 't0': expected a list"),
        ({}, {"clusters": ["user", "item", "w0"]}, "expected one column or two"),
        ({}, {"clusters": "w9"}, "no column 'w9'"),
        ({"user": None}, {"clusters": "user"}, "column 'user' has 2 missing values, first in row 7"),
        ({}, {"folds": 0}, "folds = 0"),
        ({}, {"folds": 1, "nuisances": "lightgbm"}, "LightGBM needs at least 2"),
        ({}, {"nuisances": "forest"}, "nuisances = 'forest': expected"),
        ({}, {"refuters": ["luck"]}, "no refuter 'luck'"),
        ({}, {"subset_fraction": 80}, "subset_fraction = 80"),
    ],
)
def test_bad_input_is_named(table: pd.DataFrame, change: Any, options: Any, message: str) -> None:
    broken = table.copy()
    for name, value in change.items():
        broken[name] = broken[name].astype(object) if isinstance(value, str) else broken[name]
        broken.loc[[7, 9], name] = value
    given: dict[str, Any] = {"causes": ["t0"], "outcomes": ["y0"], "adjust": W, **options}
    with pytest.raises(InputError, match=message):
        estimate_many(broken, **given)


def test_tables_that_are_none(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an iterator can be read only once"):
        estimate_many(iter([table]), ["t0"], ["y0"], W)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"none\.parquet doesn't exist"):
        estimate_many(tmp_path / "none.parquet", ["t0"], ["y0"], W)
    (tmp_path / "bad.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match=r"bad\.parquet can't be read as Parquet"):
        estimate_many(tmp_path / "bad.parquet", ["t0"], ["y0"], W)
    with pytest.raises(NameNotFound, match="chunk 1 of the table has no column 'w2'"):
        estimate_many([table, table.drop(columns="w2")], ["t0"], ["y0"], W)
    with pytest.raises(InputError, match="7 rows are too few to adjust for 3 columns"):
        estimate_many(table.iloc[:7], ["t0"], ["y0"], W)


def test_the_page_s_example_runs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "many-edges.md").read_text(encoding="utf-8")
    known: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], known)
    found = known["effects"]
    assert max(row(found, "banner", "clicks")["p_value"], row(found, "price", "spend")["p_value"]) < 0.001
