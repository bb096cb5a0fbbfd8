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
CLASSIFIERS_NAME = "classifiers.json"  # what `predict` chooses a model by; made by tests/own/pack.py
FIRST_TASKS = 150  # of the thousand tasks of a reference score, quick to evaluate again


@dataclass(frozen=True)
class BundledModel:
    """A bundled model and its reference score.

    Attributes:
        name: what it is asked for by, where a checkpoint is.
        recipe: the one that it was trained by.
        overrides: keys of its tasks that were changed for the score; none for its own tasks.
        metric: the name of the score.
        mean: its mean over the first `n_tasks` of the test split; a share is from 0 to 1.
        ci95: half the width of the mean's 95 % interval.
        n_tasks: how many tasks.
        first: the mean over the first `FIRST_TASKS` of them.
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

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class BundledClassifier:
    """A bundled model that a user's own classes can be fitted to.

    Attributes:
        name: its name.
        ways: the largest number of classes.
        fewest_ways: the smallest number of classes of a training task; 0 if every task had `ways`.
        prepare: whether it was trained on prepared images.
    """

    name: str
    ways: int
    fewest_ways: int
    prepare: bool


def bundled_names() -> list[str]:
    """The names of the bundled models, sorted."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def bundled_models() -> list[BundledModel]:
    """The bundled models, by name."""
    figures = json.loads((FOLDER / FIGURES_NAME).read_text(encoding="utf-8"))
    return [BundledModel(name=n, bytes=bundled_file(n).stat().st_size, **figures[n]) for n in bundled_names()]


def bundled_file(name: str) -> Path:
    """Where the checkpoint of a bundled model is."""
    return FOLDER / f"{name}{SUFFIX}"


def find_checkpoint(name_or_path: str | Path) -> Path:
    """Returns a checkpoint file or run directory as it is, or the file of the bundled model of that name.

    Raises:
        UsageError: there is none: no such path, a folder without checkpoints, or the name of a recipe.
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
    """Whether a folder holds a checkpoint of a run."""
    return any(os.path.isfile(path / name) for name in (BEST, LAST))


def names_checkpoint(word: str) -> bool:
    """Whether a word on the command line names a checkpoint: a bundled model, a checkpoint file, a run directory."""
    path = operating_system.expand_home(word)
    return word in bundled_names() or path.suffix == SUFFIX or is_run_directory(path)


@lru_cache
def bundled_classifiers() -> list[BundledClassifier]:
    """The bundled models that a user's own classes can be fitted to, by name.

    They were trained on N-way K-shot tasks of images. The file that lists them spares reading every recipe.
    """
    entries = json.loads((FOLDER / CLASSIFIERS_NAME).read_text(encoding="utf-8"))
    return [BundledClassifier(name=name, **entry) for name, entry in entries.items()]


def bundled_model_for(n_classes: int) -> str:
    """The name of the bundled model for so many new classes of a user's images.

    It was trained on prepared images, as a user's images vary in size and polarity. Of those for at least that many
    classes, a model for any number of classes comes first, then the one for the most, which has learnt the harder
    tasks.

    Raises:
        UsageError: there is none.
    """
    prepared = [model for model in bundled_classifiers() if model.prepare]
    able = [model for model in prepared if model.ways >= n_classes]
    if not able:
        most = max((model.ways for model in prepared), default=0)
        raise UsageError(
            f"{n_classes} classes are more than any bundled model for images of any kind tells apart, which is {most}",
            "train one for as many, with the keys of glyphs_transformer: see docs/predict.md",
        )
    return min(able, key=lambda model: (not model.fewest_ways, -model.ways)).name


def load_task(name: str) -> Any:
    """The task section of a bundled model's recipe, read without opening its checkpoint."""
    return recipes.load_recipe(name).task
