"""Measurements of the training steps, kept on the device until a line is logged."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from metacli.errors import MetacliError


class Meter:
    """Loss, headline score and gradient norm of every step since the last line of the log.

    Reading a number from a GPU makes the program wait for it, so `add` keeps tensors and `read` fetches all of them
    at once.

    Args:
        headline: the name of the score.
        rows: `Meter.rows` of the run that is resumed; None at the start of a log line.
    """

    def __init__(self, headline: str, rows: Tensor | None = None) -> None:
        self._headline = headline
        self.reset()
        if rows is not None:
            self._before = rows

    def add(self, loss: Tensor, score: Tensor, norm: Tensor, episodes: int) -> None:
        """Count one step by its loss, mean score and gradient norm, all (), and its number of episodes."""
        self._rows.append(torch.stack([loss.detach(), score, norm]))
        self._episodes += episodes

    def read(self, step: int) -> dict[str, float]:
        """Means of `loss` and of the headline score, the last `grad_norm`, and `episodes_per_s`.

        Args:
            step: updates of theta so far, the last one added included.

        Raises:
            MetacliError: as `check`.
        """
        rows = self.check(step)
        loss, score, _ = rows.mean(0).tolist()
        speed = round(self._episodes / max(time.monotonic() - self._since, 1e-9), 2)
        return {"loss": loss, self._headline: score, "grad_norm": float(rows[-1, 2]), "episodes_per_s": speed}

    def check(self, step: int) -> Tensor:
        """(n, 3) what `rows` returns, all of it finite.

        Raises:
            MetacliError: a loss or a gradient since the last line of the log is not finite; names its step.
        """
        rows = self._all().double()
        wrong = (~rows[:, [0, 2]].isfinite()).any(1).nonzero()
        if len(wrong):
            first = int(wrong[0])
            loss, _, norm = rows[first].tolist()
            raise MetacliError(
                f"step {step - len(rows) + first + 1}: the loss is {loss} and the gradient's norm {norm}: training has "
                "diverged; checkpoints before it are good",
                "try a smaller train.lr, train.clip_norm=1 or a longer train.warmup",
            )
        return rows

    def rows(self) -> Tensor | None:
        """(n, 3) loss, score and gradient norm of the n steps since the last line of the log, on the CPU; None for 0.

        A run that is resumed with it logs the means over the same steps as one that was never stopped.
        """
        return self._all() if self._rows or len(self._before) else None

    def _all(self) -> Tensor:
        return torch.cat([self._before, torch.stack(self._rows).cpu()]) if self._rows else self._before

    def reset(self) -> None:
        """Start anew, after a line of the log."""
        self._rows: list[Tensor] = []
        self._before = torch.empty(0, 3)  # of a run that was stopped between two lines of the log
        self._episodes = 0
        self._since = time.monotonic()
