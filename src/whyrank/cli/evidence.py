"""The evidence behind one verdict, as a terminal shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from whyrank.cli.output import plain

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

__all__ = ["draw_trace"]

_FACTS = (
    ("population", "population"),
    ("scope", "scope"),
    ("standard error", "se"),
    ("p", "p_value"),
    ("rows", "n"),
    ("users", "n_users"),
    ("items", "n_items"),
    ("effective sample", "ess"),
    ("clusters", "clusters"),
    ("interval by", "inference"),
    ("overlap", "overlap"),
    ("robustness value", "robustness_value"),
    ("adjusted for", "adjusted_for"),
    ("estimator", "estimator"),
)


def draw_trace(trace: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Lay out what `Study.explain` returns: verdict, reasons, numbers, gates, and who proposed it with which words."""
    from rich.text import Text

    from whyrank.report.numbers import effect_text, interval_text, q_text
    from whyrank.report.order import MARKS

    verdict = trace.get("verdict") or {}
    estimate = verdict.get("estimate") or trace.get("estimate") or {}
    yield Text(plain(trace["edge"]), style="bold")
    if not verdict:
        yield Text("not judged yet")
    else:
        name = verdict["verdict"]
        scale = str(estimate.get("scale", ""))
        numbers = (_float(estimate.get(key)) for key in ("estimate", "ci_low", "ci_high", "se", "naive"))
        value, low, high, se, naive = numbers
        effect = interval_text(value, low, high, scale)
        compared = f"naive {effect_text(naive, scale, width=se)}, q {q_text(_float(verdict.get('q_value')))}"
        yield Text(f"{MARKS[name]} {name}: {effect}, {compared}")
        yield from _bullets(verdict.get("reasons") or (), "reason")
    yield from _bullets(estimate.get("warnings") or (), "warning")
    if estimate:
        yield _facts(estimate)
    if trace.get("checks"):
        yield _gates(trace["checks"])
    yield from _proposals(trace)


def _float(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _bullets(sentences: Any, what: str) -> Iterator[RenderableType]:
    from rich.text import Text

    for sentence in sentences:
        yield Text(f"  {what}: {plain(sentence)}")


def _facts(estimate: Mapping[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from whyrank.report.numbers import number

    table = Table.grid(padding=(0, 2, 0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    for label, key in _FACTS:
        value = estimate.get(key)
        if isinstance(value, list | tuple):
            text = ", ".join(map(str, value)) or "nothing"
        else:
            text = number(float(value)) if isinstance(value, int | float) else str("n/a" if value is None else value)
        table.add_row(Text(label, style="dim"), Text(plain(text)))
    together = estimate.get("together")
    if together:
        shown = f"{number(_float(together['p_value']))} (any of them {number(_float(together['any_p_value']))})"
        table.add_row(Text(f"p, {together['contrasts']} together", style="dim"), Text(plain(shown)))
    return table


def _gates(checks: list[Mapping[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    words = {True: Text("passed", style="green"), False: Text("failed", style="bold red")}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("gate", overflow="fold")
    table.add_column("result")
    table.add_column("what it says", overflow="fold", ratio=1)
    for check in checks:
        word = words.get(check["passed"], Text("doesn't apply"))
        table.add_row(Text(plain(check["name"]).replace("_", " ")), word, Text(plain(check["detail"])))
    return table


def _proposals(trace: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Who proposed it, then each prompt and reply, line by line as they were."""
    from rich.text import Text

    for h in trace.get("hypotheses") or ():
        claim = f", claims {h['claimed_sign']}" if h.get("claimed_sign") else ""
        said = f": {plain(h['mechanism'])}" if h.get("mechanism") else ""
        yield Text(f"proposed by {h['source']}, round {h['round']}{claim}{said}")
    for call in trace.get("calls") or ():
        yield Text(f"\ncall to {plain(call['model'])}, prompt hash {plain(call['prompt_hash'])}", style="dim")
        for title, key in (("prompt", "prompt"), ("raw reply", "raw_reply")):
            lines = "\n".join(f"  {plain(line)}" for line in str(call[key]).splitlines())
            yield Text(f"{title}:\n{lines}")
