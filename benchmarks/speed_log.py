"""The program on logs: how long `whyrank validate` takes, and how much memory, each in a process of its own.

`python benchmarks/speed_log.py 120000 1000000 10000000` writes simulated shops as Parquet and has every possible edge
judged. Beyond a million rows a shop of a million is repeated with new users: time and memory are those of such a log,
the verdicts say nothing new.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from speed_growth import PEAK

import whyrank
from whyrank.datasets.world import World, WorldSpec, simulate, write_world

__all__ = ["judge_logs", "write_log"]

WHOLE = 1_000_000
"""Rows of the largest shop that is drawn in one piece."""

_JUDGE = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from speed_growth import own_peak_mib
from whyrank.cli import main
try:
    main()
finally:
    print("{PEAK}", own_peak_mib(), file=sys.stderr)
"""


def write_log(folder: Path, rows: int, *, seed: int = 1) -> None:
    """Write a study of so many exposures into a folder, its tables as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    drawn = min(rows, WHOLE)
    world = simulate(WorldSpec(n_users=max(drawn // 40, 100), n_items=300, n_events=drawn, seed=seed))
    write_world(_without_events(world), folder)
    for name in ("events", "users", "items"):
        (folder / f"{name}.csv").unlink()
    copies = max(rows // drawn, 1)
    users = [world.users.assign(user_id=world.users["user_id"] + f"-{c}") for c in range(copies)]
    pd.concat(users).to_parquet(folder / "users.parquet", index=False)
    world.items.to_parquet(folder / "items.parquet", index=False)
    codes, names = world.events["user_id"].cat.codes, world.events["user_id"].cat.categories
    writer: Any = None
    for c in range(copies):
        ids = pd.Categorical.from_codes(codes, categories=names + f"-{c}")
        chunk = world.events.assign(user_id=ids.astype(str), item_id=world.events["item_id"].astype(str))
        table = pa.Table.from_pandas(chunk, preserve_index=False)
        if writer is None:
            writer = pq.ParquetWriter(folder / "events.parquet", table.schema)
        writer.write_table(table)
    writer.close()
    study = folder / "whyrank.toml"
    study.write_text(re.sub(r'path = "(\w+)\.csv"', r'path = "\1.parquet"', study.read_text("utf-8")), encoding="utf-8")


def _without_events(world: World) -> World:
    from dataclasses import replace

    return replace(world, events=world.events.iloc[:0])


def judge_edges(rows: int, edges: list[str]) -> list[dict[str, Any]]:
    """Judge single edges of one shop, each in a process of its own; returns and prints seconds and peak memory."""
    out = []
    with tempfile.TemporaryDirectory(prefix="log-") as folder:
        write_log(Path(folder), rows)
        for edge in edges:
            seconds, peak = _command("validate", folder, "--edge", edge)
            out.append({"rows": rows, "edge": edge, "seconds": seconds, "peak_mib": peak})
            print(f"    {rows:>12,} rows: {edge} in {seconds:.1f} s, {peak:,.0f} MiB", flush=True)
    return out


def judge_logs(sizes: list[int]) -> list[dict[str, Any]]:
    """Judge shops of so many rows; returns rows, contrasts, seconds and peak memory of each, and prints them."""
    print("the program: every edge of a simulated shop by `whyrank validate`, gates and audit included")
    out = []
    for rows in sizes:
        with tempfile.TemporaryDirectory(prefix="log-") as folder:
            write_log(Path(folder), rows)
            _command("propose", folder, "--source", "exhaustive")
            seconds, peak = _command("validate", folder)
            with whyrank.open(folder) as study:
                contrasts = len(study.ledger.judgements())
        found = {"rows": rows, "contrasts": contrasts, "seconds": seconds, "peak_mib": peak}
        out.append(found)
        each = f"{contrasts / seconds:.2f} contrasts a second"
        print(f"    {rows:>12,} rows: {contrasts} contrasts in {seconds:.1f} s, {each}, {peak:,.0f} MiB", flush=True)
    print()
    return out


def _command(*arguments: str) -> tuple[float, float]:
    """Run the program; returns seconds and peak memory in MiB."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", _JUDGE, *arguments], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"whyrank {' '.join(arguments)} ended with status {done.returncode}:\n{done.stderr}")
    return seconds, float(done.stderr.rsplit(PEAK, 1)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int, nargs="+", help="sizes of the logs")
    parser.add_argument(
        "--edge", action="append", help="judge this edge alone, in a process of its own; may be repeated"
    )
    options = parser.parse_args()
    if options.edge:
        print(json.dumps([line for rows in options.rows for line in judge_edges(rows, options.edge)]))
    else:
        print(json.dumps(judge_logs(options.rows)))


if __name__ == "__main__":
    main()
