"""The study file `whyrank.toml`, read into frozen models and checked: every key, its type and its default."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError

from whyrank.edge import Edge
from whyrank.errors import InputError, StudyFileError, nearest
from whyrank.unmeasured import Unmeasured

__all__ = [
    "STUDY_FILE",
    "AttributeConfig",
    "EventsConfig",
    "GraphConfig",
    "ItemsConfig",
    "LlmConfig",
    "RankerConfig",
    "StudyConfig",
    "StudySection",
    "Unmeasured",
    "UsersConfig",
    "ValidationConfig",
    "load_config",
]

STUDY_FILE = "whyrank.toml"
"""Name of the study file in its folder."""

_NAME = re.compile(r"(users|items|events)\.(.+)", re.DOTALL)
_MAX_SHOWN = 5


def _level(value: object) -> object:
    """Levels are text; a number or a truth value in the study file is meant as its text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number")  # the text becomes "must be a number"
    return value


Text = Annotated[str, Field(min_length=1)]
Column = Annotated[str, Field(min_length=1)]
Columns = tuple[Column, ...]
Level = Annotated[str, BeforeValidator(_level)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False), BeforeValidator(_not_bool)]
Whole = Annotated[int, Field(strict=True)]


def _parse_edge(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        edge = Edge.parse(value)
    except InputError as error:
        raise ValueError(f"an edge: {error}") from None
    if edge.modifier is not None:
        raise ValueError(f"an edge without a modifier: in [graph], {value!r} has one")
    return edge


def _parse_unmeasured(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return Unmeasured.parse(value)
    except InputError as error:
        raise ValueError(f"a named cause and its targets: {error}") from None


def _check_address(value: str) -> str:
    if value == "embedded":
        return value
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("'embedded' or an address like 'http://127.0.0.1:8000/v1'")
    return value


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True)


class StudySection(_Section):
    """`[study]`: the name, the seed and the language."""

    name: Text = "study"
    """name shown in reports"""
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 7
    """every random draw follows from it"""
    language: Literal["en", "zh"] = "en"
    """language of the texts, the prompts and the reasons: "en" or "zh\""""


class UsersConfig(_Section):
    """`[users]`: where the user table is and which column is its key."""

    path: Text
    """the table of users"""
    table: Text | None = None
    """table inside a DuckDB or SQLite file"""
    key: Column
    """column that names the user"""
    unit: Literal["user", "profile"] = "user"
    """"user", or "profile" if a row is a kind of people rather than a person"""


class ItemsConfig(_Section):
    """`[items]`: where the item table is, its key, its texts and its dates."""

    path: Text
    """the table of items"""
    table: Text | None = None
    """table inside a DuckDB or SQLite file"""
    key: Column
    """column that names the item"""
    text: Columns = ()
    """columns that a language model may read; never causes themselves"""
    text_features: tuple[Literal["keywords", "topics", "embeddings", "sentiment", "length"], ...] = ()
    """attributes made of the texts without a model: "keywords", "topics", "embeddings", "sentiment", "length\""""
    available_from: Column | None = None
    """date from which the item was offered, for a purchases-only log"""
    available_to: Column | None = None
    """date until which the item was offered"""


class EventsConfig(_Section):
    """`[events]`: one row per exposure, or per purchase, and what each column is."""

    path: Text
    """the table of events"""
    table: Text | None = None
    """table inside a DuckDB or SQLite file"""
    user: Column
    """column that holds the user's key"""
    item: Column
    """column that holds the item's key"""
    time: Column | None = None
    """when it happened"""
    outcomes: Columns = ()
    """behaviour to be explained: 0/1 or numeric columns"""
    context: Columns = ()
    """attributes of the exposure itself; columns not listed are ignored"""
    history: tuple[Text, ...] = ()
    """attributes of items, like "items.category", by which a user's earlier rows are summed up as context"""
    propensity: Column | None = None
    """probability that the rule in force for this row would show this item"""
    propensity_kind: Literal["logged", "estimated"] = "logged"
    """"logged" by the system, or "estimated" afterwards: then it is a hint, not a design"""
    randomised: Column | None = None
    """0/1: exposures whose item was drawn at random"""
    kind: Literal["exposures", "purchases"] = "exposures"
    """"exposures", or "purchases" if the log holds positives only"""


class AttributeConfig(_Section):
    """`[attributes."items.price"]`: what the study says about one attribute, over what was inferred."""

    kind: Literal["binary", "categorical", "ordinal", "numeric", "set"] | None = None
    """"binary", "categorical", "ordinal" (give levels), "numeric" or "set" (several values in one cell)"""
    role: Literal["any", "confounder", "modifier", "ignore"] = "any"
    """"any", "confounder" (adjusted for, never tested), "modifier" (only changes effects) or "ignore\""""
    levels: tuple[Level, ...] = ()
    """levels of an ordinal attribute, lowest first"""
    sep: Text = "|"
    """what separates the values in one cell of a set"""
    reference: Level | None = None
    """level that the others are compared with"""
    description: str = ""
    """shown to the language model and in reports"""


class GraphConfig(_Section):
    """`[graph]`: structure known to the user, parsed."""

    edges: tuple[Annotated[Edge, BeforeValidator(_parse_edge)], ...] = ()
    """causal arrows known to exist"""
    forbidden: tuple[Annotated[Edge, BeforeValidator(_parse_edge)], ...] = ()
    """arrows known not to exist"""
    unmeasured: tuple[Annotated[Unmeasured, BeforeValidator(_parse_unmeasured)], ...] = ()
    """named common causes that nobody measured"""


class LlmConfig(_Section):
    """`[llm]`: which model server is asked, and how much."""

    base_url: Annotated[str, AfterValidator(_check_address)] = "embedded"
    """"embedded", or any OpenAI-compatible address, e.g. a vLLM server"""
    model: Text = "auto"
    """model name at that server; "auto" takes the one it serves"""
    max_concurrency: Annotated[Whole, Field(ge=1, le=4096)] = 32
    """requests in flight at the same time"""
    allow_remote: StrictBool = False
    """an address off this machine is refused unless true"""
    rounds: Annotated[Whole, Field(ge=1, le=100)] = 2
    """rounds of proposing and testing at most; each after the first asks what the verdicts raise"""
    samples: Annotated[Whole, Field(ge=1, le=100)] = 1
    """votes on each question for each of the two orders of its options"""
    max_calls: Annotated[Whole, Field(ge=1)] | None = None
    """nothing more is asked once so many calls were made, in all rounds"""
    max_edges: Annotated[Whole, Field(ge=1)] | None = None
    """at most so many of the model's edges are tested, in all rounds, the most promising first"""
    critic: Literal["auto", "votes", "likelihood", "off"] = "auto"
    """how claims are examined before tests: as suits the server ("auto"), by "votes" or "likelihood", or "off\""""


class ValidationConfig(_Section):
    """`[validation]`: what counts as evidence."""

    fdr: Annotated[Number, Field(gt=0, lt=1)] = 0.05
    """false discovery rate over all tested edges of the run"""
    multiplicity: Literal["bh", "by"] = "bh"
    """"bh" (Benjamini-Hochberg) or "by" (Benjamini-Yekutieli: holds however tests depend, finds less)"""
    smallest_effect: Annotated[Number, Field(ge=0)] = 0.0
    """smallest effect of interest, in outcome units, for equivalence"""
    scope: Literal["items like these", "these items"] = "items like these"
    """"items like these" (a sample of items) or "these items\""""
    winsorise: Annotated[Number, Field(ge=0.5, le=1)] = 1.0
    """numeric outcomes beyond this quantile, on either side, count as the quantile; 1.0 leaves them as they are"""
    audit: StrictBool = True
    """validated edges are run through DoWhy's own estimator and refuters once more"""


class RankerConfig(_Section):
    """`[ranker]`: what the causal weights are added to."""

    base: Text = "popularity"
    """"popularity", "als", "bpr", "lightgbm" or a column of scores"""
    exclude_seen: StrictBool = True
    """items with a positive outcome for that user are left out"""


class StudyConfig(_Section):
    """A whole study file; `path` is the file itself, the other fields are its tables."""

    path: Path
    study: StudySection = StudySection()
    users: UsersConfig
    items: ItemsConfig
    events: EventsConfig
    attributes: dict[str, AttributeConfig] = Field(default_factory=dict)
    graph: GraphConfig = GraphConfig()
    llm: LlmConfig = LlmConfig()
    validation: ValidationConfig = ValidationConfig()
    ranker: RankerConfig = RankerConfig()

    @property
    def folder(self) -> Path:
        """The folder of the study file."""
        return self.path.parent

    @cached_property
    def table_paths(self) -> dict[str, Path]:
        """Absolute path of the users, items and events file."""
        return {name: _locate(self.folder, getattr(self, name).path) for name in ("users", "items", "events")}

    def meaning(self) -> dict[str, Any]:
        """Return what the numbers depend on, JSON-ready: not paths, wording, model or ranker."""
        tables = {
            name: getattr(self, name).model_dump(exclude={"path", "table"}) for name in ("users", "items", "events")
        }
        return {
            "seed": self.study.seed,
            **tables,
            "attributes": {
                name: self.attributes[name].model_dump(exclude={"description"}) for name in sorted(self.attributes)
            },
            "graph": {
                "edges": sorted(map(str, self.graph.edges)),
                "forbidden": sorted(map(str, self.graph.forbidden)),
                "unmeasured": sorted(map(str, self.graph.unmeasured)),
            },
            "validation": self.validation.model_dump(),
        }


_SECTIONS: dict[str, type[_Section]] = {
    "study": StudySection,
    "users": UsersConfig,
    "items": ItemsConfig,
    "events": EventsConfig,
    "graph": GraphConfig,
    "llm": LlmConfig,
    "validation": ValidationConfig,
    "ranker": RankerConfig,
}


def load_config(path: str | Path) -> StudyConfig:
    """Read and check a study file.

    Parameters
    ----------
    path
        The file, or the folder that holds `whyrank.toml`.

    Raises
    ------
    StudyFileError
        If the file is missing, is not TOML, has an unknown key, or a value that is not what the key needs.
    """
    file = _find(Path(path))
    content = _parse(file)
    problems = list(_unknown_keys(content))
    if not problems:
        problems = list(_missing_sections(content))
    if problems:
        raise _error(file, problems)
    study = content.setdefault("study", {})
    if isinstance(study, dict):
        study.setdefault("name", file.parent.name or "study")
    try:
        config = StudyConfig.model_validate({**content, "path": file})
    except ValidationError as error:
        raise _error(file, [_sentence(e) for e in error.errors(include_url=False)]) from None
    problems = [*_contradictions(config), *_path_problems(config)]
    if problems:
        raise _error(file, problems)
    return config


def _error(file: Path, problems: list[str]) -> StudyFileError:
    shown = [f"{file}: {p}" for p in problems[:_MAX_SHOWN]]
    if len(problems) > _MAX_SHOWN:
        shown.append(f"and {len(problems) - _MAX_SHOWN} more problems in {file}")
    return StudyFileError("\n".join(shown))


def _find(path: Path) -> Path:
    try:
        file = path / STUDY_FILE if path.is_dir() else path
        if not file.exists():
            hint = f"; `whyrank init {path}` writes one" if path.is_dir() else ""
            raise StudyFileError(f"no study file {str(file)!r}{hint}")
        if not file.is_file():
            raise StudyFileError(f"{str(file)!r} is no file that can be read as a study")
        return file.absolute()
    except (OSError, ValueError) as error:
        raise StudyFileError(f"no study file {str(path)!r}: {error}") from None


def _parse(file: Path) -> dict[str, Any]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise StudyFileError(f"{file}: not UTF-8 text (line {line}); save it as UTF-8") from None
    except OSError as error:
        raise StudyFileError(f"{file}: cannot be read: {error.strerror}") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        lines = text.split("\n")
        where = f"at line {len(lines)}, column {len(lines[-1]) + 1}"
        raise StudyFileError(f"{file}: not valid TOML: {error}".replace("at end of document", where)) from None
    except RecursionError:
        raise StudyFileError(f"{file}: not valid TOML: nested too deeply") from None


def _unknown_keys(content: dict[str, Any]) -> Iterator[str]:
    sections = [*_SECTIONS, "attributes"]
    for section, value in content.items():
        if section not in sections:
            yield f"unknown {'table' if isinstance(value, dict) else 'key'} {section!r}{_home(section, sections)}"
        elif not isinstance(value, dict):
            yield f"{section!r} must be a table written [{section}], got {_shown(value)}"
        elif section == "attributes":
            yield from _unknown_attribute_keys(value)
        else:
            for key in value:
                if key not in _SECTIONS[section].model_fields:
                    yield f"unknown key {key!r} in [{section}]{_home(key, _SECTIONS[section].model_fields)}"


def _unknown_attribute_keys(attributes: dict[str, Any]) -> Iterator[str]:
    for name, value in attributes.items():
        if not _NAME.fullmatch(name):
            nested = name in ("users", "items", "events") and isinstance(value, dict) and value
            example = f"{name}.{next(iter(value))}" if nested else "items.price"
            yield f'[attributes] has {name!r}, which is not a name: write [attributes."{example}"], with the quotes'
        elif not isinstance(value, dict):
            yield f'attributes.{name!r} must be a table written [attributes."{name}"], got {_shown(value)}'
        else:
            for key in value:
                if key not in AttributeConfig.model_fields:
                    yield f'unknown key {key!r} in [attributes."{name}"]{nearest(key, AttributeConfig.model_fields)}'


def _home(key: str, known: Any) -> str:
    """Say where a misplaced key belongs, or which known key is nearest."""
    homes = [f"[{name}]" for name, model in _SECTIONS.items() if key in model.model_fields]
    if homes:
        return f" (it belongs in {' or '.join(homes)})"
    return nearest(key, known)


def _missing_sections(content: dict[str, Any]) -> Iterator[str]:
    for section in ("users", "items", "events"):
        if section not in content:
            yield f"the table [{section}] is missing"


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str | bool | int | float | list | dict) else str(value)
    if isinstance(value, bool):
        text = text.lower()
    return text if len(text) <= 80 else text[:77] + "..."


_EXPECTED = {
    "string_type": "a text in quotes",
    "string_too_short": "a text that is not empty",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "tuple_type": 'a list of texts, like ["a", "b"]',
    "dataclass_type": "a text in quotes",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def _sentence(error: Any) -> str:
    """Turn one pydantic error into a sentence that names the key, what was expected and what came."""
    kind, context = error["type"], error.get("ctx", {})
    parts = [f"[{p}]" if isinstance(p, int) else str(p) for p in error["loc"]]
    if parts[0] == "attributes" and len(parts) > 1:
        parts[1] = f'"{parts[1]}"'
    key = ".".join(parts).replace(".[", "[")
    if kind == "missing":
        return f"the key {key!r} is missing: {_meaning(error['loc'])}"
    if kind == "literal_error":
        expected = f"one of {context['expected']}".replace(" or ", ", ")
    elif kind == "value_error":
        expected = str(context["error"])
    elif kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        expected = f"{words} {context[name]:g}"
    else:
        expected = _EXPECTED.get(kind, error["msg"])
    return f"{key!r} must be {expected}, got {_shown(error['input'])}"


def _meaning(location: tuple[Any, ...]) -> str:
    return _SECTIONS[location[0]].model_fields[location[1]].description or "it is needed"


def _contradictions(config: StudyConfig) -> Iterator[str]:
    yield from _event_contradictions(config.events)
    if config.items.key in config.items.text:
        yield f"'items.text' lists {config.items.key!r}, which is the key of the items"
    for name, attribute in config.attributes.items():
        where = f'[attributes."{name}"]'
        if attribute.kind == "ordinal" and len(attribute.levels) < 2:
            yield f"{where} is ordinal and needs levels = [...], lowest first, at least two"
        if attribute.levels and attribute.kind != "ordinal":
            yield f'{where} gives levels, which only kind = "ordinal" has, got kind = {attribute.kind or "(none)"!r}'
        if len(set(attribute.levels)) < len(attribute.levels):
            yield f"{where} names a level twice: {list(attribute.levels)!r}"
        if attribute.kind in ("numeric", "set") and attribute.reference is not None:
            yield f"{where} gives reference = {attribute.reference!r}, but a {attribute.kind} attribute has none"
        if attribute.kind == "ordinal" and attribute.reference not in (None, *attribute.levels):
            yield f"{where} gives reference = {attribute.reference!r}, which is not one of its levels"
        table, column = name.split(".", 1)
        if table == "items" and column in config.items.text:
            yield f"{where} is listed in items.text; a text is never an attribute"
        if table == "events" and column in config.events.outcomes:
            if attribute.model_fields_set - {"description"}:
                yield f"{where} is an outcome; only a description can be given for it"
        elif table == "events" and config.events.history and column.startswith("past_"):
            continue  # which of them there are is known once the tables are read
        elif table == "events" and column not in config.events.context:
            yield f"{where} is not listed in events.context{nearest(column, config.events.context)}"
    yield from _graph_contradictions(config.graph)


def _event_contradictions(events: EventsConfig) -> Iterator[str]:
    if not events.outcomes and events.kind == "exposures":
        yield "'events.outcomes' must name at least one outcome column, got none"
    roles: dict[str, str] = {}
    single = {key: getattr(events, key) for key in ("user", "item", "time", "propensity", "randomised")}
    used = [(key, column) for key, column in single.items() if column is not None]
    used += [("outcomes", column) for column in events.outcomes]
    used += [("context", column) for column in events.context]
    for key, column in used:
        if column in roles:
            yield f"the column {column!r} is given twice: as events.{roles[column]} and as events.{key}"
        elif key in ("outcomes", "context") and column in single:
            yield (
                f"events.{key} lists a column called {column!r}, a word that WhyRank keeps for itself; "
                "rename the column"
            )
        roles.setdefault(column, key)
    if events.history and events.time is None:
        yield "'events.history' needs to know when rows happened: give 'events.time'"
    for name in events.history:
        if not name.startswith("items."):
            yield f"'events.history' must list attributes of items, like 'items.category', got {name!r}"


def _graph_contradictions(graph: GraphConfig) -> Iterator[str]:
    for edge in graph.edges:
        if edge in graph.forbidden:
            yield f"graph.edges and graph.forbidden both hold {str(edge)!r}"
    cycle = _cycle(graph.edges)
    if cycle:
        yield f"graph.edges form a cycle: {' -> '.join(cycle)}"


def _cycle(edges: tuple[Edge, ...]) -> list[str]:
    """Return one cycle as the names along it, or an empty list: peel off names without a remaining cause."""
    causes: dict[str, set[str]] = {}
    for edge in edges:
        causes.setdefault(edge.cause, set())
        causes.setdefault(edge.effect, set()).add(edge.cause)
    free = [name for name, above in causes.items() if not above]
    while free:
        done = free.pop()
        del causes[done]
        for name, above in causes.items():
            if done in above:
                above.remove(done)
                if not above:
                    free.append(name)
    if not causes:
        return []
    walk = [min(causes)]
    while (cause := min(causes[walk[-1]])) not in walk:
        walk.append(cause)
    return [*walk[walk.index(cause) :], cause][::-1]


def _path_problems(config: StudyConfig) -> Iterator[str]:
    for name in ("users", "items", "events"):
        try:
            _locate(config.folder, getattr(config, name).path)
        except StudyFileError as error:
            yield f"'{name}.path' {error}"


def _locate(folder: Path, path: str) -> Path:
    """Return the absolute path of a table; a relative one must stay in the study's folder, links followed."""
    try:
        given = Path(path)
        if given.is_absolute():
            return given
        home = folder.resolve()
        if not (home / given).resolve().is_relative_to(home):
            raise StudyFileError(
                f"must stay inside the study's folder, got {path!r}; write an absolute path if it is meant"
            )
        return home / given
    except (OSError, ValueError, RuntimeError) as error:
        raise StudyFileError(f"must be a path, got {path!r}: {error}") from None
