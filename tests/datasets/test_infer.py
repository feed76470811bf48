"""The rules that tell kinds, numbers and times apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from whyrank.datasets.infer import guess_kind, parse_numbers
from whyrank.datasets.tables import TextColumn
from whyrank.datasets.times import parse_times
from whyrank.errors import DataError


def _column(cells: Sequence[str | None]) -> TextColumn:
    coded = pa.array(cells, type=pa.string()).dictionary_encode()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return TextColumn(codes, coded.dictionary)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["0", "1", None], "binary"),
        (["1.0", "0.0"], "binary"),
        (["true", "False"], "binary"),
        (["Yes", "no", "YES"], "binary"),
        (["men", "women"], "binary"),
        (["1", "2"], "numeric"),
        (["-1", "0", "1"], "numeric"),
        (["1", "2", "3"] * 10, "numeric"),
        (["1e3", "+2.5", ".5", "7."], "numeric"),
        (["a", "b", "c"] * 5, "categorical"),
        (["01", "02", "03"] * 5, "categorical"),
        (["x|y", "x", "y|z", "z"] * 3, "set"),
        (["2024-01-01", "2024-02-01"], None),
        (["31.12.2024", "01.02.2024 10:00"], None),
        ([f"name {i}" for i in range(9)], None),
        ([f"a long sentence about thing {i % 25} in the catalogue" for i in range(400)], None),
        ([None, None], None),
    ],
)
def test_kinds(cells: list[str | None], kind: str | None) -> None:
    assert guess_kind(_column(cells), "x").kind == kind


def test_integers_that_name_rows_are_keys() -> None:
    cells = [str(i) for i in range(50)]
    assert guess_kind(_column(cells), "listing_id").kind is None
    assert guess_kind(_column(cells), "price").kind == "numeric"


def test_numbers() -> None:
    numbers = parse_numbers(pa.array(["1", "-2.5e-3", "007", "1_000", "0x1", "inf", "1e999", "-0", "३", "1,5"]))
    assert numbers.values[:2].tolist() == [1.0, -0.0025]
    assert numbers.finite.tolist() == [True, True, False, False, False, False, False, True, False, False]
    assert numbers.infinite.tolist() == [False] * 5 + [True, True] + [False] * 3
    assert parse_numbers(pa.array(["1,5", "2"]), decimal_comma=True).values.tolist() == [1.5, 2.0]


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        (["2024-01-31T10:00:00Z", "2024-01-31 10:00:00+02:00"], "2024-01-31T10:00"),
        (["1706695200", "1706695201"], "2024-01-31T10:00"),
        (["1706695200000"], "2024-01-31T10:00"),
        (["1706695200.5"], "2024-01-31T10:00:00.5"),
        (["20240131"], "2024-01-31"),
        (["31.01.2024 10:00", "01.02.2024"], "2024-01-31T10:00"),
        (["01/31/2024", "02/01/2024"], "2024-01-31"),
        (["31/01/2024 10:00:00", "01/02/2024 11:00:00"], "2024-01-31T10:00"),
        (["7", "8"], "1970-01-08"),
    ],
)
def test_times(cells: list[str | None], first: str) -> None:
    times = parse_times(_column([*cells, None]), where="t", rows=np.arange(len(cells) + 1))
    assert times.data[0] == np.datetime64(first, "us")
    assert np.isnat(times.data[-1])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["2024-01-31", "2024-02-30"], r"t: 1 of 2 values are in another format than the rest \(row 1: '2024-02-30'\)"),
        (["soon"], "are not times"),
        (["01/02/2024", "03/04/2024"], "day and month cannot be told apart"),
    ],
)
def test_times_that_cannot_be_read(cells: list[str | None], message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_times(_column(cells), where="t", rows=np.arange(len(cells)))
