"""Chooses the number of CPU threads by measuring."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from metacli.compute import cpu
from metacli.errors import UsageError

GAIN = 0.9  # more threads are used only if they need less than this share of the time of one thread
ROUNDS = 3  # maximum number of measurements
CLEAR = 0.75  # ratio to the time of one thread, or its inverse, that needs no further round
SECONDS = 2.0  # after this time no further round starts
SLOWER = 1.5  # a resumed run keeps its number of threads unless it is this many times slower than the best


@dataclass(frozen=True)
class Threads:
    """A number of CPU threads.

    Attributes:
        count: the number.
        reason: why it was chosen.
    """

    count: int
    reason: str

    def __str__(self) -> str:
        """Returns text such as `2: 2 cores of this process; a trial step takes 0.2 s with 1, 0.1 s with 2`."""
        return f"{self.count}: {self.reason}"


def parse_thread_count(text: str) -> int | None:
    """Returns the number of threads that `text` gives; None for `auto`.

    Raises:
        UsageError: neither `auto` nor a whole number from 1 to 1024.
    """
    if text == "auto":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise UsageError(f"--threads {text}: should be a whole number from 1 to 1024, or auto")
    return int(text)


def choose_threads(
    requested_count: int | None, trial: Callable[[], object] | None = None, earlier: int | None = None
) -> Threads:
    """Set and return the number of threads.

    Without a number, `trial` is timed with 1, 2, 4, ... threads, up to all cores that this process may use. The fastest
    number is chosen, or 1 if more threads save less than a tenth of the time. Threads wait for each other many times in
    a step: if another process keeps a core busy, two threads can be several times slower than one. Small models gain
    nothing.

    Args:
        requested_count: the number, or None to measure it.
        trial: a sample of the work, without side effects. None if there is too little work to measure; 1 thread is then
            used.
        earlier: the number that the run used before it was resumed. It is kept unless it is much slower now, because
            other numbers round differently.
    """
    if requested_count is not None:
        torch.set_num_threads(requested_count)
        return Threads(requested_count, "as requested")
    cores, limit = cpu.available_cores()
    if cores == 1 or trial is None:
        torch.set_num_threads(1)
        return Threads(1, f"1 {limit}" if cores == 1 else "one is enough for this little work")
    if earlier == 1:
        torch.set_num_threads(1)
        return Threads(1, "as before the run was resumed")
    counts = [2**i for i in range(cores.bit_length()) if 2**i < cores] + [cores]
    times = _measure(counts, trial)
    best = min(counts, key=lambda n: times[n])
    if times[best] > GAIN * times[1]:
        best = 1
    if earlier in times and times[earlier] < SLOWER * times[best]:
        best = earlier
    torch.set_num_threads(best)
    tried = ", ".join(f"{times[n]:.2g} s with {n}" for n in counts)
    return Threads(best, f"{cores} {limit}; a trial step takes {tried}")


def _measure(counts: list[int], trial: Callable[[], object]) -> dict[int, float]:
    """Returns the median seconds of the trial with each number of threads, measured in turn."""
    times: dict[int, list[float]] = {n: [] for n in counts}
    trial()  # the first call also loads and compiles
    began, medians = time.monotonic(), dict.fromkeys(counts, 0.0)
    for _ in range(ROUNDS):
        for n in counts:
            torch.set_num_threads(n)
            start = time.perf_counter()
            trial()
            times[n].append(time.perf_counter() - start)
            medians[n] = statistics.median(times[n])
        gain = min(medians[n] for n in counts[1:]) / medians[1]
        if not CLEAR < gain < 1 / CLEAR or time.monotonic() - began > SECONDS:
            break
    return medians
