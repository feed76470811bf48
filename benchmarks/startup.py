"""How long the program takes before it does anything: `python benchmarks/startup.py`."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from machine import describe_machine

COMMANDS = {
    "python alone": "pass",
    "import whyrank": "import whyrank",
    "whyrank --help": "from whyrank.cli import main; main(['--help'])",
    "whyrank run --help": "from whyrank.cli import main; main(['run', '--help'])",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=11, help="runs of each; the median is told")
    times = parser.parse_args().times
    print(describe_machine("click"))
    for name, code in COMMANDS.items():
        took = []
        for _ in range(times):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
            took.append(time.perf_counter() - start)
        print(f"{name:20s} {1000 * statistics.median(took):6.0f} ms (median of {times})")


if __name__ == "__main__":
    main()
