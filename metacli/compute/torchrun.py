"""The environment variables of torchrun, which starts distributed training. Imports no torch."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

from metacli.errors import MetacliError, UsageError
from metacli.system import terminal

_NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")  # beside WORLD_SIZE; the local ones default to one process a machine
_HINT = "start the processes with torchrun, or for one process: unset WORLD_SIZE"
_MAX_DIGITS = 9
_TORCHRUN = re.compile(rb"torchrun|torch[./]distributed")  # in the command line of the process that starts the others


class RankInfo(NamedTuple):
    """The rank of a process among those that train together.

    Attributes:
        rank: its number, from 0 to size - 1.
        size: the number of processes on all machines.
        local_rank: its number among the processes of its machine.
        local_size: the number of processes on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes files."""
        return self.rank == 0


def current_rank() -> RankInfo:
    """Returns the rank of this process from the environment; rank 0 of 1 without torchrun.

    Only what runs in several processes may call it. The variables may be left over from another program, so everything
    else ignores them.

    Raises:
        UsageError: the environment asks for several processes, and a variable is missing or wrong.
    """
    size = _number("WORLD_SIZE", 1)
    if size <= 1:
        return RankInfo()
    if missing := [name for name in _NEEDED if not os.environ.get(name)]:
        names = f"{', '.join(missing[:-1])} and {missing[-1]} are" if len(missing) > 1 else f"{missing[0]} is"
        raise UsageError(f"WORLD_SIZE={size} in the environment asks for {size} processes, but {names} missing", _HINT)
    if not 0 < (port := _number("MASTER_PORT", 0)) < 1 << 16:
        raise UsageError(f"MASTER_PORT={port} in the environment is not a port from 1 to 65535", _HINT)
    rank, local_rank, local_size = _number("RANK", 0), _number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", 1)
    if not (rank < size and local_rank < local_size <= size):
        variables = f"RANK={rank} WORLD_SIZE={size} LOCAL_RANK={local_rank} LOCAL_WORLD_SIZE={local_size}"
        raise UsageError(f"the ranks in the environment contradict each other: {variables}", _HINT)
    return RankInfo(rank, size, local_rank, local_size)


def rank_if_valid() -> RankInfo:
    """Returns `current_rank`, rank 0 of 1 if the variables are incomplete or wrong."""
    try:
        return current_rank()
    except UsageError:
        return RankInfo()


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if text and not (text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise UsageError(f"{name}={text:.20} in the environment is not a whole number from 0", _HINT)
    return int(text) if text else default


def launch_id() -> str:
    """Returns an id that all processes of one torchrun share, restarts included; empty without torchrun.

    torchrun's own run id is often `none`. So the id also covers the process id of torchrun and, on Linux, its start
    time, since process ids are reused. On Linux, the parent must be torchrun: a shell that has inherited its variables
    starts a new run with each command.
    """
    run = os.environ.get("TORCHELASTIC_RUN_ID")
    if not run:
        return ""
    agent = os.getppid()
    try:
        if not _TORCHRUN.search(Path(f"/proc/{agent}/cmdline").read_bytes()):
            return ""
        began = Path(f"/proc/{agent}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        began = ""
    return hashlib.sha256("\n".join((run, platform.node(), str(agent), began)).encode()).hexdigest()[:16]


@contextmanager
def silence_other_ranks(rank: RankInfo) -> Iterator[None]:
    """In the block, only the first process prints. Errors that leave the block can be printed by every process."""
    if rank.is_first:
        yield
        return
    with redirect_stdout(terminal.Nowhere()), redirect_stderr(terminal.Nowhere()):
        yield


def print_idle(rank: RankInfo) -> None:
    """Print that this process has nothing to do, so that its exit status of 0 is no riddle."""
    terminal.print_to_stderr(f"rank {rank.rank} of {rank.size} has nothing to do: rank 0 prints the result")


def print_error(error: MetacliError, rank: RankInfo) -> None:
    """Print an error on stderr, with the rank of this process unless it is the first."""
    first, *more_lines = error.lines
    terminal.print_to_stderr(
        first if rank.is_first else first.replace("error: ", f"error: rank {rank.rank}: ", 1), *more_lines
    )
