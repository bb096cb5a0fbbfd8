"""Copy and repeat copy (Graves et al. 2014, sections 4.1 and 4.2): reproduce a sequence once or several times."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from metacli.config.base import BaseConfig
from metacli.episode import Episode, Spec
from metacli.tasks.answers import Bits
from metacli.tasks.rng import CounterRNG
from metacli.tasks.sequences.base import Algorithmic, Phases, check_range, length_mask, sample_length


class Copy(Algorithmic):
    """Random bit vectors, then a delimiter on its own channel; the answer is the vectors in order."""

    class Config(BaseConfig):
        """Keys of `copy`."""

        name: Literal["copy"] = Field("copy", description="Registered name of the task distribution.")
        width: int = Field(8, ge=1, le=256, description="Bits per vector.")
        min_length: int = Field(1, ge=1, le=10_000, description="Shortest sequence, in vectors.")
        max_length: int = Field(20, ge=1, le=10_000, description="Longest sequence, in vectors.")
        length: int = Field(
            0, ge=0, le=10_000, description="Fixed length, inside or outside the range. 0 draws from the range."
        )
        curriculum: int = Field(
            0,
            ge=0,
            description=(
                "Training episodes over which the longest length grows from `min_length` to `max_length`. 0 disables "
                "the curriculum."
            ),
        )

        @model_validator(mode="after")
        def _check_length_range(self) -> Copy.Config:
            check_range("length", self.min_length, self.max_length)
            return self

    @classmethod
    def answer_of(cls, config: Config) -> Bits:
        """Returns the bits of a step."""
        return Bits(config.width)

    @classmethod
    def spec_of(cls, config: Config) -> Spec:
        """See `Tasks.spec_of`. Inputs: the bits and the delimiter. Answers: the bits."""
        longest = config.length or config.max_length
        return Spec("sequence", (config.width + 1,), 0, config.width, 2 * longest + 1)

    def sample_phases(self, rng: CounterRNG, progress: np.ndarray) -> Phases:
        """Generates L vectors and the delimiter; L answers."""
        c = self.config
        length = sample_length(rng, progress, c.length, c.min_length, c.max_length)
        vectors, x_train, mask_train = make_input_phase(rng, length, c.width, extra_channels=0)
        return Phases(x_train, mask_train, np.zeros_like(x_train[:, :-1]), vectors, length_mask(length))

    def describe(self) -> str:
        """See `Tasks.describe`."""
        c = self.config
        return f"copy: {_format_range(c.length, c.min_length, c.max_length)} vectors of {c.width} bits, generated"


class RepeatCopy(Algorithmic):
    """Random bit vectors, then the number of repeats; the answer is the repeats and an end marker on its own channel.

    The number comes with the delimiter, on its own channel. It is standardised to mean 0 and variance 1 over
    min_repeats, ..., max_repeats, even if `repeats` lies outside.
    """

    class Config(BaseConfig):
        """Keys of `repeat-copy`."""

        name: Literal["repeat-copy"] = Field("repeat-copy", description="Registered name of the task distribution.")
        width: int = Field(8, ge=1, le=256, description="Bits per vector.")
        min_length: int = Field(1, ge=1, le=1000, description="Shortest sequence, in vectors.")
        max_length: int = Field(10, ge=1, le=1000, description="Longest sequence, in vectors.")
        length: int = Field(
            0, ge=0, le=1000, description="Fixed length, inside or outside the range. 0 draws from the range."
        )
        min_repeats: int = Field(1, ge=1, le=1000, description="Smallest number of repeats.")
        max_repeats: int = Field(10, ge=1, le=1000, description="Largest number of repeats.")
        repeats: int = Field(0, ge=0, le=1000, description="Fixed number of repeats. 0 draws from the range.")
        curriculum: int = Field(
            0,
            ge=0,
            description=(
                "Training episodes over which both ranges grow from their minimum to their maximum. 0 disables the "
                "curriculum."
            ),
        )

        @model_validator(mode="after")
        def _check_ranges(self) -> RepeatCopy.Config:
            check_range("length", self.min_length, self.max_length)
            check_range("repeats", self.min_repeats, self.max_repeats)
            return self

    @classmethod
    def answer_of(cls, config: Config) -> Bits:
        """Returns the bits of a step."""
        return Bits(config.width + 1)

    @classmethod
    def spec_of(cls, config: Config) -> Spec:
        """See `Tasks.spec_of`. Inputs: the bits, the delimiter, the count. Answers: the bits and the end marker."""
        length = config.length or config.max_length
        answers = length * (config.repeats or config.max_repeats) + 1
        return Spec("sequence", (config.width + 2,), 0, config.width + 1, length + 1 + answers)

    def sample_phases(self, rng: CounterRNG, progress: np.ndarray) -> Phases:
        """Generates L vectors and the delimiter with the count n; L n answers and the end marker."""
        c = self.config
        length = sample_length(rng, progress, c.length, c.min_length, c.max_length)
        repeats = sample_length(rng, progress, c.repeats, c.min_repeats, c.max_repeats)
        vectors, x_train, mask_train = make_input_phase(rng, length, c.width, extra_channels=1)
        mean = (c.min_repeats + c.max_repeats) / 2
        deviation = math.sqrt(((c.max_repeats - c.min_repeats + 1) ** 2 - 1) / 12) or 1.0  # of a discrete uniform
        rows, end = np.arange(len(length)), length * repeats
        x_train[rows, length, -1] = (repeats - mean) / deviation
        mask_test = length_mask(end + 1)  # (B, Q)
        source_step = np.arange(mask_test.shape[1]) % length[:, None]
        y_test = np.zeros((*mask_test.shape, c.width + 1))
        y_test[..., :-1] = (
            np.take_along_axis(vectors, source_step[..., None], 1) * length_mask(end, mask_test.shape[1])[..., None]
        )
        y_test[rows, end, -1] = 1
        return Phases(x_train, mask_train, np.zeros((*mask_test.shape, c.width + 2)), y_test, mask_test)

    def task_length(self, episode: Episode) -> Tensor:
        """Returns (B,), the number of vectors of the sequence."""
        assert episode.mask_train is not None
        return episode.mask_train.sum(1) - 1

    def score(self, output: Tensor, episode: Episode) -> dict[str, Tensor]:
        """Returns the scores of every algorithmic task, and `repeats` (B,)."""
        scores = super().score(output, episode)
        return {**scores, "repeats": (super().task_length(episode) - 1) / scores["length"]}

    def describe(self) -> str:
        """See `Tasks.describe`."""
        c = self.config
        vectors = f"{_format_range(c.length, c.min_length, c.max_length)} vectors of {c.width} bits"
        return f"repeat-copy: {vectors}, {_format_range(c.repeats, c.min_repeats, c.max_repeats)} times, generated"


def make_input_phase(
    rng: CounterRNG, length: np.ndarray, width: int, extra_channels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns random vectors (B, L, width), zero beyond `length` (B,), the input phase and its mask (B, L + 1).

    The input phase (B, L + 1, width + 1 + extra_channels) is the vectors, then a delimiter step on channel `width`.
    """
    mask = length_mask(length)
    vectors = rng.integers(2, mask.shape[1], width) * mask[..., None]
    x_train = np.zeros((len(length), mask.shape[1] + 1, width + 1 + extra_channels))
    x_train[:, :-1, :width] = vectors
    x_train[np.arange(len(length)), length, width] = 1
    return vectors, x_train, length_mask(length + 1)


def _format_range(fixed: int, low: int, high: int) -> str:
    return str(fixed) if fixed else f"{low} to {high}"
