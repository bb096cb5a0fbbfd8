"""The names of all models, tasks and encoders. A new one of the package is one file and one line here.

A class is imported when it is built, so that listing names stays free of torch. Classes of one's own are added by
`metacli.register`, here by `add`; installed plugins are imported where a name is none of the others.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from metacli import plugins
from metacli.errors import UsageError

Registry = dict[str, str | type[Any]]  # name to "module:Class", or to a class that was added

MODELS: Registry = {
    "lstm": "metacli.models.lstm:LSTM",
    "ntm": "metacli.models.memory.ntm:NTM",
    "mann": "metacli.models.memory.mann:MANN",
    "dnc": "metacli.models.memory.dnc:DNC",
    "snail": "metacli.models.snail:SNAIL",
    "transformer": "metacli.models.transformer:Transformer",
}

TASKS: Registry = {
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

ENCODERS: Registry = {}  # values of `encoder.kind` beside those of EncoderConfig

ORIGINS: dict[str, str] = {}  # of every added name, the plugin that it comes from
_RESERVED = ("train", "flat", "conv")
_LONGEST = 100  # characters of a word that may be meant for a known one
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def add(registry: Registry, name: str, cls: type[Any]) -> None:
    """Add a class by a name that no model, task or encoder has.

    A class that is defined again, as by a notebook's cell that is run twice, takes the place of what it was.

    Raises:
        ValueError: the class has another name already; the name is taken, or is none: letters, digits, - and _, a
            letter first, 64 at most.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name: letters, digits, - and _, a letter first, 64 at most")
    for table in (MODELS, TASKS, ENCODERS):
        for taken, holder in table.items():
            again = table is registry and not isinstance(holder, str) and _home(holder) == _home(cls)
            if taken == name and not again:
                raise ValueError(f"the name {name!r} is taken by {_home(holder)}")
            if taken != name and (holder is cls or holder == _home(cls)):
                raise ValueError(f"{_home(cls)} has the name {taken!r} already: extend it, and register that")
    if name in _RESERVED:
        raise ValueError(f"the name {name!r} is taken by metacli itself")
    registry[name], ORIGINS[name] = cls, plugins.origin(cls)


def known(registry: Registry, name: str) -> bool:
    """Whether a class has this name; installed plugins are imported where it is none of the others."""
    if name not in registry:
        plugins.load_installed()
    return name in registry


def origins(names: Iterable[str]) -> dict[str, str]:
    """Of these names, those that are not the package's own, and the plugin that each comes from."""
    return {name: ORIGINS[name] for name in names if name in ORIGINS}


def resolve(registry: Registry, name: str, kind: str) -> Any:
    """The class registered as `name`.

    Raises:
        UsageError: the name is unknown; the message lists the known ones.
    """
    if not known(registry, name):
        near = did_you_mean(name, registry)
        raise UsageError(f"unknown {kind} {name!r}{near}", f"known: {', '.join(registry)}")
    home = registry[name]
    if not isinstance(home, str):
        return home
    module, _, cls = home.partition(":")
    return getattr(importlib.import_module(module), cls)


def build(registry: Registry, config: Any, *args: Any) -> Any:
    """An instance of the class that `config.name` names, from its config and what else it takes."""
    return resolve(registry, config.name, "name")(config, *args)


def did_you_mean(word: Any, known: Any) -> str:
    """', did you mean X?' where a known word is near, else the empty string."""
    if not isinstance(word, str) or len(word) > _LONGEST:
        return ""
    near = get_close_matches(word, [str(k) for k in known], n=1, cutoff=0.6)
    return f", did you mean {near[0]!r}?" if near else ""


def _home(cls: str | type[Any]) -> str:
    return cls if isinstance(cls, str) else f"{cls.__module__}:{cls.__qualname__}"
