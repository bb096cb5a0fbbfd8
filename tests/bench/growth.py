"""Measures how the cost of a training step grows with one size, all others fixed, and fits the exponent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from tests.bench.build import build_learners, training_steps
from tests.bench.case import OURS, Implementation
from tests.bench.cases import DNC_COPY, FLAT_STREAM, NTM_COPY, PLAIN, SNAIL
from tests.bench.references import build_reference
from tests.bench.timing import measure


@dataclass(frozen=True)
class Sweep:
    """One size, varied.

    Attributes:
        name: the name that `--only` matches.
        size: the size that grows: L, T, batch, ways or shots.
        title: the model.
        recipe: a bundled recipe and its overrides.
        key: the recipe's key that sets the size.
        values: the key's values.
        measure: maps the key's value to the size.
    """

    name: str
    size: str
    title: str
    recipe: list[str]
    key: str
    values: tuple[int, ...]
    measure: Callable[[int], int] = int


# Fixed sizes. NTM: copy 10, batch 16. DNC: copy 10, batch 4. MANN: its paper's stream, 16 x 20. SNAIL: 5w1s, one query
# of each class, 4 tasks. L is 128 unless it grows.
def _ntm(size: str, key: str, values: tuple[int, ...], *fixed: str, measure: Callable[[int], int] = int) -> Sweep:
    recipe = [*NTM_COPY, "train.batch=16", "task.length=10", *fixed]
    return Sweep(f"growth-ntm-{size}", size, "NTM", recipe, key, values, measure)


def _dnc(size: str, key: str, values: tuple[int, ...]) -> Sweep:
    recipe = [*DNC_COPY, "train.batch=4", "task.length=10"]
    return Sweep(f"growth-dnc-{size}", size, "DNC", recipe, key, values)


def _mann(size: str, key: str, values: tuple[int, ...]) -> Sweep:
    recipe = [*FLAT_STREAM, "task.length=20"]
    return Sweep(f"growth-mann-{size}", size, "MANN", recipe, key, values)


def _snail(size: str, key: str, values: tuple[int, ...]) -> Sweep:
    recipe = [*SNAIL, "task.queries=1", "train.batch=4"]
    return Sweep(f"growth-snail-{size}", size, "SNAIL", recipe, key, values)


SWEEPS = [
    _ntm("L", "model.locations", (64, 128, 256, 512, 1024)),
    _dnc("L", "model.locations", (64, 128, 256, 512)),
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
    """Times metacli and, where it does the same work, the plain reference at every size, on one thread.

    Returns:
        `sizes`, and for each implementation its `seconds` per step, the `exponent` of the power law fitted to all of
        them, and `last`, the exponent between the two largest sizes, where fixed costs weigh least.
    """
    torch.set_num_threads(1)
    rows = {}
    for value in sweep.values:
        learners = build_learners(*sweep.recipe, f"{sweep.key}={value}")
        ours = learners[OURS]
        here = training_steps(learners)
        if ours.tasks.spec.mode != "independent":  # the plain SNAIL answers one query in each task
            here[PLAIN] = Implementation(ours.reference_step(build_reference(ours.model)))
        rows |= {(str(value), name): row for name, row in here.items()}
    with tqdm(total=rounds * len(rows), desc=sweep.name, disable=None) as bar:
        timings = measure(rows, rounds, seconds, bar.update)
    sizes = [sweep.measure(value) for value in sweep.values]
    names = list(dict.fromkeys(name for _, name in rows))
    medians = {name: [timings[str(value), name].median for value in sweep.values] for name in names}
    implementations = {
        name: {"seconds": s, "exponent": exponent(sizes, s), "last": exponent(sizes[-2:], s[-2:])}
        for name, s in medians.items()
    }
    facts = {"name": sweep.name, "title": sweep.title, "size": sweep.size, "sizes": sizes}
    return {**facts, "implementations": implementations}


def exponent(sizes: list[int], costs: list[float]) -> float:
    """Returns p of the power law cost = c size^p, by least squares on logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
