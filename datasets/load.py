"""One study, from its files to memory."""

from __future__ import annotations

from pathlib import Path

from whyrank.datasets.study_data import Finding, StudyData

__all__ = ["check_study", "load_study"]


def load_study(path: str | Path) -> StudyData:
    """Read, check and type the tables of a study."""
    raise NotImplementedError


def check_study(path: str | Path) -> list[Finding]:
    """Return everything that is wrong or doubtful about a study."""
    raise NotImplementedError
