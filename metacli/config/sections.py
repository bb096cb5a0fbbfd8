"""The sections of a recipe, and the Config that validates each."""

from __future__ import annotations

from typing import Any

from metacli.config.base import BaseConfig
from metacli.config.train import TrainConfig
from metacli.registry import MODELS, TASKS, is_known, resolve

SECTIONS = ("task", "model", "train")


def find_config(section: str, values: Any) -> type[BaseConfig] | None:
    """Returns the Config of a section.

    Args:
        section: `task`, `model` or `train`. Any other word has no Config.
        values: the section as plain values. Its `name` chooses the Config of a task or model.

    Returns:
        The Config, or None if the name is missing or unknown.
    """
    if section == "train":
        return TrainConfig
    registry = {"task": TASKS, "model": MODELS}.get(section)
    name = values.get("name") if isinstance(values, dict) else None
    if registry is None or not isinstance(name, str) or not is_known(registry, name):
        return None
    config: type[BaseConfig] = resolve(registry, name, section).Config
    return config
