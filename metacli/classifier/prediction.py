"""The command `predict`: reads support images from a folder and queries from files, and collects the answers."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from metacli.classifier.few_shot_model import FewShotModel
from metacli.classifier.inputs import describe_doubts, prepare_picture
from metacli.classifier.learner import Learner
from metacli.errors import UsageError, cut_lines, list_some
from metacli.system import terminal
from metacli.tasks.images.class_folders import ClassList, list_classes, list_pictures
from metacli.tasks.images.class_splits import split_of
from metacli.tasks.images.preprocess.file_kinds import SUPPORTED


class LoadedImage(NamedTuple):
    """An image file and the model's input made from it.

    Attributes:
        path: its path.
        image: the image, upright.
        pixels: (C, H, W) float32 in [0, 1], preprocessed for the model.
        doubts: see `metacli.classifier.inputs.PreparedPicture`.
    """

    path: Path
    image: Image.Image
    pixels: Tensor
    doubts: list[tuple[str, str]]


@dataclass(frozen=True)
class Prediction:
    """The answers to all queries.

    Attributes:
        checkpoint: the name of the model.
        orders: number of orders of the support set that the answers are averaged over.
        classes: the class names, sorted.
        support: (class name, image) of each support example, by class, in reading order.
        queries: the queries that could be read.
        probabilities: (Q, classes).
        unsure: (Q,) bool, see `Learner.is_unsure`.
        resemblance: (Q,) in [-1, 1], or None.
        attended: (Q, S) shares, or None.
        errors: (path, error message) of each query that could not be read.
        notes: warnings to print.
    """

    checkpoint: str
    orders: int
    classes: list[str]
    support: list[tuple[str, LoadedImage]]
    queries: list[LoadedImage]
    probabilities: np.ndarray
    unsure: np.ndarray
    resemblance: np.ndarray | None
    attended: np.ndarray | None
    errors: list[tuple[Path, str]]
    notes: list[str]

    def most_attended(self, q: int) -> tuple[str, LoadedImage] | None:
        """Returns the support example with the greatest share of the attention of query q."""
        return None if self.attended is None else self.support[int(self.attended[q].argmax())]

    def as_json(self) -> dict[str, Any]:
        """Returns plain values; docs/predict.md describes them."""
        predictions = []
        for q, (query, row) in enumerate(zip(self.queries, self.probabilities, strict=True)):
            best, attended = int(row.argmax()), self.most_attended(q)
            predictions.append(
                {
                    "query": str(query.path),
                    "label": self.classes[best],
                    "probability": float(row[best]),
                    "unsure": bool(self.unsure[q]),
                    "resemblance": None if self.resemblance is None else float(self.resemblance[q]),
                    "probabilities": dict(zip(self.classes, row.tolist(), strict=True)),
                    "most_attended": str(attended[1].path) if attended else None,
                }
            )
        return {
            "checkpoint": self.checkpoint,
            "orders": self.orders,
            "classes": self.classes,
            "predictions": predictions,
            "errors": [{"query": str(path), "message": message} for path, message in self.errors],
        }


def answer_table(prediction: Prediction) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns a row for each query, and the names of the columns, for CSV.

    The columns are those of a prediction in JSON, with `p:<class>` for the probability of each class.
    """
    columns = ["query", "label", "probability", "unsure", "resemblance", "most_attended"]
    rows = [
        {name: row[name] for name in columns} | {f"p:{name}": p for name, p in row["probabilities"].items()}
        for row in prediction.as_json()["predictions"]
    ]
    return rows, [*columns, *(f"p:{name}" for name in prediction.classes)]


def predict(learner: Learner, support: Path, queries: Iterable[Path]) -> Prediction:
    """Fits a learner to a folder of support images, and answers queries.

    Args:
        learner: a Learner, not fitted yet.
        support: a folder with one directory per class, see `class_folders`.
        queries: image files, or folders of them at any depth.

    Raises:
        UsageError: no such folder, fewer than two classes, a class without a readable image, more classes than the
            model supports, no queries.
    """
    classes, notes = list_support_classes(support)
    try:
        few_shot = learner.select_model(len(classes))
        examples, skipped = load_support(support, classes, few_shot)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            x_train = stack_pixels([example for _, example in examples], few_shot)
            learner.fit_tensor(x_train, [name for name, _ in examples])
    except ValueError as error:
        message = getattr(error, "message", str(error))
        raise UsageError(f"{support}: {message}", getattr(error, "hint", "")) from None
    query_files, ignored = list_query_files(queries)
    if not query_files:
        raise UsageError("the folders of --query contain no images", f"name images or folders of images ({SUPPORTED})")
    loaded, errors = load_image_files(few_shot, query_files)
    answers = learner.answer_tensor(stack_pixels(loaded, few_shot), with_attention=True)
    doubts = describe_doubts(doubt for image in [*(image for _, image in examples), *loaded] for doubt in image.doubts)
    notes = [*notes, *skipped, *ignored, *(str(warning.message) for warning in caught), *doubts]
    return Prediction(
        learner.name,
        learner.orders,
        learner.classes_.tolist(),
        examples,
        loaded,
        answers.probabilities,
        answers.unsure,
        answers.resemblance,
        answers.attended,
        errors,
        notes,
    )


def list_support_classes(root: Path) -> ClassList:
    """Returns the images of each class; raises a UsageError for fewer than two classes, or for several splits."""
    listing = list_classes(root, "--support")
    if divided := sorted({name.split("/")[0] for name in listing.classes if split_of(name)}):
        raise UsageError(
            f"--support: {root} is divided into splits: {', '.join(divided)}",
            f"choose one of them: --support {root / divided[0]}",
        )
    if len(listing.classes) < 2:
        message = f"--support: {root} contains 1 class, {min(listing.classes)}, but a model needs two classes or more"
        raise UsageError(message, "make one directory per class, as in DIR/alpha/1.png, DIR/beta/1.png")
    return listing


def load_support(
    root: Path, classes: dict[str, list[Path]], few_shot: FewShotModel
) -> tuple[list[tuple[str, LoadedImage]], list[str]]:
    """Loads the support examples, each with its class name; also returns notes on the images that were skipped.

    Raises:
        UsageError: classes without a readable image.
    """
    examples, skipped, empty = [], [], []
    for name, paths in classes.items():
        loaded, errors = load_image_files(few_shot, paths)
        examples += [(name, image) for image in loaded]
        skipped += [f"skipped: {message}" for _, message in errors]
        if not loaded:
            empty.append(name)
    notes = cut_lines(skipped)
    if empty:
        hint = f"put an image ({SUPPORTED}) into the directory, or remove the directory"
        raise UsageError(f"{root}: no readable image in {list_some(empty)}", [hint, *notes])
    return examples, notes


def list_query_files(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Returns files as they are, and all images in each folder; also notes on its other content."""
    files: list[Path] = []
    notes: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            images, ignored = list_pictures(path)
            files += images
            notes += [f"{path}: {note}" for note in ignored]
        else:
            files.append(path)
    return files, notes


def load_image_files(few_shot: FewShotModel, paths: list[Path]) -> tuple[list[LoadedImage], list[tuple[Path, str]]]:
    """Loads and preprocesses images; also returns (path, error message) of each that is unreadable or empty."""
    loaded, errors = [], []
    for path in paths:
        try:
            loaded.append(LoadedImage(path, *prepare_picture(few_shot, path, str(path))))
        except ValueError as error:
            errors.append((path, getattr(error, "message", str(error))))
    return loaded, errors


def stack_pixels(images: list[LoadedImage], few_shot: FewShotModel) -> Tensor:
    """Returns the preprocessed images as one tensor, (n, C, H, W)."""
    return torch.stack([image.pixels for image in images]) if images else torch.zeros(0, *few_shot.model.spec.x_shape)


def print_notes(prediction: Prediction) -> None:
    """Prints the model, the orders, warnings and errors on stderr."""
    shots = Counter(name for name, _ in prediction.support)
    fewest, most = min(shots.values()), max(shots.values())
    shots_range = str(fewest) if fewest == most else f"{fewest} to {most}"
    lines = [
        f"model   {prediction.checkpoint}; {len(shots)} classes, support examples of each: {shots_range}",
        f"orders  {prediction.orders}, answers averaged",
    ]
    if prediction.unsure.any():
        reason = "low probability, or little resemblance to the support examples of the answer"
        lines.append(f"unsure  {prediction.unsure.sum()} of {len(prediction.unsure)} answers: {reason}")
    lines += [f"warning: {note}" for note in prediction.notes]
    lines += [f"error: {message}" for _, message in prediction.errors]
    terminal.print_to_stderr(*lines)
