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
FAULTS = 1  # how many that differ are found before it stops
HANGING = 300  # seconds after which the process is ended from outside
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
        for start in range(STARTS):
            done = Counter(record["kind"] for record in records)
            left = {kind: n - done[kind] for kind, n in kinds.items() if n > done[kind]}
            if not left or len(faults(records)) >= FAULTS:
                check(records)
                return report(records)
            job = {"kinds": left, "seed": seed + 1000 * start, "coverage": coverage, "faults": FAULTS}
            lines, said, code = _work(job, Path(top))
            records += [line for line in lines if "outcome" in line]
            assert lines, f"the process ended with {code} before it tried anything\n{said[:3000]}"
            assert not code or "outcome" not in lines[-1], f"no input could be made: {code}\n{said[:3000]}"
            if "outcome" not in lines[-1]:  # an input that ended the process
                records.append({**lines[-1], "outcome": "ended the process", "detail": f"{code} | {said[:2000]}"})
    raise AssertionError(f"{STARTS} processes ended early, the last with {code}\n{said[:3000]}")


def _work(job: dict[str, Any], top: Path) -> tuple[list[dict[str, Any]], str, int | None]:
    """Run a worker to its end: its log, what it said, its exit status."""
    home, log, said = top / "home", top / "log.jsonl", top / "said.txt"
    log.write_text("")
    job |= {"top": str(top), "log": str(log), "kept": str(KEPT)}
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
    with open(said, "w") as stream:
        command = [sys.executable, "-m", "tests.trust.worker", json.dumps(job)]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=stream, stderr=stream)
        seen = -1
        while True:
            try:
                code: int | None = process.wait(HANGING)
                break
            except subprocess.TimeoutExpired:
                size = log.stat().st_size
                if size == seen:  # not one input in all that time
                    process.kill()
                seen = size
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return lines, said.read_text(errors="replace"), code


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
