"""Two processes against one, and against two threads of one, in turn within one run; docs/distributed.md has figures.

OMP_NUM_THREADS=1 torchrun --standalone --nproc-per-node 2 tests/bench/ranks.py [RECIPE]...
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch

from metacli.compute import processes
from metacli.config.recipe import load_recipe
from metacli.training.data_parallel import align_batch
from metacli.training.loop import train_step
from metacli.training.state import TrainState

CPU, ROUNDS, STEPS = torch.device("cpu"), 8, 3
SMALL = ["model.encoder.channels=32", "model.encoder.size=64", "task.stretch=1", "task.slant=0"]
WAYS = {"1 process": 1, "2 threads": 2, "2 processes": 1}  # and the threads of each


def step(state: TrainState, number: int) -> None:
    batch = state.recipe.train.batch
    own = state.processes.share(batch)
    episode = state.tasks.batch("train", number * batch + own.start, len(own))
    train_step(state, align_batch(state, episode), number)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(name: str, everyone: processes.Processes) -> None:
    recipe = load_recipe(name)
    if recipe.model.encoder.kind == "conv":
        recipe = load_recipe(name, SMALL)
    alone, together = (TrainState.build(recipe, CPU, p, 1) for p in (processes.SINGLE_PROCESS, everyone))
    together.broadcast_from_first()
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range((1 + ROUNDS) * STEPS):
        for way, threads in WAYS.items():
            everyone.table([0])  # the second process waits here while the first works alone
            if way == "2 processes" or everyone.is_first:
                torch.set_num_threads(threads)
                parts = together if way == "2 processes" else alone
                times[way].append(seconds(lambda: step(parts, number)))  # noqa: B023
    if everyone.is_first:
        size = 4 * sum(p.numel() for p in alone.model.parameters())
        print(f"{name}: a gradient of {size:,} bytes")
        for way, all_times in times.items():
            kept = all_times[STEPS:]
            speeds = [recipe.train.batch / s for s in (statistics.median(kept), min(kept))]
            print(f"  {way:<12} {speeds[0]:7.1f} episodes/s, at best {speeds[1]:7.1f}", flush=True)


def main() -> None:
    everyone = processes.join("cpu")[0]
    for name in sys.argv[1:] or ["omniglot_mann", "omniglot_transformer", "copy_ntm"]:
        compare(name, everyone)
    everyone.leave()


if __name__ == "__main__":
    main()
