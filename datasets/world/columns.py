"""The attributes of the simulated shop: how each is drawn, what it does to purchases, and its wording."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

__all__ = ["COLUMNS", "INTERACTIONS", "MATCHES", "SMALL", "Column", "Interaction", "Match", "select"]

_NO_EFFECTS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True)
class Column:
    """One attribute of the simulated shop.

    Attributes
    ----------
    name : `users.X`, `items.X` or `events.X`.
    kind : how its values are made from a standard normal score: cut at quotas, or scaled and rounded.
    en, zh : description in English and Chinese.
    effects : effect on the probability of a purchase, by level (numeric: under ""; levels not named do nothing).
    levels, shares : levels from the lowest to the highest score, with the share of rows each gets.
    mean, sd, digits, low, high : for a numeric one.
    parents : loadings of its score on the scores of earlier columns, or on `popularity` and `quality` of the item.
    """

    name: str
    kind: Literal["binary", "categorical", "numeric"]
    en: str
    zh: str
    effects: Mapping[str, float] = field(default_factory=lambda: _NO_EFFECTS)
    levels: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    mean: float = 0.0
    sd: float = 1.0
    digits: int = 1
    low: float = -math.inf
    high: float = math.inf
    parents: Mapping[str, float] = field(default_factory=lambda: _NO_EFFECTS)

    @property
    def table(self) -> str:
        """The table it lives in."""
        return self.name.split(".", 1)[0]

    @property
    def column(self) -> str:
        """Its column there."""
        return self.name.split(".", 1)[1]


@dataclass(frozen=True)
class Interaction:
    """An effect of `cause` that is larger by `effect` at the modifier's level (numeric: per unit above its mean)."""

    cause: str
    modifier: str
    effect: float


@dataclass(frozen=True)
class Match:
    """The policy's taste: users with a high score on `user` are shown items with a high score on `item`."""

    user: str
    item: str
    strength: float


def _yes(
    name: str, share: float, en: str, zh: str, *, effect: float = 0.0, parents: Mapping[str, float] = _NO_EFFECTS
) -> Column:
    effects = {"1": effect} if effect else _NO_EFFECTS
    return Column(name, "binary", en, zh, effects, ("0", "1"), (1 - share, share), parents=parents)


def _number(
    name: str,
    mean: float,
    sd: float,
    digits: int,
    en: str,
    zh: str,
    *,
    effect: float = 0.0,
    low: float = 0.0,
    high: float = math.inf,
    parents: Mapping[str, float] = _NO_EFFECTS,
) -> Column:
    effects = {"": effect} if effect else _NO_EFFECTS
    return Column(
        name, "numeric", en, zh, effects, mean=mean, sd=sd, digits=digits, low=low, high=high, parents=parents
    )


def _choice(
    name: str,
    shares: Mapping[str, float],
    en: str,
    zh: str,
    *,
    effects: Mapping[str, float] = _NO_EFFECTS,
    parents: Mapping[str, float] = _NO_EFFECTS,
) -> Column:
    kind: Literal["binary", "categorical"] = "binary" if len(shares) == 2 else "categorical"
    return Column(name, kind, en, zh, effects, tuple(shares), tuple(shares.values()), parents=parents)


_USERS = (
    _number("users.income", 45, 15, 1, "yearly income in thousand EUR", "年收入(千欧元)", effect=0.0018, low=8),
    _yes("users.app_user", 0.45, "uses the phone app", "使用手机应用", parents={"users.income": 0.6}),
    _choice(
        "users.channel",
        {"search": 0.45, "social": 0.30, "email": 0.25},
        "how the customer first came to the shop",
        "顾客最初的来源渠道",
    ),
    _yes("users.credit_card", 0.5, "pays by credit card", "使用信用卡付款"),
    _yes("users.new_user", 0.3, "registered less than a month ago", "注册不足一个月", effect=-0.055),
    _number(
        "users.visits", 24, 10, 0, "visits in the last half year", "近半年访问次数", parents={"users.new_user": -0.6}
    ),
    _yes("users.wishlist", 0.35, "keeps a wish list", "建有心愿单"),
    _yes("users.member", 0.35, "member of the loyalty programme", "会员计划成员", effect=0.03),
    _yes("users.newsletter", 0.4, "receives the newsletter", "订阅电子报", parents={"users.member": 0.4}),
    _yes("users.reviewer", 0.25, "has written a review", "写过商品评价"),
    _yes("users.student", 0.25, "is a student", "是学生", effect=-0.045),
    _yes("users.shared_home", 0.4, "lives in a shared home", "与人合住"),
    _choice(
        "users.segment",
        {"family": 0.25, "classic": 0.45, "explorer": 0.30},
        "customer segment of the marketing team",
        "市场部划分的顾客群",
        effects={"explorer": 0.035, "family": 0.03},
    ),
    _yes("users.urban", 0.5, "lives in a city", "住在城市"),
    _choice(
        "users.region",
        {"west": 0.15, "north": 0.25, "centre": 0.40, "south": 0.20},
        "part of the country the customer lives in",
        "顾客所在地区",
    ),
    _choice("users.gender", {"female": 0.52, "male": 0.48}, "gender given at registration", "注册时填写的性别"),
    _yes("users.referral", 0.3, "was brought by another customer", "由其他顾客推荐而来"),
    _yes("users.dark_mode", 0.4, "has the dark colour scheme on", "开启深色模式"),
    _number("users.age", 40, 12, 0, "age in years", "年龄", effect=-0.0015, low=18),
    _number("users.devices", 3, 1, 0, "devices signed in", "登录的设备数", low=1),
    _yes("users.pets", 0.3, "has a pet", "养宠物", effect=0.03),
    _yes("users.sms", 0.35, "allows text messages from the shop", "允许接收店铺短信"),
    _yes("users.birthday", 0.5, "has given a birthday", "填写了生日"),
    _yes("users.photo", 0.3, "has a photo in the profile", "个人资料有照片"),
    _yes("users.two_addresses", 0.25, "keeps two delivery addresses", "保存了两个收货地址"),
    _yes("users.survey", 0.3, "took part in the yearly survey", "参加过年度调查"),
)

_ITEMS = (
    _yes("items.discount", 0.35, "is sold at a reduced price", "正在打折", effect=0.04),
    _yes("items.badge", 0.3, "carries the 'top deal' badge", "带有“超值”标记", parents={"items.discount": 0.6}),
    _yes("items.new_in", 0.35, "came into the shop this season", "本季新品"),
    _yes("items.free_shipping", 0.4, "is shipped free of charge", "免运费", effect=0.03),
    _yes("items.express", 0.3, "can be had by express", "可选加急配送", parents={"items.free_shipping": 0.4}),
    _choice(
        "items.brand",
        {"basic": 0.40, "plus": 0.35, "premium": 0.25},
        "line of the maker",
        "品牌系列",
        effects={"plus": 0.03, "premium": 0.055},
    ),
    _yes("items.warranty", 0.4, "comes with a two-year warranty", "两年质保", parents={"items.brand": 0.6}),
    _yes("items.imported", 0.35, "is made abroad", "进口商品"),
    _number("items.price", 40, 15, 2, "price in EUR", "价格(欧元)", effect=-0.0016, low=5),
    _yes("items.gift_box", 0.3, "comes in a gift box", "礼盒包装"),
    _number(
        "items.rating", 4.0, 0.35, 1, "mean rating by customers, of 5", "顾客平均评分(满分5)", effect=0.065, high=5
    ),
    _number(
        "items.photos", 7, 2, 0, "photos on the product page", "商品页照片数", low=1, parents={"items.rating": 0.5}
    ),
    _yes("items.eco", 0.3, "carries the eco label", "带有环保标签", effect=0.035),
    _yes("items.recycled_box", 0.4, "is packed in recycled paper", "再生纸包装", parents={"items.eco": 0.6}),
    _yes("items.bundle", 0.25, "is sold with an accessory in one bundle", "含配件的套装", effect=0.035),
    _yes("items.assembly", 0.3, "has to be put together at home", "需要自行组装", effect=-0.035),
    _yes("items.video", 0.4, "has a video on the product page", "商品页有视频"),
    _choice(
        "items.category",
        {"home": 0.25, "kitchen": 0.40, "office": 0.15, "garden": 0.20},
        "department of the shop",
        "商品部门",
        effects={"garden": -0.04},
    ),
    _choice(
        "items.colour",
        {"white": 0.25, "black": 0.40, "blue": 0.20, "green": 0.15},
        "main colour",
        "主要颜色",
    ),
    _yes("items.refurbished", 0.25, "is refurbished", "官方翻新"),
    _yes("items.sample", 0.3, "comes with a free sample of another product", "附赠小样", effect=0.03),
    _yes("items.limited", 0.3, "is a limited edition", "限量版"),
)

_EVENTS = (
    _yes(
        "events.display",
        0.25,
        "shown large in the shop window of the page",
        "在页面橱窗大图展示",
        effect=0.05,
        parents={"popularity": 0.4, "quality": 0.4},
    ),
    _yes(
        "events.highlight",
        0.3,
        "name set in bold in the list",
        "列表中名称加粗",
        parents={"popularity": 0.4, "quality": 0.4},
    ),
    _number(
        "events.position",
        7,
        2.5,
        0,
        "place in the list, 1 is the top",
        "列表中的位置,1为最前",
        effect=-0.006,
        low=1,
        parents={"popularity": -0.5},
    ),
    _choice(
        "events.device",
        {"mobile": 0.50, "tablet": 0.20, "desktop": 0.30},
        "device on which it was seen",
        "浏览设备",
        effects={"desktop": 0.04},
        parents={"users.age": 0.4},
    ),
    _yes("events.evening", 0.4, "seen after 6 pm", "晚上六点后浏览"),
    _choice(
        "events.source",
        {"feed": 0.45, "search": 0.35, "email": 0.20},
        "where in the shop it was seen",
        "浏览入口",
    ),
    _yes("events.autoplay", 0.3, "a moving picture was shown", "展示了动态图片", parents={"items.video": 0.5}),
    _yes("events.countdown", 0.3, "a clock showed when the offer ends", "显示了优惠倒计时", effect=0.04),
    _choice(
        "events.banner",
        {"plain": 0.50, "photo": 0.30, "drawing": 0.20},
        "picture at the head of the page",
        "页面顶部的图片",
    ),
    _yes("events.weekend", 0.28, "seen at a weekend", "周末浏览"),
)

COLUMNS: tuple[Column, ...] = _USERS + _ITEMS + _EVENTS
"""Every attribute of the default world; a parent stands before its children."""

INTERACTIONS: tuple[Interaction, ...] = (
    Interaction("items.discount", "users.new_user", 0.05),
    Interaction("items.free_shipping", "users.student", 0.05),
    Interaction("events.display", "users.member", 0.05),
    Interaction("items.price", "users.income", 0.0001),
)
"""True modifiers."""

MATCHES: tuple[Match, ...] = (
    Match("users.newsletter", "items.discount", 0.4),
    Match("users.referral", "items.free_shipping", 0.4),
    Match("users.income", "items.brand", 0.4),
    Match("users.member", "items.video", 0.5),
    Match("users.student", "items.refurbished", 0.5),
    Match("users.age", "items.colour", 0.3),
    Match("users.app_user", "items.badge", 0.4),
    Match("users.new_user", "popularity", 0.3),
)
"""Whom the policy shows what: both ends matter to who buys, one end often is no cause at all."""

SMALL: frozenset[str] = frozenset(
    {
        "users.income",
        "users.app_user",
        "users.new_user",
        "users.segment",
        "users.gender",
        "items.discount",
        "items.badge",
        "items.brand",
        "items.price",
        "items.colour",
        "items.category",
        "events.display",
        "events.device",
        "events.weekend",
    }
)
"""Names of the attributes of the small world."""


def select(names: frozenset[str] | None) -> tuple[Column, ...]:
    """Return the columns of that name, all of them for None, in the order of `COLUMNS`."""
    return COLUMNS if names is None else tuple(c for c in COLUMNS if c.name in names)
