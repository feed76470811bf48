"""Answers that no one here made: does the judge find them, from data that hide them?

`python benchmarks/known_answers.py` reads public data beside the project (`--data`, or WHYRANK_DATA), writes each as a
study, has it judged as a user would, and prints three tables.

- nsw: a job training programme with an experiment that says what it does, and the same men beside a survey, where the
  naive comparison is wrong by $10,000 and hardly anyone of the survey could have been trained.
- acic: ten simulated surfaces over real columns, with the true average effect of each; beside EconML's
  `LinearDRLearner` and `CausalForestDML` (LightGBM nuisances) and DoWhy's default, a linear regression.
- bank: a conjoint with effects known from its design, of which a biased part of the exposures is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from known_studies import DATA, bank, need, nsw, surface
from machine import describe_machine

import whyrank

RESULTS = Path(__file__).parent.parent / "bench-results"
NAN = float("nan")


@dataclass(frozen=True)
class Line:
    """One estimate beside its truth.

    Attributes
    ----------
    what, method : which question, answered by what.
    truth, naive, estimate, low, high : the effect, its unadjusted contrast, the answer and its 95 % interval.
    unit : what an error is divided by to be compared with others.
    pehe : root mean square error of the effects of single units, in the same unit; NaN if they weren't asked for.
    verdict, population : of WhyRank.
    seconds : fit and inference; for WhyRank all of `Study.validate`, tables, gates and audit included.
    """

    what: str
    method: str
    truth: float
    naive: float
    estimate: float
    low: float
    high: float
    unit: float
    pehe: float
    verdict: str
    population: str
    seconds: float

    @property
    def covered(self) -> bool:
        """Whether the interval holds the truth."""
        return self.low <= self.truth <= self.high


def judged(folder: Path, edges: list[str]) -> tuple[pd.DataFrame, float]:
    """Have edges of a study judged; returns the verdict table, one row a contrast, and seconds."""
    start = time.perf_counter()
    with warnings.catch_warnings(), whyrank.open(folder) as study:
        warnings.simplefilter("ignore", whyrank.errors.WhyRankWarning)
        table: Any = study.validate(edges)
    return table, time.perf_counter() - start


def effects_of(folder: Path, edge: str) -> Any:
    """Return the effect of an edge for each user, by id."""
    with warnings.catch_warnings(), whyrank.open(folder) as study:
        warnings.simplefilter("ignore", whyrank.errors.WhyRankWarning)
        return study.effects(edge).users.set_index("user_id")["effect"]


def of_row(row: Any, what: str, truth: float, unit: float, seconds: float, flip: float = 1.0) -> Line:
    """Make a line of a row of the verdict table."""
    low, high = sorted((flip * row.ci_low, flip * row.ci_high))
    return Line(
        what, "WhyRank", truth, flip * row.naive, flip * row.estimate, low, high, unit, NAN, row.verdict,
        row.population, seconds,
    )  # fmt: skip


def nsw_lines(data: Path) -> list[Line]:
    """Judge the job training programme, in the experiment and beside the survey."""
    truth: Any = pd.read_csv(need("known-answers", data) / "nsw-cps" / "truth.csv").iloc[0]
    lines = []
    for sample in ("experiment", "observational"):
        with tempfile.TemporaryDirectory(prefix="nsw-") as folder:
            table, seconds = judged(nsw(sample, Path(folder), data), ["users.treat -> users.re78"])
        lines.append(of_row(next(table.itertuples()), sample, float(truth["estimate"]), float(truth["se"]), seconds))
    return lines


def acic_lines(data: Path, surfaces: list[int]) -> list[Line]:
    """Judge surfaces, and have the others estimate them."""
    home = need("known-answers", data) / "acic2016"
    truths: Any = pd.read_csv(home / "truth.csv").set_index("surface")
    X: Any = pd.get_dummies(pd.read_csv(home / "x.csv").drop(columns="unit"), drop_first=True, dtype=float)
    lines = []
    for number in surfaces:
        truth: Any = truths.loc[number]
        with tempfile.TemporaryDirectory(prefix="acic-") as folder:
            table, seconds = judged(surface(number, Path(folder), data), ["users.z -> users.y"])
            each_of = effects_of(Path(folder), "users.z -> users.y")
        name, unit = f"surface {number}", float(truth["sd_y"])
        drawn: Any = pd.read_csv(home / f"surface_{number:02d}.csv")
        effects = (drawn["mu1"] - drawn["mu0"]).to_numpy()
        mine = of_row(next(table.itertuples()), name, float(truth["ate"]), unit, seconds)
        off = each_of[drawn["unit"]].to_numpy() - effects
        lines.append(replace(mine, pehe=float(np.sqrt(np.mean(off**2))) / unit))
        for method, learn in OTHERS.items():
            start = time.perf_counter()
            with warnings.catch_warnings(), contextlib.suppress(AttributeError):
                warnings.simplefilter("ignore")
                point, low, high, each = learn(drawn["y"].to_numpy(), drawn["z"].to_numpy(), X)
            seconds = time.perf_counter() - start
            pehe = float(np.sqrt(np.mean((each - effects) ** 2))) / unit
            lines.append(
                Line(
                    name,
                    method,
                    float(truth["ate"]),
                    float(truth["naive"]),
                    point,
                    low,
                    high,
                    unit,
                    pehe,
                    "",
                    "",
                    seconds,
                )
            )
        print(
            f"  {name}: {', '.join(f'{x.method} {(x.estimate - x.truth) / unit:+.3f}' for x in lines[-4:])}", flush=True
        )
    return lines


Answer = tuple[float, float, float, Any]


def linear_dr_learner(y: Any, t: Any, X: pd.DataFrame) -> Answer:
    """EconML's doubly robust learner with a linear final stage."""
    from econml.dr import LinearDRLearner

    classifier, regressor = _boosted()
    learner = LinearDRLearner(model_propensity=classifier, model_regression=regressor, cv=5, random_state=1)
    return _asked(learner.fit(y, t, X=X.to_numpy()), X)


def causal_forest(y: Any, t: Any, X: pd.DataFrame) -> Answer:
    """EconML's causal forest on residuals."""
    from econml.dml import CausalForestDML

    classifier, regressor = _boosted()
    learner = CausalForestDML(
        model_y=regressor, model_t=classifier, discrete_treatment=True, cv=5, n_estimators=500, n_jobs=1, random_state=1
    )
    return _asked(learner.fit(y, t, X=X.to_numpy()), X)


def linear_regression(y: Any, t: Any, X: pd.DataFrame) -> Answer:
    """DoWhy's default: back-door adjustment by linear regression."""
    from dowhy import CausalModel

    logging.getLogger("dowhy").setLevel(logging.ERROR)
    frame = X.assign(t=t.astype(bool), y=y)
    model = CausalModel(data=frame, treatment="t", outcome="y", common_causes=list(X.columns))
    estimand = model.identify_effect(method_name="maximal-adjustment", proceed_when_unidentifiable=True)
    found: Any = model.estimate_effect(estimand, method_name="backdoor.linear_regression")
    low, high = np.ravel(found.get_confidence_intervals())
    return float(found.value), float(low), float(high), np.full(len(y), found.value)


def _boosted() -> tuple[Any, Any]:
    import lightgbm

    options: dict[str, Any] = {
        "n_estimators": 100,
        "learning_rate": 0.1,
        "num_leaves": 15,
        "n_jobs": 1,
        "verbosity": -1,
    }
    return lightgbm.LGBMClassifier(**options), lightgbm.LGBMRegressor(**options)


def _asked(learner: Any, X: pd.DataFrame) -> Answer:
    low, high = learner.ate_interval(X.to_numpy())
    each = np.ravel(learner.effect(X.to_numpy()))
    return float(np.ravel(learner.ate(X.to_numpy()))[0]), float(np.ravel(low)[0]), float(np.ravel(high)[0]), each


OTHERS: dict[str, Callable[[Any, Any, pd.DataFrame], Answer]] = {
    "LinearDRLearner": linear_dr_learner,
    "CausalForestDML": causal_forest,
    "DoWhy's default": linear_regression,
}


def bank_lines(data: Path) -> list[Line]:
    """Judge a biased part of the conjoint: effects of attributes, and how they vary with persons."""
    truth: Any = pd.read_csv(need("bank", data) / "truth.csv")
    plain = truth["edge"].str.replace(r"\[.*\]", "", regex=True)
    with tempfile.TemporaryDirectory(prefix="bank-") as folder:
        table, seconds = judged(bank(Path(folder), data), list(plain))
    table["plain"] = table["edge"].str.replace(r"\[.*\]", "", regex=True)
    rows = {row.plain: row for row in table.itertuples()}
    lines = []
    for edge, known in zip(plain, truth.itertuples(), strict=True):
        row = rows[edge]
        level = known.modifier_level if isinstance(known.modifier_level, str) else ""
        flip = 1.0 if level == row.modifier_level else -1.0  # the other of two levels is the reference
        lines.append(of_row(row, str(known.edge), float(known.estimate), float(known.se_twoway), seconds, flip))
    return lines


def show_nsw(lines: list[Line]) -> None:
    heads = f"{'job training':16s}{'truth':>9s}{'naive':>9s}{'WhyRank':>9s}{'interval':>20s}"
    print(f"\n{heads}  {'population':12s}{'verdict':14s}{'s':>6s}")
    for x in lines:
        interval = f"{x.low:,.0f} to {x.high:,.0f}"
        print(
            f"{x.what:16s}{x.truth:9,.0f}{x.naive:9,.0f}{x.estimate:9,.0f}{interval:>20s}  {x.population:12s}"
            f"{x.verdict:14s}{x.seconds:6.1f}"
        )


def show_acic(lines: list[Line]) -> None:
    print(f"\n{'surfaces':18s}{'error, sd(y)':>13s}{'largest':>9s}{'covered':>9s}{'PEHE, sd(y)':>13s}{'s each':>8s}")
    for method in dict.fromkeys(x.method for x in lines):
        mine = [x for x in lines if x.method == method]
        off = np.array([abs(x.estimate - x.truth) / x.unit for x in mine])
        covered = f"{sum(x.covered for x in mine)}/{len(mine)}"
        pehe = float(np.mean([x.pehe for x in mine]))
        print(
            f"{method:18s}{off.mean():13.3f}{off.max():9.3f}{covered:>9s}"
            f"{'-' if np.isnan(pehe) else f'{pehe:.3f}':>13s}{np.median([x.seconds for x in mine]):8.1f}"
        )
    elsewhere = [x.what for x in lines if x.population == "overlap"]
    if elsewhere:
        print(f"of these WhyRank says that it speaks for the overlap only: {', '.join(elsewhere)}")


def show_bank(lines: list[Line]) -> None:
    print(f"\n{'conjoint, biased part':42s}{'truth':>9s}{'naive':>9s}{'WhyRank':>9s}{'interval':>22s}  verdict")
    for x in lines:
        if "|" not in x.what or x.verdict == "validated":
            name = x.what.replace("items.", "").replace("users.", "").replace(" -> events.chose_a", "")
            interval = f"{x.low:+.4f} to {x.high:+.4f}"
            print(f"{name:42s}{x.truth:+9.4f}{x.naive:+9.4f}{x.estimate:+9.4f}{interval:>22s}  {x.verdict}")
    for kind, mine in (
        ("effects", [x for x in lines if "|" not in x.what]),
        ("interactions", [x for x in lines if "|" in x.what]),
    ):
        naive, ours = (
            float(np.sqrt(np.mean([((getattr(x, name) - x.truth) / x.unit) ** 2 for x in mine])))
            for name in ("naive", "estimate")
        )
        wrong = sum(x.verdict == "validated" and np.sign(x.estimate) != np.sign(x.truth) for x in mine)
        print(
            f"{len(mine)} {kind}: root mean square error in standard errors of the whole experiment: "
            f"naive {naive:.2f}, WhyRank {ours:.2f}; {sum(x.covered for x in mine)} covered, "
            f"{sum(x.verdict == 'validated' for x in mine)} validated, {wrong} of them with the wrong sign"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help=f"folder of the data sets (default {str(DATA)!r})")
    parser.add_argument("--only", choices=("nsw", "acic", "bank"), action="append", help="not all three")
    parser.add_argument("--quick", action="store_true", help="three surfaces instead of ten")
    options = parser.parse_args()
    print(describe_machine("numpy", "lightgbm", "dowhy", "econml"))
    wanted = options.only or ["nsw", "acic", "bank"]
    done: dict[str, list[Line]] = {}
    if "nsw" in wanted:
        done["nsw"] = nsw_lines(options.data)
        show_nsw(done["nsw"])
    if "acic" in wanted:
        print("\nerrors of the average effect in standard deviations of the outcome:")
        done["acic"] = acic_lines(options.data, [2, 5, 9] if options.quick else list(range(1, 11)))
        show_acic(done["acic"])
    if "bank" in wanted:
        done["bank"] = bank_lines(options.data)
        show_bank(done["bank"])
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / "known-answers.json"
    text = json.dumps({name: [asdict(x) for x in lines] for name, lines in done.items()}, indent=1)
    target.write_text(text + "\n", encoding="utf-8")
    print(f"\nevery line: {target}")


if __name__ == "__main__":
    main()
