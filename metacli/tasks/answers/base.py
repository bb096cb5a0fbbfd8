"""Answer: the base class of all kinds of answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from torch import Tensor

from metacli.tasks.metrics import Metric, format_number


class Decoded(NamedTuple):
    """The decoded logits of Q queries.

    Attributes:
        prediction: (Q, C) the most probable answer; for real numbers, the predicted numbers.
        probability: (Q, O) the probability of every option; None for real numbers.
        confidence: (Q,) the probability of the predicted answer, for bits the mean over bits; None for real numbers.
        correct: (Q,) bool, whether the whole answer is correct; None for real numbers.
        scale: (Q, C) the predicted standard deviation of each number; None if the model predicts none.
    """

    prediction: np.ndarray
    probability: np.ndarray | None
    confidence: np.ndarray | None
    correct: np.ndarray | None
    scale: np.ndarray | None = None


class Answer(ABC):
    """One kind of answer.

    Attributes:
        components: C.
        size: O, the width of a model's output for an answer. It is the number of logits, see `logits`.
        label_size: Y, the width of an answer as the label of an item; 0 if it is never used as a label.
        metrics: the metrics of `scores`, of which the first ranks checkpoints, and `loss`.
        is_class_label: whether items with equal answers belong to one class.
    """

    components: int
    size: int
    label_size: int
    metrics: tuple[Metric, ...]
    is_class_label: bool = False

    def logits(self, output: Tensor, label_vectors: Tensor | None = None) -> Tensor:
        """Returns the logits of an answer from a model's output (B, Q, O); here the output itself.

        Args:
            label_vectors: see `Episode.label_vectors`.
        """
        return output

    @abstractmethod
    def cost(self, logits: Tensor, answer: Tensor) -> Tensor:
        """Returns (B, Q, C), the loss of each component, from logits (B, Q, O) and correct answers (B, Q, C)."""

    @abstractmethod
    def scores(self, logits: Tensor, answer: Tensor, cost: Tensor, scored: Tensor | None) -> dict[str, Tensor]:
        """Returns every metric of `metrics` except the loss, (B,) each.

        Args:
            cost: (B, Q, C), zero where not scored.
            scored: (B, Q) bool; None: all.
        """

    def headline(self, logits: Tensor, answer: Tensor, cost: Tensor, scored: Tensor | None) -> Tensor:
        """Returns the first metric of `scores` alone, (B,), equal bit for bit."""
        return self.scores(logits, answer, cost, scored)[self.metrics[0].name]

    @property
    @abstractmethod
    def chance_level(self) -> dict[str, float]:
        """Metrics at chance level, as far as they follow from the kind of answer."""

    @abstractmethod
    def decode(self, logits: np.ndarray, answer: np.ndarray) -> Decoded:
        """Decodes logits (Q, O) and compares them with the correct answers (Q, C)."""

    @abstractmethod
    def format_answer(self, value: np.ndarray) -> str:
        """Formats an answer (C,) as text."""

    @abstractmethod
    def format_labels(self, label: np.ndarray) -> list[str]:
        """Formats labels as text, given as their logits (T, O), see `Tasks.logits`; '' for no label."""

    def format_prediction(self, prediction: np.ndarray, answer: np.ndarray, scale: np.ndarray | None = None) -> str:
        """Formats a model's answer (C,), given the correct answer and the predicted scale (C,), if any."""
        return self.format_answer(prediction)

    def to_channels(self, values: np.ndarray) -> np.ndarray:
        """Returns answers or predictions (T, C) as (C, T) numbers to draw over time; (0, T) if drawn as text."""
        return values.T.astype(np.float64)

    def check_compatible(self, trained: Answer) -> str | None:
        """Returns why a model trained on the answer kind `trained` cannot give this kind of answer, or None."""
        if type(self) is type(trained) and (self.components, self.size) == (trained.components, trained.size):
            return None
        return f"the model predicts {trained}, but these tasks need {self}"


def summarize_result(decoded: Decoded, answers: np.ndarray, scored: np.ndarray) -> str:
    """Returns a summary of the answers to Q queries: the number of correct ones, or the mean squared error.

    Args:
        answers: (Q, C) the correct answers.
        scored: (Q,) bool.
    """
    if decoded.correct is None:
        return f"mean squared error {format_number(np.square(decoded.prediction - answers)[scored].mean())}"
    return f"{int(decoded.correct[scored].sum())} of {int(scored.sum())} answers correct"
