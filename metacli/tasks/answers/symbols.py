"""Symbols: an answer is the label of a class, or a string of characters."""

from __future__ import annotations

import math
from string import ascii_lowercase

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metacli.tasks.answers.base import Answer, Decoded
from metacli.tasks.metrics import Metric
from metacli.tasks.rng import CounterRNG


class Symbols(Answer):
    """C characters, each one of a few choices. A single character is the label of a class.

    Args:
        choices: number of choices for each character.
        characters: C.
    """

    is_class_label = True

    def __init__(self, choices: int, characters: int = 1):
        self.choices, self.components = choices, characters
        self.size = self.label_size = choices * characters
        unit = "nats per label" if characters == 1 else "nats per character"
        self.metrics = Metric("accuracy", "%", True), Metric("loss", unit, False)

    def __str__(self) -> str:
        """As in `one of 5` or `5 characters of 5 letters`."""
        if self.components == 1:
            return f"one of {self.choices}"
        return f"{self.components} characters of {self.choices} letters"

    def draw_labels(self, rng: CounterRNG, classes: int) -> Tensor:
        """Returns (B, classes, Y) float32, the labels of classes in a random assignment, one-hot."""
        return F.one_hot(torch.from_numpy(rng.permutation(self.choices)[:, :classes]), self.choices).float()

    def encode(self, answer: Tensor, label_vectors: Tensor | None = None) -> Tensor:
        """Encodes answers (B, T, C) as labels (B, T, Y), one-hot for each character.

        Args:
            label_vectors: see `Episode.label_vectors`; None for one-hot labels.
        """
        choices = torch.arange(self.choices, device=answer.device)
        return (answer[..., None] == choices).flatten(2).float()

    def logits(self, output: Tensor, label_vectors: Tensor | None = None) -> Tensor:
        """See `Answer.logits`; a model that was trained with more classes has further logits, which are left out."""
        return output[..., : self.size]

    def cost(self, logits: Tensor, answer: Tensor) -> Tensor:
        """Returns the cross-entropy of each character, in nats."""
        by_character = logits.unflatten(2, (answer.shape[2], -1))  # (B, Q, C, choices)
        return F.cross_entropy(by_character.movedim(-1, 1), answer, reduction="none")

    def is_correct(self, logits: Tensor, answer: Tensor) -> Tensor:
        """Returns (B, Q), 1 where all characters are correct, else 0."""
        return (logits.unflatten(2, (answer.shape[2], -1)).argmax(-1) == answer).all(-1).float()

    def scores(self, logits: Tensor, answer: Tensor, cost: Tensor, scored: Tensor | None) -> dict[str, Tensor]:
        """Returns `accuracy`, the share of correct answers."""
        correct = self.is_correct(logits, answer)
        return {"accuracy": correct.mean(1) if scored is None else (correct * scored).sum(1) / scored.sum(1)}

    @property
    def chance_level(self) -> dict[str, float]:
        """Metrics of a uniform choice for every character."""
        return {"accuracy": float(self.choices) ** -self.components, "loss": math.log(self.choices)}

    def decode(self, logits: np.ndarray, answer: np.ndarray) -> Decoded:
        """Decodes every character by a softmax."""
        by_character = logits.reshape(len(logits), self.components, -1)
        probability = np.exp(by_character - by_character.max(-1, keepdims=True))
        probability /= probability.sum(-1, keepdims=True)
        prediction, confidence = probability.argmax(-1), probability.max(-1).prod(-1)
        return Decoded(prediction, probability.reshape(logits.shape), confidence, (prediction == answer).all(-1))

    def format_answer(self, value: np.ndarray) -> str:
        """Formats a class label as a number, and a string as letters."""
        return str(int(value[0])) if self.components == 1 else "".join(ascii_lowercase[int(c)] for c in value)

    def format_labels(self, label: np.ndarray) -> list[str]:
        """Formats each label by its largest logit."""
        characters = label.reshape(len(label), self.components, self.choices)
        return [self.format_answer(c.argmax(-1)) if c.any() else "" for c in characters]

    def to_channels(self, values: np.ndarray) -> np.ndarray:
        """Returns no channels: an answer is drawn as text."""
        return np.zeros((0, len(values)))

    def check_compatible(self, trained: Answer) -> str | None:
        """See `Answer.check_compatible`; fewer classes than in training are allowed."""
        if isinstance(trained, Symbols) and type(trained) is type(self) and trained.components == self.components == 1:
            return None if trained.choices >= self.choices else super().check_compatible(trained)
        return super().check_compatible(trained)
