"""Training batches in order, sampled while earlier steps are computed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import fields, replace

import torch

from metacli.compute import cpu
from metacli.compute.settings import flushes_denormals
from metacli.episode import Episode
from metacli.tasks.base import Tasks
from metacli.training.state import TrainState

AHEAD = 3  # maximum number of batches sampled ahead; above 1 because steps differ in length


def prefetch(state: TrainState, start: int, stop: int) -> closing[Generator[Episode, None, None]]:
    """Returns this process's share of the batches of steps `start` to `stop` - 1. Closing it ends the thread."""
    share = state.processes.share(state.recipe.train.batch)
    samples_ahead = has_free_core(state.device, state.threads.count)
    return closing(
        batches(state.tasks, state.recipe.train.batch, range(start, stop), state.device, samples_ahead, share)
    )


def batches(
    tasks: Tasks, batch: int, steps: range, device: torch.device, samples_ahead: bool, share: range | None = None
) -> Generator[Episode, None, None]:
    """Yield `tasks.batch("train", i * batch, batch)` for each step i, on the CPU, ready for `device`.

    Args:
        samples_ahead: whether a thread samples the batches of later steps. The batches are equal bit for bit. It is
            faster if a core is free. Otherwise it slows short steps by up to a tenth.
        share: the tasks of each batch that this process samples, numbered from 0; None for all.

    Raises:
        Exception: what `tasks.batch` raises, at the step of its batch.
    """
    task_numbers = range(batch) if share is None else share

    def sample(step: int) -> Episode:
        episode = tasks.batch("train", step * batch + task_numbers.start, len(task_numbers))
        return pin_memory(episode) if device.type == "cuda" else episode

    if not samples_ahead:
        yield from map(sample, steps)
        return
    sampler = SamplerThread(sample, steps)
    try:
        for _ in steps:
            yield sampler.next()
    finally:
        sampler.stop()


def has_free_core(device: torch.device, threads: int) -> bool:
    """Returns whether a core is free for sampling while steps on a device use `threads` threads."""
    cores = cpu.available_cores()[0]
    return cores > 1 and (device.type != "cpu" or cores > threads)


def pin_memory(episode: Episode) -> Episode:
    """Returns the batch in page-locked memory, from which a GPU copies while the CPU continues."""
    tensors = {f.name: getattr(episode, f.name) for f in fields(episode)}
    return replace(episode, **{name: tensor.pin_memory() for name, tensor in tensors.items() if tensor is not None})


class SamplerThread:
    """A thread that samples one batch after another, and waits while AHEAD batches are unused.

    It computes on one core, and flushes denormals if its creator does. Both settings are per thread. The second one can
    change the last bits of a batch.

    Args:
        sample: returns the batch of a step.
        steps: the steps, in order.
    """

    def __init__(self, sample: Callable[[int], Episode], steps: range):
        self._ready: queue.SimpleQueue[Episode | BaseException] = queue.SimpleQueue()
        self._free_places, self._is_set_up = threading.Semaphore(AHEAD), threading.Event()
        self._stopped = False
        args = (sample, steps, flushes_denormals())
        self._thread = threading.Thread(target=self._run, args=args, name="sampler", daemon=True)
        self._thread.start()
        self._is_set_up.wait()
        torch.set_num_threads(torch.get_num_threads())  # undoes the new thread's setting for later threads

    def next(self) -> Episode:
        """Returns the next batch, as soon as it is ready.

        Raises:
            Exception: the error of sampling it.
        """
        result = self._ready.get()
        self._free_places.release()
        if isinstance(result, BaseException):
            raise result
        return result

    def stop(self) -> None:
        """End the thread, after the batch that it is sampling."""
        self._stopped = True
        self._free_places.release()
        self._thread.join()

    def _run(self, sample: Callable[[int], Episode], steps: range, flushes: bool) -> None:
        torch.set_num_threads(1)
        torch.set_flush_denormal(flushes)
        self._is_set_up.set()
        for step in steps:
            self._free_places.acquire()
            if self._stopped:
                return
            try:
                self._ready.put(sample(step))
            except BaseException as error:  # the reader raises it; otherwise it would wait for ever
                self._ready.put(error)
                return
