"""How the cost of a training step grows with one size, all others fixed: measured, and the exponent fitted to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from tests.bench.build import ours, steps
from tests.bench.case import OURS, Side
from tests.bench.cases import FLAT_STREAM, NTM_COPY, PLAIN, SNAIL
from tests.bench.plain import like
from tests.bench.timing import measure


@dataclass(frozen=True)
class Sweep:
    """One size, varied.

    Attributes:
        name: as `--only` sees it.
        size: what grows: L, T, batch, ways or shots.
        title: the model, and what stays fixed.
        recipe: a shipped recipe and its overrides.
        key: the recipe's key that sets the size.
        values: of the key.
        measure: from the key's value to the size.
    """

    name: str
    size: str
    title: str
    recipe: list[str]
    key: str
    values: tuple[int, ...]
    measure: Callable[[int], int] = int


# What stays fixed. NTM: copy 10, batch 16. MANN: its paper's stream, 16 x 20. SNAIL: 5w1s, a question of each class, 4
# tasks; L = 128 unless it grows.
def _ntm(size: str, key: str, values: tuple[int, ...], *fixed: str, measure: Callable[[int], int] = int) -> Sweep:
    recipe = [*NTM_COPY, "train.batch=16", "task.length=10", *fixed]
    return Sweep(f"growth-ntm-{size}", size, "NTM", recipe, key, values, measure)


def _mann(size: str, key: str, values: tuple[int, ...]) -> Sweep:
    recipe = [*FLAT_STREAM, "task.length=20"]
    return Sweep(f"growth-mann-{size}", size, "MANN", recipe, key, values)


def _snail(size: str, key: str, values: tuple[int, ...]) -> Sweep:
    recipe = [*SNAIL, "task.queries=1", "train.batch=4"]
    return Sweep(f"growth-snail-{size}", size, "SNAIL", recipe, key, values)


SWEEPS = [
    _ntm("L", "model.locations", (64, 128, 256, 512, 1024)),
    _mann("L", "model.locations", (64, 128, 256, 512, 1024)),
    _ntm("T", "task.length", (5, 10, 20, 40), measure=lambda length: 2 * length + 1),
    _mann("T", "task.length", (12, 25, 50, 100)),
    _ntm("batch", "train.batch", (1, 4, 16, 64)),
    _mann("batch", "train.batch", (1, 4, 16, 64)),
    _snail("batch", "train.batch", (1, 4, 16)),
    _snail("ways", "task.ways", (2, 5, 10, 20)),
    _snail("shots", "task.shots", (1, 2, 4, 8)),
]


def run_sweep(sweep: Sweep, rounds: int, seconds: float) -> dict[str, Any]:
    """Ours and, where it does the same work, the plain reference at every size, on one thread.

    Returns:
        `sizes`, and for each side its `seconds` a step, the `exponent` of the power law fitted to all of them, and
        `last`, the exponent between the two largest, where fixed costs weigh least.
    """
    torch.set_num_threads(1)
    sides = {}
    for value in sweep.values:
        mine = ours(*sweep.recipe, f"{sweep.key}={value}")
        here = steps(mine)
        if mine[OURS].tasks.spec.mode != "independent":  # the plain SNAIL is not asked all the questions that ours is
            here[PLAIN] = Side(mine[OURS].beside(like(mine[OURS].model)))
        sides |= {(str(value), name): side for name, side in here.items()}
    turns = rounds * len(sides)
    with tqdm(total=turns, desc=sweep.name, disable=None) as bar:
        timings = measure(sides, rounds, seconds, bar.update)
    sizes = [sweep.measure(value) for value in sweep.values]
    result: dict[str, Any] = {"name": sweep.name, "title": sweep.title, "size": sweep.size, "sizes": sizes, "sides": {}}
    for name in dict.fromkeys(side for _, side in sides):
        taken = [timings[str(value), name].median for value in sweep.values]
        result["sides"][name] = {
            "seconds": taken,
            "exponent": exponent(sizes, taken),
            "last": exponent(sizes[-2:], taken[-2:]),
        }
    return result


def exponent(sizes: list[int], costs: list[float]) -> float:
    """p of the power law cost = c size^p, by least squares on logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
