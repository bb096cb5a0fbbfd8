"""What is known of the trained models that ship: the accuracy each is held to, its size, whose data it has learnt."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from metacli.checkpoints.bundled import FOLDER, names

FIGURES = FOLDER / "figures.json"
FIRST = 150  # tasks, of the thousand, that are quick to ask again


@dataclass(frozen=True)
class Shipped:
    """A trained model that ships.

    Attributes:
        name: what it is asked for by, where a checkpoint is.
        recipe: the one that it was trained by.
        overrides: keys of its tasks that were changed for the figure; none for its own tasks.
        metric: the name of the score.
        mean: its mean over the first `n_tasks` of the test split; a share is from 0 to 1.
        ci95: half the width of the mean's 95 % interval.
        n_tasks: how many tasks.
        first: the mean over the first `FIRST` of them.
        bytes: size of the file.
        data: what it was trained on, and the licence of that.
    """

    name: str
    recipe: str
    overrides: list[str]
    metric: str
    mean: float
    ci95: float
    n_tasks: int
    first: float
    bytes: int
    data: str

    @property
    def command(self) -> str:
        """What prints the figure."""
        return " ".join(["metacli eval -c", self.name, *self.overrides, f"--tasks {self.n_tasks}"])

    def plain(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def shipped() -> list[Shipped]:
    """Those that ship, by name."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    return [Shipped(name=name, bytes=(FOLDER / f"{name}.pt").stat().st_size, **figures[name]) for name in names()]
