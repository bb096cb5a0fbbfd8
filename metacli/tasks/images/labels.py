"""String labels of classes: five characters from five letters (MANN, for 15 classes)."""

from __future__ import annotations

import numpy as np

from metacli.tasks.rng import CounterRNG

LETTERS = 5  # size of the alphabet
CHARACTERS = 5  # length of a label


def sample_strings(rng: CounterRNG, ways: int) -> np.ndarray:
    """Returns (B, N, CHARACTERS) int64, a random string for each class, all distinct within a task."""
    numbers = rng.subset(LETTERS**CHARACTERS, ways)
    return numbers[..., None] // LETTERS ** np.arange(CHARACTERS) % LETTERS
