"""What every kind of answer offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from torch import Tensor

from metacli.tasks.metrics import Metric


class Decoded(NamedTuple):
    """What the logits of Q questions say.

    Attributes:
        prediction: (Q, C) the most probable answer; of real numbers, the answer.
        probability: (Q, O) of every option; None for real numbers.
        confidence: (Q,) the probability of the predicted answer, of bits their mean; None for real numbers.
        correct: (Q,) bool, whether all of the answer is right; None where it is a matter of more or less.
    """

    prediction: np.ndarray
    probability: np.ndarray | None
    confidence: np.ndarray | None
    correct: np.ndarray | None


class Answer(ABC):
    """One kind of answer.

    Attributes:
        parts: C.
        size: O, the logits that it takes.
        label_size: Y, its width where a model reads it as the label of an item; 0 where it is never read.
        metrics: the scores of `scores`, the first ranks checkpoints, and `loss` with its unit.
        names_class: whether items with equal answers are of one class.
    """

    parts: int
    size: int
    label_size: int
    metrics: tuple[Metric, ...]
    names_class: bool = False

    @abstractmethod
    def cost(self, logits: Tensor, answer: Tensor) -> Tensor:
        """(B, Q, C) the loss of each part, from logits (B, Q, O) and the right answers (B, Q, C)."""

    @abstractmethod
    def scores(self, logits: Tensor, answer: Tensor, cost: Tensor, scored: Tensor | None) -> dict[str, Tensor]:
        """(B,) each of `metrics` but the loss.

        Args:
            cost: (B, Q, C), zero where unscored.
            scored: (B, Q) bool, None for all.
        """

    @property
    @abstractmethod
    def guessing(self) -> dict[str, float]:
        """The metrics of who knows nothing, as far as they follow from the kind of answer."""

    @abstractmethod
    def decode(self, logits: np.ndarray, answer: np.ndarray) -> Decoded:
        """What logits (Q, O) say, beside the right answers (Q, C)."""

    @abstractmethod
    def word(self, value: np.ndarray) -> str:
        """An answer (C,) as a person writes it."""

    @abstractmethod
    def read(self, label: np.ndarray) -> list[str]:
        """Labels (T, Y) as a model reads them, as words; '' where there is none."""

    def said(self, prediction: np.ndarray, answer: np.ndarray) -> str:
        """A model's answer (C,) in a word, beside the right one."""
        return self.word(prediction)

    def rows(self, values: np.ndarray) -> np.ndarray:
        """(C, T) numbers to draw over time, of answers or predictions (T, C); (0, T) where words say it better."""
        return values.T.astype(np.float64)

    def serves(self, trained: Answer) -> str | None:
        """Why a model that was trained for `trained` cannot give this kind of answer, or None."""
        if type(self) is type(trained) and (self.parts, self.size) == (trained.parts, trained.size):
            return None
        return f"the model answers with {trained}, these tasks ask for {self}"


def verdict(decoded: Decoded, right: np.ndarray, scored: np.ndarray) -> str:
    """How well Q questions were answered, in words: how many are right, or the mean squared error.

    Args:
        right: (Q, C) the right answers.
        scored: (Q,) bool.
    """
    if decoded.correct is None:
        return f"mean squared error {np.square(decoded.prediction - right)[scored].mean():.4g}"
    return f"{int(decoded.correct[scored].sum())} of {int(scored.sum())} answers right"
