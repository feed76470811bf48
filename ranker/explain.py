"""Why this item for this user: contributions that add up to the score, and a sentence for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Contribution", "Explanation"]

Language = Literal["en", "zh"]


@dataclass(frozen=True)
class Contribution:
    """What one validated edge adds to a score, in outcome units.

    Attributes
    ----------
    attribute, level : whose value counts; level "" for a numeric attribute.
    edge, verdict : the edge that carries it, and its verdict.
    value : the item's (or the context's) value as a reader knows it.
    h, mean_h : that value as a number, and its mean; a missing value counts as the mean.
    weight : effect per unit of h for this user, shrunken; of an edge with a modifier the part that the modifier adds.
    contribution : strength * weight * (h - mean_h).
    modifier, modifier_value : the user's attribute that changes the effect, and the user's value; "" without.
    """

    attribute: str
    level: str
    edge: str
    verdict: str
    value: str
    h: float
    mean_h: float
    weight: float
    contribution: float
    modifier: str = ""
    modifier_value: str = ""

    def sentence(self, outcome: str, scale: str, language: Language = "en") -> str:
        """Return one sentence: `price = 5 raises dwell by 0.3 against an average item (validated).`"""
        size = f"{abs(self.contribution):.3g}"
        up = self.contribution > 0
        fact = self._fact(language)
        if self._lacks_level and language == "en":
            fact += ","
        target = _target(outcome, scale, language)
        who = f"{_short(self.modifier)} = {self.modifier_value}"
        if language == "zh":
            verdict = _VERDICTS_ZH[self.verdict]
            if self.modifier:
                return f"{who} 使 {fact} 对{target}的影响{'增加' if up else '减少'} {size}（{verdict}）。"
            return f"{fact} 使{target}比平均{'提高' if up else '降低'} {size}（{verdict}）。"
        if self.modifier:
            way = ("adds", "to") if up else ("takes", "from")
            return f"{who} {way[0]} {size} {way[1]} what {fact} does to {target} ({self.verdict})."
        average = "exposure" if self.attribute.startswith("events.") else "item"
        return (
            f"{fact} {'raises' if up else 'lowers'} {target} by {size} against an average {average} ({self.verdict})."
        )

    def brief(self, language: Language = "en") -> str:
        """Return what counts, without by how much: `price = 5`, with a modifier `price = 5 where new_user = 1`."""
        if not self.modifier:
            return self._fact(language)
        who = f"{_short(self.modifier)} = {self.modifier_value}"
        return f"{self._fact(language)}（{who} 时）" if language == "zh" else f"{self._fact(language)} where {who}"

    @property
    def _lacks_level(self) -> bool:
        return f"[{self.level}]" in self.edge and self.level not in self.value.split(", ")

    def _fact(self, language: Language) -> str:
        fact = f"{_short(self.attribute)} = {self.value}"
        if self._lacks_level:
            fact += f"（不是 {self.level}）" if language == "zh" else f", not {self.level}"
        return fact


@dataclass(frozen=True)
class Explanation:
    """The score of one item for one user, taken apart: `base` and the contributions add up to `score`.

    Attributes
    ----------
    user_id, item_id : whose score.
    outcome, scale : what the score predicts: `events.Y`; "probability", "mean" or "log-odds".
    score, base, causal : score = base + causal; causal is the sum of the contributions.
    base_name : "popularity" or the column of scores.
    strength : what the causal part is multiplied by.
    contributions : largest first; an attribute of users changes no ranking and isn't among them.
    """

    user_id: str
    item_id: str
    outcome: str
    scale: str
    score: float
    base: float
    causal: float
    base_name: str
    strength: float
    contributions: tuple[Contribution, ...]

    def sentences(self, language: Language = "en") -> list[str]:
        """Return one sentence per contribution that isn't zero, largest first, then one for the base."""
        told = [c.sentence(self.outcome, self.scale, language) for c in self.contributions if c.contribution]
        return [*told, _base_sentence(self, language)]

    def brief(self, language: Language = "en", *, most: int = 3) -> list[tuple[float, str]]:
        """Return the strongest contributions, then the base with what is left: amounts that add up to the score."""
        moving = [c for c in self.contributions if c.contribution]
        left = len(moving) - most
        rest = self.score - sum(c.contribution for c in moving[:most])
        name = _BASE_NAMES.get(self.base_name, {}).get(language, self.base_name)
        if left > 0:
            name += (
                f"，及另外 {left} 项较小的影响" if language == "zh" else f", and {left} weaker effect{'s' * (left > 1)}"
            )
        return [*((c.contribution, c.brief(language)) for c in moving[:most]), (rest, name)]


_BASE_NAMES: dict[str, dict[Language, str]] = {"popularity": {"en": "popularity", "zh": "热度"}}
_VERDICTS_ZH = {"validated": "已验证", "refuted": "已否定", "inconclusive": "尚无定论", "unidentifiable": "无法识别"}


def _short(name: str) -> str:
    return name.split(".", 1)[-1]


def _target(outcome: str, scale: str, language: Language) -> str:
    column = _short(outcome)
    if scale == "probability":
        return f" {column} 的概率" if language == "zh" else f"the probability of {column}"
    if scale == "log-odds":
        return "被选中的对数几率" if language == "zh" else "the log-odds of being chosen"
    return f" {column} " if language == "zh" else column


def _base_sentence(explanation: Explanation, language: Language) -> str:
    value = f"{explanation.base:.3g}"
    if explanation.base_name == "popularity":
        if language == "zh":
            return f"除上述属性之外，该商品的热度计 {value}。"
        return f"Apart from these attributes, the item's popularity counts {value}."
    if language == "zh":
        return f"{explanation.base_name} 的基础分为 {value}。"
    return f"Its base score in {explanation.base_name} is {value}."
