"""What an answer of a task is: how it is scored, read as a label, decoded from logits and written for a person.

Shapes as in `metacli.episode`; C is the parts of an answer: its characters, its bits or its numbers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from string import ascii_lowercase
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

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


class Symbols(Answer):
    """C characters, each one of a few choices; a single one is the label of a class.

    Args:
        choices: of each character.
        characters: C.
    """

    names_class = True

    def __init__(self, choices: int, characters: int = 1):
        self.choices, self.parts = choices, characters
        self.size = self.label_size = choices * characters
        unit = "nats per label" if characters == 1 else "nats per character"
        self.metrics = Metric("accuracy", "%", True, "d_test_accuracy"), Metric("loss", unit, False, "loss")

    def __str__(self) -> str:
        """As in `one of 5` or `5 characters of 5 letters`."""
        return f"one of {self.choices}" if self.parts == 1 else f"{self.parts} characters of {self.choices} letters"

    def encode(self, answer: Tensor) -> Tensor:
        """(B, T, C) to (B, T, Y), one-hot by characters, as a model reads it."""
        choices = torch.arange(self.choices, device=answer.device)
        return (answer[..., None] == choices).flatten(2).float()

    def cost(self, logits: Tensor, answer: Tensor) -> Tensor:
        """Cross-entropy of each character, in nats."""
        by_character = logits.unflatten(2, (answer.shape[2], -1))  # (B, Q, C, choices)
        return F.cross_entropy(by_character.movedim(-1, 1), answer, reduction="none")

    def right(self, logits: Tensor, answer: Tensor) -> Tensor:
        """(B, Q) 1 where all characters are right, else 0."""
        return (logits.unflatten(2, (answer.shape[2], -1)).argmax(-1) == answer).all(-1).float()

    def scores(self, logits: Tensor, answer: Tensor, cost: Tensor, scored: Tensor | None) -> dict[str, Tensor]:
        """`accuracy`: the share of right answers."""
        right = self.right(logits, answer)
        return {"accuracy": right.mean(1) if scored is None else (right * scored).sum(1) / scored.sum(1)}

    @property
    def guessing(self) -> dict[str, float]:
        """Every character at random."""
        return {"accuracy": float(self.choices) ** -self.parts, "loss": math.log(self.choices)}

    def decode(self, logits: np.ndarray, answer: np.ndarray) -> Decoded:
        """By softmax, character by character."""
        odds = logits.reshape(len(logits), self.parts, -1)
        odds = np.exp(odds - odds.max(-1, keepdims=True))
        odds /= odds.sum(-1, keepdims=True)
        prediction = odds.argmax(-1)
        return Decoded(prediction, odds.reshape(logits.shape), odds.max(-1).prod(-1), (prediction == answer).all(-1))

    def word(self, value: np.ndarray) -> str:
        """A number for one of N, else letters."""
        return str(int(value[0])) if self.parts == 1 else "".join(ascii_lowercase[int(c)] for c in value)

    def read(self, label: np.ndarray) -> list[str]:
        """The word of each one-hot label."""
        characters = label.reshape(len(label), self.parts, self.choices)
        return [self.word(c.argmax(-1)) if c.any() else "" for c in characters]

    def rows(self, values: np.ndarray) -> np.ndarray:
        """None: an answer is a word."""
        return np.zeros((0, len(values)))

    def serves(self, trained: Answer) -> str | None:
        """A model may answer with fewer labels than it was trained on; see `Answer.serves`."""
        if isinstance(trained, Symbols) and trained.parts == self.parts == 1 and trained.choices >= self.choices:
            return None
        return super().serves(trained)


class Bits(Answer):
    """C bits, a probability each; the cost is in bits per sequence, as in the figures of Graves et al. 2014."""

    def __init__(self, count: int):
        self.parts = self.size = count
        self.label_size = 0
        self.metrics = (
            Metric("bits", "bits per sequence", False, "bits_per_sequence"),
            Metric("accuracy", "%", True, "d_test_accuracy"),
            Metric("loss", "nats per bit", False, "loss"),
            Metric("errors", "wrong bits per sequence", False, "errors_per_sequence"),
        )

    def __str__(self) -> str:
        """As in `8 bits`."""
        return f"{self.parts} bits"

    def cost(self, logits: Tensor, answer: Tensor) -> Tensor:
        """Cross-entropy of each bit, in nats."""
        return F.binary_cross_entropy_with_logits(logits.float(), answer, reduction="none")

    def scores(self, logits: Tensor, answer: Tensor, cost: Tensor, scored: Tensor | None) -> dict[str, Tensor]:
        """`bits` the cost of the sequence; `accuracy` the share of right bits; `errors` wrong bits in the sequence."""
        wrong = (logits > 0) != (answer > 0.5)
        asked = wrong.new_full(wrong.shape[:1], wrong.shape[1], dtype=torch.int64)
        if scored is not None:
            wrong, asked = wrong & scored[..., None], scored.sum(1)
        errors = wrong.sum((1, 2)).float()
        return {
            "bits": cost.sum((1, 2)) / math.log(2),
            "accuracy": 1 - errors / (asked * self.parts),
            "errors": errors,
        }

    @property
    def guessing(self) -> dict[str, float]:
        """Every bit a coin."""
        return {"accuracy": 0.5, "loss": math.log(2)}

    def decode(self, logits: np.ndarray, answer: np.ndarray) -> Decoded:
        """By sigmoid, bit by bit."""
        probability = 1 / (1 + np.exp(-logits.clip(-60, 60)))
        prediction = (logits > 0).astype(np.int64)
        confidence = np.maximum(probability, 1 - probability).mean(-1)
        return Decoded(prediction, probability, confidence, (prediction == (answer > 0.5)).all(-1))

    def word(self, value: np.ndarray) -> str:
        """As in `01101`."""
        return "".join(str(int(v > 0.5)) for v in value)

    def read(self, label: np.ndarray) -> list[str]:
        """Bits are never read as labels."""
        return [""] * len(label)

    def said(self, prediction: np.ndarray, answer: np.ndarray) -> str:
        """How many bits are right."""
        return f"{int((prediction == (answer > 0.5)).sum())}/{len(prediction)} bits"


class Reals(Answer):
    """C real numbers, predicted as they are.

    As a label a model reads them beside a 1, so that a label of 0 is not taken for a question.
    """

    def __init__(self, count: int = 1):
        self.parts = self.size = count
        self.label_size = count + 1
        self.metrics = (Metric("squared_error", "", False, "d_test_squared_error"),)

    def __str__(self) -> str:
        """As in `1 real number`."""
        return f"{self.parts} real number{'s' if self.parts > 1 else ''}"

    def encode(self, answer: Tensor) -> Tensor:
        """(B, T, C) to (B, T, Y), as a model reads it."""
        return F.pad(answer, (0, 1), value=1.0)

    def cost(self, logits: Tensor, answer: Tensor) -> Tensor:
        """The squared error of each number."""
        return (logits.float() - answer).square()

    def scores(self, logits: Tensor, answer: Tensor, cost: Tensor, scored: Tensor | None) -> dict[str, Tensor]:
        """`squared_error`, its mean."""
        count = cost.shape[1] if scored is None else scored.sum(1)
        return {"squared_error": cost.sum((1, 2)) / (count * self.parts)}

    @property
    def guessing(self) -> dict[str, float]:
        """Nothing: it depends on the task."""
        return {}

    def decode(self, logits: np.ndarray, answer: np.ndarray) -> Decoded:
        """The numbers themselves."""
        return Decoded(logits, None, None, None)

    def word(self, value: np.ndarray) -> str:
        """As in `-1.20`."""
        return " ".join(f"{v:.2f}" for v in value)

    def read(self, label: np.ndarray) -> list[str]:
        """The numbers of each label."""
        return [self.word(row[:-1]) if row[-1] else "" for row in label]

    def said(self, prediction: np.ndarray, answer: np.ndarray) -> str:
        """The number, and how far it is off."""
        return f"{self.word(prediction)}, off {np.abs(prediction - answer).max():.2f}"


def verdict(answer: Answer, decoded: Any, right: np.ndarray, scored: np.ndarray) -> str:
    """How well Q questions were answered, in words: how many are right, or the mean squared error.

    Args:
        right: (Q, C) the right answers.
        scored: (Q,) bool.
    """
    if decoded.correct is None:
        return f"mean squared error {np.square(decoded.prediction - right)[scored].mean():.4g}"
    return f"{int(decoded.correct[scored].sum())} of {int(scored.sum())} answers right"
