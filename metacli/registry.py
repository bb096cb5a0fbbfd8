"""The registered names of all models, task distributions and encoders.

To add a class to the package, write its file and add a line here.

A class is imported only when it is needed, so that names are listed without importing torch. `metacli.register` adds
user classes through `add_class`. Installed plugins are imported when a name is unknown.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from metacli import plugins
from metacli.errors import UsageError

Registry = dict[str, str | type[Any]]  # name -> "module:Class", or a class added by a user

MODELS: Registry = {
    "lstm": "metacli.models.lstm:LSTM",
    "ntm": "metacli.models.memory.ntm:NTM",
    "mann": "metacli.models.memory.mann:MANN",
    "dnc": "metacli.models.memory.dnc:DNC",
    "snail": "metacli.models.snail:SNAIL",
    "transformer": "metacli.models.transformer:Transformer",
    "deltanet": "metacli.models.deltanet:DeltaNet",
    "prototypical": "metacli.models.prototypical:Prototypical",
}

TASKS: Registry = {
    "omniglot": "metacli.tasks.images.omniglot:Omniglot",
    "strokes": "metacli.tasks.images.strokes:Strokes",
    "folder": "metacli.tasks.images.folder:Folder",
    "clusters": "metacli.tasks.clusters:Clusters",
    "sinusoid": "metacli.tasks.sinusoid:Sinusoid",
    "linear": "metacli.tasks.linear:Linear",
    "gp": "metacli.tasks.gp:GaussianProcess",
    "copy": "metacli.tasks.sequences.copy:Copy",
    "repeat-copy": "metacli.tasks.sequences.copy:RepeatCopy",
    "associative-recall": "metacli.tasks.sequences.recall:AssociativeRecall",
    "dynamic-ngrams": "metacli.tasks.sequences.ngrams:DynamicNgrams",
    "coin": "metacli.tasks.sequences.coin:Coin",
    "markov": "metacli.tasks.sequences.markov:Markov",
    "priority-sort": "metacli.tasks.sequences.sort:PrioritySort",
}

ENCODERS: Registry = {}  # further values of `encoder.kind`, beside those of EncoderConfig

ORIGINS: dict[str, str] = {}  # added name -> plugin that registered it
_RESERVED = ("train", "flat", "conv")
_LONGEST_SUGGESTED = 100  # characters of a word that gets a suggestion
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def add_class(registry: Registry, name: str, cls: type[Any]) -> None:
    """Adds a class under a name that no model, task or encoder has.

    A class that is defined again, as when a notebook cell is run twice, replaces its earlier definition.

    Raises:
        ValueError: the class already has another name, the name is taken, or the name is not valid. A valid name has
            letters, digits, - and _, starts with a letter and has at most 64 characters.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a valid name: use at most 64 letters, digits, - and _, with a letter first")
    for table in (MODELS, TASKS, ENCODERS):
        for taken, holder in table.items():
            redefined = table is registry and not isinstance(holder, str) and _path_of(holder) == _path_of(cls)
            if taken == name and not redefined:
                raise ValueError(f"the name {name!r} is taken by {_path_of(holder)}")
            if taken != name and (holder is cls or holder == _path_of(cls)):
                raise ValueError(f"{_path_of(cls)} is already registered as {taken!r}: register a subclass instead")
    if name in _RESERVED:
        raise ValueError(f"the name {name!r} is taken by metacli itself")
    registry[name], ORIGINS[name] = cls, plugins.find_origin(cls)


def is_known(registry: Registry, name: str) -> bool:
    """Returns whether a class has this name. Imports the installed plugins if no other class has it."""
    if name not in registry:
        plugins.load_installed_plugins()
    return name in registry


def find_origins(names: Iterable[str]) -> dict[str, str]:
    """Returns the plugin that registered each name. Names of metacli's own classes are left out."""
    return {name: ORIGINS[name] for name in names if name in ORIGINS}


def resolve(registry: Registry, name: str, kind: str) -> Any:
    """Returns the class registered as `name`.

    Args:
        registry: the registry to search.
        name: the registered name.
        kind: what the class is, such as `model`, for the message.

    Raises:
        UsageError: the name is unknown. The message lists the known names.
    """
    if not is_known(registry, name):
        suggestion = did_you_mean(name, registry)
        raise UsageError(f"unknown {kind} {name!r}{suggestion}", f"known: {', '.join(registry)}")
    path = registry[name]
    if not isinstance(path, str):
        return path
    module, _, cls = path.partition(":")
    return getattr(importlib.import_module(module), cls)


def build(registry: Registry, config: Any, *args: Any) -> Any:
    """Returns a new instance of the class registered as `config.name`, built as `cls(config, *args)`."""
    return resolve(registry, config.name, "name")(config, *args)


def did_you_mean(word: Any, known_words: Iterable[Any]) -> str:
    """Returns ', did you mean X?' if a known word is similar, else an empty string."""
    if not isinstance(word, str) or len(word) > _LONGEST_SUGGESTED:
        return ""
    similar = get_close_matches(word, [str(candidate) for candidate in known_words], n=1, cutoff=0.6)
    return f", did you mean {similar[0]!r}?" if similar else ""


def _path_of(cls: str | type[Any]) -> str:
    return cls if isinstance(cls, str) else f"{cls.__module__}:{cls.__qualname__}"
