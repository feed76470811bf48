"""How an effect varies, in two pictures: groups by predicted effect with intervals, and the targeting curve."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from whyrank.estimators.heterogeneity import Heterogeneity, Statistic
from whyrank.report.numbers import q_text, scale_factor, unit_text
from whyrank.report.svg import join, nice_limit, tag

__all__ = ["draw_effects", "effects_page"]

_W, _H = 760.0, 290.0
_TOP, _BOTTOM = 56.0, 238.0
_LEFT, _RIGHT = (62.0, 360.0), (440.0, 738.0)

_STYLE = """\
svg{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Noto Sans CJK SC",sans-serif;--ink:#1b1f24;\
--soft:#5b6470;--line:#d8dde3;--bg:#fff;--main:#00795a}
@media (prefers-color-scheme:dark){svg{--ink:#e7eaee;--soft:#a2abb6;--line:#363d46;--bg:#14171b;--main:#2cc295}}
text{fill:var(--ink)}.head{font-size:13.5px;font-weight:600}.tick{font-size:11.5px;fill:var(--soft)}
.ground{fill:var(--bg)}.grid{stroke:var(--line);fill:none}.zero{stroke:var(--soft);fill:none}
.average{stroke:var(--soft);stroke-dasharray:5 4;fill:none}.ci{stroke:var(--main);stroke-width:2.2;fill:none}
.est{fill:var(--main)}.predicted{fill:var(--bg);stroke:var(--soft);stroke-width:1.4}
.band{fill:var(--main);fill-opacity:.16}.curve{stroke:var(--main);stroke-width:2.4;fill:none}
"""

_PAGE = """\
body{{margin:0 auto;max-width:820px;padding:20px;background:#fff;color:#1b1f24;\
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Noto Sans CJK SC",sans-serif}}
@media (prefers-color-scheme:dark){{body{{background:#14171b;color:#e7eaee}}}}
svg{{width:100%;height:auto;display:block}}p{{overflow-wrap:anywhere}}.soft{{opacity:.75;font-size:13.5px}}
"""


class _Plot:
    """A vertical axis of round numbers between two edges, in the unit that is shown."""

    def __init__(self, sides: tuple[float, float], values: Sequence[float], scale: str) -> None:
        self.left, self.right = sides
        self.factor, self.unit = scale_factor(scale), unit_text(scale) if scale == "probability" else ""
        shown = [v * self.factor for v in values if math.isfinite(v)] or [0.0]
        low, high = min(*shown, 0.0), max(*shown, 0.0)
        self.step = nice_limit((high - low or 1.0) / 5)
        self.first, self.last = math.floor(low / self.step - 1e-9), math.ceil(high / self.step + 1e-9)

    def y(self, value: float) -> float:
        """Height of a value."""
        share = (value * self.factor / self.step - self.first) / (self.last - self.first)
        return _BOTTOM - share * (_BOTTOM - _TOP)

    def x(self, share: float) -> float:
        """Place of a share of the width."""
        return self.left + share * (self.right - self.left)

    def grid(self) -> list[Markup]:
        """Lines and their numbers; zero stands out."""
        out = []
        for k in range(self.first, self.last + 1):
            y, value = self.y(k * self.step / self.factor), k * self.step
            text = f"{value:+.3g} {self.unit}".strip() if k else "0"
            out.append(tag("path", d=f"M{self.left} {y:.1f}H{self.right}", class_="zero" if k == 0 else "grid"))
            out.append(tag("text", text, x=self.left - 7, y=y + 4, text_anchor="end", class_="tick"))
        return out


def draw_effects(test: Heterogeneity, average: float, scale: str, *, alone: bool = True) -> Markup:
    """Draw both pictures side by side.

    Parameters
    ----------
    test : what the test found.
    average : the average effect, drawn as a line.
    scale : unit of the effects.
    alone : whether the picture brings its own colours, as a file of its own.
    """
    parts = [tag("rect", x=0, y=0, width=_W, height=_H, class_="ground"), *_groups(test, average, scale)]
    parts += _curve(test, scale)
    style = [tag("style", Markup(_STYLE))] if alone else []  # noqa: S704 - our own text
    return tag(
        "svg",
        join([*style, *parts]),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_W:.0f} {_H:.0f}",
        width=f"{_W:.0f}",
        height=f"{_H:.0f}",
        role="img",
        aria_label="Effects by predicted effect, and gain from choosing users by it",
    )


def _groups(test: Heterogeneity, average: float, scale: str) -> list[Markup]:
    values = [v for g in test.groups for v in (g.effect, g.ci_low, g.ci_high, g.predicted)]
    plot = _Plot(_LEFT, [*values, average], scale)
    parts = [tag("text", "Effect in groups by predicted effect", x=plot.left, y=20.0, class_="head"), *plot.grid()]
    parts.append(_about(plot, f"calibration {_told(test.calibration)}"))
    y = plot.y(average)
    parts.append(tag("path", d=f"M{plot.left} {y:.1f}H{plot.right}", class_="average"))
    for k, group in enumerate(test.groups):
        x = plot.x((k + 0.5) / len(test.groups))
        if math.isfinite(group.ci_low):
            low, high = plot.y(group.ci_low), plot.y(group.ci_high)
            parts.append(tag("path", d=f"M{x:.1f} {low:.1f}V{high:.1f}", class_="ci"))
        p = plot.y(group.predicted)
        diamond = f"M{x - 5:.1f} {p:.1f}L{x:.1f} {p - 5:.1f}L{x + 5:.1f} {p:.1f}L{x:.1f} {p + 5:.1f}Z"
        parts.append(tag("path", d=diamond, class_="predicted"))
        parts.append(tag("circle", cx=x, cy=plot.y(group.effect), r=4.5, class_="est"))
        parts.append(
            tag("text", _ordinal(k, len(test.groups)), x=x, y=_BOTTOM + 18, text_anchor="middle", class_="tick")
        )
    key = "● estimated, 95 % interval   ◇ predicted   - - average of all"
    parts.append(tag("text", key, x=plot.left, y=_BOTTOM + 40, class_="tick"))
    return parts


def _curve(test: Heterogeneity, scale: str) -> list[Markup]:
    points = [(q, gain, 1.96 * se) for q, gain, se in test.toc if math.isfinite(gain)]
    reach = [v for _, gain, half in points if math.isfinite(half) for v in (gain - half, gain + half)]
    plot = _Plot(_RIGHT, reach, scale)
    parts = [tag("text", "Gain among those predicted highest", x=plot.left, y=20.0, class_="head")]
    parts += [*plot.grid(), _about(plot, f"AUTOC p {_p(test.autoc)}, Qini p {_p(test.qini)}")]
    if points:
        up = [f"{plot.x(q):.1f} {plot.y(gain + half):.1f}" for q, gain, half in points]
        down = [f"{plot.x(q):.1f} {plot.y(gain - half):.1f}" for q, gain, half in reversed(points)]
        parts.append(tag("path", d=f"M{'L'.join([*up, *down])}Z", class_="band"))
        line = [f"{plot.x(q):.1f} {plot.y(gain):.1f}" for q, gain, _ in points]
        parts.append(tag("path", d=f"M{'L'.join(line)}", class_="curve"))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(tag("text", f"{share:.0%}", x=plot.x(share), y=_BOTTOM + 18, text_anchor="middle", class_="tick"))
    parts.append(
        tag("text", "share of users chosen, highest predictions first", x=plot.left, y=_BOTTOM + 40, class_="tick")
    )
    return parts


def _about(plot: _Plot, text: str) -> Markup:
    return tag("text", text, x=plot.left, y=38.0, class_="tick")


def _ordinal(k: int, groups: int) -> str:
    return "lowest" if k == 0 else "highest" if k == groups - 1 else str(k + 1)


def _told(statistic: Statistic) -> str:
    if not math.isfinite(statistic.estimate):
        return "n/a: all predictions are the same"
    return f"{statistic.estimate:.2f} [{statistic.ci_low:.2f}, {statistic.ci_high:.2f}], p {_p(statistic)}"


def _p(statistic: Statistic) -> str:
    text = q_text(statistic.p_value)
    return text if text.startswith(("<", "n")) else f"= {text}"


def effects_page(results: Sequence[tuple[str, Heterogeneity, float, str]]) -> str:
    """Return one HTML page with a picture of each result: (what was found, test, average, scale)."""
    blocks = [
        tag("section", join([tag("p", said), draw_effects(test, average, scale)]))
        for said, test, average, scale in results
    ]
    note = (
        "Only users that the predictions weren't learned from are shown. Intervals are clustered as the verdict's are."
    )
    head = Markup('<meta charset="utf-8"><title>Effects by user</title><style>{}</style>').format(
        Markup(_PAGE.format())  # noqa: S704 - our own text
    )
    body = join([*blocks, tag("p", note, class_="soft")])
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'
