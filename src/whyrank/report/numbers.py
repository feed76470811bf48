"""Numbers as people read them: as many digits as the interval supports, probabilities in percentage points."""

from __future__ import annotations

import math

__all__ = ["effect_text", "interval_text", "number", "q_text", "scale_factor", "unit_text"]


def scale_factor(scale: str) -> float:
    """What a number on `scale` is multiplied by to be shown: 100 for probabilities."""
    return 100.0 if scale == "probability" else 1.0


def unit_text(scale: str) -> str:
    """The unit written behind a number on `scale`; empty for a mean."""
    return {"probability": "pp", "log-odds": "log-odds"}.get(scale, "")


def _decimals(width: float) -> int:
    """Decimals that show two digits of `width`."""
    if not math.isfinite(width) or width <= 0:
        return 3
    return min(12, max(0, 1 - math.floor(math.log10(width))))


def _signed(value: float, decimals: int) -> str:
    if not math.isfinite(value):
        return "n/a"
    text = f"{value:+,.{decimals}f}"
    return text[1:] if float(text.replace(",", "")) == 0 else text


def effect_text(value: float, scale: str, *, width: float = math.nan) -> str:
    """Write one effect with its sign and unit, rounded to two digits of `width` (its standard error, say).

    Examples
    --------
    >>> effect_text(0.02134, "probability", width=0.003)
    '+2.13 pp'
    >>> effect_text(float("nan"), "mean")
    'n/a'
    """
    factor = scale_factor(scale)
    text = _signed(value * factor, _decimals((width if width > 0 else abs(value)) * factor))
    unit = unit_text(scale)
    return f"{text} {unit}" if unit and text != "n/a" else text


def interval_text(estimate: float, low: float, high: float, scale: str) -> str:
    """Write an effect with its interval.

    Examples
    --------
    >>> interval_text(0.02134, 0.015, 0.0277, "probability")
    '+2.13 [+1.50, +2.77] pp'
    """
    if not math.isfinite(estimate):
        return "n/a"
    factor = scale_factor(scale)
    width = (high - low) / 4 if math.isfinite(high - low) and high > low else abs(estimate)
    digits = _decimals(width * factor)
    text = _signed(estimate * factor, digits)
    if math.isfinite(low) and math.isfinite(high):
        text += f" [{_signed(low * factor, digits)}, {_signed(high * factor, digits)}]"
    unit = unit_text(scale)
    return f"{text} {unit}" if unit else text


def q_text(value: float) -> str:
    """Write a p- or q-value.

    Examples
    --------
    >>> q_text(0.00002), q_text(0.0312), q_text(0.5)
    ('<.001', '.031', '.50')
    """
    if not math.isfinite(value):
        return "n/a"
    if value < 0.001:
        return "<.001"
    text = f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
    return text.removeprefix("0")


def number(value: float) -> str:
    """Write a count or a statistic: whole numbers with thousands separators, others with three digits.

    Examples
    --------
    >>> number(120000), number(0.012345), number(float("nan"))
    ('120,000', '0.0123', 'n/a')
    """
    if not math.isfinite(value):
        return "n/a" if math.isnan(value) else ("∞" if value > 0 else "-∞")
    if value == round(value) and abs(value) < 1e15:
        return f"{round(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
