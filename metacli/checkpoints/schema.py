"""The content of a checkpoint: validated metadata, tensors under prefixed names, migrations of older formats."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from metacli.checkpoints.errors import ANOTHER_COPY, RefusedError

FORMAT = 1
Migration = Callable[[dict[str, Any], dict[str, Tensor]], None]  # changes metadata and tensors in place
MIGRATIONS: dict[int, Migration] = {}  # from a format to the next one
MAX_RECIPE_DEPTH, MAX_RECIPE_VALUES = 12, 10_000

_OPTIMIZER_NAME = re.compile(r"optimizer\.(0|[1-9][0-9]{0,8})\.(.+)")


class RandomStates(NamedTuple):
    """The states of PyTorch's random generators.

    Attributes:
        cpu: (n,) uint8.
        cuda: one state for each GPU, (n,) uint8.
    """

    cpu: Tensor
    cuda: list[Tensor]


class Metadata(BaseModel):
    """The JSON part of a checkpoint; see `metacli.checkpoints.checkpoint.Checkpoint`.

    Attributes:
        format: the number of this schema.
        metacli: the version that wrote the file.
        file_sha256: see `metacli.checkpoints.file_format`.
        recipe: plain values, in any format that recipes have had.
        step: updates of theta so far.
        best: the best validation score so far, None before the first validation.
        provenance: see `Provenance.as_dict`.
        environment: versions and hardware of the training; None if they were not recorded.
        resumable: whether the tensors include the states of the optimizer and of the random generators.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    format: int
    metacli: str
    file_sha256: str
    recipe: dict[str, Any]
    step: Annotated[int, Field(ge=0, lt=2**53)]
    best: float | None
    provenance: dict[str, Any]
    environment: dict[str, str | int | float | None] | None
    resumable: bool


@dataclass(frozen=True)
class TensorGroups:
    """The tensors of a checkpoint, grouped by purpose.

    Attributes:
        model: the model's state_dict.
        optimizer: the optimizer's state for each weight, by the weight's number; None if the run cannot be resumed.
        random: the states of the random generators; None if `optimizer` is None.
        meter: (n, 3) measurements since the last line of the log, see `Meter.rows`; None if there are none.
    """

    model: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]] | None = None
    random: RandomStates | None = None
    meter: Tensor | None = None

    def flatten(self) -> dict[str, Tensor]:
        """Returns all tensors under their names in a file."""
        flat = {f"model.{name}": value for name, value in self.model.items()}
        for i, state in (self.optimizer or {}).items():
            flat |= {f"optimizer.{i}.{name}": value for name, value in state.items()}
        if self.random is not None:
            flat |= {"random.cpu": self.random.cpu}
            flat |= {f"random.cuda.{i}": value for i, value in enumerate(self.random.cuda)}
        return flat if self.meter is None else {**flat, "meter": self.meter}

    @classmethod
    def unflatten(cls, flat: dict[str, Tensor], resumable: bool) -> TensorGroups:
        """Groups the tensors of a file.

        Raises:
            RefusedError: a name is unknown or missing.
        """
        left = dict(flat)
        model = {name.removeprefix("model."): left.pop(name) for name in flat if name.startswith("model.")}
        if not resumable:
            _refuse_unknown_tensors(left)
            return cls(model)
        optimizer: dict[int, dict[str, Tensor]] = {}
        for name in flat:
            if match := _OPTIMIZER_NAME.fullmatch(name):
                optimizer.setdefault(int(match[1]), {})[match[2]] = left.pop(name)
        meter = left.pop("meter", None)
        if meter is not None and (not meter.is_floating_point() or meter.shape[1:] != (3,)):
            raise RefusedError("meter: should be rows of three numbers", ANOTHER_COPY)
        count = sum(name.startswith("random.cuda.") for name in left)
        names = ("random.cpu", *(f"random.cuda.{i}" for i in range(count)))
        states = [left.pop(name) for name in names if name in left]
        _refuse_unknown_tensors(left)
        if len(states) < len(names) or not all(state.dtype == torch.uint8 and state.dim() == 1 for state in states):
            raise RefusedError("the states of its random generators are missing or damaged", ANOTHER_COPY)
        return cls(model, optimizer, RandomStates(states[0], states[1:]), meter)


def validate_checkpoint(metadata: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[Metadata, TensorGroups]:
    """Returns the content of a file in the current format, after any migrations.

    Raises:
        RefusedError: the content is not that of a checkpoint. The message names every wrong part of the metadata.
    """
    file_format = metadata.get("format")
    if type(file_format) is not int or not 1 <= file_format <= FORMAT:
        description = repr(file_format)[:40] if isinstance(file_format, int | str | float) else "of another type"
        raise RefusedError(f"checkpoint format {description}; this version of metacli reads 1 to {FORMAT}")
    for number in range(file_format, FORMAT):
        MIGRATIONS[number](metadata, tensors)
    try:
        valid = Metadata.model_validate(metadata)
    except ValidationError as e:
        wrong = [f"{'.'.join(map(str, p['loc']))[:80]}: {p['msg']}" for p in e.errors(include_url=False)[:10]]
        raise RefusedError(["not a checkpoint of metacli:", *wrong], ANOTHER_COPY) from None
    _check_recipe_size(valid.recipe)
    return valid, TensorGroups.unflatten(tensors, valid.resumable)


def _check_recipe_size(recipe: dict[str, Any]) -> None:
    """Raise a RefusedError if a recipe has more values or levels than a valid one can have."""
    level: list[Any] = [recipe]
    count = depth = 0
    while level:
        count, depth = count + len(level), depth + 1
        if count > MAX_RECIPE_VALUES or depth > MAX_RECIPE_DEPTH:
            raise RefusedError("not a checkpoint of metacli: its recipe is too large")
        nested = [part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list)]
        level = [value for part in nested for value in part]


def _refuse_unknown_tensors(left: dict[str, Tensor]) -> None:
    if left:
        raise RefusedError(f"not a checkpoint of metacli: unknown tensor {min(left)[:80]!r}", ANOTHER_COPY)
