from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Building and installing takes minutes and a package index: only when asked for by `-m package`."""
    if "package" in str(config.option.markexpr):
        return
    for item in items:
        if item.get_closest_marker("package"):
            item.add_marker(pytest.mark.skip(reason="run with -m package"))
