"""How time and memory grow with edges and rows: each point is measured in a process of its own.

`python benchmarks/speed_growth.py edges 10000` and the like print one line of JSON; `speed.py` calls it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["EDGE_ROWS", "PEAK", "Grown", "exponent", "grow_in_a_process", "make_table", "own_peak_mib", "write_parquet"]

Grown = dict[str, float]

EDGE_ROWS = 20_000
PEAK = "peak of memory in MiB:"
CONFOUNDERS = 10


def make_table(n: int, causes: int, outcomes: int, *, seed: int, world: int = 0) -> pd.DataFrame:
    """Draw confounders w*, causes t* that follow from them, and outcomes y* that follow from both."""
    law = np.random.default_rng(world)
    to_t = law.normal(size=(CONFOUNDERS, causes)) * 0.3
    to_y = law.normal(size=(CONFOUNDERS, outcomes)) * 0.3
    effect = law.normal(size=(causes, outcomes)) * (law.random((causes, outcomes)) < 0.3) * 0.2
    rng = np.random.default_rng([world, seed])
    w = rng.standard_normal((n, CONFOUNDERS))
    t = w @ to_t + rng.standard_normal((n, causes))
    y = w @ to_y + t @ effect + rng.standard_normal((n, outcomes))
    names = [
        *(f"w{i}" for i in range(CONFOUNDERS)),
        *(f"t{i}" for i in range(causes)),
        *(f"y{i}" for i in range(outcomes)),
    ]
    return pd.DataFrame(np.column_stack([w, t, y]), columns=names)


def write_parquet(path: Path, n: int, causes: int, outcomes: int, *, users: int) -> None:
    """Write such a table in float32, chunk by chunk, with a column of users."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: Any = None
    step = 500_000
    for i, start in enumerate(range(0, n, step)):
        rows = min(step, n - start)
        frame = make_table(rows, causes, outcomes, seed=i).astype("float32")
        frame["user"] = np.random.default_rng([7, i]).integers(0, users, rows).astype("int32")
        table = pa.Table.from_pandas(frame, preserve_index=False)
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema, compression="none", use_dictionary=False)
        writer.write_table(table, row_group_size=100_000)
    writer.close()


def grow_in_a_process(kind: str, size: int, folder: Path) -> Grown:
    """Run one point in a process of its own; returns seconds, peak memory in MiB, and what the point says of itself."""
    command = [sys.executable, __file__, kind, str(size), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr}")
    point: Grown = json.loads(done.stdout)
    return point | {"size": size}


def own_peak_mib() -> float:
    """Peak memory of this process in MiB; what `getrusage` says of a child counts its parent's pages too on Linux."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return float(line.split()[1]) / 2**10
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 2**20


def exponent(points: list[Grown]) -> float:
    """Return x of seconds ~ size^x over the larger half of the points, where fixed costs matter least."""
    later = points[len(points) // 2 - 1 :] if len(points) > 2 else points
    sizes, seconds = (np.log([p[name] for p in later]) for name in ("size", "seconds"))
    return float(np.polyfit(sizes, seconds, 1)[0])


def _edges(count: int) -> Iterator[tuple[str, float]]:
    from whyrank import estimate_many

    side = round(count**0.5)
    table = make_table(EDGE_ROWS, side, side, seed=0)
    w, t, y = ([str(c) for c in table if str(c).startswith(kind)] for kind in "wty")
    estimate_many(table.iloc[:500], t[:2], y[:2], w)  # imports and first calls aren't what grows
    start = time.perf_counter()
    found = estimate_many(table, t, y, w)
    yield "seconds", time.perf_counter() - start
    yield "edges", len(found)


def _rows(count: int, folder: Path) -> Iterator[tuple[str, float]]:
    from whyrank import estimate_many

    path = folder / f"rows-{count}.parquet"
    causes, outcomes = ([f"{kind}{i}" for i in range(k)] for kind, k in (("t", 20), ("y", 10)))
    adjust = [f"w{i}" for i in range(CONFOUNDERS)]
    start = time.perf_counter()
    found = estimate_many(path, causes, outcomes, adjust, clusters="user", precision="single")
    yield "seconds", time.perf_counter() - start
    yield "edges", len(found)
    yield "parquet_mib", path.stat().st_size / 2**20


def main() -> None:
    kind, size, folder = (
        sys.argv[1],
        int(sys.argv[2]),
        Path(sys.argv[3] if len(sys.argv) > 3 else tempfile.gettempdir()),
    )
    point = dict(_edges(size) if kind == "edges" else _rows(size, folder))
    json.dump(point | {"peak_mib": own_peak_mib()}, sys.stdout)


if __name__ == "__main__":
    main()
