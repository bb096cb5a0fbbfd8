"""The section `train` of a recipe."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, field_validator

from metacli.config.base import BaseConfig


class TrainConfig(BaseConfig):
    """The section `train` of a recipe: how theta is trained."""

    steps: int = Field(10_000, ge=1, le=100_000_000, description="Number of updates of theta.")
    batch: int = Field(16, ge=1, le=65_536, description="B, number of tasks per step.")
    lr: float = Field(1e-3, gt=0, le=10, description="Peak learning rate.")
    optimizer: Literal["adam", "adamw", "rmsprop", "rmsprop-graves"] = Field(
        "adam",
        description=(
            "Optimizer. `rmsprop-graves` is the centered RMSProp of Graves (2013), cited by the NTM paper, with 1e-4 "
            "added under the root. The others are those of PyTorch."
        ),
    )
    momentum: float = Field(
        0.9, ge=0, lt=1, description="Momentum of `rmsprop` and `rmsprop-graves`. Graves et al. (2014) use 0.9."
    )
    weight_decay: float = Field(
        0.0, ge=0, le=10, description="Decoupled weight decay of `adamw`, or L2 penalty of the other optimizers."
    )
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="Learning rate after the warm-up. `cosine` decays it to 1 % of `lr` at the last step."
    )
    warmup: int = Field(
        0, ge=0, le=10_000_000, description="Number of steps over which the learning rate rises linearly from 0."
    )
    loss: Literal["mean", "sum"] = Field(
        "mean",
        description=(
            "`mean` averages over all answers (bits or label characters), so that short and long tasks have gradients "
            "of similar size. `sum` adds over the answers of a task and averages over the batch, as in the NTM paper. "
            "Logs always show the mean."
        ),
    )
    clip_norm: float = Field(0.0, ge=0, description="Largest norm of the whole gradient. 0 disables clipping.")
    clip_value: float = Field(
        0.0, ge=0, description="Largest absolute value of a gradient element. 0 disables clipping."
    )
    eval_every: int = Field(
        500, ge=0, description="Steps between validations on the `val` split. 0 validates once, at the end."
    )
    eval_tasks: int = Field(200, ge=1, le=1_000_000, description="Number of tasks per validation.")
    patience: int = Field(
        0, ge=0, description="Stop early after this many validations without a new best. 0 disables early stopping."
    )
    checkpoint_every: int = Field(500, ge=0, description="Steps between checkpoints. 0 saves once, at the end.")
    log_every: int = Field(50, ge=1, description="Steps between the lines of metrics.jsonl.")
    encoder_from: str = Field(
        "",
        description=(
            "Checkpoint whose encoder initialises this run's encoder, which is then trained further: a file, a run "
            "directory or the name of a bundled model. Empty for random weights. `train --init` loads all weights of a "
            "model instead."
        ),
    )
    encoder_rate: float = Field(
        1.0,
        ge=0,
        le=1,
        description=(
            "Learning rate of the encoder as a share of `lr`. A small share preserves a pretrained encoder while the "
            "rest of the model is new. 0 freezes the encoder, running statistics included, and makes steps much "
            "faster. Use 0 with a trained encoder only (`encoder_from` or `train --init`)."
        ),
    )
    scan: Literal["auto", "plain", "fast"] = Field(
        "auto",
        description=(
            "How memory networks run through a sequence. `plain` computes equation by equation in PyTorch. `fast` "
            "computes the same with compiled code and a hand-written gradient (extra `fast`). `auto` uses `fast` where "
            "it is available."
        ),
    )
    batch_norm: Literal["synced", "local"] = Field(
        "synced",
        description=(
            "Statistics of batch norm in training with several processes. `synced` computes them over the whole batch, "
            "as one process does. `local` computes them over each process's share, which is faster. The result then "
            "depends on the number of processes."
        ),
    )
    tensorboard: bool = Field(False, description="Also write TensorBoard event files (extra `tensorboard`).")

    @field_validator("encoder_from", mode="before")
    @classmethod
    def _read_null_as_empty(cls, value: Any) -> Any:
        """Accepts the key without a value, `encoder_from:`."""
        return "" if value is None else value

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate of update `step`, counted from 0.

        It rises linearly over `warmup` steps, then stays constant or follows half a cosine down to 1 % of `lr`.
        """
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.schedule == "constant":
            return self.lr
        progress = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
