"""Write the report."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections import Counter
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from whyrank.report.calibration_picture import build_record
from whyrank.report.causal_map import draw_causal_map
from whyrank.report.content import ReportContent
from whyrank.report.numbers import effect_text, number, q_text
from whyrank.report.order import MARKS, VERDICTS
from whyrank.report.rows import build_view
from whyrank.report.summary import found, not_causes

__all__ = ["write_report"]


def _source(name: str) -> str:
    return files("whyrank.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _render(content: ReportContent) -> str:
    environment = Environment(
        loader=PackageLoader("whyrank.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "q": q_text, "effect": effect_text}
    view = build_view(content)
    style, script = _source("report.css"), _source("report.js")
    outcomes = [o.name for o in content.data.outcomes]
    drawn = draw_causal_map(
        [row.judgement for row in view.rows],
        anchors=[row.anchor for row in view.rows],
        titles=[row.title for row in view.rows],
        outcomes=outcomes,
        spread=content.data.spread,
    )
    counts = Counter(row.judgement.verdict for row in view.rows)
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("report.html").render(
        content=content,
        view=view,
        map=drawn,
        found=found(view.rows, outcomes),
        not_causes=not_causes(view.rows),
        record=build_record(content.record, "zh" if content.language == "zh" else "en"),
        verdicts=VERDICTS,
        marks=MARKS,
        counts=counts,
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        policy=policy,
    )


def write_report(content: ReportContent, path: str | os.PathLike[str]) -> Path:
    """Write `content` as one HTML file that needs nothing else, replacing `path` in one step.

    Names and texts are escaped, and the page's policy allows no script, style or address but its own.

    Returns
    -------
    Path
        The file written.
    """
    target = Path(path)
    page = _render(content).encode("utf-8", errors="xmlcharrefreplace")
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(page)
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target
