"""How well probabilities are calibrated, and how well scores find wrong answers and queries of no class."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from metacli.checkpoints import bundled
from metacli.classifier.certainty import Answers
from metacli.classifier.ensemble import FittedContext
from metacli.classifier.few_shot_model import load_few_shot_model
from metacli.classifier.learner import Learner
from metacli.evaluation.confidence import mean_ci95
from metacli.tasks.images.omniglot import Omniglot
from tests.own import no_class

KINDS = ("right", "wrong", "same alphabet", "other alphabets", "line", "no character")
BINS = 15  # bins of equal width in ECE (Guo et al. 2017)
MOST_STRANGERS = 5  # queries of other classes in a task, of the same alphabet and of others
DRAWN_OF_EACH = 60  # pictures of each kind without a character, from which a task takes one
FEWEST_TASKS = 10  # tasks with a query of a kind, below which its share is not shown
RESAMPLES = 200  # of the bootstrap over tasks


class Outcome(NamedTuple):
    """What a task gave: for each query its kind, an index of KINDS, whether it was marked as unsure, and its scores."""

    kind: np.ndarray
    unsure: np.ndarray
    scores: dict[str, np.ndarray]


class Strangers:
    """Tasks within one held-out alphabet whose queries also come from other classes, or show no character.

    Args:
        checkpoint: a bundled model that was trained on `omniglot` with `split: lake` and `prepare`.
        split: `val`, the background alphabets that it did not train on, or `test`, the evaluation alphabets.
        seed: seed of the tasks.
    """

    def __init__(self, checkpoint: str, split: str, seed: int):
        self.checkpoint, self.random = checkpoint, np.random.default_rng(seed)
        few_shot = load_few_shot_model(bundled.find_checkpoint(checkpoint))
        tasks = Omniglot(few_shot.task)
        classes = tasks.class_splits(len(tasks.image_set.names))[split]
        self.images = [tasks.image_set.of(c).float() / 255 for c in classes]
        self.alphabet = np.array([tasks.image_set.names[c].split("/")[0] for c in classes])
        self.drawn = {
            name: few_shot.preprocess([make(self.random) for _ in range(DRAWN_OF_EACH)])
            for name, make in no_class.KINDS.items()
        }

    def run(self, count: int, ways: int, shots: int) -> list[Outcome]:
        """Returns the outcome of each task: support examples by `shots` drawers, all queries by another."""
        names, sizes = np.unique(self.alphabet, return_counts=True)
        large = names[sizes > ways]
        return [self._run_task(large[i % len(large)], ways, shots) for i in range(count)]

    def _run_task(self, alphabet: str, ways: int, shots: int) -> Outcome:
        same, other = (self.random.permutation(np.flatnonzero(mask)) for mask in self._masks(alphabet))
        drawers = self.random.permutation(len(self.images[0]))
        support = torch.stack([self.images[c][d] for d in drawers[1 : 1 + shots] for c in same[:ways]])
        asked = [*same[: ways + MOST_STRANGERS], *other[:MOST_STRANGERS]]
        drawn = {name: pictures[self.random.integers(DRAWN_OF_EACH)] for name, pictures in self.drawn.items()}
        queries = torch.stack([*(self.images[c][drawers[0]] for c in asked), *drawn.values()])
        learner = Learner(self.checkpoint).fit_tensor(support, list(range(ways)) * shots)
        answers = learner.answer_tensor(queries)
        kind = np.full(len(queries), KINDS.index("no character"))
        kind[: len(asked)] = KINDS.index("other alphabets")
        kind[: min(len(same), ways + MOST_STRANGERS)] = KINDS.index("same alphabet")
        kind[:ways] = answers.probabilities[:ways].argmax(1) != np.arange(ways)
        kind[len(asked) + list(drawn).index("line")] = KINDS.index("line")
        return Outcome(kind, answers.unsure, score(answers, learner.context_, queries))

    def _masks(self, alphabet: str) -> tuple[np.ndarray, np.ndarray]:
        return self.alphabet == alphabet, self.alphabet != alphabet


def score(answers: Answers, context: FittedContext, queries: Tensor) -> dict[str, np.ndarray]:
    """Returns the candidate scores of each query, high for an answer that can be trusted."""
    p, resemblance = answers.probabilities, answers.resemblance
    assert resemblance is not None
    assert context.features is not None
    with torch.no_grad():
        features = context.few_shot.model.encoder(queries)
    nearest = (F.normalize(features, dim=1) @ F.normalize(context.features, dim=1).T).amax(1).numpy()
    second, first = np.sort(p, 1)[:, -2:].T
    chance = 1 / p.shape[1]
    return {
        "probability": first,
        "chance-corrected": (first - chance) / (1 - chance),
        "margin": first - second,
        "negative entropy": (p * np.log(np.maximum(p, 1e-12))).sum(1),
        "nearest example": nearest,
        "resemblance": resemblance,
        "probability x resemblance": first * resemblance,
    }


def auroc(high: np.ndarray, low: np.ndarray) -> float:
    """Returns the probability that a value of `high` exceeds one of `low`; ties count half."""
    values = np.concatenate([high, low])
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum() - (counts - 1) / 2)[inverse]
    return float((ranks[: len(high)].sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Returns ECE, the mean difference of accuracy and confidence over bins, weighted by their queries."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [np.abs((confidence - correct)[bins == b].sum()) for b in range(BINS)]
    return float(np.sum(gaps) / len(confidence))


def ece_of(outcomes: list[Outcome]) -> float:
    """Returns ECE of the queries of the task's own classes."""
    kind, confidence = joined(outcomes, "probability")
    own = kind <= KINDS.index("wrong")
    return calibration_error(confidence[own], kind[own] == KINDS.index("right"))


def auroc_of(outcomes: list[Outcome], name: str, kind: int) -> float:
    """Returns how well a score separates the right answers from the queries of a kind."""
    kinds, values = joined(outcomes, name)
    return auroc(values[kinds == KINDS.index("right")], values[kinds == kind])


def joined(outcomes: list[Outcome], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the kinds and one score of all queries of all tasks."""
    return np.concatenate([o.kind for o in outcomes]), np.concatenate([o.scores[name] for o in outcomes])


def resampled(outcomes: list[Outcome], measure: Callable[[list[Outcome]], float]) -> tuple[float, float]:
    """Returns a measure and half of its 95 % interval, by the bootstrap over tasks."""
    random = np.random.default_rng(0)
    values = [
        measure([outcomes[i] for i in random.integers(0, len(outcomes), len(outcomes))]) for _ in range(RESAMPLES)
    ]
    return measure(outcomes), float(np.ptp(np.quantile(values, (0.025, 0.975))) / 2)


def marked_share(outcomes: list[Outcome], kind: int) -> str:
    """Returns the share of the queries of a kind that are marked as unsure, with its interval over tasks, in %."""
    shares = np.array([o.unsure[o.kind == kind].mean() for o in outcomes if (o.kind == kind).any()])
    if len(shares) < FEWEST_TASKS:
        return "-"
    mean, half = mean_ci95(shares)
    return f"{100 * mean:.0f} ± {100 * half:.0f}" if mean > 0.1 else f"{100 * mean:.1f} ± {100 * half:.1f}"


def print_tables(checkpoint: str, split: str, count: int, seed: int, sizes: list[list[int]]) -> None:
    """Measures tasks of all sizes (ways, shots); prints calibration and marks by size, and AUROC by score."""
    console = Console(width=120)
    strangers = Strangers(checkpoint, split, seed)
    by_size = {(ways, shots): strangers.run(count, ways, shots) for ways, shots in sizes}
    table = Table("ways, shots", "accuracy", "confidence", "ECE", *KINDS, title="and marked as unsure, %")
    for (ways, shots), outcomes in by_size.items():
        kind, confidence = joined(outcomes, "probability")
        own = kind <= KINDS.index("wrong")
        ece, half = resampled(outcomes, ece_of)
        cells = [f"{100 * (kind[own] == 0).mean():.1f}", f"{100 * confidence[own].mean():.1f}"]
        cells += [f"{100 * ece:.1f} ± {100 * half:.1f}", *(marked_share(outcomes, k) for k in range(len(KINDS)))]
        table.add_row(f"{ways}, {shots}", *cells)
    console.print(table)
    pooled = [outcome for outcomes in by_size.values() for outcome in outcomes]
    table = Table("AUROC against right answers, %", *KINDS[1:])
    for name in pooled[0].scores:
        cells = [resampled(pooled, partial(auroc_of, name=name, kind=k)) for k in range(1, len(KINDS))]
        table.add_row(name, *(f"{100 * mean:.1f} ± {100 * half:.1f}" for mean, half in cells))
    console.print(table)
