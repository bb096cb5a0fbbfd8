"""Checkpoints: one self-contained file of tensors and builtins, written whole or not at all."""

from __future__ import annotations

import io
import os
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
from metacli.training.provenance import Provenance

FORMAT = 2  # 2: the classes that were trained on, the random state


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
        random: the states of PyTorch's random generators by device type, None as `optimizer` is.
    """

    path: Path
    recipe: Recipe
    step: int
    best: float | None
    model: dict[str, Any]
    optimizer: dict[str, Any] | None
    provenance: Provenance | None
    random: dict[str, Any] | None

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
    provenance: Provenance,
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
        "provenance": provenance.packed(),
        "optimizer": optimizer.state_dict() if optimizer else None,
        "random": random_states() if optimizer else None,
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
    file = file_of(path)
    if not os.path.isfile(file):
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
    if content["format"] not in range(1, FORMAT + 1):
        raise MetacliError(f"{file}: checkpoint format {content['format']!r}; this metacli reads 1 to {FORMAT}")
    if content["format"] < 2:
        content |= {"provenance": None, "random": None}
    recipe, packed = from_dict(content["recipe"], str(file)), content["provenance"]
    provenance = None if packed is None else Provenance.unpacked(packed)
    kept = {name: content[name] for name in ("step", "best", "model", "optimizer", "random")}
    return Checkpoint(path=file, recipe=recipe, provenance=provenance, **kept)


def file_of(path: str | Path) -> Path:
    """The checkpoint file itself: of a run directory its best one, or else its last."""
    file = Path(path)
    if not os.path.isdir(file):
        return file
    return next((file / name for name in ("best.pt", "last.pt") if (file / name).is_file()), file / "best.pt")


def random_states() -> dict[str, Any]:
    """The states of PyTorch's random generators, which dropout draws from."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_states(states: dict[str, Any]) -> None:
    """Set them back; those of GPUs where there are as many."""
    torch.set_rng_state(states["cpu"])
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
