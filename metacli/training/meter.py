"""Measurements of training steps, kept on the device until a line is logged."""

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
        headline: the name of the headline metric.
        rows: `Meter.rows` of a resumed run; None if it was stopped right after a line of the log.
    """

    def __init__(self, headline: str, rows: Tensor | None = None) -> None:
        self._headline = headline
        self.reset()
        if rows is not None:
            self._before = rows

    def add(self, loss: Tensor, score: Tensor, norm: Tensor, episodes: int) -> None:
        """Record the loss, mean score and gradient norm of a step, each (), and its number of tasks."""
        self._rows.append(torch.stack([loss.detach(), score, norm]))
        self._episodes += episodes

    def read(self, step: int) -> dict[str, float]:
        """Returns the means of `loss` and of the headline score, the last `grad_norm`, and `episodes_per_s`.

        Args:
            step: updates of theta so far, including the last one recorded.

        Raises:
            MetacliError: as `check`.
        """
        rows = self.check(step)
        loss, score, _ = rows.mean(0).tolist()
        speed = round(self._episodes / max(time.monotonic() - self._since, 1e-9), 2)
        return {"loss": loss, self._headline: score, "grad_norm": float(rows[-1, 2]), "episodes_per_s": speed}

    def check(self, step: int) -> Tensor:
        """Returns `rows` (n, 3) after checking that loss and gradient norm are finite.

        Raises:
            MetacliError: a loss or a gradient since the last line of the log is not finite. The message names the step.
        """
        rows = self._all().double()
        wrong = (~rows[:, [0, 2]].isfinite()).any(1).nonzero()
        if len(wrong):
            first = int(wrong[0])
            loss, _, norm = rows[first].tolist()
            diverged_step = step - len(rows) + first + 1
            raise MetacliError(
                f"training diverged at step {diverged_step}: the loss is {loss}, the gradient norm is {norm}; earlier "
                "checkpoints are valid",
                "try a smaller train.lr, train.clip_norm=1 or a longer train.warmup",
            )
        return rows

    def rows(self) -> Tensor | None:
        """Returns loss, score and gradient norm (n, 3) of the n steps since the last line of the log; None if n is 0.

        They are on the CPU. With them a resumed run logs the same means as a run that was never stopped.
        """
        return self._all() if self._rows or len(self._before) else None

    def _all(self) -> Tensor:
        return torch.cat([self._before, torch.stack(self._rows).cpu()]) if self._rows else self._before

    def reset(self) -> None:
        """Discard all measurements, after a line of the log."""
        self._rows: list[Tensor] = []
        self._before = torch.empty(0, 3)  # of a run that was stopped between two lines of the log
        self._episodes = 0
        self._since = time.monotonic()
