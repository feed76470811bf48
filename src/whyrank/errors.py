"""What WhyRank raises and warns.

::

    WhyRankError
    ├── InputError            the caller's mistake: the command line exits 2
    │   ├── StudyFileError    whyrank.toml cannot be read or says something wrong
    │   ├── DataError         a table cannot be used as it is
    │   ├── NameNotFound      an attribute, outcome, user, item or edge that the study doesn't have
    │   └── RemoteRefused     a model address off this machine that the study doesn't allow
    ├── RunError              something failed while running: the command line exits 1
    │   ├── ServerError       no usable answer from a model server
    │   ├── FetchError        a model or data file could not be fetched or has the wrong checksum
    │   ├── LedgerError       the ledger cannot be opened, or was written by a newer version
    │   └── MissingExtra      an optional dependency is not installed
    └── ModelOutputError      a model answered, and the answer cannot be used

    WhyRankWarning            doubtful, but usable
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DataError",
    "FetchError",
    "InputError",
    "LedgerError",
    "MissingExtra",
    "ModelOutputError",
    "NameNotFound",
    "RemoteRefused",
    "RunError",
    "ServerError",
    "StudyFileError",
    "WhyRankError",
    "WhyRankWarning",
    "nearest",
]


class WhyRankError(Exception):
    """Base of every error that WhyRank raises on purpose; its message is one readable sentence or more."""

    exit_code = 1


class InputError(WhyRankError):
    """The caller's mistake: what was given cannot be used, and the message says what to change."""

    exit_code = 2


class StudyFileError(InputError):
    """The study file cannot be read, or a key or a value in it is wrong."""


class DataError(InputError):
    """A table of the study cannot be used: the message names the file, the column and the first rows."""


class NameNotFound(InputError):
    """A name that the study doesn't have; the message gives the nearest known one."""


class RemoteRefused(InputError):
    """The model's address is not on this machine, and the study doesn't say `allow_remote = true`."""


class RunError(WhyRankError):
    """Something failed while running; what was finished is in the ledger."""


class ServerError(RunError):
    """A model server can't be reached, or kept failing."""


class FetchError(RunError):
    """A model or data file could not be fetched, or its checksum is wrong."""


class LedgerError(RunError):
    """The ledger cannot be opened, or a newer WhyRank wrote it."""


class MissingExtra(RunError):
    """An optional dependency is not installed; the message gives the pip command."""


class ModelOutputError(WhyRankError):
    """A model answered, and the answer cannot be used: cut, empty, not JSON, not the schema."""


class WhyRankWarning(UserWarning):
    """Doubtful but usable: the run goes on, and the report repeats it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known name closest to `name`, else an empty string.

    Examples
    --------
    >>> nearest("outcomse", ["outcomes", "context"])
    " (did you mean 'outcomes'?)"
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
