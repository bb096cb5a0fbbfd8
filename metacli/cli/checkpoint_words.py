"""Checkpoints on the command line: as arguments, before or between KEY=VALUE, or by --checkpoint."""

from __future__ import annotations

import os
from collections.abc import Sequence

from metacli.errors import UsageError
from metacli.system import operating_system


def split_words(words: Sequence[str] | None, options: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Returns the checkpoints and the overrides KEY=VALUE.

    Args:
        words: the arguments. One that holds `=` and is not an existing path is an override, any other a checkpoint.
        options: the values of --checkpoint, which come first.

    Raises:
        UsageError: no checkpoint is given.
    """
    checkpoints, overrides = list(options or []), list[str]()
    for word in words or []:
        is_override = "=" in word and not os.path.exists(operating_system.expand_home(word))
        (overrides if is_override else checkpoints).append(word)
    if not checkpoints:
        hint = "name a run directory, a .safetensors file or a bundled model, which `metacli models` lists"
        raise UsageError("no checkpoint is given", hint)
    return checkpoints, overrides


def take_single(checkpoints: Sequence[str]) -> str:
    """Returns the checkpoint of a verb that takes only one.

    Raises:
        UsageError: there are several.
    """
    if len(checkpoints) > 1:
        raise UsageError(f"{len(checkpoints)} checkpoints are given: {', '.join(checkpoints)}", "name one of them")
    return checkpoints[0]


def take_out_checkpoint(words: Sequence[str] | None, option: str | None) -> tuple[str | None, list[str]]:
    """Returns the checkpoint among words that are otherwise file names, None without one, and the other words.

    Args:
        words: the arguments.
        option: the value of --checkpoint.

    Raises:
        UsageError: several checkpoints are given, or a word is neither a file nor a checkpoint.
    """
    from metacli.checkpoints.bundled import find_checkpoint, names_checkpoint

    named = [word for word in words or [] if names_checkpoint(word)]
    for word in words or []:
        if not os.path.exists(operating_system.expand_home(word)) and word.isidentifier():
            find_checkpoint(word)  # explains a name that is mistyped, or is a recipe's
    checkpoints = ([] if option is None else [option]) + named
    others = [word for word in words or [] if word not in named]
    return take_single(checkpoints) if checkpoints else None, others
