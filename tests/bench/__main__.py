"""`python -m tests.bench`: run the benchmark from the top of a clone."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from metacli.errors import MetacliError
from tests.bench import figure, markdown, report
from tests.bench.cases import CASES
from tests.bench.commands import COMMANDS, run_command
from tests.bench.growth import SWEEPS, run_sweep
from tests.bench.machine import cores, machine
from tests.bench.measure import run_cases

EXAMPLES = """examples:
  python -m tests.bench                              everything: a quarter of an hour on 2 cores
  python -m tests.bench --only ntm --threads 1       NTM only, on one core
  python -m tests.bench --quick --json bench.json    rough figures, written as JSON
  python -m tests.bench --only growth --plot growth.png
"""


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints and writes; returns the exit status."""
    options = parse(arguments)
    cases, sweeps, commands = (
        [item for item in items if options.only.search(item.name)] for items in (CASES.values(), SWEEPS, COMMANDS)
    )
    if not (cases or sweeps or commands):
        names = ", ".join(item.name for item in (*CASES.values(), *SWEEPS, *COMMANDS))
        print(f"error: nothing matches {options.only.pattern!r}\nhint: one of {names}", file=sys.stderr)
        return 2
    if options.plot and not sweeps:
        print("error: --plot draws growth, which --only excludes\nhint: --only growth", file=sys.stderr)
        return 2
    rounds, seconds = (2, 0.02) if options.quick else (options.rounds, 0.15)
    settings = {"threads": options.threads, "rounds": rounds, "seconds_per_turn": seconds, "quick": options.quick}
    result: dict[str, Any] = {"machine": machine(), "settings": settings}
    _warn_if_busy(result["machine"]["load"], max(options.threads))
    threads = torch.get_num_threads()
    try:
        result["cases"] = run_cases(cases, options.threads, rounds, seconds) if cases else []
        result["growth"] = [run_sweep(sweep, min(rounds, 3), seconds / 2) for sweep in sweeps]
        result["commands"] = [run_command(command, options.quick) for command in commands]
        report.print_report(Console(), result)
        _write(result, options)
    except (MetacliError, OSError) as error:
        print("\n".join(getattr(error, "lines", [f"error: {error}"])), file=sys.stderr)
        return 1
    finally:
        torch.set_num_threads(threads)
    if below := report.find_below_floor(result["cases"]):
        print(f"error: faster than the arithmetic floor: {'; '.join(below)}", file=sys.stderr)
        return 1
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Time training steps, episodes and commands of metacli beside references and packages.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="PATTERN", help="names to run")
    parser.add_argument("--threads", type=_threads, default=_threads("1,all"), metavar="N,...", help="default: 1,all")
    parser.add_argument("--rounds", type=int, default=3, help="number of turns of each implementation (default: 3)")
    parser.add_argument("--quick", action="store_true", help="two short rounds, commands for one step: rough figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables of docs/benchmark.md")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw how the cost grows (needs the extra `plot`)")
    return parser.parse_args(arguments)


def _write(result: dict[str, Any], options: argparse.Namespace) -> None:
    if options.plot:
        figure.draw(result["growth"], options.plot)
    texts = {options.json: json.dumps(result, indent=1) + "\n", options.markdown: markdown.format_tables(result)}
    for path, text in texts.items():
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def _warn_if_busy(load: float | None, threads: int) -> None:
    if load and load > 0.5 and threads > 1:
        print(f"warning: load {load}: other processes are busy, and threads wait for their cores", file=sys.stderr)
        print("hint: --threads 1, or an idle machine; figures on several threads are unreliable", file=sys.stderr)


def _threads(text: str) -> list[int]:
    return list(dict.fromkeys(cores() if part == "all" else int(part) for part in text.split(",")))


if __name__ == "__main__":
    sys.exit(main())
