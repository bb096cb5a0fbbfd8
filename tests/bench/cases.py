"""The cases: bundled recipes with a few keys changed, and the implementations that are compared.

Images are those of `strokes`, so that nothing is downloaded. Everything is in float32, except SNAIL's convolutions in
metacli where the processor computes bfloat16 natively (`model.encoder.precision: auto`). A training step includes
sampling only where its row says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.bench.build import Learner, build_learner, build_learners, load_tasks, training_steps
from tests.bench.case import OURS, Case, Implementation, Target, Unit, Workload
from tests.bench.packages import DNC, EASYFSL, dnc_step, easyfsl_sampler
from tests.bench.references import build_reference
from tests.bench.references.sampling import sample
from tests.bench.references.similarity import explicit_cosine

PLAIN, EXPLICIT, LSTM, SAMPLED = "plain eager", "plain, explicit cosine", "nn.LSTM", "metacli, with sampling"
NTM_COPY = ["copy_ntm_paper", "model.controller=lstm"]
DNC_COPY = ["copy_dnc", "model.locations=128"]
FLAT_STREAM = ["omniglot_stream_mann_paper", "task.name=strokes"]  # MANN's stream, 5 classes, 20 x 20 pixels
LSTM_STREAM = [*FLAT_STREAM, "model={name: lstm, hidden: 200, layers: 1}"]
ENCODER_STREAM = ["strokes_stream_mann", "model.encoder.precision=float32"]
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


def copy_task(recipe: list[str], batch: int, package: Callable[[Learner], dict[str, Implementation]]) -> Workload:
    """Copies of length 20: 41 time steps.

    Args:
        package: builds the rows of packages.
    """
    learners = build_learners(*recipe, "task.length=20", f"train.batch={batch}")
    references, counted = memory_references(learners[OURS])
    return Workload({**training_steps(learners), **references, **package(learners[OURS])}, counted)


def ntm_copy(batch: int) -> Workload:
    """The NTM; no package has one."""
    return copy_task(NTM_COPY, batch, lambda _: {})


def dnc_copy(batch: int) -> Workload:
    """The DNC with 128 locations."""
    return copy_task(DNC_COPY, batch, dnc_step)


def mann_stream(recipe: list[str]) -> Workload:
    """16 streams of 50 steps."""
    learners = build_learners(*recipe)
    references, counted = memory_references(learners[OURS])
    return Workload({**training_steps(learners), **references}, counted)


def memory_references(learner: Learner) -> tuple[dict[str, Implementation], Callable[[], Any]]:
    """Returns the plain rows of a memory network, and what the floor counts."""
    explicit = learner.reference_step(build_reference(learner.model, explicit_cosine))
    plain = learner.reference_step(build_reference(learner.model))
    return {PLAIN: Implementation(plain), EXPLICIT: Implementation(explicit)}, explicit.compute_gradient


def lstm_stream() -> Workload:
    """One layer of 200 units on the same streams; one row samples a new batch in each step."""
    learners = build_learners(*LSTM_STREAM)
    reference = learners[OURS].reference_step(build_reference(learners[OURS].model))
    sampled = build_learner(*LSTM_STREAM).sampling_step()
    rows = {LSTM: Implementation(reference), SAMPLED: Implementation(sampled)}
    return Workload({**training_steps(learners), **rows}, reference.compute_gradient)


def snail(ways: int, shots: int, queries: int, batch: int) -> Workload:
    """`queries` queries of each class in each of `batch` tasks; the plain reference answers one in each task."""
    keys = [f"task.ways={ways}", f"task.shots={shots}", f"task.queries={queries}", f"train.batch={batch}"]
    learners = build_learners(*SNAIL, *keys)
    ours, episode = learners[OURS], learners[OURS].episode
    one = dataclasses.replace(episode, x_test=episode.x_test[:, :1], y_test=episode.y_test[:, :1])
    plain = Implementation(ours.reference_step(build_reference(ours.model), one), batch)
    rows = {**training_steps(learners, episode.y_test.numel()), PLAIN: plain}
    return Workload(rows, ours.training_step().compute_gradient)


def episodes(batch: int, *keys: str) -> Workload:
    """Sampling only, 5-way 1-shot with 15 queries of each class, 28 x 28 pixels."""
    tasks = load_tasks(*SNAIL, "task.queries=15", *keys)
    numbers, rng = iter(range(10**9)), np.random.default_rng(0)
    rows = {
        OURS: Implementation(lambda: tasks.batch("train", next(numbers) * batch, batch), batch),
        PLAIN: Implementation(lambda: [sample(tasks, rng) for _ in range(batch)], batch),
    }
    return Workload(rows if keys else {**rows, **easyfsl_sampler(tasks, batch)})  # easyfsl turns no images


def case(name: str, title: str, unit: Unit, build, *args, over: str = PLAIN, target: float = 0) -> tuple[str, Case]:
    """Returns an entry of `CASES`."""
    return name, Case(name, title, unit, lambda: build(*args), Target(over, target) if target else None)


TURNED = ("task.rotation=15", "task.shift=2")
CASES: dict[str, Case] = dict(
    [
        case("ntm-copy-1", "NTM copy, batch 1", "ms", ntm_copy, 1, target=3),
        case("ntm-copy-16", "NTM copy, batch 16", "ms", ntm_copy, 16, target=4),
        case("ntm-copy-64", "NTM copy, batch 64", "ms", ntm_copy, 64, target=4),
        case("dnc-copy-1", "DNC copy, batch 1", "ms", dnc_copy, 1, over=DNC, target=5),
        case("dnc-copy-16", "DNC copy, batch 16", "ms", dnc_copy, 16, over=DNC, target=5),
        case("dnc-copy-64", "DNC copy, batch 64", "ms", dnc_copy, 64, over=DNC, target=5),
        case("mann-paper", "MANN of its paper, stream", "ms", mann_stream, FLAT_STREAM, target=4),
        case("mann-encoder", "MANN with an encoder, stream", "ms", mann_stream, ENCODER_STREAM),
        case("lstm-stream", "LSTM, stream", "ms", lstm_stream, over=LSTM, target=0.9),
        case("snail-5w1s-1", "SNAIL 5w1s 1q, 32 tasks", "queries/s", snail, 5, 1, 1, 32, target=7),
        case("snail-5w1s-15", "SNAIL 5w1s 15q, 32 tasks", "queries/s", snail, 5, 1, 15, 32, target=12.4),
        case("snail-5w5s-5", "SNAIL 5w5s 5q, 8 tasks", "queries/s", snail, 5, 5, 5, 8, target=30),
        case("snail-20w1s-5", "SNAIL 20w1s 5q, 4 tasks", "queries/s", snail, 20, 1, 5, 4, target=29),
        case("episodes-1", "5w1s 15q, one by one", "episodes/s", episodes, 1, over=EASYFSL, target=1.4),
        case("episodes-32", "5w1s 15q, by 32", "episodes/s", episodes, 32, over=EASYFSL, target=7.1),
        case("episodes-32-turned", "5w1s 15q, by 32, turned", "episodes/s", episodes, 32, *TURNED),
    ]
)
