"""The baseline of few-shot image tasks: cosine similarity to class means in the features of a trained encoder."""

from __future__ import annotations

from typing import Any

from metacli.checkpoints import bundled
from metacli.checkpoints import checkpoint as checkpoints
from metacli.checkpoints.checkpoint import Checkpoint
from metacli.errors import UsageError
from metacli.evaluation.compare import Contender
from metacli.evaluation.evaluate import check_classes_held_out
from metacli.models.prototypical import Prototypical
from metacli.registry import TASKS, resolve
from metacli.system import terminal
from metacli.tasks.base import Split, Tasks

KIND = "class means"
ENCODER = "omniglot_60w1s_transformer"  # the bundled model whose encoder most Omniglot recipes start from


def add_baselines(contenders: list[Contender], saved: list[Checkpoint], tasks: Tasks, split: Split) -> list[Contender]:
    """Returns models to compare, then class means on the encoder of each, then class means on the bundled encoder.

    The last one is left out if the bundled model is among the contenders. It is left out with a note on stderr if its
    encoder reads images of another size, or was trained on classes of the held-out split.

    Args:
        contenders: the models of the checkpoints.
        saved: the checkpoints.

    Raises:
        UsageError: these are not few-shot tasks over images.
    """
    check_has_baseline(tasks)
    baselines = [use_class_means(entry.name, one, tasks) for entry, one in zip(contenders, saved, strict=True)]
    if ENCODER in {entry.name for entry in contenders}:
        return [*contenders, *baselines]
    encoder = checkpoints.load(bundled.find_checkpoint(ENCODER))
    if reason := _reason_against(encoder, tasks, split):
        terminal.print_to_stderr(f"note: no baseline on the encoder of {ENCODER}: {reason}")
    else:
        baselines.append(use_class_means(ENCODER, encoder, tasks))
    return [*contenders, *baselines]


def use_class_means(name: str, saved: Checkpoint, tasks: Tasks) -> Contender:
    """Returns a prototypical network on the encoder of a checkpoint, without training; see `Prototypical`."""
    model = Prototypical(Prototypical.Config(encoder=saved.recipe.model.encoder), tasks.with_labels(random=False).spec)
    trained: Any = saved.build_model()
    model.encoder = trained.encoder
    return Contender(name, KIND, saved.step, model)


def check_has_baseline(tasks: Tasks) -> None:
    """Raises a UsageError, with the reason, if class means are no baseline for these tasks."""
    name = tasks.config.name
    hint = "leave out --baseline; the chance level is in the output of `metacli eval`"
    if tasks.view != "images" or Prototypical.check_compatible(
        Prototypical.Config(), tasks.with_labels(random=False).spec
    ):
        raise UsageError(f"--baseline compares with class means of images, but {name} has no classes of images", hint)
    if tasks.answer.components > 1:
        labels = f"labels of {tasks.answer.components} characters"
        raise UsageError(f"--baseline needs a label for each class, but these tasks have {labels}", hint)


def _reason_against(encoder: Checkpoint, tasks: Tasks, split: Split) -> str:
    """Returns why an encoder cannot be used for these tasks, or an empty string."""
    task = encoder.recipe.task
    shape = resolve(TASKS, task.name, "task").spec_of(task).x_shape
    if tasks.spec.x_shape != shape:
        return f"it reads images of shape {shape}, but these have {tasks.spec.x_shape}"
    try:
        check_classes_held_out(encoder, tasks, split)
    except UsageError as e:
        return e.message
    return ""
