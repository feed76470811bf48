"""Titles and descriptions of the simulated items, composed from their attributes, in English or Chinese."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["Language", "compose"]

Language = Literal["en", "zh"]

_NOUNS: dict[Language, dict[str, tuple[str, ...]]] = {
    "en": {
        "kitchen": ("kettle", "frying pan", "bread knife", "coffee mill", "toaster", "mixing bowl"),
        "home": ("table lamp", "blanket", "picture frame", "laundry basket", "wall clock", "cushion"),
        "garden": ("watering can", "plant pot", "garden chair", "pruning shears", "bird feeder", "lantern"),
        "office": ("desk organiser", "notebook set", "desk fan", "pen holder", "foot rest", "book stand"),
    },
    "zh": {
        "kitchen": ("电热水壶", "煎锅", "面包刀", "磨豆机", "烤面包机", "打蛋盆"),
        "home": ("台灯", "毛毯", "相框", "洗衣篮", "挂钟", "靠垫"),
        "garden": ("洒水壶", "花盆", "花园椅", "修枝剪", "喂鸟器", "灯笼"),
        "office": ("桌面收纳盒", "笔记本套装", "桌面风扇", "笔筒", "脚踏板", "书架"),
    },
}

_ZH_LEVELS = {
    "basic": "基础",
    "plus": "进阶",
    "premium": "高端",
    "black": "黑色",
    "white": "白色",
    "blue": "蓝色",
    "green": "绿色",
    "kitchen": "厨房",
    "home": "家居",
    "garden": "园艺",
    "office": "办公",
}

_YES: dict[Language, dict[str, str]] = {
    "en": {
        "discount": "Now at a reduced price.",
        "badge": "Marked as a top deal.",
        "new_in": "New in the shop this season.",
        "free_shipping": "We ship it free of charge.",
        "express": "Express delivery is possible.",
        "warranty": "With a two-year warranty.",
        "imported": "Made abroad.",
        "gift_box": "Comes in a gift box.",
        "eco": "Carries the eco label.",
        "recycled_box": "Packed in recycled paper.",
        "bundle": "Bundled with a matching accessory.",
        "assembly": "Some assembly needed at home.",
        "video": "See the video on this page.",
        "refurbished": "Refurbished and tested.",
        "sample": "A free sample of another product is included.",
        "limited": "Limited edition.",
    },
    "zh": {
        "discount": "现正打折。",
        "badge": "本店超值推荐。",
        "new_in": "本季新品。",
        "free_shipping": "免运费。",
        "express": "可选加急配送。",
        "warranty": "享两年质保。",
        "imported": "进口商品。",
        "gift_box": "礼盒包装。",
        "eco": "带有环保标签。",
        "recycled_box": "采用再生纸包装。",
        "bundle": "附带配套配件。",
        "assembly": "需自行组装。",
        "video": "本页可观看视频。",
        "refurbished": "官方翻新并经过检测。",
        "sample": "附赠其他产品小样。",
        "limited": "限量版。",
    },
}

_VALUES: dict[Language, dict[str, str]] = {
    "en": {
        "category": "From our {} department.",
        "rating": "Customers give it {:.1f} of 5.",
        "photos": "{:.0f} photos.",
        "price": "Price: {:.2f} EUR.",
    },
    "zh": {
        "category": "{}用品。",
        "rating": "顾客评分{:.1f}分(满分5分)。",
        "photos": "共{:.0f}张照片。",
        "price": "售价{:.2f}欧元。",
    },
}


def _say(value: object, language: Language) -> object:
    return _ZH_LEVELS.get(str(value), value) if language == "zh" else value


def _title(row: dict[str, object], pick: int, language: Language) -> str:
    nouns = _NOUNS[language][str(row.get("category", "home"))]
    words = [str(_say(row[name], language)) for name in ("brand", "colour") if name in row]
    words.append(nouns[pick % len(nouns)])
    return "".join(words) if language == "zh" else " ".join(words).capitalize()


def _description(row: dict[str, object], language: Language) -> str:
    parts = [pattern.format(_say(row[name], language)) for name, pattern in _VALUES[language].items() if name in row]
    parts += [sentence for name, sentence in _YES[language].items() if row.get(name) == 1]
    return "".join(parts) if language == "zh" else " ".join(parts)


def compose(items: pd.DataFrame, picks: npt.NDArray[np.int64], language: Language) -> pd.DataFrame:
    """Return `title` and `description` for every row of `items`; `picks` chooses the product noun."""
    rows = [{str(name): value for name, value in row.items()} for row in items.to_dict("records")]
    titles = [_title(row, int(pick), language) for row, pick in zip(rows, picks, strict=True)]
    texts = [_description(row, language) for row in rows]
    return pd.DataFrame({"title": titles, "description": texts}, index=items.index)
