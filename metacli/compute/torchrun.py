"""The environment variables of torchrun, which starts distributed training. Imports no torch."""

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

    Raises:
        UsageError: the variables in the environment contradict each other.
    """
    size, rank = _number("WORLD_SIZE", 1), _number("RANK", 0)
    local_rank, local_size = _number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", 1)
    if size <= 1:
        return RankInfo()
    if not (rank < size and local_rank < local_size <= size):
        variables = f"RANK={rank} WORLD_SIZE={size} LOCAL_RANK={local_rank} LOCAL_WORLD_SIZE={local_size}"
        raise UsageError(
            f"the ranks in the environment contradict each other: {variables}", "start the processes with torchrun"
        )
    return RankInfo(rank, size, local_rank, local_size)


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if text and not text.isdecimal():
        raise UsageError(f"{name}={text} in the environment is not a number", f"unset {name}, or start with torchrun")
    return int(text) if text else default


def launch_id() -> str:
    """Returns an id that all processes of one torchrun share, restarts included; empty without torchrun.

    torchrun's own run id is often `none`. So the id also covers the process id of torchrun and, on Linux, its start
    time, since process ids are reused.
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
def silence_other_ranks(rank: RankInfo) -> Iterator[None]:
    """In the block, only the first process prints. Errors that leave the block can be printed by every process."""
    if rank.is_first:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def print_error(error: MetacliError, rank: RankInfo) -> None:
    """Print an error on stderr, with the rank of this process unless it is the first."""
    first, *more_lines = error.lines
    terminal.print_to_stderr(
        first if rank.is_first else first.replace("error: ", f"error: rank {rank.rank}: ", 1), *more_lines
    )
