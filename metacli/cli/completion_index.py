"""What tab completion offers, in a file: verbs, recipes, bundled models and recipe keys, readable without slow imports.

`python -m tests.completion_index` writes the file anew. A test compares it with the code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")


@cache
def load_index() -> dict[str, Any]:
    """Returns the content of the file.

    Returns:
        `verbs`: by name, `help`, `options` by their flags, and the names of the `arguments`. The empty name stands for
        `metacli` itself. `recipes`: by name, `task`, `model` and `purpose`. `bundled`: names of the bundled models.
        `keys`: by section (`train`, `task copy`, `model ntm`), each key with the `values` to offer and its `meaning`.
        `seed`: likewise.
    """
    index: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return index


def keys_of(index: dict[str, Any], recipe: str | None = None) -> dict[str, dict[str, Any]]:
    """Returns the dotted keys of a bundled recipe, or of all tasks and models if the recipe is not a bundled one."""
    entry = index["recipes"].get(recipe)
    keys = {"seed": index["seed"]}
    for part, listed in index["keys"].items():
        section, _, name = part.partition(" ")
        if not name or entry is None or entry[section] == name:
            keys |= {f"{section}.{key}": content for key, content in listed.items()}
    return keys


def suggest_keys(word: str) -> Sequence[str]:
    """Returns the dotted keys whose last part is a word, such as `train.lr` for `lr`."""
    return [key for key in keys_of(load_index()) if key.rpartition(".")[2] == word]
