"""The trained models that ship: checkpoints without what is for resuming, known by the names of their recipes."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from metacli.config import recipe as recipes
from metacli.errors import UsageError
from metacli.registry import did_you_mean
from metacli.system import operating_system

FOLDER = Path(__file__).parent.parent / "weights"


def names() -> list[str]:
    """Those that ship."""
    return sorted(path.stem for path in FOLDER.glob("*.pt"))


def find(name_or_path: str | Path) -> Path:
    """A checkpoint file or run directory as it is, or the one that ships under a name.

    Raises:
        UsageError: neither is there.
    """
    path = operating_system.expand_home(name_or_path)
    there = os.path.exists(path)
    if there or str(name_or_path) not in names():
        if not there and not path.suffix and len(path.parts) == 1:
            near = did_you_mean(str(name_or_path), names())
            hint = f"shipped: {', '.join(names()) or 'none'}; or give a .pt file or a run directory"
            raise UsageError(f"no checkpoint {str(name_or_path)!r}{near}", hint)
        return path
    return FOLDER / f"{name_or_path}.pt"


def teachable() -> list[str]:
    """Those that a person's own classes can be taught to: they were trained on N-way K-shot tasks of pictures."""
    return [name for name in names() if getattr(task_of(name), "protocol", None) == "k-shot"]


def fitting(classes: int) -> str:
    """The shipped model for so many new classes: one trained on prepared pictures, as a person's may look anyhow.

    Of those that can tell as many apart: one that was taught any number of classes; then the one for the most, as it
    has learnt the harder tasks.

    Raises:
        UsageError: there is none.
    """
    prepared = [name for name in teachable() if task_of(name).prepare]
    able = [name for name in prepared if task_of(name).ways >= classes]
    if not able:
        most = max((task_of(name).ways for name in prepared), default=0)
        raise UsageError(
            f"{classes} classes are more than any shipped model for pictures of any kind tells apart, which is {most}",
            "train one for as many, with the keys of glyphs_transformer: see docs/predict.md",
        )
    return min(able, key=lambda name: (not task_of(name).fewest_ways, -task_of(name).ways))


@lru_cache
def task_of(name: str) -> Any:
    """The task that a shipped model was trained on: that of the recipe of its name, which is read in no time."""
    return recipes.load_recipe(name).task
