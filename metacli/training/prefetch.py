"""Training episodes in order, sampled while the step before them computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import fields, replace

import torch

from metacli.compute import cpu
from metacli.compute.device import flushes_denormals
from metacli.episode import Episode
from metacli.tasks.base import Tasks
from metacli.training.state import TrainState

AHEAD = 3  # batches that are ready or being made: more than one, because some steps are shorter than others


def prefetch(state: TrainState, start: int, stop: int) -> closing[Generator[Episode, None, None]]:
    """This process's share of the batches of steps `start` to `stop` - 1, as a context manager that ends the thread."""
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
        samples_ahead: whether a thread samples the batches of later steps; the episodes are the same, bit for bit.
            It helps if a core is free. Otherwise it costs up to a tenth of steps that are as short as sampling.
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
    """Whether a core is free for sampling beside steps on a device that take so many threads."""
    cores = cpu.available_cores()[0]
    return cores > 1 and (device.type != "cpu" or cores > threads)


def pin_memory(episode: Episode) -> Episode:
    """The episode in page-locked memory, from which a GPU copies while the processor continues."""
    tensors = {f.name: getattr(episode, f.name) for f in fields(episode)}
    return replace(episode, **{name: tensor.pin_memory() for name, tensor in tensors.items() if tensor is not None})


class SamplerThread:
    """A thread that samples one batch after another, and waits while AHEAD of them are not taken.

    It computes on one core whatever the threads of the process are, and flushes denormals if its creator does: both
    settings belong to each thread, and the second one could change the last bits of a batch.

    Args:
        sample: makes the batch of a step.
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
        torch.set_num_threads(torch.get_num_threads())  # undoes what the new thread set for threads to come

    def next(self) -> Episode:
        """The next batch, as soon as it is ready.

        Raises:
            Exception: what sampling it raised.
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
