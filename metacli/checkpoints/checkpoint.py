"""Checkpoints: one self-contained file of tensors and builtins, written whole or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metacli.checkpoints import plain, restore
from metacli.checkpoints.archive import Archive, RefusedError, seal
from metacli.checkpoints.provenance import Provenance
from metacli.checkpoints.schema import FORMAT, RandomStates, checked
from metacli.config.recipe import Recipe, recipe_from_dict
from metacli.errors import MetacliError
from metacli.registry import MODELS, TASKS, build, resolve
from metacli.system import files
from metacli.version import __version__


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        path: where it was read.
        recipe: the recipe that it was trained by.
        step: updates of theta so far.
        best: the best validation score so far, None before the first validation.
        model: the model's state_dict.
        optimizer: the optimiser's state_dict, None in a file that is not for resuming.
        provenance: the classes of each split; None in a file of format 1.
        random: the states of PyTorch's random generators, None as `optimizer` is.
        environment: what it was trained with, see `metacli.compute.device.environment`, and `data`, the digest of the
            data; None in a file of format 1 or 2.
        meter: what was measured since the last line of the log, see `Meter.state`; None if nothing was.
    """

    path: Path
    recipe: Recipe
    step: int
    best: float | None
    model: dict[str, Tensor]
    optimizer: dict[str, Any] | None
    provenance: Provenance | None
    random: RandomStates | None
    environment: dict[str, Any] | None
    meter: Tensor | None = None

    def build_model(self) -> nn.Module:
        """The trained model, on the CPU, in eval mode.

        Raises:
            MetacliError: the weights do not fit the model that the recipe describes, or are not finite.
        """
        spec = resolve(TASKS, self.recipe.task.name, "task").spec_of(self.recipe.task)
        with told_of(self.path):
            model = restore.build_fitting(lambda: build(MODELS, self.recipe.model, spec), self.model)
            restore.load_weights(model, self.model, self.recipe.model.name)
        return model.eval()

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Set a model and its optimiser, and the random generators, to where training was.

        Raises:
            MetacliError: the file is not for resuming, or its parts do not fit those of the recipe.
        """
        if self.optimizer is None:
            raise MetacliError(
                f"{self.path}: holds no optimiser state, so training cannot go on from it",
                "--init starts from its weights",
            )
        with told_of(self.path):
            restore.load_weights(model, self.model, self.recipe.model.name)
            restore.load_optimizer(optimizer, self.optimizer)
            if self.random is not None:
                restore.set_random_states(self.random)


def save(
    path: Path,
    recipe: Recipe,
    step: int,
    best: float | None,
    model: nn.Module,
    provenance: Provenance,
    optimizer: torch.optim.Optimizer | None = None,
    environment: dict[str, Any] | None = None,
    meter: Tensor | None = None,
) -> None:
    """Write a checkpoint whole, closed by a digest: a crash leaves the old file or the new one.

    Args:
        environment: see `Checkpoint`.

    Raises:
        MetacliError: the file cannot be written (full disk, permissions); what stood at `path` is untouched.
    """
    content = {
        "format": FORMAT,
        "metacli": __version__,
        "recipe": recipe.as_dict(),
        "step": step,
        "best": best,
        "model": model.state_dict(),
        "provenance": provenance.as_dict(),
        "optimizer": optimizer.state_dict() if optimizer else None,
        "random": restore.random_states() if optimizer else None,
        "environment": environment,
        "meter": meter,
    }
    write(path, content)


def write(path: Path, content: dict[str, Any]) -> None:
    """Write the content of a checkpoint, tensors and plain values, as `save` does."""
    buffer = io.BytesIO()  # torch reports a full disk in words of its own, a plain write in the system's
    torch.save(content, buffer)
    seal(buffer)
    files.write(path, buffer.getbuffer(), "free some space, then go on with --resume")


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint, or the best one of a run directory. Nothing in the file is ever executed.

    Every byte that a value is made of was covered by a digest or a checksum, which is right.

    Raises:
        MetacliError: no such file, truncated, damaged, not a checkpoint of metacli, of a newer format, or holding
            objects other than tensors and builtins.
    """
    file = file_of(path)
    if not os.path.isfile(file):
        raise MetacliError(
            f"no checkpoint at {file}", "give a .pt file or a run directory, as printed by `metacli train`"
        )
    try:
        with told_of(file), open(file, "rb") as opened:
            archive = Archive(opened)
            content = checked(plain.read(archive), archive.sealed)
            provenance = None if content.provenance is None else Provenance.from_dict(content.provenance)
    except OSError as e:
        raise MetacliError(f"cannot read {file}: {e.strerror}") from None
    recipe = recipe_from_dict(content.recipe, str(file))
    kept = {
        name: getattr(content, name)
        for name in ("step", "best", "model", "optimizer", "random", "environment", "meter")
    }
    return Checkpoint(path=file, recipe=recipe, provenance=provenance, **kept)


@contextmanager
def told_of(file: Path) -> Iterator[None]:
    """Why a file is refused becomes a MetacliError that names it."""
    try:
        yield
    except RefusedError as e:
        raise MetacliError([f"{file}: {e.said[0]}", *e.said[1:]], e.hint) from None


def file_of(path: str | Path) -> Path:
    """The checkpoint file itself: of a run directory its best one, or else its last."""
    file = Path(path)
    if not os.path.isdir(file):
        return file
    return next((file / name for name in ("best.pt", "last.pt") if (file / name).is_file()), file / "best.pt")
