"""A person's own task and encoder, as a plugin: what the tests of plugins import by path."""

from __future__ import annotations

import torch
from pydantic import Field

import metacli
from metacli.tasks.clusters import Clusters


@metacli.register("blobs")
class Blobs(Clusters):
    """Clusters by another name, with a key more."""

    class Config(Clusters.Config):
        """Keys of blobs."""

        spread: int = Field(2, ge=1, le=9, description="A key that only blobs have.")
        unexplained: bool = False


@metacli.register("rows")
class Rows(torch.nn.Module):
    """Reads what it is given from one end to the other."""

    class Config(metacli.EncoderConfig):
        """Keys of rows."""

        hidden: int = Field(5, ge=1, le=99, description="Numbers that an item becomes.")

    def __init__(self, config, x_shape):
        super().__init__()
        self.gru = torch.nn.GRU(x_shape[-1], config.hidden, batch_first=True)

    def forward(self, x):
        return self.gru(x.reshape(len(x), -1, x.shape[-1]))[1][0]
