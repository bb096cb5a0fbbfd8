"""Peak memory of a step. Each implementation runs in its own process, because a process's peak never falls.

A child builds the case, reads its resident memory, runs two steps on one thread and reports how far the peak rose:
gradients, optimizer state, activations and buffers, without interpreter, libraries, weights and episode.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from tqdm import tqdm

from metacli.system.operating_system import release_freed_memory
from metacli.system.peak_memory import peak_resident_bytes, reset_peak

_STEPS = 2


def peaks(keys: list[tuple[str, str]]) -> dict[tuple[str, str], float | None]:
    """Returns MiB by (case, implementation), None where the child died, for example because memory ran out.

    Children are forked from a server that has imported torch and computed nothing.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.bench.cases"])
    result: dict[tuple[str, str], float | None] = {}
    for key in tqdm(keys, desc="memory", disable=None):
        with ProcessPoolExecutor(1, context) as child:
            try:
                result[key] = child.submit(peak, *key).result()
            except BrokenProcessPool:
                result[key] = None
    return result


def peak(case: str, name: str) -> float:
    """Returns the MiB that the steps of an implementation take at most. Call it in a new process."""
    import torch

    from tests.bench.cases import CASES

    torch.set_num_threads(1)
    run = CASES[case].build().implementations[name].run
    release_freed_memory()
    reset_peak()  # works on Linux only; elsewhere the peak of building the case counts as used before
    before = peak_resident_bytes()
    for _ in range(_STEPS):
        run()
    after = peak_resident_bytes()
    assert before is not None
    assert after is not None
    return max(0, after - before) / 2**20
