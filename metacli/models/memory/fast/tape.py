"""The arrays of a scan over time."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from metacli.models.memory.fast.elementwise import compiled


class Tape:
    """Allocates arrays for all steps, or for the current step only if no backward pass follows.

    Args:
        like: a tensor of the arrays' dtype.
        steps: T.
        keep: whether a backward pass follows.

    Attributes:
        final_index: the index of the final state in `allocate_states`.
    """

    def __init__(self, like: Tensor, steps: int, keep: bool):
        self.dtype, self.steps, self.keep = like.numpy().dtype, steps, keep
        self.final_index = steps if keep else steps % 2

    def allocate_states(self, initial: Tensor) -> np.ndarray:
        """Returns (T + 1, *shape), or (2, *shape), for a state over time, beginning with `initial` (shape)."""
        array = np.empty((self.steps + 1 if self.keep else 2, *initial.shape), self.dtype)
        array[0] = initial.numpy()
        return array

    def allocate_steps(self, *shape: int, dtype: Any = None) -> np.ndarray:
        """Returns (T, *shape), or (1, *shape), for intermediate values of the steps."""
        return np.empty((self.steps if self.keep else 1, *shape), dtype or self.dtype)


def gradient_buffer(like: np.ndarray, gradient: Tensor | None, swap: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Returns an array to accumulate in: a copy of a gradient, two axes swapped, or zeros like `like`."""
    return np.zeros_like(like) if gradient is None else np.array(gradient.transpose(*swap).numpy(), order="C")


@compiled
def step_indices(t: int, keep: bool) -> tuple[int, int, int]:
    """Returns the index of step t in `Tape.allocate_steps`, and those of the states before and after it."""
    return (t, t, t + 1) if keep else (0, t % 2, 1 - t % 2)
