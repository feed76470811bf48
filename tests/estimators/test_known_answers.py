"""Answers that no one here made, where the data are at hand: an experiment, simulated surfaces, a conjoint."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import whyrank

STUDIES = Path(__file__).parents[2] / "benchmarks" / "known_studies.py"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("known_studies", STUDIES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


known = load()
pytestmark = pytest.mark.filterwarnings("ignore::whyrank.errors.WhyRankWarning")
needs_answers = pytest.mark.skipif(not (known.DATA / "known-answers").is_dir(), reason="the known answers are not here")
needs_bank = pytest.mark.skipif(not (known.DATA / "bank").is_dir(), reason="the conjoint is not here")


def verdicts(folder: Path, *edges: str) -> Any:
    file = folder / "whyrank.toml"
    file.write_text(file.read_text(encoding="utf-8") + "\n[validation]\naudit = false\n", encoding="utf-8")
    with whyrank.open(folder) as study:
        return study.validate(edges)


@needs_answers
def test_job_training_beside_a_survey_is_never_confidently_wrong(tmp_path: Path) -> None:
    truth: Any = pd.read_csv(known.DATA / "known-answers" / "nsw-cps" / "truth.csv").iloc[0]
    (row,) = verdicts(known.nsw("observational", tmp_path), "users.treat -> users.re78").itertuples()
    assert row.naive < -8_000
    assert row.verdict in ("inconclusive", "unidentifiable")
    assert row.population == "overlap"
    assert abs(row.estimate - truth["estimate"]) < 1.96 * truth["se"]
    assert row.se < 1_000
    assert "could have had either level" in row.reasons


@needs_answers
def test_job_training_in_the_experiment(tmp_path: Path) -> None:
    truth: Any = pd.read_csv(known.DATA / "known-answers" / "nsw-cps" / "truth.csv").iloc[0]
    (row,) = verdicts(known.nsw("experiment", tmp_path), "users.treat -> users.re78").itertuples()
    assert row.population == "all rows"
    assert abs(row.estimate - truth["estimate"]) < truth["se"] / 2
    assert row.se < 1.1 * truth["se"]


@needs_answers
def test_surfaces_that_lines_get_wrong(tmp_path: Path) -> None:
    truth: Any = pd.read_csv(known.DATA / "known-answers" / "acic2016" / "truth.csv").set_index("surface")
    for number in (4, 6):  # linear adjustment is 5 and 7 of its standard errors off
        (row,) = verdicts(known.surface(number, tmp_path / str(number)), "users.z -> users.y").itertuples()
        known_: Any = truth.loc[number]
        assert abs(row.estimate - known_["ate"]) < 0.2 * abs(known_["adjusted"] - known_["ate"])
        assert row.ci_low < known_["ate"] < row.ci_high


@needs_bank
def test_a_biased_part_of_the_conjoint_gives_the_effects_of_the_whole(tmp_path: Path) -> None:
    truth: Any = pd.read_csv(known.DATA / "bank" / "truth.csv")
    truth = truth[truth["modifier"].isna()].set_index("edge")
    found: Any = verdicts(known.bank(tmp_path), *truth.index).set_index("edge").loc[truth.index]
    assert set(found["population"]) == {"all rows"}
    off, naive = ((found[name] - truth["estimate"]) for name in ("estimate", "naive"))
    assert float(np.sqrt(np.mean(off**2))) < 0.35 * float(np.sqrt(np.mean(naive**2)))
    assert ((found["ci_low"] < truth["estimate"]) & (truth["estimate"] < found["ci_high"])).sum() >= 12
    validated = found[found["verdict"] == "validated"]
    assert len(validated) >= 1  # the columns go together so strongly that few could stand a hidden one like them
    assert (np.sign(validated["estimate"]) == np.sign(truth.loc[validated.index, "estimate"])).all()


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"known-answers.*WHYRANK_DATA"):
        known.nsw("experiment", tmp_path, tmp_path)
