"""Checkpoints: one self-contained file of a training run, written completely or not at all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metacli.checkpoints import file_format, restore
from metacli.checkpoints.errors import name_file_in_errors
from metacli.checkpoints.file_names import BEST, LAST, SUFFIX
from metacli.checkpoints.provenance import Provenance
from metacli.checkpoints.schema import FORMAT, RandomStates, TensorGroups, validate_checkpoint
from metacli.config.recipe import Recipe, recipe_from_dict
from metacli.errors import MetacliError
from metacli.registry import MODELS, TASKS, build, resolve
from metacli.version import __version__


@dataclass(frozen=True)
class Snapshot:
    """The content of a checkpoint to be written.

    Attributes:
        recipe: the recipe that the model is trained with.
        step: updates of theta so far.
        best: the best validation score so far, None before the first validation.
        model: the model.
        provenance: the classes of each split.
        optimizer: the optimizer; None if no run will be resumed from the file.
        environment: what `metacli.compute.device.environment` returns, and `data`, the digest of the data.
        meter: (n, 3) measurements since the last line of the log, see `Meter.rows`; None if there are none.
    """

    recipe: Recipe
    step: int
    best: float | None
    model: nn.Module
    provenance: Provenance
    optimizer: torch.optim.Optimizer | None = None
    environment: dict[str, Any] | None = None
    meter: Tensor | None = None


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file; see `Snapshot`.

    Attributes:
        path: the file.
        recipe: the recipe that the model was trained with.
        step: updates of theta so far.
        best: the best validation score so far, None before the first validation.
        model: the model's state_dict.
        optimizer: the optimizer's state for each weight, by the weight's number; None if no run can be resumed from it.
        provenance: the classes of each split.
        random: the states of PyTorch's random generators; None if `optimizer` is None.
        environment: versions and hardware of the training; None if they were not recorded.
        meter: measurements since the last line of the log; None if there are none.
    """

    path: Path
    recipe: Recipe
    step: int
    best: float | None
    model: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]] | None
    provenance: Provenance
    random: RandomStates | None
    environment: dict[str, Any] | None
    meter: Tensor | None = None

    def build_model(self) -> nn.Module:
        """Returns the trained model on the CPU, in eval mode. Random states are unchanged.

        Raises:
            MetacliError: the weights do not fit the model that the recipe describes, or are not finite.
        """
        spec = resolve(TASKS, self.recipe.task.name, "task").spec_of(self.recipe.task)
        with name_file_in_errors(self.path), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.recipe.seed)
            model = restore.build_within_size(lambda: build(MODELS, self.recipe.model, spec), self.model)
            restore.load_weights(model, self.model, self.recipe.model.name)
        return model.eval()

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Load the saved state into a model, its optimizer and the random generators.

        Raises:
            MetacliError: no run can be resumed from the file, or its content does not fit the recipe.
        """
        if self.optimizer is None or self.random is None:
            raise MetacliError(
                f"{self.path}: no optimizer state, so training cannot be resumed from it",
                "start a new run from its weights with --init",
            )
        with name_file_in_errors(self.path):
            restore.load_weights(model, self.model, self.recipe.model.name)
            restore.load_optimizer(optimizer, self.optimizer)
            restore.set_random_states(self.random)


def save(path: Path, snapshot: Snapshot) -> None:
    """Write a checkpoint file. A crash leaves either the old or the new file.

    Raises:
        MetacliError: the file cannot be written (full disk, permissions). An existing file is unchanged.
    """
    optimizer = snapshot.optimizer
    metadata = {
        "format": FORMAT,
        "metacli": __version__,
        "recipe": snapshot.recipe.as_dict(),
        "step": snapshot.step,
        "best": snapshot.best,
        "provenance": snapshot.provenance.as_dict(),
        "environment": snapshot.environment,
        "resumable": optimizer is not None,
    }
    tensors = TensorGroups(
        model=snapshot.model.state_dict(),
        optimizer=optimizer.state_dict()["state"] if optimizer else None,
        random=restore.get_random_states() if optimizer else None,
        meter=snapshot.meter,
    )
    with name_file_in_errors(path):
        file_format.write_file(path, metadata, tensors.flatten())


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint file, or the best one of a run directory. Nothing in the file is ever executed.

    Raises:
        MetacliError: the file does not exist, is truncated or damaged, is not a checkpoint of metacli, or has a newer
            format.
    """
    file = find_file(path)
    if not os.path.exists(file):
        raise MetacliError(
            f"no checkpoint at {file}",
            f"give a {SUFFIX} file or a run directory, as printed by `metacli train`",
        )
    with name_file_in_errors(file):
        metadata, tensors = validate_checkpoint(*file_format.read_file(file))
        provenance = Provenance.from_dict(metadata.provenance)
    return Checkpoint(
        path=file,
        recipe=recipe_from_dict(metadata.recipe, str(file)),
        step=metadata.step,
        best=metadata.best,
        model=tensors.model,
        optimizer=tensors.optimizer,
        provenance=provenance,
        random=tensors.random,
        environment=metadata.environment,
        meter=tensors.meter,
    )


def find_file(path: str | Path) -> Path:
    """Returns the checkpoint file at a path: in a run directory the best one, or else the last one."""
    file = Path(path)
    if not os.path.isdir(file):
        return file
    return next((file / name for name in (BEST, LAST) if (file / name).is_file()), file / BEST)
