"""`python -m tests.trust`: run the checks from the top of a clone, a line of figures for each."""

from __future__ import annotations

import argparse
import re
import sys
import time
from importlib import import_module
from importlib.util import find_spec

from tests.trust import fuzz

EXAMPLES = """examples:
  python -m tests.trust                        everything: 45 minutes or less on 2 cores
  python -m tests.trust --quick                a tenth of everything
  python -m tests.trust --only fuzz_recipes --inputs 100000 --seed 7
  python -m tests.trust --only fuzz --faults 50    do not stop at the first fault of a kind, list up to 50
"""
TIMES = {
    "kills": 50,
    "disks": 1,
    "io_errors": 400,
    "downloads": 60,
    "episodes": 200,
}  # how often each check is done, where it is there
SHARES = {  # of the hostile inputs, by kind
    "fuzz_recipes": 0.25,
    "fuzz_overrides": 0.16,
    "fuzz_checkpoints": 0.19,
    "fuzz_runs": 0.15,
    "fuzz_leaks": 0.05,
    "fuzz_folders": 0.06,
    "fuzz_pictures": 0.06,
    "fuzz_lines": 0.08,
}
INPUTS = 10_000


def main(arguments: list[str] | None = None) -> int:
    """Run the checks: the exit status, 1 at the first that does not hold."""
    options = parse(arguments)
    part = 0.1 if options.quick else 1.0
    times = {name: n * part for name, n in TIMES.items() if find_spec(f"tests.trust.{name}")}
    times |= {name: options.inputs * part * share for name, share in SHARES.items()}
    chosen = {name: max(1, round(n)) for name, n in times.items() if options.only.search(name)}
    if not chosen:
        print(f"error: nothing matches {options.only.pattern!r}\nhint: one of {', '.join(times)}", file=sys.stderr)
        return 2
    fuzz.FAULTS = options.faults
    began = time.monotonic()
    for name, n in chosen.items():
        start = time.monotonic()
        try:
            line = import_module(f"tests.trust.{name}").main(n, options.seed)
        except AssertionError as e:
            print(f"{name:<17} DOES NOT HOLD: {e}")
            return 1
        print(f"{name:<17} {line}; {time.monotonic() - start:.0f} s", flush=True)
    print(f"all held          {len(chosen)} checks, seed {options.seed}; {time.monotonic() - began:.0f} s")
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.trust",
        description="Kill it, fill its disk, feed it what is hostile, and count what happens.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="PATTERN", help="names to run")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--inputs", type=int, default=INPUTS, help=f"hostile inputs in all (default: {INPUTS:,})")
    parser.add_argument("--seed", type=int, default=0, help="other inputs, other moments (default: 0)")
    parser.add_argument(
        "--faults", type=int, default=1, help="of hostile inputs, list so many that differ (default: 1)"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
