"""The names of all models and tasks. A new one is one file and one line here.

A class is imported when it is built, so that listing names stays free of torch.
"""

from __future__ import annotations

import importlib
from difflib import get_close_matches
from typing import Any

from metacli.errors import UsageError

MODELS = {
    "lstm": "metacli.models.lstm:LSTM",
    "ntm": "metacli.models.memory.ntm:NTM",
    "mann": "metacli.models.memory.mann:MANN",
    "dnc": "metacli.models.memory.dnc:DNC",
    "snail": "metacli.models.snail:SNAIL",
    "transformer": "metacli.models.transformer:Transformer",
}

TASKS = {
    "omniglot": "metacli.tasks.images.omniglot:Omniglot",
    "strokes": "metacli.tasks.images.strokes:Strokes",
    "folder": "metacli.tasks.images.folder:Folder",
    "clusters": "metacli.tasks.clusters:Clusters",
    "sinusoid": "metacli.tasks.sinusoid:Sinusoid",
    "copy": "metacli.tasks.sequences.copy:Copy",
    "repeat-copy": "metacli.tasks.sequences.copy:RepeatCopy",
    "associative-recall": "metacli.tasks.sequences.recall:AssociativeRecall",
    "dynamic-ngrams": "metacli.tasks.sequences.ngrams:DynamicNgrams",
    "priority-sort": "metacli.tasks.sequences.sort:PrioritySort",
}


def resolve(registry: dict[str, str], name: str, kind: str) -> Any:
    """The class registered as `name`.

    Raises:
        UsageError: the name is unknown; the message lists the known ones.
    """
    if name not in registry:
        near = did_you_mean(name, registry)
        raise UsageError(f"unknown {kind} {name!r}{near}", f"known: {', '.join(registry)}")
    module, _, cls = registry[name].partition(":")
    return getattr(importlib.import_module(module), cls)


def build(registry: dict[str, str], config: Any, *args: Any) -> Any:
    """An instance of the class that `config.name` names, from its config and what else it takes."""
    return resolve(registry, config.name, "name")(config, *args)


def did_you_mean(word: str, known: Any) -> str:
    """', did you mean X?' where a known word is near, else the empty string."""
    near = get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.6)
    return f", did you mean {near[0]!r}?" if near else ""
