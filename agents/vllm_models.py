"""Which weights vLLM is to serve: the default model, a GGUF file, a folder, or a name on a model hub."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from whyrank.agents.vllm_environment import VllmEnvironment
from whyrank.agents.waiting import waiting
from whyrank.errors import FetchError, InputError
from whyrank.fetch import SMOLLM2, cache_dir, fetch

__all__ = ["Weights", "resolve_model", "weights_of"]

_CONVERT = Path(__file__).with_name("vllm_convert.py")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_DEFAULT = "SmolLM2-135M-Instruct"


@dataclass(frozen=True)
class Weights:
    """What vLLM is told to load.

    Attributes
    ----------
    source : a folder on this machine, or a name on a model hub.
    name : what the server calls the model.
    local : whether nothing has to be downloaded.
    """

    source: str
    name: str
    local: bool


def resolve_model(model: str) -> Path | str:
    """Return the GGUF file, the folder or the hub's name that `model` stands for; "auto" is SmolLM2-135M-Instruct.

    Raises
    ------
    InputError
        If it is none of them.
    FetchError
        If the default model can't be fetched.
    """
    if model == "auto":
        return fetch(SMOLLM2)
    path = Path(model).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        return path.resolve()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(f"model folder {model!r} has no config.json: it holds no weights that vLLM can load")
        return path.resolve()
    if _HUB_NAME.fullmatch(model) and not path.exists():
        return model
    raise InputError(
        f"model {model!r} is not a .gguf file, a folder with config.json, a name on a model hub like "
        "'Qwen/Qwen3-0.6B', or 'auto' for SmolLM2-135M-Instruct"
    )


def weights_of(model: str, environment: VllmEnvironment) -> Weights:
    """Return what vLLM is told to load; a GGUF file is written out as plain weights once.

    Raises
    ------
    InputError
        If the model isn't one.
    FetchError
        If it can't be fetched, or can't be read.
    """
    found = resolve_model(model)
    if isinstance(found, str):
        return Weights(found, found, False)
    if found.is_dir():
        return Weights(str(found), found.name, True)
    name = _DEFAULT if model == "auto" else found.name.removesuffix(".gguf")
    return Weights(str(_converted(found, environment)), name, True)


def _converted(file: Path, environment: VllmEnvironment) -> Path:
    """Return the folder of the weights of a GGUF file, which its checksum names."""
    with file.open("rb") as stream:
        checksum = hashlib.file_digest(stream, "sha256").hexdigest()
    target = cache_dir() / "vllm" / f"weights-{checksum[:16]}"
    if (target / "config.json").is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="weights-", dir=target.parent))
    try:
        with waiting(f"Writing out the weights of {file.name}"):
            done = subprocess.run(
                [str(environment.python), "-P", str(_CONVERT), str(file), str(scratch)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                cwd=scratch,
                env=_quiet(os.environ),
                check=False,
            )
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()][-1:] or ["no reason was given"]
            raise FetchError(f"{str(file)!r} can't be read as a model: {said[0][:300]}")
        if not (target / "config.json").is_file():  # another process may have been faster
            shutil.rmtree(target, ignore_errors=True)
            scratch.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _quiet(environment: os._Environ[str]) -> dict[str, str]:
    kept = {name: value for name, value in environment.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return kept | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
