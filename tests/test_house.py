"""How the house is built: rooms and their links, what a module may be like, what importing costs."""

from __future__ import annotations

import ast
import filecmp
import importlib
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import whyrank

ROOT = Path(__file__).parent.parent
ROOMS = ("datasets", "prompts", "agents", "estimators", "ranker")
PACKAGES = (*ROOMS, "ledger", "report", "cli")
MAX_LINES = 600

# Read from the environment: all of WhyRank's own, and the one that every OpenAI client knows.
ENVIRONMENT = {"WHYRANK_API_KEY", "WHYRANK_CACHE", "WHYRANK_DEBUG", "OPENAI_API_KEY"}


def product_files() -> list[Path]:
    """Every module of the product, each once: the rooms, and what isn't a link under src/."""
    folders = [ROOT / room for room in ROOMS]
    folders += [p for p in (ROOT / "src" / "whyrank").iterdir() if p.is_dir() and not p.is_symlink()]
    files = [p for folder in folders for p in folder.rglob("*.py")]
    return sorted([*files, *(ROOT / "src" / "whyrank").glob("*.py")])


def modules() -> list[str]:
    return [m.name for m in pkgutil.walk_packages(whyrank.__path__, "whyrank.")]


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


@pytest.mark.parametrize("room", ROOMS)
def test_a_link_is_its_room(room: str) -> None:
    link = ROOT / "src" / "whyrank" / room
    assert link.is_symlink()
    assert link.readlink() == Path("..") / ".." / room, "a link must hold in any folder the checkout lies in"
    names = [p.name for p in (ROOT / room).iterdir() if p.is_file()]
    same, different, unreadable = filecmp.cmpfiles(link, ROOT / room, names, shallow=False)
    assert (sorted(same), different, unreadable) == (sorted(names), [], [])


def test_there_is_no_other_link_and_no_other_room() -> None:
    links = {p.name for p in (ROOT / "src" / "whyrank").iterdir() if p.is_symlink()}
    assert links == set(ROOMS)


def public_names(module: ModuleType) -> set[str]:
    """Names a module re-exports; its submodules and what its own machinery imports don't count."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and name != "annotations" and not isinstance(value, ModuleType)
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_a_room_exports_what_it_says(package: str) -> None:
    module = importlib.import_module(f"whyrank.{package}")
    exported = list(getattr(module, "__all__", []))
    assert set(exported) == public_names(module)
    assert exported == sorted(exported, key=_ruff_order)


def _ruff_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, as ruff sorts `__all__`."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_the_package_exports_what_it_says() -> None:
    assert all(getattr(whyrank, name) is not None for name in whyrank.__all__)
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        whyrank.opne  # noqa: B018


@pytest.mark.parametrize("name", modules())
def test_a_module_names_what_it_exports(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, "a module says what it is for"
    missing = [n for n in getattr(module, "__all__", []) if not hasattr(module, n)]
    assert missing == []


@pytest.mark.parametrize("path", product_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_is_short_and_quiet(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_LINES
    tree = ast.parse(text)
    assert [c.lineno for c in calls(tree) if ast.unparse(c.func) in ("print", "breakpoint", "pickle.load")] == []
    silent = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and all(isinstance(statement, ast.Pass) for statement in node.body)
    ]
    assert silent == [], "an error that is swallowed"


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "manager", "misc"])
def test_no_module_is_called(name: str) -> None:
    assert [p for p in product_files() if p.stem == name] == []


@pytest.mark.parametrize("command", ["import whyrank", "import whyrank.cli", "import whyrank.errors, whyrank.edge"])
def test_importing_is_cheap_and_silent(command: str) -> None:
    heavy = "'pandas', 'numpy', 'dowhy', 'econml', 'duckdb', 'sqlalchemy', 'pydantic', 'langchain_openai', 'openai'"
    code = f"{command}\nimport sys\nsys.exit(', '.join(m for m in ({heavy}) if m in sys.modules) or None)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def environment_reads(tree: ast.AST) -> Iterator[str]:
    """Names of environment variables that code reads, in the ways that it may."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv"):
            yield ast.literal_eval(node.args[0])
        elif (
            isinstance(node, ast.Subscript)
            and ast.unparse(node.value) == "os.environ"
            and isinstance(node.ctx, ast.Load)
        ):
            yield ast.literal_eval(node.slice)
        elif isinstance(node, ast.keyword) and node.arg == "envvar":
            yield ast.literal_eval(node.value)


def test_the_environment_is_read_for_what_the_docs_say() -> None:
    found = {name for path in product_files() for name in environment_reads(ast.parse(path.read_text("utf-8")))}
    assert found == ENVIRONMENT
    documented = "".join(p.read_text("utf-8") for p in (ROOT / "docs").glob("*.md"))
    assert [name for name in sorted(ENVIRONMENT) if name not in documented] == []


def test_nobody_is_told_about_a_run() -> None:
    """No dependency is there to report on users, and the tracing that LangChain brings is switched off."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    needed = {re.split(r"[^A-Za-z0-9-]", line)[0].lower() for line in pyproject["project"]["dependencies"]}
    assert needed.isdisjoint({"posthog", "sentry-sdk", "opentelemetry-api", "analytics-python", "langsmith"})
    code = """
from whyrank.agents import Endpoint, OpenAIBackend
from langsmith.utils import tracing_is_enabled
OpenAIBackend(Endpoint("http://127.0.0.1:9/v1", model="m"))
assert not tracing_is_enabled()
"""
    environment = os.environ | {"LANGSMITH_TRACING": "true", "LANGCHAIN_TRACING_V2": "true"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
