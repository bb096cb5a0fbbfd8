"""Progress messages of a training run on stderr: a header, a bar on a terminal, a line per validation."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from metacli.config.train import TrainConfig
from metacli.system import terminal
from metacli.system.terminal import format_fact
from metacli.tasks.base import Tasks
from metacli.tasks.metrics import Metric
from metacli.training.state import TrainState

_BAR_PERIOD = 1.0  # seconds between the numbers on the bar
_FIRST = 3.0  # seconds of training before the first estimate of the time left
_BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"


class Forecast:
    """Estimates the time left from the steps and validations so far, without the first step, which compiles.

    Args:
        cfg: the section `train` of the recipe.
        step: the step that the run starts from.
    """

    def __init__(self, cfg: TrainConfig, step: int):
        self._cfg, self._step, self._last_time = cfg, step, time.monotonic()
        self.seconds_in_steps, self._timed_steps = 0.0, -1
        self._seconds_in_validations, self._timed_validations = 0.0, 0
        self._total_validations = count_validations(cfg, step)

    def count_step(self) -> None:
        """Count one more step."""
        elapsed, self._timed_steps, self._step = self._elapsed(), self._timed_steps + 1, self._step + 1
        self.seconds_in_steps += elapsed if self._timed_steps else 0.0

    def count_validation(self) -> None:
        """Count one more validation."""
        self._seconds_in_validations += self._elapsed()
        self._timed_validations += 1

    def seconds_left(self) -> float:
        """Returns the seconds to the end, validations included.

        Before the first validation, a task of a validation counts as a third of a training task.
        """
        cfg = self._cfg
        per_step = self.seconds_in_steps / max(self._timed_steps, 1)
        per_validation = per_step * cfg.eval_tasks / cfg.batch / 3
        if self._timed_validations:
            per_validation = self._seconds_in_validations / self._timed_validations
        validations_left = self._total_validations - self._timed_validations
        return per_step * (cfg.steps - self._step) + per_validation * validations_left

    def _elapsed(self) -> float:
        previous_time, self._last_time = self._last_time, time.monotonic()
        return self._last_time - previous_time


def count_validations(cfg: TrainConfig, step: int = 0) -> int:
    """Returns the number of validations after a step: one every `eval_every` steps, and one at the end."""
    times = range(cfg.eval_every, cfg.steps, cfg.eval_every) if cfg.eval_every else ()
    return sum(t > step for t in times) + 1


class Progress:
    """Progress messages of a training run, on stderr; none with `quiet`."""

    def __init__(self, quiet: bool = False):
        self._quiet = quiet
        self._bar: Any = None
        self._printed_estimate = False

    def print_lines(self, *lines: str) -> None:
        """Print lines on stderr, above the bar."""
        if not self._quiet:
            with tqdm.external_write_mode(file=terminal.stderr()):
                terminal.print_to_stderr(*lines)

    def print_fact(self, name: str, text: str) -> None:
        """Print a named fact on stderr, see `format_fact`."""
        self.print_lines(*format_fact(name, text))

    def print_hardware(self, state: TrainState) -> None:
        """Print the threads, the scan and the precision of a run."""
        self.print_fact("threads", str(state.threads))
        if state.scan:
            self.print_fact("scan", state.scan)
        precision, reason = state.precision
        if reason:
            self.print_lines(*format_fact("", f"convolutions in {precision}: {reason}"))

    def start(self, state: TrainState, run: Path, start: int) -> None:
        """Print the tasks, the model, the run directory and the chance level, then open the progress bar."""
        recipe, tasks = state.recipe, state.tasks
        size = sum(p.numel() for p in state.model.parameters())
        self.print_fact("tasks", tasks.describe())
        self.print_fact("model", f"{recipe.model.name}, {size:,} parameters")
        self.print_lines(f"run     {run}" + (f", resumed at step {start:,}" if start else ""))
        chance_levels = [
            f"{m.label} {m.format_value(tasks.baseline[m.name])}" for m in tasks.metrics if m.name in tasks.baseline
        ]
        if chance_levels:
            self.print_fact("chance", ", ".join(chance_levels))
        self._bar = tqdm(
            total=recipe.train.steps,
            initial=start,
            file=terminal.stderr(),
            disable=True if self._quiet else None,
            dynamic_ncols=True,
            bar_format=_BAR,
        )
        self._forecast = Forecast(recipe.train, start)
        self._shown = 0.0

    def close(self) -> None:
        """Close the progress bar."""
        if self._bar is not None:
            self._bar.close()

    def advance(self) -> None:
        """Count one more step, and print the estimated time once."""
        self._forecast.count_step()
        self._bar.update()
        if not self._printed_estimate and self._forecast.seconds_in_steps > _FIRST:
            self._printed_estimate = True
            self.print_lines(
                f"time    about {duration(self._forecast.seconds_left())} to the end, validations included"
            )

    def is_due(self) -> bool:
        """Returns whether the bar needs new numbers."""
        return not self._bar.disable and time.monotonic() - self._shown > _BAR_PERIOD

    def update_bar(self, means: dict[str, float], headline: Metric) -> None:
        """Show the loss, the headline score and the tasks per second on the bar."""
        self._shown = time.monotonic()
        numbers = f"loss {means['loss']:.3f} {headline.label} {headline.format_value(means[headline.name])}"
        self._bar.set_postfix_str(
            f"{duration(self._forecast.seconds_left())} left, {numbers} {means['episodes_per_s']:.0f} tasks/s"
        )

    def print_validation(self, step: int, means: dict[str, float], tasks: Tasks) -> None:
        """Print the scores on held-out tasks, and the time left."""
        self._forecast.count_validation()
        text = "  ".join(f"{m.label} {m.format_value(means[m.name])}" for m in tasks.metrics if m.name in means)
        left = self._forecast.seconds_left()
        self.print_lines(f"step {step:>7,}  val  {text}" + (f"  {duration(left)} left" if left else ""))


def duration(seconds: float) -> str:
    """Returns a duration as in `45 s`, `12 min` or `3 h 20 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
