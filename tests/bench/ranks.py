"""Training speed of two processes beside one: episodes per second, median (best), for docs/distributed.md.

python tests/bench/ranks.py [--rounds N] [--only TEXT]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
LOCAL = "2 processes, local"
WAYS = {  # name: arguments of python before `-m metacli`, arguments of metacli
    "1 process": ([], ["--threads", "1"]),
    "1 process, 2 threads": ([], ["--threads", "2"]),
    "2 processes": (TORCHRUN, ["--threads", "1"]),
    LOCAL: (TORCHRUN, ["--threads", "1", "train.batch_norm=local"]),
}
MANN = ["omniglot_mann", "train.steps=24"]
CASES = {  # name: recipe and its overrides, whether batch norm is in training
    "omniglot_mann, learning encoder": ([*MANN, "train.encoder_from=", "train.encoder_rate=1"], True),
    "omniglot_mann, frozen encoder": ([*MANN, "train.encoder_rate=0"], False),
    "strokes_snail": (["strokes_snail", "train.steps=64"], True),
    "copy_ntm": (["copy_ntm", "train.steps=400"], False),
}
LINES = 8  # of the log per run; the first one, of the warm-up, is ignored
SHORT = ["train.eval_every=0", "train.eval_tasks=2", "train.checkpoint_every=0", "--device", "cpu", "--quiet"]


def measure(recipe: list[str], way: str) -> list[float]:
    """Episodes per second of one training, by the lines of its log."""
    before, after = WAYS[way]
    steps = int(recipe[1].removeprefix("train.steps="))
    with tempfile.TemporaryDirectory() as folder:
        run = [*recipe, *SHORT, *after, f"train.log_every={steps // LINES}", "--run-dir", f"{folder}/run"]
        command = [sys.executable, *before, "-m", "metacli", "train", *run]
        done = subprocess.run(
            command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.stderr)
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["episodes_per_s"] for line in lines][1:]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3, help="Trainings of each kind, in turn.")
    parser.add_argument("--only", default="", help="Measure only the cases whose name contains this text.")
    args = parser.parse_args()
    print("| recipe | " + " | ".join(WAYS) + " | 2 processes to 1 | local to 1 |\n|" + "---|" * (len(WAYS) + 3))
    for name, (recipe, normalises) in CASES.items():
        if args.only not in name:
            continue
        ways = [way for way in WAYS if normalises or way != LOCAL]
        speeds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(args.rounds):
            for way in ways:
                speeds[way] += measure(recipe, way)
        medians = {way: statistics.median(values) for way, values in speeds.items()}
        cells = [f"{medians[way]:.0f} ({max(speeds[way]):.0f})" if way in ways else "" for way in WAYS]
        for way in ("2 processes", LOCAL):
            best = max(speeds[way]) / max(speeds["1 process"]) if way in ways else 0
            cells.append(f"{medians[way] / medians['1 process']:.2f} ({best:.2f})" if way in ways else "")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
