"""Delimited text files as strangers write them: encoding, delimiter, line ends and compression, told before reading."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from whyrank.errors import DataError

__all__ = ["TEXT_SUFFIXES", "TextFormat", "sniff_text"]

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
"""How the names of delimited text files end."""

_BLOCK = 1 << 20
_MAGIC = {
    b"PAR1": "a Parquet file; name it .parquet",
    b"PK\x03\x04": "a ZIP or Excel file; save the table as CSV",
    b"SQLite format 3\x00": "a SQLite file; name it .sqlite and give its table",
    b"\xd0\xcf\x11\xe0": "an old Excel file; save the table as CSV",
    b"%PDF": "a PDF file",
}


@dataclass(frozen=True)
class TextFormat:
    """How one text file is to be read.

    Attributes
    ----------
    path : the file to read; a UTF-8 copy if the original is in another encoding.
    columns : names in the header line, trimmed.
    delimiter, newline : as found; `newline` is "" unless lines end in a bare carriage return.
    encoding : of the original.
    copied : whether `path` is a temporary copy that the caller removes.
    """

    path: Path
    columns: tuple[str, ...]
    delimiter: str
    newline: Literal["", "\r"]
    encoding: Literal["utf-8", "utf-16", "cp1252"]
    copied: bool = False


def sniff_text(path: Path, label: str) -> TextFormat:
    """Find out how a delimited text file is written.

    Raises
    ------
    DataError
        If it is empty, not text, or has no header line.
    """
    try:
        with _open(path) as stream:
            head = stream.read(_BLOCK)
        if not head:
            raise DataError(f"{label}: the file is empty; expected a header line and rows")
        _refuse_other_formats(head, label)
        encoding = _encoding(path, head, label)
        copied = encoding != "utf-8"
        source = _utf8_copy(path, encoding) if copied else path
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{label}: not a readable gzip file: {error}") from None
    except OSError as error:
        raise DataError(f"{label}: cannot be read: {error.strerror or error}") from None
    try:
        text = head.decode("utf-16" if encoding == "utf-16" else encoding, errors="replace").removeprefix("\ufeff")
        delimiter = _delimiter(text)
        columns = _header(source, delimiter)
        if not any(columns):
            raise DataError(f"{label}: the first line is empty; expected the names of the columns")
    except DataError:
        if copied:
            source.unlink()
        raise
    newline: Literal["", "\r"] = "\r" if "\r" in text and "\n" not in text else ""
    return TextFormat(source, columns, delimiter, newline, encoding, copied)


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _blocks(path: Path) -> Iterator[bytes]:
    with _open(path) as stream:
        while block := stream.read(_BLOCK):
            yield block


def _refuse_other_formats(head: bytes, label: str) -> None:
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            raise DataError(f"{label}: expected delimited text, but this looks like {what}")
    if head.startswith(b"\x1f\x8b"):
        raise DataError(f"{label}: expected delimited text, but this is compressed; name it .csv.gz")
    if head[8:12] == b"DUCK":
        raise DataError(
            f"{label}: expected delimited text, but this is a DuckDB file; name it .duckdb and give its table"
        )


def _encoding(path: Path, head: bytes, label: str) -> Literal["utf-8", "utf-16", "cp1252"]:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    decoder = codecs.getincrementaldecoder("utf-8")()
    valid = True
    for block in _blocks(path):
        if b"\x00" in block:
            raise DataError(f"{label}: expected delimited text, but this is binary (it holds zero bytes)")
        if valid:
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                valid = False
    if valid:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            valid = False
    if valid:
        return "utf-8"
    control = sum(byte < 32 and byte not in (9, 10, 12, 13) for byte in head[:4096])
    if control > len(head[:4096]) // 50:
        raise DataError(f"{label}: expected delimited text, but this is binary or encrypted")
    return "cp1252"


def _utf8_copy(path: Path, encoding: str) -> Path:
    """Write a UTF-8 copy into the temporary folder; bytes that the encoding lacks are taken as Latin-1."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="whyrank_latin1" if encoding == "cp1252" else "replace")
    with tempfile.NamedTemporaryFile("wb", prefix="whyrank-", suffix=".csv", delete=False) as copy:
        for block in _blocks(path):
            copy.write(decoder.decode(block).encode("utf-8"))
        copy.write(decoder.decode(b"", final=True).encode("utf-8"))
    return Path(copy.name)


def _as_latin1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("whyrank_latin1", _as_latin1)


def _delimiter(text: str) -> str:
    """Return the candidate that occurs most often outside quotes in the first line; a comma if none does."""
    counts = dict.fromkeys(",;\t|", 0)
    quoted = False
    for letter in text:
        if letter == '"':
            quoted = not quoted
        elif letter in "\r\n" and not quoted:
            break
        elif letter in counts and not quoted:
            counts[letter] += 1
    best = max(counts, key=lambda candidate: counts[candidate])
    return best if counts[best] else ","


def _header(path: Path, delimiter: str) -> tuple[str, ...]:
    with contextlib.closing(_open(path)) as raw:
        stream = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline="")
        try:
            row = next(csv.reader(stream, delimiter=delimiter), [])
        except csv.Error:
            row = []
        return tuple(name.strip() for name in row)
