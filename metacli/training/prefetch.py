"""Training episodes in order, sampled while the step before them computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import fields, replace

import torch

from metacli.compute import cpu
from metacli.compute.device import flushes_denormals
from metacli.episode import Episode
from metacli.tasks.base import Tasks

AHEAD = 3  # batches that are ready or in the making: one would do, but for the steps that are shorter than others


def batches(
    tasks: Tasks, batch: int, start: int, stop: int, device: torch.device, beside: bool, share: range | None = None
) -> Generator[Episode, None, None]:
    """`tasks.batch("train", i * batch, batch)` for i from `start` to `stop` - 1, on the CPU, ready for `device`.

    Close it (`contextlib.closing`) where it may not be read to its end: that ends the thread.

    Args:
        beside: whether one thread samples ahead, else each batch is sampled when it is asked for; the same episodes,
            bit for bit. It pays where a core is free: where this process may use more cores than the step has
            threads, or the step is on a GPU. Where none is, it costs: a tenth of steps that are as short as sampling.
        share: which of each batch's tasks, numbered from 0, another process does not make; None: all.

    Raises:
        Exception: what `tasks.batch` raises, when its batch is asked for.
    """
    own = range(batch) if share is None else share

    def make(i: int) -> Episode:
        episode = tasks.batch("train", i * batch + own.start, len(own))
        return pinned(episode) if device.type == "cuda" else episode

    if not beside:
        for i in range(start, stop):
            yield make(i)
        return
    sampler = Sampler(make, range(start, stop))
    try:
        for _ in range(start, stop):
            yield sampler.next()
    finally:
        sampler.end()


def has_core(device: torch.device, threads: int) -> bool:
    """Whether a core is free to sample beside steps on a device that take so many threads."""
    cores = cpu.cores()[0]
    return cores > 1 and (device.type != "cpu" or cores > threads)


def pinned(episode: Episode) -> Episode:
    """The episode in page-locked memory, which a GPU reads by itself while the processor goes on."""
    tensors = {f.name: getattr(episode, f.name) for f in fields(episode)}
    return replace(episode, **{name: tensor.pin_memory() for name, tensor in tensors.items() if tensor is not None})


class Sampler:
    """A thread that makes one batch after another, and waits when AHEAD of them are not taken.

    It computes on one core whatever the threads of the process, and flushes denormals if its maker does: both are
    settings of each thread by itself, and the latter could change a batch's last bits.

    Args:
        make: makes the batch of a number.
        numbers: those of all batches, in order.
    """

    def __init__(self, make: Callable[[int], Episode], numbers: range):
        self._ready: queue.SimpleQueue[Episode | BaseException] = queue.SimpleQueue()
        self._room, self._set_up, self._ended = threading.Semaphore(AHEAD), threading.Event(), False
        flushes = flushes_denormals()
        work = threading.Thread(target=self._run, args=(make, numbers, flushes), name="sampler", daemon=True)
        work.start()
        self._set_up.wait()
        torch.set_num_threads(torch.get_num_threads())  # the sampler's choice is also that of threads yet to come
        self._work = work

    def next(self) -> Episode:
        """The next batch, as soon as it is made.

        Raises:
            Exception: what its making raised.
        """
        made = self._ready.get()
        self._room.release()
        if isinstance(made, BaseException):
            raise made
        return made

    def end(self) -> None:
        """Stop; a batch in the making is finished first."""
        self._ended = True
        self._room.release()
        self._work.join()

    def _run(self, make: Callable[[int], Episode], numbers: range, flushes: bool) -> None:
        torch.set_num_threads(1)
        torch.set_flush_denormal(flushes)
        self._set_up.set()
        for i in numbers:
            self._room.acquire()
            if self._ended:
                return
            try:
                self._ready.put(make(i))
            except BaseException as error:  # whatever it is, the reader is told rather than left waiting
                self._ready.put(error)
                return
