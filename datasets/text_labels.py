"""The labels file beside the study: what each item's text was found to say, and how sure that is."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

from whyrank.datasets.atomic import replace_file
from whyrank.datasets.text_schema import TextAttribute
from whyrank.errors import DataError

__all__ = ["LABELS_FILE", "Label", "LabelBook", "read_labels", "write_labels"]

LABELS_FILE = "attributes.labels.csv"
"""Name of the file, beside the study file."""

LabelledBy = Literal["votes", "likelihood", "similarity", "hand"]
_BY = ("votes", "likelihood", "similarity", "hand")


@dataclass(frozen=True)
class Label:
    """One label of one item.

    Attributes
    ----------
    item : the item's id.
    attribute : without `items.`.
    label : the level that won, however clearly; "" if the text doesn't tell.
    agreement : share of the votes, or probability, that it won with, 0 to 1.
    by : how it was found; "hand" for one that a person wrote, which is never made anew while the text stays.
    model : who labelled.
    text, definition : hashes of the item's text and of the attribute's definition.
    """

    item: str
    attribute: str
    label: str
    agreement: float
    by: LabelledBy
    model: str
    text: str
    definition: str

    def level(self, agreement: float) -> str:
        """Return the level if it won with at least this agreement, or a person wrote it; else ""."""
        return self.label if self.by == "hand" or self.agreement >= agreement else ""


_HEADER = tuple(field.name for field in fields(Label))


class LabelBook(Mapping[tuple[str, str], Label]):
    """Labels by item and attribute.

    Examples
    --------
    >>> book = LabelBook([Label("i1", "tone", "plain", 1.0, "votes", "m", "t", "d")])
    >>> book["i1", "tone"].label
    'plain'
    """

    def __init__(self, labels: Iterable[Label] = ()) -> None:
        self._labels = {(label.item, label.attribute): label for label in labels}

    def __getitem__(self, key: tuple[str, str]) -> Label:
        return self._labels[key]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)

    def current(self, item: str, attribute: TextAttribute, text: str) -> Label | None:
        """Return the item's label if it is of this very text and definition, else None.

        Parameters
        ----------
        text : hash of the item's text.
        """
        label = self._labels.get((item, attribute.name))
        if label is None or label.text not in (text, "") or (label.label and label.label not in attribute.levels):
            return None
        return label if label.by == "hand" or label.definition == attribute.hash else None

    def updated(self, labels: Iterable[Label]) -> LabelBook:
        """Return a book in which these labels replace older ones."""
        return LabelBook([*self._labels.values(), *labels])


def read_labels(path: Path) -> LabelBook:
    """Read a labels file; an empty book if there is none.

    A row written by hand needs `item`, `attribute` and `label` alone, with `by` set to "hand": without a hash it holds
    for whatever the text says.

    Raises
    ------
    DataError
        If the file can't be read, or a row is wrong: the message names the line.
    """
    if not path.exists():
        return LabelBook()
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} can't be read: {error}") from error
    missing = [name for name in ("item", "attribute", "label") if rows and name not in rows[0]]
    if missing:
        raise DataError(f"{path.name}: no column {missing[0]!r}; its columns are {', '.join(_HEADER)}")
    return LabelBook(_label(row, number, path.name) for number, row in enumerate(rows, start=2))


def _label(row: Mapping[str, str | None], number: int, name: str) -> Label:
    def cell(column: str, default: str = "") -> str:
        return (row.get(column) or default).strip()

    by = cell("by", "hand")
    if by not in _BY:
        raise DataError(f"{name}, line {number}: 'by' must be one of {', '.join(_BY)}, got {by!r}")
    given = cell("agreement", "1" if by == "hand" else "")
    try:
        agreement = float(given)
        inside = 0 <= agreement <= 1
    except ValueError:
        inside = False
    if not inside:
        raise DataError(f"{name}, line {number}: 'agreement' must be a number from 0 to 1, got {given!r}")
    if not cell("item") or not cell("attribute"):
        raise DataError(f"{name}, line {number}: a label needs an item and an attribute")
    return Label(
        item=cell("item"),
        attribute=cell("attribute"),
        label=cell("label"),
        agreement=agreement,
        by=by,  # type: ignore[arg-type]
        model=cell("model"),
        text=cell("text"),
        definition=cell("definition"),
    )


def write_labels(book: LabelBook, path: Path, *, items: Sequence[str], attributes: Sequence[str]) -> None:
    """Write a labels file in one step, sorted by attribute (in the order given, others last) and item.

    Labels of items that the study no longer has are kept at the end of their attribute: they may come back.
    """
    place = {name: i for i, name in enumerate(attributes)}
    order = {item: i for i, item in enumerate(items)}
    labels = sorted(
        book.values(),
        key=lambda label: (
            place.get(label.attribute, len(place)),
            label.attribute,
            order.get(label.item, len(order)),
            label.item,
        ),
    )
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(_HEADER)
    for label in labels:
        values = list(astuple(label))
        values[3] = f"{label.agreement:.4g}"
        writer.writerow(values)
    replace_file(path, sink.getvalue().encode(errors="replace"))
