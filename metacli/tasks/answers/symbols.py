"""Symbols: the label of a class, or a string of characters."""

from __future__ import annotations

import math
from string import ascii_lowercase

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metacli.tasks.answers.base import Answer, Decoded
from metacli.tasks.metrics import Metric


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
