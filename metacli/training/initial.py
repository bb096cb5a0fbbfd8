"""The weights that a new run begins from, where they are those of another run."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from metacli.config.keys import flat
from metacli.config.recipe import Recipe
from metacli.errors import UsageError
from metacli.registry import TASKS, resolve
from metacli.tasks.base import Tasks
from metacli.training import checkpoint, fitting, weights
from metacli.training.archive import RefusedError
from metacli.training.evaluation import trained_classes
from metacli.training.provenance import Provenance, check_held_out


@dataclass(frozen=True)
class Initial:
    """A checkpoint to begin from.

    Attributes:
        saved: it.
        sha256: of its file, hexadecimal.
    """

    saved: checkpoint.Checkpoint
    sha256: str

    @classmethod
    def of(cls, source: str | Path, recipe: Recipe) -> Initial:
        """That of a checkpoint file, a run directory or a shipped name, for a run by a recipe.

        Raises:
            UsageError: there is none, or its model is another one; names every key that differs.
            MetacliError: it cannot be read.
        """
        saved = checkpoint.load(weights.find(source))
        old, new = (flat({"model": r.as_dict()["model"]}) for r in (saved.recipe, recipe))
        names = sorted(old | new)
        other = [f"{k}: {old.get(k)} there, {new.get(k)} in the recipe" for k in names if old.get(k) != new.get(k)]
        if other:
            raise UsageError(
                [f"{saved.path} holds another model than {recipe.name}", *other],
                "weights are for the model that they were trained as: give its keys, or train without --init",
            )
        return cls(saved, hashlib.sha256(saved.path.read_bytes()).hexdigest())

    def load_into(self, model: nn.Module, tasks: Tasks, provenance: Provenance) -> Provenance:
        """Give a model these weights, all of them; what it then counts as trained on.

        Args:
            tasks: what it is to be trained on.
            provenance: that of the tasks.

        Raises:
            UsageError: the weights do not fit, or were trained on classes that the tasks hold out.
        """
        trained = trained_classes(self.saved)
        for task, classes in trained:
            if task == tasks.config.name:
                check_held_out(classes, tasks, "val")
                check_held_out(classes, tasks, "test")
        try:
            fitting.load_weights(model, self.saved.model, self.saved.recipe.model.name)
        except RefusedError as e:
            task = self.saved.recipe.task
            there, here = asdict(resolve(TASKS, task.name, "task").spec_of(task)), asdict(tasks.spec)
            other = [f"{k}: {there[k]} there, {here[k]} here" for k in here if there[k] != here[k]]
            raise UsageError(
                [f"{self.saved.path}: {e.said[0]}", *e.said[1:], *other],
                "tasks of the same shape take the same weights; nothing is loaded in part",
            ) from None
        before: list[tuple[str, dict[str, list[str]]]] = []
        for part in trained:
            if part[1] and part not in (*before, (tasks.config.name, provenance.classes["train"])):
                before.append(part)
        return replace(provenance, before=tuple(before))

    def __str__(self) -> str:
        """As in `runs/first/best.pt, step 600, trained by strokes_ntm`."""
        return f"{self.saved.path}, step {self.saved.step:,}, trained by {self.saved.recipe.name}"

    def as_dict(self) -> dict[str, Any]:
        """What env.json tells of it."""
        return {"path": str(self.saved.path.resolve()), "sha256": self.sha256, "step": self.saved.step}
