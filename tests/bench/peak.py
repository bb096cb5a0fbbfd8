"""Peak memory of a step, each side in a process of its own: a process's peak never falls.

A child builds the case, notes its resident memory, runs two steps on one thread and reports how far the peak rose:
gradients, optimiser state, activations and scratch, without interpreter, libraries, weights and episode.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from metacli.system.operating_system import release_freed_memory
from metacli.system.peak_memory import peak_resident_bytes, reset_peak

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
    release_freed_memory()
    reset_peak()  # not Linux: the peak of the building counts as memory that was there before
    before = peak_resident_bytes()
    for _ in range(_STEPS):
        run()
    after = peak_resident_bytes()
    assert before is not None
    assert after is not None
    return max(0, after - before) / 2**20
