"""From a catalogue's texts to tested attributes: propose, edit, label, judge; on the command line and from Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import whyrank
from whyrank.agents.scripted import ScriptedModel, Sent
from whyrank.cli import main

pytestmark = pytest.mark.filterwarnings("ignore::whyrank.errors.WhyRankWarning")

ITEMS, USERS, EVENTS = 80, 120, 6_000


def reads(sent: Sent) -> Mapping[str, Any]:
    """A model that proposes one attribute, and reads texts well."""
    if "name" in sent.params["schema"]["properties"]:
        return {"name": "for children", "question": "Is it made for children?", "one": "for children", "other": "not"}
    text = sent.text.split("The text of one item:")[1]
    return {"answer": "yes" if "kids" in text else "no" if "office" in text else "unclear"}


@pytest.fixture
def model(in_place_of_a_server: Callable[[ScriptedModel], ScriptedModel]) -> ScriptedModel:
    return in_place_of_a_server(ScriptedModel(reads, slots=4))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A shop in which what is made for children sells better, which the descriptions alone tell."""
    rng = np.random.default_rng(5)
    kids = rng.permutation(np.arange(ITEMS) % 2)
    texts = [f"A {'thing kids love' if k else 'thing for the office'}, number {i}" for i, k in enumerate(kids)]
    texts[0], texts[1] = "no telling", ""
    items = pd.DataFrame({"item_id": [f"i{i:03d}" for i in range(ITEMS)], "description": texts})
    items["price"] = np.round(rng.normal(20, 4, ITEMS), 2)
    users = pd.DataFrame({"user_id": [f"u{i:03d}" for i in range(USERS)], "age": rng.integers(18, 80, USERS)})
    item, user = rng.integers(0, ITEMS, EVENTS), rng.integers(0, USERS, EVENTS)
    click = (rng.random(EVENTS) < 0.3 + 0.15 * kids[item]).astype(int)
    events = pd.DataFrame({"user_id": users["user_id"].to_numpy()[user], "item_id": items["item_id"].to_numpy()[item]})
    events["click"] = click
    for name, table in (("users", users), ("items", items), ("events", events)):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    (tmp_path / "whyrank.toml").write_text(
        '[users]\npath = "users.csv"\nkey = "user_id"\n[items]\npath = "items.csv"\nkey = "item_id"\n'
        'text = ["description"]\n[events]\npath = "events.csv"\nuser = "user_id"\nitem = "item_id"\n'
        'outcomes = ["click"]\n[validation]\naudit = false\n',
        encoding="utf-8",
    )
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["attributes", *map(str, arguments)])


def test_what_only_texts_tell_is_labelled_and_its_effect_found(model: ScriptedModel, shop: Path) -> None:
    assert run(shop).exit_code == 2  # there is no schema yet
    proposed = run(shop, "--propose")
    assert proposed.exit_code == 0, proposed.stderr
    schema = shop / "attributes.toml"
    assert "for_children" in schema.read_text("utf-8")
    schema.write_text(schema.read_text("utf-8").replace('method = "auto"', 'method = "votes"'), "utf-8")
    again = run(shop, "--propose")
    assert again.exit_code == 2
    assert "may hold your edits" in again.stderr
    labelled = run(shop, "--label", "--format", "json")
    assert labelled.exit_code == 0, labelled.stderr
    assert f"{ITEMS - 1} labels made now, by votes" in labelled.stderr
    asked = len(model.sent)
    with whyrank.open(shop) as study:
        assert study.label_texts().labelled == 0
        table = study.text_attributes().set_index("level")
        assert table.loc["", "items"] == 2
        assert table.loc["(to do)", "items"] == 0
        attribute = study.data.attributes["items.for_children"]
        assert attribute.levels == ("no", "yes")
        assert attribute.missing == 2
        verdict = study.validate(["items.for_children -> events.click"]).iloc[0]
    assert len(model.sent) == asked
    assert verdict["verdict"] == "validated"
    assert abs(verdict["estimate"] - 0.15) < 3 * verdict["se"]


def test_a_changed_text_waits_for_its_label_and_says_so(model: ScriptedModel, shop: Path) -> None:
    run(shop, "--propose")
    schema = shop / "attributes.toml"
    schema.write_text(schema.read_text("utf-8").replace('method = "auto"', 'method = "votes"'), "utf-8")
    run(shop, "--label")
    items: Any = pd.read_csv(shop / "items.csv")
    items.loc[3, "description"] = "a thing kids love, new text"
    items.to_csv(shop / "items.csv", index=False)
    checked = CliRunner().invoke(main, ["check", str(shop)])
    assert "1 of 80 items aren't labelled" in checked.output
    before = len(model.sent)
    assert run(shop, "--label").exit_code == 0
    assert len(model.sent) - before == 4


def test_a_stop_while_labelling_asks_nothing_twice(model: ScriptedModel, shop: Path) -> None:
    run(shop, "--propose")
    schema = shop / "attributes.toml"
    schema.write_text(schema.read_text("utf-8").replace('method = "auto"', 'method = "votes"'), "utf-8")
    count = 0

    def breaking(sent: Sent) -> Mapping[str, Any]:
        nonlocal count
        count += 1
        if count > 100:
            raise KeyboardInterrupt
        return reads(sent)

    model.script = breaking
    with whyrank.open(shop) as study, pytest.raises(KeyboardInterrupt):
        study.label_texts()
    model.script = reads
    before = len(model.sent)
    with whyrank.open(shop) as study:
        study.label_texts()
    assert len(model.sent) - before <= 4 * ITEMS - 100 + 8
