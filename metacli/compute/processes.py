"""The processes that train together: what they tell each other. One process by itself is the simplest case of it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor

from metacli.compute import torchrun
from metacli.compute.device import choose_device
from metacli.errors import MetacliError, ReportedElsewhereError, UsageError

ANSWER = timedelta(minutes=10)  # within which every process must answer the others, else it is taken for lost
DATA = timedelta(hours=2)  # likewise while one process of each machine fetches and prepares data

T = TypeVar("T")


class ProcessLostError(MetacliError):
    """Another process has ended or does not answer: what it was to take part in did not take place."""


class Processes:
    """The processes of one training. Every method but `share` is called by all of them, in the same order.

    Args:
        place: where this process stands among them.

    Raises:
        ProcessLostError: every method but `share` does, where another process has ended, or does not answer for as
            long as ANSWER.
    """

    def __init__(self, place: torchrun.Place):
        self.rank, self.size, self.local_rank, self.local_size = place
        self.first = place.first
        self._patient: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Processes:
        return self  # a copy of a model talks to the same processes

    def share(self, count: int) -> range:
        """Which of `count` things, numbered from 0, are this process's: a run of them, of nearly equal lengths."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place; the same bits in all of them."""
        if self.size > 1:
            with _answered():
                torch.distributed.all_reduce(tensor)
        return tensor

    def table(self, numbers: list[int]) -> list[list[int]]:
        """The numbers of each process, equally many, by rank."""
        if self.size == 1:
            return [numbers]
        rows = torch.zeros(self.size, len(numbers), dtype=torch.int64)
        rows[self.rank] = torch.tensor(numbers)
        found: list[list[int]] = self.sum(rows).tolist()
        return found

    def gather(self, value: T) -> list[T]:
        """The value of each process, by rank: plain values and NumPy arrays."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _answered():
            torch.distributed.all_gather_object(values, value)
        return values

    def broadcast(self, value: T) -> T:
        """The first process's value."""
        if self.size == 1:
            return value
        values = [value]
        with _answered():
            torch.distributed.broadcast_object_list(values)
        return values[0]

    def run_on_first(self, work: Callable[[], T]) -> T | None:
        """What `work` returns in the first process, the only one that does it; in the others None.

        Raises:
            MetacliError: in the first process, what `work` raises.
            ReportedElsewhereError: then, in the others.
        """
        code, result = 0, None
        try:
            result = work() if self.first else None
        except MetacliError as e:
            code = e.code
            raise
        finally:
            code = self.broadcast(code)
        if code:
            raise ReportedElsewhereError(code)
        return result

    @contextmanager
    def report_once(self) -> Iterator[None]:
        """Of an error that all raise, the first process tells: in the others it becomes a ReportedElsewhereError."""
        try:
            yield
        except MetacliError as e:
            raise (e if self.first else ReportedElsewhereError(e.code)) from None

    @contextmanager
    def local_first(self) -> Iterator[None]:
        """For work that leaves files behind: one process of each machine does it before the others."""
        if self.local_rank:
            self._wait()
        yield
        if not self.local_rank:
            self._wait()

    def check_same(self, what: str, value: str, hint: str) -> None:
        """Raise a MetacliError, told by the first process, where a value is not the same in all."""
        values = self.gather(value)
        other = [rank for rank, found in enumerate(values) if found != values[0]]
        if other:
            with self.report_once():
                raise MetacliError(f"rank {other[0]} has {what} other than those of rank 0", hint)

    def leave(self) -> None:
        """The last call."""
        if self.size > 1:
            torch.distributed.destroy_process_group()

    def _wait(self) -> None:
        if self.size > 1:
            with _answered():
                torch.distributed.barrier(group=self._patient)

    def _join(self, backend: str) -> Processes:
        with _answered():
            store, _, _ = next(torch.distributed.rendezvous("env://", self.rank, self.size, timeout=ANSWER))
            store = torch.distributed.PrefixStore(meeting(store, self.rank, self.size), store)
            torch.distributed.init_process_group(
                backend, store=store, rank=self.rank, world_size=self.size, timeout=ANSWER
            )
            self._patient = torch.distributed.new_group(backend="gloo", timeout=DATA)
        return self


SINGLE_PROCESS = Processes(torchrun.Place())


def join(wanted: str) -> tuple[Processes, torch.device, str]:
    """Meet the processes that torchrun started with this one: who they are, this one's device, and the reason for it.

    Args:
        wanted: as of `choose_device`; of several processes each one takes the GPU of its own number.

    Raises:
        UsageError: the device does not exist here, or cannot be shared.
        ProcessLostError: not all of them come.
    """
    here = torchrun.place()
    if here.size == 1:
        return SINGLE_PROCESS, *choose_device(wanted)
    if wanted not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {wanted} is for one process", "of several, each takes the GPU of its number: cuda")
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        device, reason = choose_device("cpu")
        return Processes(here)._join("gloo"), device, f"{reason}, in {here.size} processes"
    if torch.cuda.device_count() < here.local_size:
        told = f"{here.local_size} processes on this machine, where torch sees {torch.cuda.device_count()} GPUs"
        raise UsageError(told, "one process for each GPU: torchrun --nproc-per-node gpu; or --device cpu")
    device = torch.device("cuda", here.local_rank)
    torch.cuda.set_device(device)
    reason = f"cuda ({torch.cuda.get_device_name()}): one for each of {here.size} processes"
    return Processes(here)._join("cpu:gloo,cuda:nccl"), device, reason


def meeting(store: Any, rank: int, size: int) -> str:
    """A word that these processes have in common, and those that were started before them had not.

    torchrun keeps its store when it starts processes anew, with the addresses in it that the old ones left, so that new
    ones would call the dead. How often it did so is no such word: each machine counts for itself.

    Args:
        store: of torch.distributed, which all of them reach.

    Raises:
        RuntimeError: not all of them come within ANSWER.
    """
    word, late = secrets.token_hex(8), time.monotonic() + ANSWER.total_seconds()
    if rank:  # asks by a word that only who is alive now can answer, and says that it was told
        store.set(f"metacli/ask/{rank}", word)
        told: str = store.get(f"metacli/answer/{word}").decode()
        store.set(f"metacli/told/{told}/{rank}", "")
        return told
    waiting = set(range(1, size))
    while waiting:
        if time.monotonic() > late:
            raise RuntimeError(f"ranks {sorted(waiting)} did not come")
        for other in list(waiting):
            if store.check([f"metacli/told/{word}/{other}"]):
                waiting.remove(other)
            elif store.check([f"metacli/ask/{other}"]):  # it may be a dead one's, so ask again
                store.set(f"metacli/answer/{store.get(f'metacli/ask/{other}').decode()}", word)
        time.sleep(0.02)
    return word


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except RuntimeError as e:  # what torch.distributed raises, whatever the backend
        minutes = f"{ANSWER.total_seconds() / 60:.0f} minutes"
        raise ProcessLostError(
            f"another process of this training ended, or did not answer within {minutes}",
            "its own message says why; go on from what is saved with --resume, or let torchrun do so: --max-restarts",
        ) from e
