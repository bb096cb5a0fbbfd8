"""The section `train` of a recipe."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, field_validator

from metacli.config.base import BaseConfig


class TrainConfig(BaseConfig):
    """How theta is trained.

    Attributes:
        steps: updates of theta.
        batch: tasks per step, B.
        lr: peak learning rate.
        optimizer: adam, adamw, rmsprop (PyTorch's), or rmsprop-graves, the form that the NTM paper cites (centred,
            1e-4 under the root; see `metacli.training.optimizer`).
        momentum: of either rmsprop (Graves et al. 2014 use 0.9).
        weight_decay: adamw's decoupled decay, or the L2 penalty of the others.
        schedule: constant, or cosine down to 1 % of `lr` at the last step.
        warmup: steps over which the rate rises linearly from 0.
        loss: `mean` per answer (bit or label character), whose gradient is alike for long and short tasks; or `sum`
            over the answers of a task, mean over the batch, as in the NTM paper. Logs show the mean either way.
        clip_norm: largest norm of the whole gradient; 0 for none.
        clip_value: largest absolute value of a gradient element; 0 for none.
        eval_every: steps between validations on held-out classes; 0 for one at the end.
        eval_tasks: tasks of each validation.
        patience: validations without a new best that end the run before its last step; 0 for no such end.
        checkpoint_every: steps between checkpoints; 0 for one at the end.
        log_every: steps between the lines of metrics.jsonl.
        encoder_from: a checkpoint (a file, a run directory or the name of a model that ships) whose encoder this run's
            begins as, trained on; empty for small random numbers. `train --init` takes all of a model instead.
        encoder_rate: the encoder's learning rate as a share of `lr`: a small one keeps what an encoder from elsewhere
            knows while the rest of the model is new; with 0 it stays as it is, running statistics included, and a step
            takes much less time (so give it one that is trained: `encoder_from`, or `train --init`).
        scan: how memory networks run through a sequence: `plain`, equation by equation in PyTorch; `fast`, the same
            with its gradient by hand, compiled (the extra `fast`); `auto`, the fast one where there is one.
        tensorboard: also write event files (needs the extra `tensorboard`).
    """

    steps: int = Field(10_000, ge=1, le=100_000_000)
    batch: int = Field(16, ge=1, le=65_536)
    lr: float = Field(1e-3, gt=0, le=10)
    optimizer: Literal["adam", "adamw", "rmsprop", "rmsprop-graves"] = "adam"
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0, le=10)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = Field(0, ge=0, le=10_000_000)
    loss: Literal["mean", "sum"] = "mean"
    clip_norm: float = Field(0.0, ge=0)
    clip_value: float = Field(0.0, ge=0)
    eval_every: int = Field(500, ge=0)
    eval_tasks: int = Field(200, ge=1, le=1_000_000)
    patience: int = Field(0, ge=0)
    checkpoint_every: int = Field(500, ge=0)
    log_every: int = Field(50, ge=1)
    encoder_from: str = ""
    encoder_rate: float = Field(1.0, ge=0, le=1)
    scan: Literal["auto", "plain", "fast"] = "auto"
    tensorboard: bool = False

    @field_validator("encoder_from", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        """`encoder_from:` with nothing behind it."""
        return "" if value is None else value

    def learning_rate(self, step: int) -> float:
        """The rate of update `step` (from 0): a linear rise over `warmup`, then constant or half a cosine to 1 %."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.schedule == "constant":
            return self.lr
        progress = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
