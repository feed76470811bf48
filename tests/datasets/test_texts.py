"""Texts of the catalogue as attributes: cleaning, features, the schema file, labels, and how they reach the study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from whyrank.datasets import load_study
from whyrank.datasets.study_data import StudyData
from whyrank.datasets.text_clean import IdMask, clean_text, item_texts, text_hash
from whyrank.datasets.text_features import sentiment, text_features, tokens
from whyrank.datasets.text_labels import Label, LabelBook, read_labels, write_labels
from whyrank.datasets.text_schema import TextAttribute, TextSchema, read_schema, write_schema
from whyrank.errors import DataError, InputError

GREEN = TextAttribute("green", "is it green", {"no": "not green", "yes": "green"})


def shop(folder: Path, texts: list[object], *, items: str = "", more: str = "") -> Path:
    n = len(texts)
    pd.DataFrame({"user_id": [f"u{i}" for i in range(30)], "age": range(30)}).to_csv(folder / "users.csv", index=False)
    table = pd.DataFrame({"item_id": [f"i{i:03d}" for i in range(n)], "text": texts, "price": np.arange(n) % 7})
    table.to_csv(folder / "items.csv", index=False)
    rng = np.random.default_rng(1)
    events = pd.DataFrame({"user_id": [f"u{i}" for i in rng.integers(0, 30, 900)], "item_id": "", "click": 0})
    events["item_id"] = [f"i{i:03d}" for i in rng.integers(0, n, 900)]
    events["click"] = rng.integers(0, 2, 900)
    events.to_csv(folder / "events.csv", index=False)
    (folder / "whyrank.toml").write_text(
        '[users]\npath = "users.csv"\nkey = "user_id"\n'
        f'[items]\npath = "items.csv"\nkey = "item_id"\ntext = ["text"]\n{items}'
        '[events]\npath = "events.csv"\nuser = "user_id"\nitem = "item_id"\noutcomes = ["click"]\n' + more,
        encoding="utf-8",
    )
    return folder


def loaded(folder: Path) -> StudyData:
    return load_study(folder)


def label(item: str, text: str, level: str = "yes", **changes: object) -> Label:
    given = {"agreement": 1.0, "by": "votes", "model": "m", "text": text_hash(text), "definition": GREEN.hash}
    return Label(item, "green", level, **(given | changes))  # type: ignore[arg-type]


def test_features_follow_the_texts_and_not_their_order() -> None:
    texts = [f"a {'wooden' if i % 2 else 'metal'} box number {'nine' if i % 3 else 'ten'}" for i in range(60)] + [""]
    found = text_features(texts, ["keywords", "topics", "sentiment", "length"])
    names = [feature.name for feature in found]
    assert "text_wooden" in names or "text_metal" in names
    assert "text_box" not in names  # in every text: it tells nothing
    assert sum(name in ("text_wooden", "text_metal") for name in names) == 1  # one is the other turned round
    assert all(np.isnan(feature.values[-1]) for feature in found)
    order = np.random.default_rng(3).permutation(len(texts))
    again = {f.name: f.values for f in text_features([texts[i] for i in order], ["keywords", "sentiment", "length"])}
    for feature in found:
        if feature.name in again:
            np.testing.assert_array_equal(again[feature.name], feature.values[order])


def test_embeddings_put_texts_together_that_use_words_which_go_together() -> None:
    """Boats and sails never share a text with wool and yarn; rope goes with boats."""
    draw = np.random.default_rng(9)
    of_sea, of_wool = ["boat", "sail", "anchor", "rope", "mast"], ["scarf", "jumper", "sock", "wool", "yarn"]
    often = [0.35, 0.3, 0.15, 0.12, 0.08]
    sea, wool = ([" ".join(draw.choice(kind, 3, p=often)) for _ in range(60)] for kind in (of_sea, of_wool))
    texts = [*sea, *wool, ""]
    found = text_features(texts, ["embeddings"])
    assert [f.name for f in found][:2] == ["text_meaning_1", "text_meaning_2"]
    X = np.column_stack([f.values for f in found])
    assert np.isnan(X[-1]).all()
    X = X[:-1] / np.maximum(np.linalg.norm(X[:-1], axis=1, keepdims=True), 1e-9)
    near = X @ X.T
    half = len(sea)
    assert near[:half, :half].mean() > 3 * abs(near[:half, half:].mean())
    order = np.random.default_rng(4).permutation(len(texts))
    again = text_features([texts[i] for i in order], ["embeddings"])
    for one, other in zip(found, again, strict=True):
        np.testing.assert_allclose(other.values, one.values[order], atol=1e-5)


def test_chinese_texts_have_features_too() -> None:
    texts = [f"这是一个{'木制' if i % 2 else '金属'}的盒子，做工{'精美' if i % 3 else '粗糙'}" for i in range(60)]
    found = {feature.name: feature for feature in text_features(texts, ["keywords", "topics", "sentiment"])}
    assert any("木" in name or "金" in name for name in found)
    assert "text_盒子" not in found
    tone = found["text_sentiment"].values
    assert tone[1] > 0 > tone[0]
    assert any(name.startswith("topic_") for name in found)
    assert tokens("木制box") == ["box", "木制"]


@pytest.mark.parametrize("texts", [[], [""], ["one"], ["", ""], ["same words here"] * 40])
def test_texts_that_tell_nothing_give_no_keywords_and_no_topics(texts: list[str]) -> None:
    found = text_features(texts, ["keywords", "topics", "sentiment", "length"])
    assert {feature.name for feature in found} <= {"text_sentiment", "text_length"}


def test_a_negation_turns_the_tone_round() -> None:
    assert sentiment("a beautiful box") > 0 > sentiment("not beautiful")
    assert sentiment("不舒适") < 0 < sentiment("舒适")


def test_a_text_is_cleaned_whatever_strangers_put_into_it() -> None:
    page = "<div onclick='x()'>Blue <b>mug</b></div><script>steal()</script>\x00\u202e &amp; more"
    assert clean_text(page) == "Blue mug & more"
    assert clean_text(None) == ""
    assert clean_text("<" * 5_000)  # nothing hangs
    assert len(clean_text("word " * 200_000)) == 999_999


def test_ids_are_masked_as_words_and_the_own_one_everywhere() -> None:
    mask = IdMask(["i001", "u7", "12"])
    assert mask("as i001 and U7, 12 of them; xi001x", "other") == "as # and #, # of them; xi001x"
    assert mask("see xi001x", "i001") == "see x#x"


def test_features_become_attributes_of_the_items(tmp_path: Path) -> None:
    texts = [f"a {'lovely wooden' if i % 2 else 'plain metal'} box" for i in range(40)]
    data = loaded(shop(tmp_path, list(texts), items='text_features = ["keywords", "length"]\n'))
    made = [name for name in data.attributes if name.startswith("items.text_")]
    assert made
    assert "the text holds the word" in data.attributes[made[0]].description
    other = loaded(shop(tmp_path, list(texts)))
    assert other.fingerprint != data.fingerprint


def test_labels_reach_the_study_as_long_as_text_and_definition_are_the_same(tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(40)]
    shop(tmp_path, list(texts))
    write_schema(TextSchema((GREEN,)), tmp_path / "attributes.toml", texts=["text"])
    labels = [label(f"i{i:03d}", texts[i], "yes" if i % 2 else "no") for i in range(38)]
    labels[5] = label("i005", texts[5], "")  # the model disagreed with itself
    labels[6] = label("i006", "another text")
    labels[7] = label("i007", texts[7], definition="older")
    labels[8] = Label("i008", "green", "yes", 1.0, "hand", "", "", "")
    write_labels(LabelBook(labels), tmp_path / "attributes.labels.csv", items=[], attributes=["green"])
    data = loaded(tmp_path)
    values = data.items["green"].to_numpy()
    assert values[1] == 1.0
    assert values[2] == 0.0
    assert np.isnan(values[[5, 6, 7, 38, 39]]).all()
    assert values[8] == 1.0  # a person's word holds whatever the text says
    attribute = data.attributes["items.green"]
    assert attribute.levels == ("no", "yes")
    assert "read out of the texts" in attribute.description
    assert any("4 of 40 items aren't labelled" in finding.message for finding in data.findings)


def test_labels_are_as_sure_as_the_schema_asks_for(tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(40)]
    shop(tmp_path, list(texts))
    labels = [label(f"i{i:03d}", texts[i], "yes" if i % 2 else "no", agreement=0.75 + i / 200) for i in range(40)]
    labels[0] = label("i000", texts[0], "yes", by="hand", agreement=0.6)
    write_labels(LabelBook(labels), tmp_path / "attributes.labels.csv", items=[], attributes=["green"])
    for asked, missing in ((0.75, 0), (0.85, 19)):
        write_schema(TextSchema((GREEN,), agreement=asked), tmp_path / "attributes.toml", texts=["text"], force=True)
        assert loaded(tmp_path).attributes["items.green"].missing == missing


def test_the_study_file_has_the_last_word_on_what_comes_from_texts(tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(40)]
    spec = '[attributes."items.green"]\nrole = "confounder"\nreference = "yes"\ndescription = "greenness"\n'
    shop(tmp_path, list(texts), items='text_features = ["length"]\n', more=spec)
    write_schema(TextSchema((GREEN,)), tmp_path / "attributes.toml", texts=["text"])
    labels = [label(f"i{i:03d}", texts[i], "yes" if i % 2 else "no") for i in range(40)]
    write_labels(LabelBook(labels), tmp_path / "attributes.labels.csv", items=[], attributes=["green"])
    data = loaded(tmp_path)
    attribute = data.attributes["items.green"]
    assert (attribute.role, attribute.reference, attribute.levels) == ("confounder", "yes", ("yes", "no"))
    assert attribute.description == "greenness"
    assert data.items["green"].tolist()[:2] == [1.0, 0.0]
    file = tmp_path / "whyrank.toml"
    file.write_text(file.read_text("utf-8") + '[attributes."items.text_lenght"]\nrole = "ignore"\n', "utf-8")
    with pytest.raises(
        DataError, match=r"no feature of the texts is called 'text_lenght' \(did you mean 'text_length'"
    ):
        loaded(tmp_path)


def test_no_keyword_is_an_id(tmp_path: Path) -> None:
    texts = [f"a {'wooden' if i % 2 else 'metal'} box{' like u-anna has' if i % 3 else ''}" for i in range(60)]
    shop(tmp_path, list(texts), items='text_features = ["keywords", "topics"]\n')
    users = pd.read_csv(tmp_path / "users.csv")
    pd.concat([users, pd.DataFrame({"user_id": ["u-anna"], "age": [3]})]).to_csv(tmp_path / "users.csv", index=False)
    told = [f"{a.name} {a.description}" for a in loaded(tmp_path).attributes.values()]
    assert any("wooden" in one or "metal" in one for one in told)
    assert not [one for one in told if "anna" in one]


def test_what_people_edit_is_read_with_every_mistake_named(tmp_path: Path) -> None:
    path = tmp_path / "attributes.toml"
    path.write_text(
        'votes = 3\nagreemnt = 1\n[attributes."2x"]\ndefinition = ""\nlevels = ["a"]\n[attributes.ok]\n'
        'definition = "fine"\nlevels = ["low", "unclear"]\n',
        encoding="utf-8",
    )
    with pytest.raises(InputError) as caught:
        read_schema(path)
    said = str(caught.value)
    for part in (
        "'agreemnt' (did you mean 'agreement'?)",
        "'votes' must be an even number",
        "'2x'",
        "needs a definition",
    ):
        assert part in said
    path.write_text("not toml [", encoding="utf-8")
    with pytest.raises(InputError, match="not valid TOML"):
        read_schema(path)


def test_edits_are_never_overwritten_and_come_back_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "attributes.toml"
    schema = TextSchema(
        (GREEN, TextAttribute("格调", "是什么格调", {"低": "朴素", "高": "华丽"}, ordinal=True)), votes=6
    )
    write_schema(schema, path, texts=["title"])
    assert read_schema(path) == schema
    with pytest.raises(InputError, match="may hold your edits"):
        write_schema(schema, path, texts=["title"])


def test_a_broken_labels_file_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "attributes.labels.csv"
    path.write_text("item,attribute,label,agreement,by\ni1,green,yes,1.5,votes\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2: 'agreement' must be a number from 0 to 1"):
        read_labels(path)
    path.write_text("item,label\ni1,yes\n", encoding="utf-8")
    with pytest.raises(DataError, match="no column 'attribute'"):
        read_labels(path)


def test_a_column_that_is_there_already_is_an_error_and_texts_must_be_named(tmp_path: Path) -> None:
    shop(tmp_path, ["a", "b"] * 10)
    write_schema(
        TextSchema((TextAttribute("price", "what it costs", {"low": "", "high": ""}),)),
        tmp_path / "attributes.toml",
        texts=["text"],
    )
    with pytest.raises(DataError, match="has a column 'price' already"):
        loaded(tmp_path)
    file = tmp_path / "whyrank.toml"
    file.write_text(file.read_text("utf-8").replace('text = ["text"]\n', ""), "utf-8")
    with pytest.raises(DataError, match="no text columns"):
        loaded(tmp_path)


def test_texts_are_joined_item_by_item() -> None:
    table = pd.DataFrame({"title": ["Mug", "杯子", None], "more": ["Blue.", "蓝色", "only this"]})
    assert item_texts(table, ["title", "more"]) == ["Mug. Blue.", "杯子。蓝色", "only this"]
