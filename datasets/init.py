"""A first study file, inferred from the tables in a folder."""

from __future__ import annotations

from pathlib import Path

__all__ = ["infer_study", "write_study"]


def infer_study(folder: str | Path) -> str:
    """Return the text of a commented `whyrank.toml` for the tables in `folder`."""
    raise NotImplementedError


def write_study(folder: str | Path, *, force: bool = False) -> Path:
    """Write the inferred study file into `folder` and return its path."""
    raise NotImplementedError
