"""Converts labels of every usual kind to plain hashable values, and checks them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

MISSING = "give every example a label, or leave the example out"
SCALAR_TYPES = {str, int, float, bool}  # of which `classes_` is an array of their own type


def plain_labels(labels: Iterable[Any]) -> list[Any]:
    """Returns labels as a list of hashable values; numbers of NumPy and torch become those of Python.

    Args:
        labels: a list, an array, a tensor, a Series, a Categorical or another sequence, one label per example.

    Raises:
        TypeError: it is not a sequence, or a label is not hashable. The message has its position.
        ValueError: it has more than one dimension, or a label is missing (None, NaN, NaT or masked).
    """
    if isinstance(labels, bytes | bytearray | dict | set | frozenset) or not isinstance(labels, Iterable):
        raise TypeError(f"labels must be a list or an array with one label per example, not {_describe(labels)}")
    shape = tuple(getattr(labels, "shape", (0,)))
    if len(shape) != 1:
        remedy = {1: "labels.ravel()"}.get(shape[-1], "labels.argmax(1) if they are one-hot") if shape else "a list"
        raise ValueError(f"labels have shape {shape}, but must have one dimension: pass {remedy}")
    if isinstance(labels, torch.Tensor):
        labels = labels.detach().cpu().tolist()
    return [_plain_label(label, i) for i, label in enumerate(labels)]


def _plain_label(label: Any, position: int) -> Any:
    """Returns one label as a hashable value."""
    if isinstance(label, torch.Tensor) and not label.ndim:
        label = label.item()
    elif label is not np.ma.masked and hasattr(label, "__array__") and np.ndim(label) == 0:  # a scalar of NumPy
        scalar = np.asarray(label)
        label = label if scalar.dtype.kind in "mMV" else scalar.item()  # item() of nanoseconds is a bare number
    name = f"label {position} is {_describe(label)}"
    if label is None or label is np.ma.masked:
        raise ValueError(f"{name}: {MISSING}")
    if isinstance(label, torch.Tensor) or not _is_hashable(label):  # a tensor is hashed by its identity
        raise TypeError(f"{name}, but labels must be hashable, such as class names")
    if not _equals_itself(label):
        raise ValueError(f"{name}: {MISSING}")
    return label


def _is_hashable(label: Any) -> bool:
    try:
        hash(label)
    except TypeError:
        return False
    return True


def _equals_itself(label: Any) -> bool:
    """Whether a label is equal to itself, unlike NaN, NaT and pandas' NA."""
    try:
        return bool(label == label)
    except Exception:  # pandas' NA and a signalling decimal NaN have no truth value
        return False


def _describe(value: Any) -> str:
    """Returns a short text and the type of a value, for messages."""
    text = repr(value)
    return f"{text if len(text) <= 40 else f'{text[:37]}...'} ({type(value).__name__})"


def unique_labels(labels: list[Any]) -> list[Any]:
    """Returns each label once, in order of first appearance."""
    return list(dict.fromkeys(labels))


def sort_classes(classes: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the classes sorted, if they can be compared, and the index of each in `classes`; both (classes,)."""
    try:
        order = sorted(range(len(classes)), key=classes.__getitem__)
    except TypeError:  # labels of several types
        order = list(range(len(classes)))
    in_order = [classes[i] for i in order]
    types = {type(name) for name in classes}
    if len(types) == 1 and types <= SCALAR_TYPES:
        array = np.array(in_order)
        if all(type(a) is type(b) and a == b for a, b in zip(array.tolist(), in_order, strict=True)):
            # This is not so for integers above 64 bits, and for text that ends in a NUL.
            return array, np.array(order)
    array = np.empty(len(classes), object)
    array[:] = in_order
    return array, np.array(order)
