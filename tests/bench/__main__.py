"""`python -m tests.bench`: run the benchmark from the top of a clone."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import torch
from rich.console import Console
from tqdm import tqdm

from metacli.errors import MetacliError
from tests.bench import figure, report
from tests.bench.cases import CASES
from tests.bench.growth import SWEEPS, run_sweep
from tests.bench.machine import cores, machine
from tests.bench.run import run_cases

EXAMPLES = """examples:
  python -m tests.bench                              everything: several minutes on 2 cores
  python -m tests.bench --only ntm --threads 1       NTM alone, on one core
  python -m tests.bench --quick --json bench.json    a first look, and all figures as JSON
  python -m tests.bench --only growth --plot growth.png
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write: the exit status."""
    options = parse(arguments)
    cases = [case for name, case in CASES.items() if options.only.search(name)]
    sweeps = [sweep for sweep in SWEEPS if options.only.search(sweep.name)]
    if not cases and not sweeps:
        names = ", ".join([*CASES, *(sweep.name for sweep in SWEEPS)])
        print(f"error: nothing matches {options.only.pattern!r}\nhint: one of {names}", file=sys.stderr)
        return 2
    if options.plot and not sweeps:
        print("error: --plot draws growth, and --only leaves none\nhint: --only growth", file=sys.stderr)
        return 2
    rounds, seconds = (2, 0.02) if options.quick else (options.rounds, 0.15)
    settings = {"threads": options.threads, "rounds": rounds, "seconds_per_turn": seconds, "quick": options.quick}
    threads = torch.get_num_threads()
    here = machine()
    if here["load"] and here["load"] > 0.5 and max(options.threads) > 1:
        print(f"warning: load {here['load']}: others are busy, and threads that wait for their cores", file=sys.stderr)
        print("hint: --threads 1, or a quiet machine; trust no figure on several threads", file=sys.stderr)
    result = {"machine": here, "settings": settings}
    result["cases"] = run_cases(cases, options.threads, rounds, seconds) if cases else []
    result["growth"] = [run_sweep(sweep, min(rounds, 3), seconds / 2) for sweep in sweeps]
    torch.set_num_threads(threads)
    report.draw(Console(), result)
    try:
        if options.plot:
            figure.draw(result["growth"], options.plot)
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(result, indent=1) + "\n")
    except (MetacliError, OSError) as e:
        tqdm.write(f"error: {e}", file=sys.stderr)
        return 1
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Training steps and episodes of metacli beside plain references, packages and the arithmetic.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="PATTERN", help="names to run")
    parser.add_argument("--threads", type=_threads, default=_threads("1,all"), metavar="N,...", help="default: 1,all")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (default: 5)")
    parser.add_argument("--quick", action="store_true", help="two short rounds: figures are rough")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw how the cost grows (needs the extra `plot`)")
    return parser.parse_args(arguments)


def _threads(text: str) -> list[int]:
    return list(dict.fromkeys(cores() if part == "all" else int(part) for part in text.split(",")))


if __name__ == "__main__":
    sys.exit(main())
