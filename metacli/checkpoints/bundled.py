"""The bundled models: trained checkpoints inside the package, named as their recipes, and their reference scores."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from metacli.checkpoints.file_names import BEST, LAST, SUFFIX
from metacli.config import recipe as recipes
from metacli.errors import UsageError
from metacli.registry import did_you_mean
from metacli.system import operating_system

RECIPE_SUFFIXES = (".yaml", ".yml")
FOLDER = Path(__file__).parent.parent / "weights"
FIGURES_NAME = "figures.json"  # the reference scores
CLASSIFIERS_NAME = "classifiers.json"  # the index that `predict` chooses a model from; written by tests/own/pack.py
FIRST_TASKS = 150  # number of a reference score's tasks that a quick check evaluates


@dataclass(frozen=True)
class BundledModel:
    """A bundled model and its reference score.

    Attributes:
        name: its name, accepted wherever a checkpoint is.
        recipe: the name of the recipe that it was trained with.
        overrides: KEY=VALUE changes of the recipe's tasks for the reference score; empty if there are none.
        metric: the metric of the reference score.
        mean: the reference score, the mean over the first `n_tasks` test tasks. An accuracy is from 0 to 1.
        ci95: half the width of the 95 % confidence interval of the mean.
        n_tasks: the number of tasks.
        first: the mean over the first `FIRST_TASKS` of these tasks.
        bytes: the size of the file.
        data: the training data and their licence.
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

    def as_dict(self) -> dict[str, Any]:
        """Returns all attributes as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class BundledClassifier:
    """A bundled model that can classify a user's own images.

    Attributes:
        name: its name.
        ways: the largest number of classes.
        fewest_ways: the smallest number of classes of a training task; 0 if every task had `ways`.
        prepare: whether it was trained on prepared images.
        labels: `one-hot` or `embedded`, see `task.labels`.
    """

    name: str
    ways: int
    fewest_ways: int
    prepare: bool
    labels: str


def bundled_names() -> list[str]:
    """Returns the names of the bundled models, sorted."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def bundled_models() -> list[BundledModel]:
    """Returns the bundled models, sorted by name."""
    figures = json.loads((FOLDER / FIGURES_NAME).read_text(encoding="utf-8"))
    return [BundledModel(name=n, bytes=bundled_file(n).stat().st_size, **figures[n]) for n in bundled_names()]


def bundled_file(name: str) -> Path:
    """Returns the checkpoint file of a bundled model."""
    return FOLDER / f"{name}{SUFFIX}"


def find_checkpoint(name_or_path: str | Path) -> Path:
    """Returns the path of a checkpoint file or run directory, or the file of the bundled model of that name.

    Raises:
        UsageError: the path does not exist, is a folder without checkpoints, or names a recipe.
    """
    name, path = str(name_or_path), operating_system.expand_home(name_or_path)
    if os.path.isdir(path):
        if not is_run_directory(path):
            runs = [str(file.parent) for file in sorted(path.glob(f"*/{LAST}"))]
            hint = (
                f"run directories in it: {', '.join(runs[-3:])}" if runs else "name a run directory of `metacli train`"
            )
            raise UsageError(f"{path} is not a run directory: it holds no {BEST} and no {LAST}", hint)
        return path
    exists, names = os.path.exists(path), bundled_names()
    if not exists and name in names:
        return bundled_file(name)
    if path.suffix in RECIPE_SUFFIXES or (not exists and recipes.is_bundled(name)):
        raise UsageError(f"{name} is a recipe, not a checkpoint", f"train it first: metacli train {name}")
    if not exists:
        hint = f"name a run directory, a {SUFFIX} file or a bundled model, which `metacli models` lists"
        raise UsageError(f"no checkpoint {name!r}: no such file or folder{did_you_mean(name, names)}", hint)
    return path


def is_run_directory(path: Path) -> bool:
    """Returns whether a folder has a checkpoint of a run."""
    return any(os.path.isfile(path / name) for name in (BEST, LAST))


def names_checkpoint(word: str) -> bool:
    """Returns whether a word names a checkpoint: a bundled model, a checkpoint file or a run directory."""
    path = operating_system.expand_home(word)
    return word in bundled_names() or path.suffix == SUFFIX or is_run_directory(path)


@lru_cache
def bundled_classifiers() -> list[BundledClassifier]:
    """Returns the bundled models that can classify a user's own images, sorted by name.

    They were trained on N-way K-shot tasks of images. The index makes it unnecessary to read every recipe.
    """
    entries = json.loads((FOLDER / CLASSIFIERS_NAME).read_text(encoding="utf-8"))
    return [BundledClassifier(name=name, **entry) for name, entry in entries.items()]


def bundled_model_for(n_classes: int) -> str:
    """Returns the name of the bundled model for a number of new classes of user images.

    Only models for at least `n_classes` classes that were trained on prepared images qualify, because user images vary
    in size and polarity. Models for a variable number of classes come first, and one-hot labels before embedded ones,
    which are less accurate. Among equals, the model for the most classes is chosen, because it was trained on the
    hardest tasks.

    Raises:
        UsageError: no model has that many classes.
    """
    prepared = [model for model in bundled_classifiers() if model.prepare]
    able = [model for model in prepared if model.ways >= n_classes]
    if not able:
        most = max((model.ways for model in prepared), default=0)
        raise UsageError(
            f"{n_classes:,} classes are too many: a bundled model for any kind of image distinguishes at most {most:,}",
            "leave out some classes",
        )
    return min(able, key=lambda model: (not model.fewest_ways, model.labels != "one-hot", -model.ways)).name


def load_task(name: str) -> Any:
    """Returns the `task` section of a bundled model's recipe, without opening its checkpoint."""
    return recipes.load_recipe(name).task
