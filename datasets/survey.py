"""Which table in a folder holds the users, the items and the events, and what the columns of each are."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from whyrank.datasets.infer import Guess, guess_kind, is_switch, parse_numbers
from whyrank.datasets.tables import (
    TextColumn,
    is_database,
    is_table_file,
    open_table,
    read_columns,
    table_names,
)
from whyrank.datasets.times import looks_like_dates
from whyrank.errors import DataError

__all__ = ["Survey", "Surveyed", "survey_folder"]

_SAMPLE = 200_000
_LINKED = 0.5

_TABLE_WORDS = {
    "users": (
        "user", "customer", "client", "visitor", "person", "people", "member", "shopper", "household", "buyer",
        "reader", "viewer", "respondent", "用户", "顾客", "客户", "会员", "买家",
    ),
    "items": (
        "item", "product", "article", "movie", "film", "book", "song", "track", "good", "sku", "catalog", "offer",
        "listing", "content", "video", "商品", "产品", "物品", "货品", "目录",
    ),
    "events": (
        "event", "log", "click", "interaction", "rating", "impression", "exposure", "transaction", "order", "purchase",
        "view", "session", "behavio", "history", "feedback", "visit",
        "日志", "事件", "行为", "点击", "订单", "记录", "交互",
    ),
}  # fmt: skip
_OUTCOME_WORDS = (
    "click", "purchas", "bought", "buy", "rating", "rated", "stars", "dwell", "watch", "conver", "like", "cart",
    "revenue", "spend", "spent", "play", "duration", "return", "chose", "choice", "respon", "reward", "label",
    "outcome", "ordered", "finish", "complet", "skip", "saved",
    "点击", "购买", "评分", "下单", "收藏", "加购", "时长", "成交",
)  # fmt: skip
_PROPENSITY_WORDS = ("propensity", "pscore", "prob", "倾向")
_RANDOM_WORDS = ("random", "explor", "随机")
_TIME_WORDS = ("time", "timestamp", "ts", "date", "datetime", "created_at", "at", "when", "day", "时间", "日期")
_TEXT_WORDS = ("title", "description", "text", "name", "summary", "review", "body", "标题", "描述", "名称", "简介")
_FROM_WORDS = ("from", "listed", "launch", "start", "release", "since", "上架")
_TO_WORDS = ("to", "until", "delisted", "end", "retired", "discontinued", "下架")


@dataclass(frozen=True)
class Surveyed:
    """One table as far as it was looked at: the first rows of every column."""

    path: Path
    table: str | None
    columns: dict[str, TextColumn]
    decimal_comma: bool

    @property
    def label(self) -> str:
        """The file, with the table in it."""
        return f"{self.path.name}:{self.table}" if self.table else self.path.name

    def guess(self, name: str) -> Guess:
        """Return what the column seems to be."""
        return guess_kind(self.columns[name], name, decimal_comma=self.decimal_comma)


@dataclass
class Survey:
    """What a folder's tables seem to be; `remarks` are things a reader should look at."""

    users: Surveyed
    items: Surveyed
    events: Surveyed
    users_key: str
    items_key: str
    events_user: str
    events_item: str
    time: str | None = None
    outcomes: list[str] = field(default_factory=list)
    context: list[str] = field(default_factory=list)
    propensity: str | None = None
    randomised: str | None = None
    kind: Literal["exposures", "purchases"] = "exposures"
    text: list[str] = field(default_factory=list)
    available_from: str | None = None
    available_to: str | None = None
    language: Literal["en", "zh"] = "en"
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Link:
    """A column of the events whose values are keys of another table."""

    column: str
    key: str
    score: float


def survey_folder(folder: Path) -> Survey:
    """Look at every table in a folder and tell what it is.

    Raises
    ------
    DataError
        If there is no table, or no users, items and events can be made out among them.
    """
    if not folder.is_dir():
        raise DataError(f"expected a folder with tables of users, items and events, got {str(folder)!r}")
    tables, remarks = _tables(folder)
    if len(tables) < 3:
        shown = ", ".join(table.label for table in tables) or "none"
        raise DataError(
            f"expected at least three tables in {folder} (users, items, events; CSV, Parquet, DuckDB or SQLite), "
            f"found {shown}" + "".join(f"; {remark}" for remark in remarks)
        )
    survey = _assign(tables, folder)
    survey.remarks.extend(remarks)
    _events_columns(survey)
    _items_columns(survey)
    return survey


def _tables(folder: Path) -> tuple[list[Surveyed], list[str]]:
    tables, remarks = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file() or not is_table_file(path):
            continue
        try:
            for name in table_names(path) if is_database(path) else [None]:
                with open_table(path, name) as source:
                    names = [column for column in dict.fromkeys(source.columns) if column]
                    if len(names) > 1 or not path.name.lower().endswith(".txt"):
                        columns = read_columns(source, names, limit=_SAMPLE)
                        tables.append(Surveyed(path, name, columns, source.decimal_comma))
        except DataError as error:
            remarks.append(f"not looked at: {error}")
    return tables, remarks


def _words(name: str, words: tuple[str, ...]) -> bool:
    """Tell whether a part of the name begins with one of the words (Chinese words may stand anywhere)."""
    parts = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
    return any(word in name if not word.isascii() else any(p.startswith(word) for p in parts) for word in words)


def _table_score(table: Surveyed, role: str) -> float:
    """Tell how much a table's name speaks for a role, over the other roles."""
    name = table.table or table.path.name
    if _words(name, _TABLE_WORDS[role]):
        return 3.0
    return -1.0 if any(_words(name, words) for words in _TABLE_WORDS.values()) else 0.0


def _keys(table: Surveyed) -> list[str]:
    """Return the columns that have a different value in every row."""
    return [n for n, c in table.columns.items() if len(c) and c.missing == 0 and len(c.values) == len(c)]


def _link(events: Surveyed, other: Surveyed, role: str) -> list[_Link]:
    """Return how a table's key may stand in the events, best first."""
    links = []
    for key in _keys(other):
        known = other.columns[key].values
        for name, column in events.columns.items():
            if not len(column.values):
                continue
            share = float(np.mean(pc.is_in(column.values, value_set=known).to_numpy(zero_copy_only=False)))
            if share < _LINKED:
                continue
            score = 2 * share + 2.0 * (name == key)
            score += sum(_words(word, _TABLE_WORDS[role]) for word in (name, key))
            score += 0.5 * sum(word.lower().endswith(("id", "key", "号", "编号")) for word in (name, key))
            score -= 1.5 * (not parse_numbers(column.values).all and is_switch(column.values))
            links.append(_Link(name, key, score))
    return sorted(links, key=lambda link: (-link.score, link.column, link.key))


def _assign(tables: list[Surveyed], folder: Path) -> Survey:
    found: list[tuple[float, Survey]] = []
    links = {
        (i, j, role): _link(tables[i], tables[j], role)
        for i, j in itertools.permutations(range(len(tables)), 2)
        for role in ("users", "items")
    }
    for e, u, i in itertools.permutations(range(len(tables)), 3):
        pairs = [(a, b) for a in links[e, u, "users"][:6] for b in links[e, i, "items"][:6] if a.column != b.column]
        if not pairs:
            continue
        user, item = max(pairs, key=lambda pair: pair[0].score + pair[1].score)
        events, users, items = tables[e], tables[u], tables[i]
        score = user.score + item.score + _table_score(events, "events")
        score += _table_score(users, "users") + _table_score(items, "items")
        score += 0.5 * any(_words(name, _TEXT_WORDS) for name in items.columns)
        found.append((score, Survey(users, items, events, user.key, item.key, user.column, item.column)))
    if not found:
        shown = ", ".join(f"{table.label} ({', '.join(list(table.columns)[:6])})" for table in tables[:8])
        raise DataError(
            f"no users, items and events can be made out in {folder}: expected one table whose rows name a key of "
            f"each of two others, found {shown}"
        )
    found.sort(key=lambda pair: -pair[0])
    best, survey = found[0]
    for score, other in found[1:]:
        if score > best - 1.0:
            survey.remarks.append(
                f"just as likely: users in {other.users.label}, items in {other.items.label}, "
                f"events in {other.events.label}"
            )
    used = (survey.users, survey.items, survey.events)
    survey.remarks.extend(f"not used: {table.label}" for table in tables if table not in used)
    return survey


def _events_columns(survey: Survey) -> None:
    events = survey.events
    rest = [name for name in events.columns if name not in (survey.events_user, survey.events_item)]
    survey.propensity = _take(
        rest, lambda name: _words(name, _PROPENSITY_WORDS) and _within(events.columns[name], 0, 1)
    )
    survey.randomised = _take(rest, lambda name: _words(name, _RANDOM_WORDS) and is_switch(events.columns[name].values))
    survey.time = _take(rest, lambda name: looks_like_dates(events.columns[name].values)) or _take(
        rest, lambda name: _is_time(name, events)
    )
    for name in rest:
        column = events.columns[name]
        guess = events.guess(name)
        measurable = guess.kind == "numeric" or is_switch(column.values)
        if _words(name, _OUTCOME_WORDS) and measurable:
            survey.outcomes.append(name)
        elif name.lower().endswith("id") and len(column.values) > 2:
            survey.remarks.append(f"events: {name!r} looks like a key and is not used")
        elif guess.kind is None:
            survey.remarks.append(f"events: {name!r} is not used: {guess.why}")
        elif name not in ("user", "item", "time", "propensity", "randomised"):
            survey.context.append(name)
    if not survey.outcomes:
        switches = [name for name in survey.context if is_switch(events.columns[name].values)]
        survey.outcomes = [name for name in switches if len(events.columns[name].values) > 1]
        survey.context = [name for name in survey.context if name not in survey.outcomes]
        if survey.outcomes:
            survey.remarks.append(
                "no column is named like an outcome; the 0/1 columns were taken: check events.outcomes"
            )
    varying = [name for name in survey.outcomes if len(events.columns[name].values) > 1]
    if not varying:
        survey.kind = "purchases"
        survey.remarks.append(
            "no outcome varies: the events were taken as purchases (positives only); check events.kind"
        )
    else:
        left = [name for name in survey.outcomes if name not in varying]
        survey.remarks.extend(f"events: {name!r} has the same value in every row and is not used" for name in left)
        survey.outcomes = varying


def _take(names: list[str], fits: Callable[[str], bool]) -> str | None:
    """Remove and return the first name that fits."""
    for name in names:
        if fits(name):
            names.remove(name)
            return name
    return None


def _within(column: TextColumn, low: float, high: float) -> bool:
    numbers = parse_numbers(column.values)
    return bool(numbers.finite.any() and ((numbers.values > low) & (numbers.values <= high)).all())


def _is_time(name: str, events: Surveyed) -> bool:
    parts = name.lower().replace("-", "_").split("_")
    named = any(part in _TIME_WORDS for part in parts) or _words(name, ("时间", "日期", "timestamp"))
    numbers = parse_numbers(events.columns[name].values)
    whole = numbers.all and not (numbers.values % 1).any() and float(numbers.values.min()) >= 0
    return named and whole and len(numbers.values) > 2 and not _words(name, _OUTCOME_WORDS)


def _items_columns(survey: Survey) -> None:
    items = survey.items
    for name, column in items.columns.items():
        if name == survey.items_key:
            continue
        if looks_like_dates(column.values):
            parts = name.lower().split("_")
            if survey.available_to is None and any(p in _TO_WORDS or p.startswith(_TO_WORDS[2:]) for p in parts):
                survey.available_to = name
            elif survey.available_from is None and any(
                p in _FROM_WORDS or p.startswith(_FROM_WORDS[1:]) for p in parts
            ):
                survey.available_from = name
            continue
        guess = items.guess(name)
        prose = guess.kind is None and ("text" in guess.why)
        if prose or (_words(name, _TEXT_WORDS) and (guess.kind in (None, "categorical")) and _wordy(column)):
            survey.text.append(name)
    texts = [items.columns[name].values for name in survey.text]
    texts += [survey.events.columns[name].values for name in survey.context]
    texts.append(pa.array([*items.columns, *survey.users.columns, *survey.events.columns], type=pa.string()))
    sample = "".join("".join(part[:500].to_pylist()) for part in texts)
    chinese = sum("\u4e00" <= letter <= "\u9fff" for letter in sample)
    survey.language = "zh" if chinese > 0.2 * max(len(sample), 1) else "en"


def _wordy(column: TextColumn) -> bool:
    """Tell whether most cells are different texts, rather than levels or numbers."""
    return len(column.values) > max(2, 0.5 * (len(column) - column.missing)) and not parse_numbers(column.values).all
