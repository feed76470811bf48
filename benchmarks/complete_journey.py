"""What a plain regression says of promotions in Complete Journey: the figures in docs/complete-journey.md.

`python benchmarks/complete_journey.py` writes the study of a draw (`--visits 8000`) or of all household-weeks
(`--visits all`) into a temporary folder and regresses `bought` on display, mailer and price cut, each with the fixed
effects named, standard errors clustered by household and by category. It shares no code with the judge's nuisances.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from machine import describe_machine

from whyrank.datasets.complete_journey import write_complete_journey
from whyrank.estimators.clusters import two_way_se

CAUSES = ("display", "mailer", "price_cut")
Codes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


def main() -> None:
    """Print one line per kind of adjustment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", default="8000", help="household-weeks drawn, or 'all'")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_complete_journey(folder, visits=None if asked.visits == "all" else int(asked.visits))
        events = pd.read_parquet(f"{folder}/events.parquet")
    print(describe_machine("pandas", "numpy"))
    print(f"{len(events):,} rows, {events['bought'].mean():.1%} bought; percentage points ± standard error")
    household, category, week = (codes(events[name]) for name in ("household_id", "category_id", "week_of"))
    kinds: dict[str, Sequence[Codes]] = {
        "no adjustment": (),
        "category and week": (category, week),
        "category x household and week": (pair(category, household), week),
        "category x week": (pair(category, week),),
    }
    for name, absorbed in kinds.items():
        said = []
        for cause in CAUSES:
            estimate, se = regress(events, cause, absorbed, household, category)
            said.append("-" if np.isnan(estimate) else f"{100 * estimate:.2f} ± {100 * se:.2f}")
        print(f"{name:32}" + "".join(f"{text:>16}" for text in said))


def regress(
    events: pd.DataFrame, cause: str, absorbed: Sequence[Codes], household: Codes, category: Codes
) -> tuple[float, float]:
    """Return the slope of `bought` on one cause within the absorbed groups; with them, the other two are covariates."""
    known = events[list(CAUSES)].notna().all(axis=1).to_numpy()
    names = [cause, *(other for other in CAUSES if other != cause)] if absorbed else [cause]
    columns = np.column_stack([events.loc[known, name].to_numpy(np.float64) for name in [*names, "bought"]])
    columns -= columns.mean(axis=0)
    groups = [np.unique(codes[known], return_inverse=True)[1].astype(np.int32) for codes in absorbed]
    for _ in range(8 if len(groups) > 1 else 1):
        for codes_ in groups:
            sizes = np.bincount(codes_)
            for j in range(columns.shape[1]):
                columns[:, j] -= (np.bincount(codes_, weights=columns[:, j]) / sizes)[codes_]
    X, y = columns[:, :-1], columns[:, -1]
    if X[:, 0].std() < 1e-6:
        return float("nan"), float("nan")
    X = X[:, X.std(axis=0) >= 1e-6]
    bread = np.linalg.inv(X.T @ X / len(y))
    slopes = bread @ (X.T @ y / len(y))
    influence = ((y - X @ slopes)[:, None] * X @ bread)[:, 0]
    users, items = household[known], category[known]
    return float(slopes[0]), two_way_se(influence, (users, items), pair(users, items))


def codes(column: pd.Series) -> Codes:
    """Return the codes of a column's values."""
    return pd.factorize(column, sort=True)[0].astype(np.int32)


def pair(a: Codes, b: Codes) -> Codes:
    """Return the codes of pairs."""
    keys = a.astype(np.int64) * (int(b.max()) + 1) + b
    return np.asarray(np.unique(keys, return_inverse=True)[1], np.int32)


if __name__ == "__main__":
    main()
