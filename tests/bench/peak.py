"""Peak memory of a step, each side in a process of its own: a process's peak never falls.

A child builds the case, notes its resident memory, runs two steps on one thread and reports how far the peak rose:
gradients, optimiser state, activations and scratch, without interpreter, libraries, weights and episode.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

_STEPS = 2


def peaks(keys: list[tuple[str, str]]) -> dict[tuple[str, str], float | None]:
    """MiB by (case, side), None where the child died, as it does for want of memory.

    Children are forked from a server that has imported torch and computed nothing.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.bench.cases"])
    found: dict[tuple[str, str], float | None] = {}
    for key in keys:
        with ProcessPoolExecutor(1, context) as child:
            try:
                found[key] = child.submit(peak, *key).result()
            except BrokenProcessPool:
                found[key] = None
    return found


def peak(case: str, side: str) -> float:
    """MiB that a side's steps take at most; to be called in a fresh process."""
    import torch

    from tests.bench.cases import CASES

    torch.set_num_threads(1)
    run = CASES[case].make().sides[side].run
    give_back()
    with suppress(OSError):  # not Linux: the peak of the building counts as memory that was there before
        Path("/proc/self/clear_refs").write_text("5")
    before = resident()
    for _ in range(_STEPS):
        run()
    return max(0.0, resident() - before)


def give_back() -> None:
    """Return freed memory to the system, which training otherwise keeps for its next step."""
    with suppress(OSError, AttributeError, TypeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def resident() -> float:
    """The peak of this process's resident memory in MiB, since its start or since it was last cleared."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
