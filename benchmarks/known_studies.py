"""Studies made of public data whose answers no one here made: job training, ten simulated surfaces, a conjoint.

The data stand beside the project and are not part of it; each function writes a study folder, as a user would have it.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

__all__ = ["DATA", "bank", "need", "nsw", "surface"]

DATA = Path(os.environ.get("WHYRANK_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
"""Where the data lie: `WHYRANK_DATA`, or `shared/data` beside the project."""


def need(name: str, data: Path = DATA) -> Path:
    """Return the folder of one data set.

    Raises
    ------
    SystemExit
        If it isn't there.
    """
    folder = data / name
    if not folder.is_dir():
        raise SystemExit(f"{name!r} is not in {str(data)!r}: give the folder that holds it by --data or WHYRANK_DATA")
    return folder


def nsw(sample: str, folder: Path, data: Path = DATA) -> Path:
    """Write the job training study: 185 trained men beside controls drawn at random, or beside a survey.

    Parameters
    ----------
    sample : "experiment" (260 controls) or "observational" (15,992 men of the Current Population Survey).
    folder : where the study goes.
    """
    people = pd.read_csv(need("known-answers", data) / "nsw-cps" / f"{sample}.csv").drop(columns="sample")
    _write(people, folder, cause="treat", effect="re78")
    return folder


def surface(number: int, folder: Path, data: Path = DATA) -> Path:
    """Write one surface of the 2016 challenge: 4,802 units, 58 columns, a treatment `z` and an outcome `y`."""
    home = need("known-answers", data) / "acic2016"
    units = pd.read_csv(home / "x.csv")
    drawn = pd.read_csv(home / f"surface_{number:02d}.csv")[["unit", "z", "y"]]
    _write(units.merge(drawn, on="unit", validate="1:1"), folder, cause="z", effect="y")
    return folder


def bank(folder: Path, data: Path = DATA, *, seed: int = 1) -> Path:
    """Write the conjoint as a log that a policy left behind: a part of its exposures, by a rule of persons and cards.

    Of the cards that were drawn at random, those with a low fee stay mostly where they also offer a high rebate, those
    of an out-of-state bank where the person is young, and low fixed interest where income is low; nobody says that
    anything was random. What people answer has no part in it, so the effects are those of the whole experiment.
    """
    home = need("bank", data)
    people, cards, log = (pd.read_csv(home / f"{name}.csv") for name in ("users", "items", "events"))
    rows = log.merge(people, on="user_id").merge(cards, on="item_id")
    young = (rows["age"] < rows["age"].median()).astype(int) * 2 - 1
    poor = (rows["income"] < rows["income"].median()).astype(int) * 2 - 1
    score = (
        1.2 * rows["low_fee"] * rows["high_rebate"]
        + 0.8 * (rows["low_fee"] + rows["high_rebate"])
        + 0.8 * rows["out_of_state_bank"] * young
        + 0.8 * rows["low_fixed_interest"] * poor
    )
    kept = np.random.default_rng(seed).random(len(rows)) < 1 / (1 + np.exp(-score))
    folder.mkdir(parents=True, exist_ok=True)
    people.to_csv(folder / "users.csv", index=False)
    cards.to_csv(folder / "items.csv", index=False)
    log[np.asarray(kept)].drop(columns="is_random").to_csv(folder / "events.csv", index=False)
    lines = (home / "whyrank.toml").read_text(encoding="utf-8").splitlines()
    told = "\n".join(line for line in lines if not line.startswith("randomised"))
    (folder / "whyrank.toml").write_text(told + "\n", encoding="utf-8")
    return folder


def _write(people: pd.DataFrame, folder: Path, *, cause: str, effect: str) -> None:
    """Write a study of attributes of users; its log has one exposure each, and says nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    people.to_csv(folder / "users.csv", index=False)
    pd.DataFrame({"item": ["none"], "kind": ["none"]}).to_csv(folder / "items.csv", index=False)
    pd.DataFrame({"unit": people["unit"], "item": "none", "seen": np.arange(len(people)) % 2}).to_csv(
        folder / "events.csv", index=False
    )
    columns = [name for name in people.columns if name not in ("unit", cause, effect)]
    roles = [f'[attributes."users.{name}"]\nrole = "confounder"\n' for name in columns]
    (folder / "whyrank.toml").write_text(
        "\n".join(
            [
                '[study]\nname = "known"\nseed = 7\n',
                '[users]\npath = "users.csv"\nkey = "unit"\n',
                '[items]\npath = "items.csv"\nkey = "item"\n',
                '[events]\npath = "events.csv"\nuser = "unit"\nitem = "item"\noutcomes = ["seen"]\n',
                *roles,
            ]
        ),
        encoding="utf-8",
    )
