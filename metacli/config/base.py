"""BaseConfig: the base of every typed part of a recipe, declared beside the class that it configures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, WrapValidator

from metacli.system.terminal import carries


def _path_text(value: Any, check: Callable[[Any], str]) -> str:
    return value if isinstance(value, str) and not carries("utf-8", value) else check(value)


# A file name, whose bytes need not be UTF-8: pydantic itself takes no string with the surrogates that stand for them.
PathText = Annotated[str, WrapValidator(_path_text)]


class BaseConfig(BaseModel):
    """A part of a recipe: unknown keys are errors, values are not coerced across types, instances do not change.

    Each key is a field with a description, which `metacli recipes` prints. The Config of a model or a task also has
    the key `name`, a Literal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def variant(cls, values: Any) -> type[BaseConfig]:
        """The Config that `values` are of: this one, or one that extends it by keys of its own."""
        return cls

    def plain(self) -> dict[str, Any]:
        """Every key with its value, as plain values; those within a key with all that its Config has."""
        return self.model_dump(serialize_as_any=True)
