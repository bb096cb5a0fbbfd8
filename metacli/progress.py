"""What a run says on stderr while it works: a head line, a tqdm bar on a terminal, a line per validation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from torch import nn
from tqdm import tqdm

from metacli.recipe import Recipe
from metacli.tasks.base import Tasks


class Progress:
    """The voice of a training run; silent with `quiet`."""

    def __init__(self, quiet: bool = False):
        self._quiet = quiet
        self._bar: Any = None
        self._last_lr = 0.0

    def say(self, text: str) -> None:
        """One line on stderr, above the bar."""
        if not self._quiet:
            tqdm.write(text, file=sys.stderr)

    def begin(self, recipe: Recipe, tasks: Tasks, model: nn.Module, run: Path, start: int) -> None:
        """Say what is trained on what, and where it goes."""
        size = sum(p.numel() for p in model.parameters())
        chance = tasks.chance
        self.say(f"tasks   {tasks.describe()}")
        self.say(f"model   {recipe.model.name}, {size:,} parameters")
        self.say(f"run     {run}" + (f", going on from step {start:,}" if start else ""))
        self.say(f"guess   loss {chance['loss']:.3f}, accuracy {chance['accuracy']:.1%}: the line to beat")
        self._bar = tqdm(
            total=recipe.train.steps,
            initial=start,
            unit="step",
            file=sys.stderr,
            disable=True if self._quiet else None,
            dynamic_ncols=True,
            smoothing=0.1,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, meter: Any) -> None:
        """One more step."""
        if self._bar.disable:
            return
        means = meter.means()
        text = f"loss {means['loss']:.3f} D_test {means['accuracy']:.1%} {means['episodes_per_s']:.0f} ep/s"
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update()

    def validated(self, step: int, means: dict[str, float], tasks: Tasks) -> None:
        """The scores on held-out tasks."""
        names = dict.fromkeys(["loss", "accuracy", tasks.metric])
        text = "  ".join(f"{n} {means[n]:.1%}" if n == "accuracy" else f"{n} {means[n]:.4g}" for n in names)
        self.say(f"step {step:>7,}  val  {text}")
