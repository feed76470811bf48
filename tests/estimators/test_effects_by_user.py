"""Effects by user, as callers ask for them: from Python, for new users, and from the command line."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from whyrank.cli import main
from whyrank.datasets.study_data import StudyData
from whyrank.datasets.world import small_world, write_world
from whyrank.effects import MODIFIER_COLUMNS, USER_COLUMNS, VaryingEffects, varying_effects
from whyrank.errors import InputError, NameNotFound, WhyRankWarning

if TYPE_CHECKING:
    from tests.estimators.conftest import Lab

EDGE = "items.offer -> events.y"


@pytest.fixture(scope="module")
def shop(lab: Lab) -> StudyData:
    """New users gain 0.6 from the offer, others nothing; the plus brand gains nobody more than others."""
    rng = np.random.default_rng(3)
    users, items, rows = 500, 60, 10_000
    user, item = rng.integers(0, users, rows), rng.integers(0, items, rows)
    new, income = (rng.random(users) < 0.4).astype(float), rng.normal(50, 10, users)
    offer, brand = (rng.random(items) < 0.5).astype(float), rng.choice(["basic", "plus", "premium"], items)
    y = 0.6 * new[user] * offer[item] + 0.3 * (brand[item] == "plus") + 0.01 * income[user] + rng.normal(size=rows)
    return lab.study(
        {"new": new, "income": income},
        {"offer": offer, "brand": list(brand)},
        {"user": user, "item": item, "y": y},
        reference={"items.brand": "basic"},
    )


@pytest.fixture(scope="module")
def offer(shop: StudyData) -> VaryingEffects:
    with pytest.warns(WhyRankWarning, match="was not judged, not validated"):
        return varying_effects(shop, EDGE)


def test_users_get_their_effect_with_an_interval(shop: StudyData, offer: VaryingEffects) -> None:
    assert tuple(offer.users.columns) == ("edge", *USER_COLUMNS)
    assert list(offer.users["user_id"]) == list(shop.user_ids)
    truth = 0.6 * shop.users["new"]
    inside = (offer.users["ci_low"] <= truth) & (truth <= offer.users["ci_high"])
    assert inside.mean() > 0.9
    assert offer.chosen in ("sparse", "linear", "forest")
    assert set(offer.losses) == {"constant", "sparse", "linear", "forest"}
    assert offer.test.p_value < 0.01


def test_modifiers_are_proposed_as_edges(offer: VaryingEffects) -> None:
    assert tuple(offer.modifiers.columns) == ("edge", *MODIFIER_COLUMNS)
    assert offer.modifiers["modifier"].iloc[0] == "users.new"
    assert offer.modifiers["importance"].iloc[0] > 0.5
    assert offer.proposals[0] == "items.offer -> events.y | users.new"


def test_users_known_by_their_attributes_alone(shop: StudyData, offer: VaryingEffects) -> None:
    known = pd.DataFrame(
        {"user_id": ["a", "b"], "users.new": shop.users["new"][:2], "income": shop.users["income"][:2]}
    )
    got = offer.predict(known)
    assert list(got["user_id"]) == ["a", "b"]
    np.testing.assert_allclose(got.iloc[:, 2:], offer.users.iloc[:2, 2:])
    assert offer.predict(pd.DataFrame({"new": [1, 0]}))["effect"].diff().iloc[1] < -0.3
    with pytest.raises(NameNotFound, match=r"no user attribute 'incom' in this study.*income"):
        offer.predict(pd.DataFrame({"incom": [1.0]}))
    with pytest.raises(InputError, match=r"'users.new' has no level 'maybe'"):
        offer.predict(pd.DataFrame({"new": ["maybe"]}))


@pytest.mark.filterwarnings("ignore::whyrank.errors.WhyRankWarning")
def test_a_categorical_cause_has_a_result_per_level(shop: StudyData) -> None:
    both = varying_effects(shop, "items.brand -> events.y", users=["u00003"])
    one = varying_effects(shop, "items.brand[plus] -> events.y", users=["u00003"])
    assert len(both) == 2
    assert len(both.users) == 2
    assert both["plus"].edge == "items.brand[plus] -> events.y" == one[0].edge
    pd.testing.assert_frame_equal(both["plus"].users, one.users)
    assert abs(both["plus"].estimate - 0.3) <= 3 * both["plus"].se
    with pytest.raises(InputError, match=r"a result per level: take one of '\w+', '\w+'"):
        _ = both.test
    with pytest.raises(NameNotFound, match="no result for level 'plsu'"):
        _ = both["plsu"]
    with pytest.raises(InputError, match="has no level 'gold'"):
        varying_effects(shop, "items.brand[gold] -> events.y")


@pytest.mark.parametrize(
    ("edge", "said"),
    [
        ("items.offer -> events.y | users.new", "names a modifier"),
        ("items.price -> events.y", r"no 'items.price'"),
        ("items.offer -> items.offer2", r"no 'items.offer2'"),
        ("items.offer", "is not an edge"),
    ],
)
def test_what_can_t_vary_is_said(shop: StudyData, edge: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        varying_effects(shop, edge)


def test_same_study_same_numbers(shop: StudyData, offer: VaryingEffects) -> None:
    with pytest.warns(WhyRankWarning):
        again = varying_effects(shop, EDGE)
    pd.testing.assert_frame_equal(again.users, offer.users, check_exact=True)
    assert again.test == offer.test


def test_a_validated_edge_brings_no_warning(lab: Lab, shop: StudyData) -> None:
    judged = lab.verdicts(shop, EDGE)
    assert [j.verdict for j in judged] == ["validated"]
    found = varying_effects(shop, EDGE, judged, users=["u00007"])[0]
    assert found.verdict == "validated"
    assert (found.estimate, found.se) == pytest.approx((judged[0].estimate.estimate, judged[0].estimate.se))
    assert list(found.users["user_id"]) == ["u00007"]


def test_figures(offer: VaryingEffects, tmp_path: Path) -> None:
    tree = ET.parse(offer.figure(tmp_path / "f.svg"))
    assert sum(node.tag.endswith("circle") for node in tree.iter()) == len(offer.test.groups)
    page = offer.figure(tmp_path / "f.html").read_text("utf-8")
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "items.offer -&gt; events.y" in page
    with pytest.raises(InputError, match=r"an .svg or .html file, not 'f.png'"):
        offer.figure(tmp_path / "f.png")


def test_the_command(tmp_path: Path) -> None:
    write_world(small_world(), tmp_path / "shop")
    study = str(tmp_path / "shop")
    edge = "items.discount -> events.purchase"

    def run(*more: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(main, ["effects", study, "--edge", edge, *more])
        return result.exit_code, result.stdout, result.stderr

    code, out, err = run("--figure", str(tmp_path / "f.svg"))
    assert code == 0, err
    assert "on average (not judged)" in out.replace("\n", " ")
    assert "was not judged, not validated" in err
    assert (tmp_path / "f.svg").exists()
    users = pd.read_csv(tmp_path / "shop" / "users.csv")
    code, _, err = run("--output", str(tmp_path / "users.parquet"))
    assert code == 0, err
    assert len(pd.read_parquet(tmp_path / "users.parquet")) == len(users)
    code, out, _ = run("--show", "test", "--format", "json")
    assert json.loads(out)[0]["calibration"].keys() == {"estimate", "se", "ci_low", "ci_high", "p_value"}
    code, _, err = run("--user", "nobody")
    assert (code, "no user 'nobody'" in err) == (2, True)
    code, _, err = run("--user", "u1", "--users-file", "x.csv")
    assert (code, "not both" in err) == (2, True)
