"""What the checks collect on the way in: every error and warning, not only the first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from whyrank.datasets.study_data import Finding
from whyrank.errors import InputError

__all__ = ["Problems", "show_rows"]

_SHOWN = 5


@dataclass
class Problems:
    """A growing list of findings, and of rows left out by reason."""

    findings: list[Finding] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)

    def error(self, code: str, message: str) -> None:
        """Add something that stops the run."""
        self.findings.append(Finding("error", code, message))

    def warn(self, code: str, message: str) -> None:
        """Add something that goes into the report."""
        self.findings.append(Finding("warning", code, message))

    def drop(self, reason: str, count: int, message: str) -> None:
        """Count rows left out, and say so."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count
        self.warn("rows-left-out", message)

    @contextlib.contextmanager
    def catching(self, code: str) -> Iterator[None]:
        """Turn an input error inside the block into a finding, and go on after the block."""
        try:
            yield
        except InputError as error:
            self.error(code, str(error))

    @property
    def errors(self) -> list[Finding]:
        """The errors so far."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """The warnings so far."""
        return [finding for finding in self.findings if finding.severity == "warning"]

    def summary(self) -> str:
        """Return the first errors, a line each."""
        errors = self.errors
        lines = [error.message for error in errors[:_SHOWN]]
        if len(errors) > _SHOWN:
            lines.append(f"and {len(errors) - _SHOWN} more; `whyrank check` lists them all")
        return "\n".join(lines)


def show_rows(rows: npt.NDArray[np.int64], texts: npt.NDArray[np.object_] | None = None) -> str:
    """Write the first row numbers, with the cells if given: `rows 3 ('x'), 7 ('y'), ...`."""
    parts = [str(row) for row in rows[:_SHOWN].tolist()]
    if texts is not None:
        cells = [text if len(text) <= 40 else text[:37] + "..." for text in map(str, texts[:_SHOWN])]
        parts = [f"{part} ({cell!r})" for part, cell in zip(parts, cells, strict=True)]
    more = ", ..." if len(rows) > _SHOWN else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(parts)}{more}"
