"""The cases: shipped recipes with a few keys changed, and who is timed beside ours.

Images are those of `strokes`, so that nothing is downloaded; convolutions are in float32 on both sides. Sampling is
not part of a training step unless its row says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from metacli.config.recipe import load_recipe
from tests.bench.build import Learner, learner, ours, steps, tasks_of
from tests.bench.case import OURS, Case, Side, Target, Unit, Work
from tests.bench.packages import dnc_step, easyfsl_sampler
from tests.bench.plain import like
from tests.bench.plain.sampling import sample
from tests.bench.plain.similarity import by_equation

PLAIN, EQUATION, LSTM, DNC, EASYFSL = "plain eager", "plain, own cosine", "nn.LSTM alone", "dnc", "easyfsl"
NTM_COPY = ["copy_ntm_paper", "model.controller=lstm"]
FLAT_STREAM = ["omniglot_stream_mann_paper", "task.name=strokes"]  # MANN's stream, 5 classes, 20 x 20 pixels
SHIPPED_STREAM = ["strokes_stream_mann", "model.encoder.precision=float32"]
SNAIL = [  # of the sizes in its paper
    "strokes_snail",
    "task.size=28",
    "task.rotated_classes=false",
    "model.encoder.channels=64",
    "model.encoder.normalise=false",
    "model.filters=128",
    "model.keys=[64, 256, 512]",
    "model.values=[32, 128, 256]",
    "model.first_dilation=2",
]


def ntm_copy(batch: int, length: int = 20) -> Work:
    """Copy at one length: 2 length + 1 time steps."""
    mine = ours(*NTM_COPY, f"task.length={length}", f"train.batch={batch}")
    plain, counted = plain_memory(mine[OURS])
    return Work({**steps(mine), **plain, DNC: dnc_step(mine[OURS])}, counted)


def mann_stream(recipe: list[str]) -> Work:
    """16 streams of 50 steps."""
    mine = ours(*recipe)
    plain, counted = plain_memory(mine[OURS])
    return Work({**steps(mine), **plain}, counted)


def plain_memory(mine: Learner) -> tuple[dict[str, Side], Callable[[], Any]]:
    """The plain rows of a model with a memory, and what to count: the cheaper one."""
    equation = mine.beside(like(mine.model, by_equation))
    return {PLAIN: Side(mine.beside(like(mine.model))), EQUATION: Side(equation)}, equation.gradient


def lstm_stream() -> Work:
    """One layer of 200 units on the same stream; a further row of ours samples a new batch at each step."""
    mine = ours(*FLAT_STREAM, "model.name=lstm", "model.hidden=200", "model.layers=1")
    alone = mine[OURS].beside(like(mine[OURS].model))
    sampled = learner(*FLAT_STREAM, "model.name=lstm", "model.hidden=200", "model.layers=1").sampled_step()
    sides = {**steps(mine), "ours, with sampling": Side(sampled), LSTM: Side(alone)}
    return Work(sides, alone.gradient)


def snail(ways: int, shots: int, queries: int, batch: int) -> Work:
    """`queries` questions of each class in each of `batch` tasks; the plain reference is asked one in each task."""
    keys = [f"task.ways={ways}", f"task.shots={shots}", f"task.queries={queries}", f"train.batch={batch}"]
    mine = ours(*SNAIL, *keys)
    episode = mine[OURS].episode
    one = dataclasses.replace(episode, x_test=episode.x_test[:, :1], y_test=episode.y_test[:, :1])
    plain = mine[OURS].beside(like(mine[OURS].model), one)
    return Work({**steps(mine, ways * queries * batch), PLAIN: Side(plain, batch)}, mine[OURS].step().gradient)


def episodes(batch: int, *keys: str) -> Work:
    """Sampling alone, 5-way 1-shot with 15 questions of each class, 28 x 28 pixels."""
    recipe = load_recipe(SNAIL[0], [*SNAIL[1:], "task.queries=15", *keys])
    tasks = tasks_of(recipe.task, recipe.seed)
    numbers, rng = iter(range(10**9)), np.random.default_rng(0)
    sides = {
        OURS: Side(lambda: tasks.batch("train", next(numbers) * batch, batch), batch),
        PLAIN: Side(lambda: [sample(tasks, rng) for _ in range(batch)], batch),
        EASYFSL: easyfsl_sampler(tasks, batch),
    }
    return Work(sides)


def case(name: str, title: str, unit: Unit, make, *args, over: str = PLAIN, target: float = 0) -> tuple[str, Case]:
    """An entry of `CASES`."""
    return name, Case(name, title, unit, lambda: make(*args), Target(over, target) if target else None)


TURNED = ("task.rotation=15", "task.shift=2")
CASES: dict[str, Case] = dict(
    [
        case("ntm-copy-1", "NTM copy 20, batch 1", "ms", ntm_copy, 1, target=3),
        case("ntm-copy-16", "NTM copy 20, batch 16", "ms", ntm_copy, 16, target=4),
        case("ntm-copy-64", "NTM copy 20, batch 64", "ms", ntm_copy, 64, target=4),
        case("mann-paper", "MANN of its paper, stream", "ms", mann_stream, FLAT_STREAM, target=4),
        case("mann-shipped", "MANN with an encoder, stream", "ms", mann_stream, SHIPPED_STREAM),
        case("lstm-stream", "LSTM, stream", "ms", lstm_stream, over=LSTM, target=0.9),
        case("snail-5w1s-1", "SNAIL 5w1s 1q, 32 tasks", "queries/s", snail, 5, 1, 1, 32, target=6.7),
        case("snail-5w1s-15", "SNAIL 5w1s 15q, 32 tasks", "queries/s", snail, 5, 1, 15, 32, target=12.4),
        case("snail-5w5s-5", "SNAIL 5w5s 5q, 8 tasks", "queries/s", snail, 5, 5, 5, 8, target=33),
        case("snail-20w1s-5", "SNAIL 20w1s 5q, 4 tasks", "queries/s", snail, 20, 1, 5, 4, target=29),
        case("episodes-1", "5w1s 15q, one by one", "episodes/s", episodes, 1, over=EASYFSL, target=1.4),
        case("episodes-32", "5w1s 15q, by 32", "episodes/s", episodes, 32, over=EASYFSL, target=7.1),
        case("episodes-32-turned", "5w1s 15q, by 32, turned", "episodes/s", episodes, 32, *TURNED),
    ]
)
