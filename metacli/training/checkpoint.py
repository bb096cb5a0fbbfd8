"""Checkpoints: one self-contained file of tensors and builtins, written whole or not at all."""

from __future__ import annotations

import io
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from metacli import __version__
from metacli.config.recipe import Recipe, from_dict
from metacli.errors import MetacliError
from metacli.machine.files import atomic_write
from metacli.registry import MODELS, TASKS, build, resolve

FORMAT = 1


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
    """

    path: Path
    recipe: Recipe
    step: int
    best: float | None
    model: dict[str, Any]
    optimizer: dict[str, Any] | None

    def build_model(self) -> nn.Module:
        """The trained model, on the CPU, in eval mode.

        Raises:
            MetacliError: the weights do not fit the model that the recipe describes.
        """
        spec = resolve(TASKS, self.recipe.task.name, "task").spec_of(self.recipe.task)
        model = build(MODELS, self.recipe.model, spec)
        try:
            model.load_state_dict(self.model)
        except (RuntimeError, TypeError, AttributeError) as e:
            detail = str(e).splitlines()[-1].strip()
            raise MetacliError(
                f"{self.path}: the weights do not fit model {self.recipe.model.name!r}: {detail}"
            ) from None
        return model.eval()


def save(
    path: Path,
    recipe: Recipe,
    step: int,
    best: float | None,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Write a checkpoint whole: a crash leaves the old file or the new one.

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
        "optimizer": optimizer.state_dict() if optimizer else None,
    }
    buffer = io.BytesIO()  # torch reports a full disk in words of its own, a plain write in the system's
    torch.save(content, buffer)
    try:
        with atomic_write(path) as part:
            part.write_bytes(buffer.getbuffer())
    except OSError as e:
        raise MetacliError(f"cannot write {path}: {e.strerror}", "free some space, then go on with --resume") from None


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint, or the best one of a run directory. Nothing in the file is ever executed.

    Raises:
        MetacliError: no such file, truncated, not a checkpoint of metacli, of a newer format, or holding objects
            other than tensors and builtins.
    """
    file = Path(path)
    if file.is_dir():
        file = next((file / name for name in ("best.pt", "last.pt") if (file / name).is_file()), file / "best.pt")
    if not file.is_file():
        raise MetacliError(
            f"no checkpoint at {file}", "give a .pt file or a run directory, as printed by `metacli train`"
        )
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        hint = "metacli only ever reads tensors and plain values, because a pickled object can run code"
        raise MetacliError(f"{file}: refused: not a checkpoint, or it holds a pickled object", hint) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        raise MetacliError(f"{file}: truncated, or not a checkpoint", "train again, or --resume the run") from None
    needed = {"format", "recipe", "step", "best", "model", "optimizer"}
    if not isinstance(content, dict) or not needed <= content.keys():
        raise MetacliError(f"{file}: not a checkpoint of metacli")
    if content["format"] != FORMAT:
        raise MetacliError(f"{file}: checkpoint format {content['format']!r}; this metacli reads {FORMAT}")
    recipe = from_dict(content["recipe"], str(file))
    return Checkpoint(file, recipe, *(content[k] for k in ("step", "best", "model", "optimizer")))
