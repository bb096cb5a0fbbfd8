"""`register`: registers a user's own task distribution, model or encoder under a name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, TypeVar, overload

from pydantic import Field, create_model
from torch import nn

from metacli.config.base import BaseConfig
from metacli.models.base import MetaLearner
from metacli.models.encoder import EncoderConfig
from metacli.registry import ENCODERS, MODELS, TASKS, Registry, add_class
from metacli.tasks.base import Tasks

C = TypeVar("C", bound=type)


@overload
def register(name: str) -> Callable[[C], C]: ...
@overload
def register(name: str, cls: C) -> C: ...
def register(name: str, cls: Any = None) -> Any:
    """Registers a class under a name for recipes, the command line and the Python interface.

    Use it as a decorator, `@metacli.register("mine")`, or as a call, `metacli.register("mine", Mine)`. The class is

    - a task distribution: extends `metacli.Tasks`. A nested `Config` holds the keys of the recipe's section `task`.
    - a model: extends `metacli.MetaLearner` or `metacli.Recurrent`. A nested `Config` holds its keys, among them
      `encoder: metacli.EncoderConfig = metacli.EncoderConfig()`.
    - an encoder: any other `torch.nn.Module`, available to every model as `model.encoder.kind`. It is built as
      `cls(config, x_shape)` and maps inputs (M, *x_shape) to features (M, ...). A nested
      `Config(metacli.EncoderConfig)` adds keys.

    A checkpoint records the plugin that registered a name: its file or module, as the user named it (see
    `metacli.plugins`).

    Args:
        name: letters, digits, - and _. It becomes the value of `name` (for an encoder: `kind`) in the Config.
        cls: the class; None if used as a decorator.

    Returns:
        The class.

    Raises:
        ValueError: the name is taken. Defining and registering the same class again replaces it.
        TypeError: the class extends none of these, or lacks a required part.
    """
    if not isinstance(name, str):
        raise TypeError(f'the first argument is a name, as in @metacli.register("mine"), not {name!r}')
    return _register(name, cls) if cls is not None else lambda decorated: _register(name, decorated)


def _register(name: str, cls: Any) -> Any:
    registry, key, base = _classify(cls)
    if inspect.isabstract(cls):
        raise TypeError(f"{cls.__name__} does not define {', '.join(sorted(cls.__abstractmethods__))}")
    config = getattr(cls, "Config", EncoderConfig if registry is ENCODERS else None)
    if not (isinstance(config, type) and issubclass(config, base)):
        raise TypeError(
            f"{cls.__name__} needs a nested class Config that extends metacli.{base.__name__.removeprefix('Base')}"
        )
    if registry is MODELS and "encoder" not in config.model_fields:
        raise TypeError(f"{cls.__name__}.Config needs encoder: metacli.EncoderConfig = metacli.EncoderConfig()")
    add_class(registry, name, cls)
    fields: Any = {key: (Literal[name], Field(name, description="Registered name."))}
    cls.Config = create_model(config.__name__, __base__=config, __module__=cls.__module__, **fields)
    return cls


def _classify(cls: Any) -> tuple[Registry, str, type[BaseConfig]]:
    """Returns the registry of a class, the key of its Config that holds the name, and the base of the Config."""
    if not isinstance(cls, type):
        raise TypeError(f"{cls!r} is not a class")
    if issubclass(cls, Tasks):
        return TASKS, "name", BaseConfig
    if issubclass(cls, MetaLearner):
        return MODELS, "name", BaseConfig
    if issubclass(cls, nn.Module):
        return ENCODERS, "kind", EncoderConfig
    raise TypeError(f"{cls.__name__} must extend metacli.Tasks, metacli.MetaLearner or torch.nn.Module")
