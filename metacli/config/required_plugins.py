"""What a recipe says of the plugins that its names come from: told where one is missing, and never imported."""

from __future__ import annotations

from typing import Any

from metacli.config.display import shown
from metacli.errors import UsageError
from metacli.registry import ENCODERS, MODELS, TASKS, known


def check_plugins(tree: dict[str, Any], source: str) -> None:
    """Raise a UsageError where a recipe uses a name that is not here and that, as it says itself, a plugin registers.

    Args:
        tree: a recipe; its key `plugins` maps such names to the plugins.
        source: for messages.
    """
    said = tree.get("plugins", {})
    if not isinstance(said, dict) or not all(isinstance(word, str) for item in said.items() for word in item):
        raise UsageError(f"{source}: plugins: names and the plugin that registers each, not {shown(said)}")
    task, model = (part if isinstance(part, dict) else {} for part in (tree.get("task"), tree.get("model")))
    encoder = model.get("encoder")
    kind = encoder.get("kind") if isinstance(encoder, dict) else None
    used = (TASKS, task.get("name")), (MODELS, model.get("name")), (ENCODERS, kind)
    for registry, name in used:
        if isinstance(name, str) and name in said and not known(registry, name):
            raise UsageError(
                f"{source}: needs {name!r} of the plugin {said[name]!r}, which has not been given",
                "give the file or module that registers it: --plugin FILE_OR_MODULE; in Python, import it first",
            )
