"""BaseConfig: the base class of every section of a recipe. A Config is declared beside the class that it configures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, WrapValidator

from metacli.system.terminal import can_encode


def _validate_path_text(value: Any, validate: Callable[[Any], str]) -> str:
    return value if isinstance(value, str) and not can_encode("utf-8", value) else validate(value)


# A file name whose bytes may not be UTF-8. Python represents them by surrogates, which pydantic does not accept.
PathText = Annotated[str, WrapValidator(_validate_path_text)]


class BaseConfig(BaseModel):
    """A section of a recipe. Unknown keys are errors, values keep their types, and instances are immutable.

    Each key is a field with a description, which `metacli recipes` prints. The Config of a model or a task also has
    the key `name`, a Literal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def select_variant(cls, values: Any) -> type[BaseConfig]:
        """Returns the Config that validates `values`: this class, or one that extends it with keys of its own."""
        return cls

    def as_dict(self) -> dict[str, Any]:
        """Returns every key with its value, as plain values. Nested keys include those of their variant."""
        return self.model_dump(serialize_as_any=True)
