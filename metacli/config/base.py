"""BaseConfig: the base of every typed part of a recipe, declared beside the class that it configures."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class BaseConfig(BaseModel):
    """A part of a recipe: unknown keys are errors, values are not coerced across types, instances do not change.

    A Config of a model or a task also has the key `name`, a Literal.

    Attributes:
        name: which one it is, by its registered name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
