"""Warm start: a new run starts from the weights of another one."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from metacli.checkpoints import bundled, checkpoint, restore
from metacli.checkpoints.errors import RefusedError
from metacli.checkpoints.held_out import check_held_out, training_poses
from metacli.checkpoints.provenance import Provenance, tensors_digest
from metacli.config.keys import flatten
from metacli.config.recipe import Recipe
from metacli.errors import UsageError
from metacli.evaluation.evaluate import trained_classes
from metacli.registry import TASKS, resolve
from metacli.tasks.base import Tasks

_ENCODER = "encoder."  # prefix of the names of its weights
_NEW_ENCODER = "set train.encoder_from= (empty) for an encoder with random weights"


@dataclass(frozen=True)
class WarmStart:
    """A checkpoint whose weights a new run starts from.

    Attributes:
        saved: the checkpoint.
        sha256: the digest of its file, hexadecimal.
        part: which of its weights are used: `model` for all, or `encoder`.
    """

    saved: checkpoint.Checkpoint
    sha256: str
    part: Literal["model", "encoder"] = "model"

    @classmethod
    def from_checkpoint(
        cls, source: str | Path, recipe: Recipe, part: Literal["model", "encoder"] = "model"
    ) -> WarmStart:
        """Load a checkpoint file, the best checkpoint of a run directory, or a bundled model for a recipe.

        Raises:
            UsageError: there is no such checkpoint, or its model or encoder differs from the recipe's. Names every key.
            MetacliError: the checkpoint cannot be read.
        """
        saved = checkpoint.load(bundled.find_checkpoint(source))
        models = (r.as_dict()["model"] for r in (saved.recipe, recipe))
        old, new = (
            flatten({"model": m if part == "model" else {"encoder": _keys_of_weights(m["encoder"])}}) for m in models
        )
        keys = [k for k in sorted(old | new) if old.get(k) != new.get(k)]
        differences = [f"{k}: {old.get(k)} in the checkpoint, {new.get(k)} in the recipe" for k in keys]
        if differences:
            raise UsageError(
                [f"the {part} of {saved.path} differs from that of the recipe {recipe.name}", *differences],
                "set these keys to the values of the checkpoint, or "
                + ("train without --init" if part == "model" else _NEW_ENCODER),
            )
        return cls(saved, hashlib.sha256(saved.path.read_bytes()).hexdigest(), part)

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> WarmStart | None:
        """Returns the encoder of the recipe's `train.encoder_from`, if any. Raises as `from_checkpoint`."""
        return cls.from_checkpoint(recipe.train.encoder_from, recipe, "encoder") if recipe.train.encoder_from else None

    def check_held_out(self, tasks: Tasks) -> list[str]:
        """Raise a UsageError if the weights were trained on held-out classes of tasks. Returns warnings."""
        poses, hint = training_poses(self.saved.recipe.task), {"hint": _NEW_ENCODER} if self.part == "encoder" else {}
        warnings = []
        for classes in trained_classes(self.saved):
            for split in ("val", "test"):
                warnings += check_held_out(classes, tasks, split, poses, **hint)
        return warnings

    def load_into(self, model: nn.Module, tasks: Tasks, provenance: Provenance) -> Provenance:
        """Copy the weights into a model. Returns the model's provenance, including that of the weights.

        Args:
            tasks: the tasks that the model will be trained on.
            provenance: the provenance of these tasks.

        Raises:
            UsageError: the weights do not fit.
        """
        encoder = {k.removeprefix(_ENCODER): v for k, v in self.saved.model.items() if k.startswith(_ENCODER)}
        try:
            if self.part == "encoder":
                restore.load_weights(model.get_submodule("encoder"), encoder, "encoder")
            else:
                restore.load_weights(model, self.saved.model, self.saved.recipe.model.name)
        except RefusedError as e:
            task = self.saved.recipe.task
            old_spec, new_spec = asdict(resolve(TASKS, task.name, "task").spec_of(task)), asdict(tasks.spec)
            keys = [k for k in new_spec if old_spec[k] != new_spec[k]]
            differences = [f"{k}: {old_spec[k]} in the checkpoint, {new_spec[k]} in these tasks" for k in keys]
            raise UsageError(
                [f"{self.saved.path}: {e.lines[0]}", *e.lines[1:], *differences],
                "weights fit only tasks of the same shapes; nothing was loaded",
            ) from None
        encoders, trained = self.saved.provenance.initial_encoders, trained_classes(self.saved)
        return provenance.with_history(trained, (*encoders, tensors_digest(encoder)) if encoder else encoders)

    def __str__(self) -> str:
        """Returns a description, as in `runs/first/best.safetensors, step 600, trained with strokes_ntm`."""
        whose = "the encoder of " * (self.part == "encoder")
        return f"{whose}{self.saved.path}, step {self.saved.step:,}, trained with {self.saved.recipe.name}"

    def as_dict(self) -> dict[str, Any]:
        """Returns the entry `init` of env.json."""
        file = {"path": str(self.saved.path.resolve()), "sha256": self.sha256, "step": self.saved.step}
        return file | ({} if self.part == "model" else {"part": self.part})


def frozen_encoder_warning(recipe: Recipe, init: WarmStart | None) -> list[str]:
    """Returns a note as a list of lines, empty unless the encoder is frozen at random weights."""
    if init or recipe.train.encoder_rate or recipe.model.encoder.kind == "flat":
        return []
    return ["note: the encoder keeps its random weights: train.encoder_rate=0 without train.encoder_from or --init"]


def _keys_of_weights(encoder: dict[str, Any]) -> dict[str, Any]:
    """Returns the keys of an encoder that its weights depend on."""
    return {key: value for key, value in encoder.items() if key not in ("precision", "dropout")}
