"""The study file: defaults, every kind of mistake, and what its meaning is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrank.config import StudyConfig, Unmeasured, load_config
from whyrank.edge import Edge
from whyrank.errors import InputError, StudyFileError

BASE = """
[users]
path = "users.csv"
key = "user_id"
[items]
path = "items.csv"
key = "item_id"
[events]
path = "events.csv"
user = "user_id"
item = "item_id"
outcomes = ["click"]
context = ["position"]
"""


def _load(folder: Path, text: str) -> StudyConfig:
    (folder / "whyrank.toml").write_text(text, encoding="utf-8")
    return load_config(folder)


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    config = _load(tmp_path, BASE)
    assert (config.study.name, config.study.seed, config.study.language) == (tmp_path.name, 7, "en")
    assert (config.users.unit, config.items.text, config.events.kind) == ("user", (), "exposures")
    assert (config.events.time, config.events.propensity, config.events.propensity_kind) == (None, None, "logged")
    assert (config.llm.base_url, config.llm.model, config.llm.max_concurrency) == ("embedded", "auto", 32)
    assert config.llm.allow_remote is False
    assert (config.validation.fdr, config.validation.smallest_effect) == (0.05, 0.0)
    assert (config.validation.scope, config.validation.audit) == ("items like these", True)
    assert (config.ranker.base, config.ranker.exclude_seen) == ("popularity", True)
    assert config.path == tmp_path / "whyrank.toml"
    assert config.table_paths["events"] == tmp_path / "events.csv"


def test_file_and_folder_are_the_same(tmp_path: Path) -> None:
    assert _load(tmp_path, BASE) == load_config(str(tmp_path / "whyrank.toml"))


def test_graph_and_attributes_are_parsed(tmp_path: Path) -> None:
    config = _load(
        tmp_path,
        BASE
        + """
[attributes."items.size"]
kind = "ordinal"
levels = [1, 2, "x"]
reference = 2
[graph]
edges = ["items.brand -> items.price"]
unmeasured = ["items.quality -> items.price, events.click"]
""",
    )
    assert config.attributes["items.size"].levels == ("1", "2", "x")
    assert config.attributes["items.size"].reference == "2"
    assert config.graph.edges == (Edge("items.brand", "items.price"),)
    assert config.graph.unmeasured == (Unmeasured("items.quality", ("items.price", "events.click")),)
    with pytest.raises(InputError, match="is not an unmeasured cause: write"):
        Unmeasured.parse("items.quality, events.click")


MISTAKES = {
    "unknown key": (BASE + "contxt = 3\n", r"unknown key 'contxt' in \[events\] \(did you mean 'context'\?\)"),
    "unknown table": (BASE + "[rankers]\n", r"unknown table 'rankers' \(did you mean 'ranker'\?\)"),
    "key above the tables": ('nme = "x"\n' + BASE, "unknown key 'nme' .did you mean 'items'|unknown key 'nme'"),
    "table as a value": ("llm = 3\n" + BASE, r"'llm' must be a table written \[llm\], got 3"),
    "missing table": ('[users]\npath = "u"\nkey = "k"\n', r"the table \[items\] is missing"),
    "missing key": (
        BASE.replace('key = "item_id"\n', ""),
        r"the key 'items\.key' is missing: column that names the item",
    ),
    "missing outcomes": (
        BASE.replace('outcomes = ["click"]\n', ""),
        r"'events\.outcomes' must name at least one outcome",
    ),
    "seed a truth value": (BASE + "[study]\nseed = true\n", r"'study\.seed' must be a whole number, got true"),
    "seed a text": (BASE + '[study]\nseed = "7"\n', r"'study\.seed' must be a whole number, got '7'"),
    "seed negative": (BASE + "[study]\nseed = -1\n", r"'study\.seed' must be at least 0, got -1"),
    "rate too large": (BASE + "[validation]\nfdr = 5\n", r"'validation\.fdr' must be less than 1, got 5"),
    "unknown multiplicity": (
        BASE + '[validation]\nmultiplicity = "bonferroni"\n',
        r"'validation\.multiplicity' must be one of 'bh', 'by', got 'bonferroni'",
    ),
    "rate a truth value": (BASE + "[validation]\nfdr = true\n", r"'validation\.fdr' must be a number, got true"),
    "nan": (BASE + "[validation]\nsmallest_effect = nan\n", r"'validation\.smallest_effect' must be a finite number"),
    "truth value a number": (BASE + "[llm]\nallow_remote = 1\n", r"'llm\.allow_remote' must be true or false, got 1"),
    "address": (BASE + '[llm]\nbase_url = "localhost"\n', r"'llm\.base_url' must be 'embedded' or an address like"),
    "edge": (BASE + '[graph]\nedges = ["a"]\n', r"'graph\.edges\[0\]' must be an edge: 'a' is not an edge: write"),
    "edge a number": (BASE + "[graph]\nedges = [3]\n", r"'graph\.edges\[0\]' must be a text in quotes, got 3"),
    "edge with a modifier": (
        BASE + '[graph]\nedges = ["items.a -> events.click | users.b"]\n',
        "must be an edge without a modifier",
    ),
    "known and forbidden": (
        BASE + '[graph]\nedges = ["items.a -> items.b"]\nforbidden = ["items.a -> items.b"]\n',
        "graph.edges and graph.forbidden both hold 'items.a -> items.b'",
    ),
    "attribute without quotes": (
        BASE + '[attributes.items.price]\nkind = "numeric"\n',
        r'\[attributes\] has \'items\', .*write \[attributes\."items\.price"\], with the quotes',
    ),
    "attribute key": (
        BASE + '[attributes."items.price"]\nknd = "numeric"\n',
        r"unknown key 'knd' in \[attributes\.\"items\.price\"\] \(did you mean 'kind'\?\)",
    ),
    "ordinal without levels": (
        BASE + '[attributes."items.a"]\nkind = "ordinal"\n',
        r"is ordinal and needs levels = \[...\]",
    ),
    "levels of a number": (
        BASE + '[attributes."items.a"]\nkind = "numeric"\nlevels = ["1", "2"]\n',
        'gives levels, which only kind = "ordinal" has',
    ),
    "attribute that is no context": (
        BASE + '[attributes."events.positon"]\nkind = "numeric"\n',
        r"is not listed in events\.context \(did you mean 'position'\?\)",
    ),
    "one column twice": (
        BASE.replace('["position"]', '["click"]'),
        r"the column 'click' is given twice: as events\.outcomes and as events\.context",
    ),
    "a kept word": (
        BASE.replace('["position"]', '["time"]'),
        "lists a column called 'time', a word that WhyRank keeps",
    ),
    "path above": (BASE.replace("users.csv", "../users.csv"), r"'users\.path' must stay inside the study's folder"),
    "path with a zero byte": (BASE.replace("users.csv", "u\\u0000"), r"'users\.path' must be a path"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=message):
        _load(tmp_path, text)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError) as caught:
        _load(tmp_path, BASE + '[study]\nseed = "x"\nlanguage = "fr"\n[validation]\nfdr = 2\n')
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "where"),
    [("[users", "line 1, column 7"), (BASE + "x = \n", "line 14, column 5"), ('a = """b', "line 1, column 9")],
)
def test_toml_error_says_where(text: str, where: str, tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=f"not valid TOML: .*{where}"):
        _load(tmp_path, text)


def test_no_study_file(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=r"no study file .*whyrank\.toml'; `whyrank init .*` writes one"):
        load_config(tmp_path)
    with pytest.raises(StudyFileError, match="no study file"):
        load_config(tmp_path / "nowhere" / "study.toml")
    (tmp_path / "whyrank.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(StudyFileError, match=r"not UTF-8 text \(line 1\)"):
        load_config(tmp_path)


def test_byte_order_mark_is_tolerated(tmp_path: Path) -> None:
    assert _load(tmp_path, "\ufeff" + BASE).events.outcomes == ("click",)


def test_links_are_followed_and_absolute_paths_allowed(tmp_path: Path) -> None:
    study, outside = tmp_path / "study", tmp_path / "outside"
    study.mkdir()
    outside.mkdir()
    (outside / "users.csv").touch()
    (study / "users.csv").symlink_to(outside / "users.csv")
    with pytest.raises(StudyFileError, match=r"'users\.path' must stay inside the study's folder"):
        _load(study, BASE)
    config = _load(study, BASE.replace("users.csv", str(outside / "users.csv")))
    assert config.table_paths["users"] == outside / "users.csv"
    (tmp_path / "link").symlink_to(study)
    assert load_config(tmp_path / "link").table_paths["items"].name == "items.csv"


def test_meaning_is_not_wording(tmp_path: Path) -> None:
    plain = _load(tmp_path, BASE).meaning()
    other = '# words\n[llm]\nmodel = "x"\n' + BASE.replace("users.csv", "other.csv") + '[study]\nname = "y"\n'
    assert _load(tmp_path, other).meaning() == plain
    assert _load(tmp_path, BASE + "[study]\nseed = 8\n").meaning() != plain
    assert _load(tmp_path, BASE + "[validation]\nfdr = 0.1\n").meaning() != plain


def test_models_are_frozen(tmp_path: Path) -> None:
    config = _load(tmp_path, BASE)
    with pytest.raises(ValueError, match="frozen"):
        config.study.seed = 3


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=200))
def test_any_text_is_a_study_or_a_study_file_error(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(StudyFileError):
        load_config(file)
