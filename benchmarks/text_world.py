"""A shop whose decisive attribute stands in its descriptions alone, worded in many ways, in English and Chinese.

Whether an item is made with the environment in mind moves purchases; whether it is meant for children or for grown-ups
does not. Neither is a column. Each is said in one sentence of the description, drawn from a list of paraphrases that
share no telling word, among sentences on other things, in random order. Prices and makers are columns, and have effects
of their own; greener items are dearer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

Language = Literal["en", "zh"]

GREEN: dict[Language, tuple[str, ...]] = {
    "en": (
        "The shell was pressed from bottles that were fished out of the sea.",
        "When you are done with it, it can go on the compost heap.",
        "Every part comes from old things that would otherwise have been burnt.",
        "For each one sold a tree is planted in a logged forest.",
        "The workshop runs on wind and sun alone.",
        "It arrives without any plastic around it.",
        "Made of wood from forests that grow back faster than they are cut.",
        "Cotton grown without poison, dyed with plants.",
        "Its carbon footprint is half of what is usual.",
        "The maker takes it back and turns it into new ones.",
        "Built to be repaired rather than thrown away.",
        "Nothing in it harms rivers or soil.",
        "Good for the planet: made from recycled material.",
        "Certified by the eco label of the ministry for the environment.",
        "Uses a third of the energy that similar ones need.",
        "From organic farming close to where you live.",
    ),
    "zh": (
        "外壳由从海里打捞的塑料瓶压制而成。",
        "用旧以后可以直接埋进土里堆肥。",
        "每个零件都来自原本要被焚烧的旧物。",
        "每卖出一件就在荒山上种一棵树。",
        "工坊只用风能和太阳能发电。",
        "寄来时不带一点塑料包装。",
        "木材来自砍伐后能及时复种的林场。",
        "棉花种植不施农药，用植物染色。",
        "碳排放只有同类产品的一半。",
        "厂家负责回收，再做成新的产品。",
        "坏了可以修，不必扔掉。",
        "所含成分不会污染河流与土壤。",
        "爱护地球，选用再生材料制成。",
        "通过了国家环境标志认证。",
        "耗电量只有同类的三分之一。",
        "原料来自附近的有机农场。",
    ),
}
CHILDREN: dict[Language, tuple[str, ...]] = {
    "en": (
        "Small hands can hold it safely.",
        "Made for nursery and first school years.",
        "Its rounded edges mind little fingers.",
        "Bedtime stories are twice as nice with it.",
        "Tested by a class of seven-year-olds.",
        "A favourite present for a fifth birthday.",
        "Boys and girls will want to play with it all day.",
        "With dinosaurs and fairies printed on it.",
    ),
    "zh": (
        "小手也能握得稳。",
        "为幼儿园和小学低年级设计。",
        "圆角处理，不会伤到小朋友的手指。",
        "有它陪伴，睡前故事更有趣。",
        "经过一个班的七岁学生试用。",
        "五岁生日的热门礼物。",
        "男孩女孩都能玩上一整天。",
        "上面印着恐龙和小仙女。",
    ),
}
GROWN: dict[Language, tuple[str, ...]] = {
    "en": (
        "It looks at home in any meeting room.",
        "Ideal for a quiet evening with a glass of wine.",
        "Designed for those who commute every day.",
        "A sober present for a retiring colleague.",
        "Professionals have relied on this series for years.",
        "Fits beside the espresso machine of a busy couple.",
        "Recommended by the magazine for home owners.",
        "Goes with a dark suit as well as with jeans.",
    ),
    "zh": (
        "摆在任何会议室里都合适。",
        "适合配一杯红酒的安静夜晚。",
        "为每天通勤的上班族设计。",
        "送给退休同事的得体礼物。",
        "专业人士多年来信赖这个系列。",
        "放在忙碌夫妻的咖啡机旁正好。",
        "受到业主杂志的推荐。",
        "配深色西装或牛仔裤都好看。",
    ),
}
OTHER: dict[Language, tuple[str, ...]] = {
    "en": (
        "Delivered within three working days.",
        "The handle can be turned to either side.",
        "Available in four colours.",
        "Fits into every common shelf.",
        "The surface is easy to wipe clean.",
        "It weighs a little less than the model before.",
        "A leaflet explains how to set it up.",
        "The lid closes with a soft click.",
        "It was shown at the spring fair.",
        "Spare parts can be had from the maker.",
        "The pattern was drawn by a painter from Lisbon.",
        "Stands firmly on uneven ground.",
        "It can be hung on the wall or put on a table.",
        "Comes with a bag to keep it in.",
        "The finish is matt and doesn't show fingerprints.",
        "Now with a longer cord.",
    ),
    "zh": (
        "三个工作日内送达。",
        "把手可以左右转动。",
        "有四种颜色可选。",
        "能放进各种常见的架子。",
        "表面一擦就干净。",
        "比上一代略轻一些。",
        "附有说明书，教您如何安装。",
        "盖子合上时轻轻一响。",
        "曾在春季展会上展出。",
        "可向厂家购买备用零件。",
        "图案出自一位里斯本画家之手。",
        "放在不平的地面上也很稳。",
        "可以挂墙，也可以放在桌上。",
        "附送一个收纳袋。",
        "哑光表面，不留指纹。",
        "新款加长了电线。",
    ),
}
NOUNS: dict[Language, tuple[str, ...]] = {
    "en": ("lamp", "kettle", "blanket", "clock", "basket", "cup", "stool", "rucksack", "notebook", "umbrella"),
    "zh": ("台灯", "水壶", "毛毯", "挂钟", "篮子", "杯子", "凳子", "背包", "笔记本", "雨伞"),
}
NAMES = ("Alto", "Bruno", "Corvo", "Dalia", "Elmo", "Fjord", "Gala", "Hugo", "Iris", "Juno", "Kubo", "Lark")
BASE, PRICE_EFFECT = 0.30, -0.002
SCHEMA: dict[Language, str] = {
    "en": """\
[attributes.sustainable]
definition = "whether the text says that the product is good for the environment"
[attributes.sustainable.levels]
ordinary = "the text says nothing about the environment"
sustainable = "made with care for the environment: recycled, organic, repairable, saving energy, without plastic"

[attributes.audience]
definition = "whom the product is made for"
[attributes.audience.levels]
adults = "made for grown-ups: work, home, style"
children = "made for children: play, school, small hands"
""",
    "zh": """\
[attributes.sustainable]
definition = "文字是否说明产品对环境友好"
[attributes.sustainable.levels]
"普通" = "文字没有提到环境"
"环保" = "为环境着想：再生、有机、可修、节能、不用塑料"

[attributes.audience]
definition = "产品是为谁设计的"
[attributes.audience.levels]
"成人" = "为成年人设计：工作、居家、格调"
"儿童" = "为儿童设计：玩耍、上学、小手"
""",
}
"""What a person would write into attributes.toml; no paraphrase is quoted. The second level is the true one."""


@dataclass(frozen=True)
class TextWorld:
    """The study file, and the truth by item id: `sustainable` and `audience` as 0/1."""

    study: Path
    truth: pd.DataFrame
    effect: float


def write_text_world(
    folder: Path,
    *,
    language: Language = "en",
    seed: int = 7,
    n_users: int = 500,
    n_items: int = 120,
    n_events: int = 20_000,
    effect: float = 0.10,
    base_url: str = "embedded",
) -> TextWorld:
    """Write users, items, events and the study file; the truth stays here.

    Parameters
    ----------
    effect : of a sustainable item on the probability of a purchase.
    """
    rng = np.random.default_rng([seed, n_items])
    sustainable = rng.permutation(np.arange(n_items) % 2)
    children = rng.permutation(np.arange(n_items) % 2)
    item_ids = [f"item-{i:04d}" for i in rng.permutation(n_items)]
    price = np.round(np.clip(30 + 6 * sustainable + 9 * rng.standard_normal(n_items), 5, None), 2)
    maker = rng.choice(np.array(["north", "south", "west"], dtype=object), n_items)
    items = pd.DataFrame(
        {
            "item_id": item_ids,
            "title": [_title(language, rng) for _ in range(n_items)],
            "description": [
                _description(bool(green), bool(child), language, rng)
                for green, child in zip(sustainable, children, strict=True)
            ],
            "price": price,
            "maker": maker,
        }
    )
    user = rng.integers(0, n_users, n_events)
    age = np.clip(np.round(40 + 12 * rng.standard_normal(n_users)), 18, 90)
    users = pd.DataFrame({"user_id": [f"person-{i:05d}" for i in range(n_users)], "age": age.astype(int)})
    item = rng.integers(0, n_items, n_events)
    chance = BASE + effect * (sustainable[item] - 0.5) + PRICE_EFFECT * (price[item] - 33)
    chance += 0.03 * rng.standard_normal(n_users)[user] + 0.015 * rng.standard_normal(n_items)[item]
    bought = (rng.random(n_events) < np.clip(chance, 0, 1)).astype(int)
    seconds = np.sort(rng.integers(0, 90 * 86_400, n_events)).astype("timedelta64[s]")
    events = pd.DataFrame(
        {
            "user_id": users["user_id"].to_numpy()[user],
            "item_id": np.array(item_ids)[item],
            "ts": np.datetime64("2025-01-01") + seconds,
            "purchase": bought,
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in (("users", users), ("items", items), ("events", events)):
        table.to_csv(folder / f"{name}.csv", index=False)
    study = folder / "whyrank.toml"
    study.write_text(_study(language, seed, base_url), encoding="utf-8")
    truth = pd.DataFrame({"item": item_ids, "sustainable": sustainable, "audience": children}).set_index("item")
    return TextWorld(study, truth, effect)


def _title(language: Language, rng: np.random.Generator) -> str:
    noun, name = rng.choice(np.array(NOUNS[language])), rng.choice(np.array(NAMES))
    return f"{name} {noun}" if language == "en" else f"{name}{noun}"


def _description(green: bool, child: bool, language: Language, rng: np.random.Generator) -> str:
    sentences = [str(s) for s in rng.choice(np.array(OTHER[language]), 3 - green, replace=False)]
    sentences.append(str(rng.choice(np.array((CHILDREN if child else GROWN)[language]))))
    if green:
        sentences.append(str(rng.choice(np.array(GREEN[language]))))
    order = rng.permutation(len(sentences))
    return (" " if language == "en" else "").join(sentences[i] for i in order)


def _study(language: Language, seed: int, base_url: str) -> str:
    name = "shop" if language == "en" else "小店"
    return f"""\
[study]
name = {json.dumps(name, ensure_ascii=False)}
seed = {seed}
language = "{language}"

[users]
path = "users.csv"
key = "user_id"

[items]
path = "items.csv"
key = "item_id"
text = ["title", "description"]

[events]
path = "events.csv"
user = "user_id"
item = "item_id"
time = "ts"
outcomes = ["purchase"]

[llm]
base_url = "{base_url}"
"""
