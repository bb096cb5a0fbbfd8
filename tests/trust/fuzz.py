"""Hostile inputs of one kind, tried in a process beside this one, which is started anew where an input ends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
KEPT = ROOT / "runs" / "trust"  # inputs that did not hold
SHOWN = 0  # of the messages, the commonest
FAULTS = 1  # how many that differ are found before it stops
HANGING = 120  # seconds after which the process is ended from outside
STARTS = 20  # of the process, at most


def fuzz(kinds: dict[str, int], seed: int, coverage: bool = True) -> str:
    """Try so many inputs of each kind: a line of figures.

    Args:
        kinds: from the name of a module beside this one, which has `case`, to a number of inputs.
        coverage: let atheris choose the inputs by the lines that they reach, where it is installed.

    Raises:
        AssertionError: an input had another outcome than success or a message; names the folder where it is kept.
    """
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="trust-") as top:
        log = Path(top) / "log.jsonl"
        for kind, inputs in kinds.items():
            records += _of_kind(kind, inputs, seed, coverage, Path(top), log)
    check(records)
    if SHOWN:
        print(Counter(record["detail"] for record in records).most_common(SHOWN), file=sys.stderr)
    return report(records)


def _of_kind(kind: str, inputs: int, seed: int, coverage: bool, top: Path, log: Path) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for start in range(STARTS):
        done = len(records)
        if done >= inputs:
            return records
        log.write_text("")
        job = {"kind": kind, "inputs": inputs - done, "seed": seed + 1000 * start, "coverage": coverage}
        job |= {"top": str(top), "log": str(log), "kept": str(KEPT), "faults": FAULTS}
        said, code = _work(job, top)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        records += [record for record in lines if "outcome" in record]
        if lines and "begun" in lines[-1]:  # an input that ended the process
            records.append({**lines[-1]["begun"], "outcome": "ended the process", "detail": said[-600:]})
        if len(faults(records)) >= FAULTS:
            check(records)
        if len(records) < inputs:
            print(f"note: {kind}: started anew after {len(records):,}: {code}\n{said[-1500:]}", file=sys.stderr)
        assert lines, f"{kind}: the process ended with {code} before it tried anything\n{said[-3000:]}"
    raise AssertionError(f"{kind}: {STARTS} processes ended early\n{said[-3000:]}")


def _work(job: dict[str, Any], top: Path) -> tuple[str, int | None]:
    """Run a worker to its end: what it said, its exit status."""
    home = top / "home"
    for folder in (home, top / "tmp"):
        folder.mkdir(exist_ok=True)
    quiet = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "80", "NO_COLOR": "1"}
    places = {"HOME": str(home), "METACLI_CACHE": str(top / "cache"), "METACLI_DATA": str(home)}
    env = {
        **os.environ,
        **quiet,
        **places,
        "MPLCONFIGDIR": str(top / "cache"),
        "TMPDIR": str(top / "tmp"),
        "PYTHONHASHSEED": "0",
    }
    said = top / "said.txt"
    with open(said, "w") as stream:
        command = [sys.executable, "-m", "tests.trust.worker", json.dumps(job)]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=stream, stderr=stream)
        log, seen = Path(job["log"]), -1
        while True:
            try:
                code: int | None = process.wait(HANGING)
                break
            except subprocess.TimeoutExpired:
                size = log.stat().st_size
                if size == seen:  # not one input in all that time
                    process.kill()
                seen = size
    return said.read_text(errors="replace"), code


def faults(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The inputs that had an outcome that none may have, one for each such outcome."""
    found = {
        (r["outcome"], r["detail"].partition(" | ")[0]): r
        for r in reversed(records)
        if r["outcome"] not in ("done", "refused")
    }
    return list(found.values())


def check(records: list[dict[str, Any]]) -> None:
    """Raise an AssertionError that lists the faults, if there are any."""
    lines = [
        f"{r['kind']}: {r['outcome']}: {r['detail']}\n  again: cd {r['kept']} && {r['command']}"
        for r in faults(records)
    ]
    assert not lines, "\n".join([f"{len(lines)} faults in {len(records):,} inputs", *lines])


def report(records: list[dict[str, Any]]) -> str:
    """The figures of some inputs, in a line."""
    outcomes = Counter(record["outcome"] for record in records)
    slowest = max(record["seconds"] for record in records)
    peak = max(record["mib"] for record in records)
    engines = "/".join(sorted({record["engine"] for record in records}))
    each = ", ".join(f"{n:,} {outcome}" for outcome, n in sorted(outcomes.items()))
    return f"{len(records):,} inputs ({engines}): {each}; slowest {slowest:.1f} s, most {peak:,} MiB"
