"""What must be in a checkpoint, and of which kind, before anything is made of it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from torch import Tensor

from metacli.checkpoints.archive import RefusedError

FORMAT = 3  # 2: the classes that were trained on, the random state; 3: a digest of the file, what the run computed with
DEEPEST, MOST = 12, 10_000  # levels and values of a recipe


def _builtin(value: Any) -> Any:
    if isinstance(value, Tensor):  # which pydantic takes for a number
        raise ValueError("should be a plain value, not a tensor")
    return value


Number = Annotated[float, BeforeValidator(_builtin)]


def _rows(value: Tensor) -> Tensor:
    if not value.is_floating_point() or value.shape[1:] != (3,):
        raise ValueError("should be rows of three numbers")
    return value


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)


def _without_packed(value: Any) -> Any:
    """None in place of the compressed provenance that earlier files of this format hold."""
    return None if isinstance(value, Tensor) else value


class RandomStates(_Part):
    """The states of PyTorch's random generators.

    Attributes:
        cpu: (n,) uint8.
        cuda: of each GPU, (n,) uint8.
    """

    cpu: Tensor
    cuda: list[Tensor]


class Content(_Part):
    """A checkpoint as it is in its file; see `metacli.checkpoints.checkpoint.Checkpoint`.

    Attributes:
        recipe: its plain form, of any format.
        provenance: see `Provenance.as_dict`; None in a file that holds it in an older form.
    """

    format: int
    recipe: dict[str, Any]
    step: Annotated[int, Field(ge=0, lt=2**53)]
    best: Number | None
    model: dict[str, Tensor]
    optimizer: dict[str, Any] | None
    provenance: Annotated[dict[str, Any] | None, BeforeValidator(_without_packed)] = None
    random: RandomStates | None = None
    environment: dict[str, str | int | Number | None] | None = None
    meter: Annotated[Tensor, AfterValidator(_rows)] | None = None


def checked(found: Any, sealed: bool) -> Content:
    """What a file held, if it is what a checkpoint holds.

    Args:
        found: tensors and plain values.
        sealed: whether the file's digest was there, and right.

    Raises:
        RefusedError: it is not; names every part that is wrong.
    """
    needed = {"format", "recipe", "step", "best", "model", "optimizer"}
    if not isinstance(found, dict) or not needed <= found.keys():
        raise RefusedError("not a checkpoint of metacli")
    given = found["format"]
    if type(given) is not int or not 1 <= given <= FORMAT:
        said = repr(given) if isinstance(given, int | str | float) else "of another kind"
        raise RefusedError(f"checkpoint format {said[:40]}; this metacli reads 1 to {FORMAT}")
    if given > 2 and not sealed:
        raise RefusedError(
            "truncated, or changed: the digest at its end is missing",
            "take another copy of it, or another checkpoint of the run",
        )
    try:
        content = Content.model_validate({key: value for key, value in found.items() if key in Content.model_fields})
    except ValidationError as e:
        wrong = [f"{'.'.join(map(str, p['loc']))[:80]}: {p['msg']}" for p in e.errors(include_url=False)[:10]]
        raise RefusedError(
            ["not a checkpoint of metacli:", *wrong], "take another copy of it, or another checkpoint"
        ) from None
    return content.model_copy(update={"recipe": _plain(content.recipe, [MOST], DEEPEST)})


def _plain(value: Any, room: list[int], deeper: int) -> Any:
    """A copy of a tree of plain values, which is no larger or deeper than a recipe is; one that ends in itself is."""
    room[0] -= 1
    if not deeper or room[0] < 0 or not isinstance(value, dict | list | tuple | str | int | float | None):
        raise RefusedError("not a checkpoint of metacli: its recipe is none")
    if isinstance(value, dict):
        return {key: _plain(part, room, deeper - 1) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, room, deeper - 1) for part in value]
    return value
