"""Checks that the plugins that a recipe needs are loaded. A plugin is never imported because a recipe names it."""

from __future__ import annotations

from typing import Any

from metacli.config.display import shorten_value
from metacli.errors import UsageError
from metacli.registry import ENCODERS, MODELS, TASKS, is_known


def check_required_plugins(tree: dict[str, Any], source: str) -> None:
    """Raises a UsageError if a recipe uses a name of a plugin that is not loaded.

    Args:
        tree: a recipe as plain values. Its key `plugins` maps names to the plugins that register them.
        source: where the recipe comes from, for messages.
    """
    plugins = tree.get("plugins", {})
    if not isinstance(plugins, dict) or not all(isinstance(word, str) for item in plugins.items() for word in item):
        raise UsageError(
            f"{source}: plugins: should map names to the plugins that register them, not {shorten_value(plugins)}"
        )
    task, model = (part if isinstance(part, dict) else {} for part in (tree.get("task"), tree.get("model")))
    encoder = model.get("encoder")
    kind = encoder.get("kind") if isinstance(encoder, dict) else None
    names = (TASKS, task.get("name")), (MODELS, model.get("name")), (ENCODERS, kind)
    for registry, name in names:
        if isinstance(name, str) and name in plugins and not is_known(registry, name):
            raise UsageError(
                f"{source}: needs {name!r} from the plugin {plugins[name]!r}, which is not loaded",
                "load the file or module that registers it with --plugin FILE_OR_MODULE; in Python, import it",
            )
