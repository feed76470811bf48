"""What is shipped works: sdist, wheel from the sdist, a fresh environment away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("datasets", "prompts", "agents", "estimators", "ranker")

pytestmark = [pytest.mark.package, pytest.mark.timeout(1800)]


def run(*words: object, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git knows: stray files of a working folder aren't shipped, and nothing is written into it."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink() or source.is_file():
            shutil.copy2(source, target, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, checkout, cwd=folder)
    return folder


def modules_of(checkout: Path) -> set[str]:
    """Every module and prompt as the wheel should name it."""
    names = {
        f"whyrank/{path.relative_to(checkout)}"
        for room in ROOMS
        for path in (checkout / room).rglob("*")
        if path.suffix in (".py", ".md")
    }
    package = checkout / "src" / "whyrank"
    own = [p for p in package.rglob("*") if p.is_file() and p.relative_to(package).parts[0] not in ROOMS]
    return names | {str(path.relative_to(package.parent)) for path in own}


def test_the_wheel_holds_every_module_prompt_and_template_once(checkout: Path, built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        licences = [name for name in archive.namelist() if name.endswith("LICENSE")]
    assert len(names) == len(set(names))
    assert set(names) == modules_of(checkout)
    assert len(licences) == 1
    assert wheel.stat().st_size < 1_000_000


def test_the_sdist_holds_no_stray_file(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = ["/".join(Path(member.name).parts[1:]) for member in archive.getmembers()]
    assert {"LICENSE", "README.md", "pyproject.toml"} <= set(names)
    assert [n for n in names if "__pycache__" in n or n.startswith((".venv", "demo", "build"))] == []


def test_an_installed_wheel_works_in_a_fresh_environment(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python, whyrank = (tmp_path / "venv" / "bin" / name for name in ("python", "whyrank"))
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=tmp_path)

    whyrank_version = str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])
    where = run(python, "-c", "import whyrank; print(whyrank.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(tmp_path / "venv")
    assert run(whyrank, "--version", cwd=tmp_path).strip().endswith(whyrank_version)
    for language in ("en", "zh"):
        code = f"from whyrank.prompts import load_prompt; print(load_prompt('probe', {language!r}).source)"
        assert run(python, "-c", code, cwd=tmp_path).strip()
    sizes = ("--users", 150, "--items", 40, "--events", 4000)
    run(whyrank, "example", "world", "shop", *sizes, cwd=tmp_path)
    said = run(whyrank, "run", "shop", "--source", "exhaustive", cwd=tmp_path)
    assert "report: " in said
    page = (tmp_path / "shop" / ".whyrank" / "report.html").read_text(encoding="utf-8")
    assert "events.purchase" in page
