"""Associative recall (Graves et al. 2014, section 4.3): given an item of a sequence, return the next item."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from metacli.config.base import BaseConfig
from metacli.episode import Episode, Spec
from metacli.tasks.answers import Bits
from metacli.tasks.rng import CounterRNG
from metacli.tasks.sequences.base import Algorithmic, Phases, check_range, length_mask, sample_length


class AssociativeRecall(Algorithmic):
    """Items of a few bit vectors each, then one of them as the query; the answer is the next item.

    There are two delimiter channels: a step with the first one before every item, and a step with the second one before
    and after the query. The query is any item except the last. Two items can be equal by chance (one pair in 2^18).
    """

    class Config(BaseConfig):
        """Keys of `associative-recall`."""

        name: Literal["associative-recall"] = Field(
            "associative-recall", description="Registered name of the task distribution."
        )
        width: int = Field(6, ge=1, le=256, description="Bits per vector.")
        item_length: int = Field(3, ge=1, le=100, description="Vectors per item.")
        min_items: int = Field(2, ge=2, le=1000, description="Smallest number of items.")
        max_items: int = Field(6, ge=2, le=1000, description="Largest number of items.")
        items: int = Field(
            0, ge=0, le=1000, description="Fixed number of items, inside or outside the range. 0 draws from the range."
        )
        curriculum: int = Field(
            0,
            ge=0,
            description=(
                "Training episodes over which the largest number of items grows from `min_items` to `max_items`. 0 "
                "disables the curriculum."
            ),
        )

        @model_validator(mode="after")
        def _check_items(self) -> AssociativeRecall.Config:
            check_range("items", self.min_items, self.max_items)
            if self.items == 1:
                raise ValueError("items is 1, but the answer is the item after the query: use 2 or more, or 0")
            return self

    @classmethod
    def answer_of(cls, config: Config) -> Bits:
        """Returns the bits of a step."""
        return Bits(config.width)

    @classmethod
    def spec_of(cls, config: Config) -> Spec:
        """See `Tasks.spec_of`. Inputs: the bits, the item delimiter, the query delimiter. Answers: the bits."""
        items, k = config.items or config.max_items, config.item_length
        return Spec("sequence", (config.width + 2,), 0, config.width, items * (k + 1) + 2 * k + 2)

    def sample_phases(self, rng: CounterRNG, progress: np.ndarray) -> Phases:
        """Generates items of k vectors, each after a delimiter, then the query between two delimiters; k answers."""
        c = self.config
        k = c.item_length
        items = sample_length(rng, progress, c.items, c.min_items, c.max_items)
        query = rng.integers(items - 1)
        rows, max_items = np.arange(len(items)), int(items.max())
        vectors = rng.integers(2, max_items, k, c.width)
        blocks = np.zeros((len(items), max_items, k + 1, c.width + 2))
        blocks[:, :, 0, -2] = 1
        blocks[:, :, 1:, : c.width] = vectors
        blocks *= length_mask(items)[..., None, None]

        start = items * (k + 1)  # (B,) the step of the first query delimiter
        x_train = np.zeros((len(items), max_items * (k + 1) + k + 2, c.width + 2))
        x_train[:, : max_items * (k + 1)] = blocks.reshape(len(items), -1, c.width + 2)
        x_train[rows, start, -1] = 1
        x_train[rows[:, None], start[:, None] + np.arange(1, k + 1), : c.width] = vectors[rows, query]
        x_train[rows, start + k + 1, -1] = 1
        answer = vectors[rows, query + 1]
        return Phases(
            x_train,
            length_mask(start + k + 2),
            np.zeros((len(items), k, c.width + 2)),
            answer,
            np.ones(answer.shape[:2], dtype=bool),
        )

    def task_length(self, episode: Episode) -> Tensor:
        """Returns (B,), the number of items."""
        assert episode.mask_train is not None
        k = self.config.item_length
        return (episode.mask_train.sum(1) - k - 2) // (k + 1)

    def describe(self) -> str:
        """See `Tasks.describe`."""
        c = self.config
        items = c.items or f"{c.min_items} to {c.max_items}"
        return f"associative-recall: {items} items of {c.item_length} vectors of {c.width} bits, generated"
