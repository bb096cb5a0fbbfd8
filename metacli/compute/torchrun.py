"""How this process was started: by itself, or by torchrun as one of several that train together. Without torch."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

from metacli.errors import MetacliError, UsageError
from metacli.system import terminal


class Place(NamedTuple):
    """Where a process stands among those that train together, as torchrun says in its environment.

    Attributes:
        rank: its number, from 0 to size - 1; the first one speaks and writes.
        size: how many they are, on all machines.
        local_rank: its number on its machine.
        local_size: how many they are on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def first(self) -> bool:
        """Whether it is the one that speaks and writes."""
        return self.rank == 0


def place() -> Place:
    """That of this process; the only one where nothing says otherwise.

    Raises:
        UsageError: the environment makes no sense.
    """
    size, rank = _number("WORLD_SIZE", 1), _number("RANK", 0)
    local_rank, local_size = _number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", 1)
    if size <= 1:
        return Place()
    if not (rank < size and local_rank < local_size <= size):
        said = f"RANK={rank} WORLD_SIZE={size} LOCAL_RANK={local_rank} LOCAL_WORLD_SIZE={local_size}"
        raise UsageError(f"no place among several processes: {said}", "start them with torchrun")
    return Place(rank, size, local_rank, local_size)


def _number(name: str, otherwise: int) -> int:
    text = os.environ.get(name, "")
    if text and not text.isdecimal():
        raise UsageError(f"{name}={text} in the environment is no number", f"unset {name}, or start with torchrun")
    return int(text) if text else otherwise


def identity() -> str:
    """What all processes have in common that one torchrun starts, restarts included; empty without torchrun.

    The id of its run is often `none`, so its process tells it from others; on Linux also when that began, as numbers
    of processes come again.
    """
    run = os.environ.get("TORCHELASTIC_RUN_ID")
    if not run:
        return ""
    agent = os.getppid()
    try:
        began = Path(f"/proc/{agent}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        began = ""
    return hashlib.sha256("\n".join((run, platform.node(), str(agent), began)).encode()).hexdigest()[:16]


@contextmanager
def silence_other_ranks(here: Place) -> Iterator[None]:
    """Within it only the first process is heard; errors that leave it are for everyone to tell."""
    if here.first:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def tell_error(error: MetacliError, here: Place) -> None:
    """An error on stderr, with the rank of who tells it where that is not the first."""
    first, *others = error.lines
    terminal.say(first if here.first else first.replace("error: ", f"error: rank {here.rank}: ", 1), *others)
