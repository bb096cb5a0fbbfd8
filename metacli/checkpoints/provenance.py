"""Provenance: which classes and which other weights a model was trained on, recorded in its checkpoints.

A later evaluation uses it to recognize training classes among held-out classes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from metacli.checkpoints.errors import ANOTHER_COPY, RefusedError
from metacli.tasks.base import SPLITS, Tasks
from metacli.tasks.images.pixel_digests import EXACT, LENGTH

KEPT = 4  # pixel digests stored per class: the smallest ones, as most of them stay if a class gains images
MAX_CLASSES = 2_000_000  # per split
MAX_WARM_STARTS = 10_000  # in the history of a run
MAX_NAME = 33_000  # characters; the name of a class in a folder is its path
_PIXEL_DIGEST, _SHA256 = re.compile(f"[0-9a-f]{{{EXACT}}}|[0-9a-f]{{{LENGTH}}}"), re.compile("[0-9a-f]{64}")

PixelDigests = dict[str, list[str]]  # class name -> sorted digests of up to KEPT of its images


@dataclass(frozen=True)
class TrainingClasses:
    """The training classes of one run.

    Attributes:
        data_identity: the name of the data set, see `Tasks.data_identity`.
        classes: the classes with their pixel digests.
    """

    data_identity: str
    classes: PixelDigests


@dataclass(frozen=True)
class Provenance:
    """The classes of each split, and what the initial weights were trained on before the run.

    Attributes:
        classes: by split, the classes with their pixel digests, whole for `train`, the exact part for the others; empty
            for tasks without classes.
        digest: SHA-256, hexadecimal; changes with any class, image or pixel.
        data_identity: the name of the data set, see `Tasks.data_identity`.
        initialised_from: the training classes of the initial weights, over any number of warm starts. The most recent
            run comes first; each distinct set of classes occurs once.
        initial_encoders: digests (see `tensors_digest`) of the initial encoders of this run and the runs before it,
            earliest first.
    """

    classes: dict[str, PixelDigests]
    digest: str
    data_identity: str = ""
    initialised_from: tuple[TrainingClasses, ...] = ()
    initial_encoders: tuple[str, ...] = ()

    @classmethod
    def of(cls, tasks: Tasks) -> Provenance:
        """Returns the provenance of tasks. Loads their data."""
        digests = {str(split): dict(sorted(tasks.class_digests(split).items())) for split in SPLITS}
        exact = {s: {name: [d[:EXACT] for d in own] for name, own in c.items()} for s, c in digests.items()}
        identity = tasks.data_identity()
        digest = hashlib.sha256(json.dumps([identity, exact]).encode() + tasks.data_digest())
        classes = {
            s: {n: all_of[:KEPT] for n, all_of in c.items()} for s, c in (exact | {"train": digests["train"]}).items()
        }
        return cls(classes, digest.hexdigest(), identity)

    @property
    def trained(self) -> TrainingClasses:
        """The classes that the run itself trains on."""
        return TrainingClasses(self.data_identity, self.classes["train"])

    def with_history(self, trained: Iterable[TrainingClasses], encoders: Iterable[str]) -> Provenance:
        """Returns the provenance of a run that was initialised from other weights.

        Args:
            trained: all training classes of those weights.
            encoders: see `initial_encoders`.
        """
        earlier: list[TrainingClasses] = []
        for run in trained:
            if run.classes and run not in (*earlier, self.trained):
                earlier.append(run)
        return replace(self, initialised_from=tuple(earlier), initial_encoders=tuple(encoders))

    def changes(self, current: Provenance) -> list[str]:
        """Returns a line for each difference of `current`, split by split; empty if there is none."""
        if self.digest == current.digest:
            return []
        lines = []
        for split in SPLITS:
            old_names, new_names = self.classes[split].keys(), current.classes[split].keys()
            for word, names in (("gone", old_names - new_names), ("new", new_names - old_names)):
                if names:
                    examples = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
                    lines.append(f"{split}: {len(names)} classes {word}: {examples}")
        return lines or ["the classes are the same, but their content has changed"]

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON. Names of classes may hold lone surrogates: encode with `ensure_ascii`."""
        return {
            "classes": self.classes,
            "data_identity": self.data_identity,
            "digest": self.digest,
            "initial_encoders": list(self.initial_encoders),
            "initialised_from": [
                {"classes": run.classes, "data_identity": run.data_identity} for run in self.initialised_from
            ],
        }

    @classmethod
    def from_dict(cls, value: object) -> Provenance:
        """Returns the provenance from the value that `as_dict` returned.

        Raises:
            RefusedError: the value has another form.
        """
        match value:
            case {
                "classes": dict(classes),
                "data_identity": identity,
                "digest": digest,
                "initial_encoders": list(encoders),
                "initialised_from": list(earlier),
                **others,
            } if not others:
                valid = (
                    classes.keys() == set(SPLITS)
                    and all(map(_are_classes, classes.values()))
                    and _is_name(identity)
                    and _matches(digest, _SHA256)
                    and max(len(encoders), len(earlier)) <= MAX_WARM_STARTS
                    and all(_matches(encoder, _SHA256) for encoder in encoders)
                    and all(map(_is_run, earlier))
                )
                if valid:
                    runs = tuple(TrainingClasses(run["data_identity"], run["classes"]) for run in earlier)
                    return cls(classes, digest, identity, runs, tuple(encoders))
        raise RefusedError("not a checkpoint of metacli: its provenance has an unknown form", ANOTHER_COPY)


NO_CLASSES = Provenance({split: {} for split in SPLITS}, "0" * 64)  # for generated tasks


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256, hexadecimal, of name, dtype, shape and bytes of each tensor, sorted by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode() + b"\n")
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _matches(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME


def _are_classes(value: object) -> bool:
    """Returns whether a value maps class names to pixel digests."""
    return (
        isinstance(value, dict)
        and len(value) <= MAX_CLASSES
        and all(
            _is_name(name)
            and isinstance(digests, list)
            and len(digests) <= KEPT
            and all(_matches(digest, _PIXEL_DIGEST) for digest in digests)
            and digests == sorted(set(digests))
            for name, digests in value.items()
        )
    )


def _is_run(value: object) -> bool:
    """Returns whether a value has the form of the training classes of one run."""
    return (
        isinstance(value, dict)
        and value.keys() == {"classes", "data_identity"}
        and _is_name(value["data_identity"])
        and _are_classes(value["classes"])
    )
