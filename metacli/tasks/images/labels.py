"""The labels of a task's classes: one of N, or a string of five characters from five letters (MANN, for 15 classes).

A label is C characters, one where it is one of N; so all that follows goes character by character.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metacli.tasks.rng import CounterRNG

LETTERS = 5  # of the alphabet of string labels
CHARACTERS = 5  # of one string label


def strings(rng: CounterRNG, ways: int) -> np.ndarray:
    """(B, N, CHARACTERS) int64: a random string for each class, no two alike within a task."""
    drawn = rng.subset(LETTERS**CHARACTERS, ways)
    return drawn[..., None] // LETTERS ** np.arange(CHARACTERS) % LETTERS


def one_hot(characters: Tensor, size: int) -> Tensor:
    """(B, T, C) to (B, T, size), one-hot by characters."""
    choices = torch.arange(size // characters.shape[2], device=characters.device)
    return (characters[..., None] == choices).flatten(2).float()


def cross_entropy(logits: Tensor, answer: Tensor) -> Tensor:
    """(B, Q, C) in nats, of each character, from logits (B, Q, O) and answers (B, Q, C)."""
    by_character = logits.unflatten(2, (answer.shape[2], -1))  # (B, Q, C, O / C)
    return F.cross_entropy(by_character.movedim(-1, 1), answer, reduction="none")


def right(logits: Tensor, answer: Tensor) -> Tensor:
    """(B, Q) 1 where all characters of a label are right, else 0."""
    return (logits.unflatten(2, (answer.shape[2], -1)).argmax(-1) == answer).all(-1).float()
