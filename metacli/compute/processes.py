"""Communication between processes that train together, or a single process."""

from __future__ import annotations

import os
import secrets
import sys
import threading
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
from metacli.system import terminal

REPLY_TIMEOUT = timedelta(minutes=10)  # a process that does not reply within this time counts as lost
NOTE_AFTER = 5.0  # seconds of waiting for the other processes at the start, before a note
DATA_TIMEOUT = timedelta(hours=2)  # the same, while one process of each machine downloads and prepares data

T = TypeVar("T")


class ProcessLostError(MetacliError):
    """Another process has ended or does not reply. The operation that needed it was not carried out."""


class Processes:
    """The processes of one distributed training. All must call every method except `share`, in the same order.

    Args:
        rank: the rank of this process.

    Attributes:
        is_first: whether this is the process that prints and writes files.

    Raises:
        ProcessLostError: by every method except `share`, if another process has ended, or does not reply within
            REPLY_TIMEOUT.
    """

    def __init__(self, rank: torchrun.RankInfo):
        self.rank, self.size, self.local_rank, self.local_size = rank
        self.is_first = rank.is_first
        self._data_group: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Processes:
        return self  # a copy of a model communicates with the same processes

    def share(self, count: int) -> range:
        """Returns this process's part of the numbers 0 to `count` - 1. The parts have nearly equal lengths."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place. The result is equal bit for bit in all of them."""
        if self.size > 1:
            with _report_lost_process():
                torch.distributed.all_reduce(tensor)
        return tensor

    def table(self, numbers: list[int]) -> list[list[int]]:
        """Returns the numbers of every process, by rank. Each process passes equally many."""
        if self.size == 1:
            return [numbers]
        rows = torch.zeros(self.size, len(numbers), dtype=torch.int64)
        rows[self.rank] = torch.tensor(numbers)
        table: list[list[int]] = self.sum(rows).tolist()
        return table

    def gather(self, value: T) -> list[T]:
        """Returns the values of all processes, by rank: plain values or NumPy arrays."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _report_lost_process():
            torch.distributed.all_gather_object(values, value)
        return values

    def broadcast(self, value: T) -> T:
        """Returns the value of the first process."""
        if self.size == 1:
            return value
        values = [value]
        with _report_lost_process():
            torch.distributed.broadcast_object_list(values)
        return values[0]

    def run_on_first(self, work: Callable[[], T]) -> T | None:
        """Call `work` in the first process. Returns its result there, None in the other processes.

        Raises:
            MetacliError: in the first process, if `work` raises it.
            ReportedElsewhereError: in the other processes, if `work` raised a MetacliError.
        """
        code, result = 0, None
        try:
            result = work() if self.is_first else None
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
        """In the block, an error that all processes raise becomes a ReportedElsewhereError in all but the first."""
        try:
            yield
        except MetacliError as e:
            raise (e if self.is_first else ReportedElsewhereError(e.code)) from None

    @contextmanager
    def local_first(self) -> Iterator[None]:
        """One process of each machine runs the block first. The others then find the files that it wrote."""
        if self.local_rank:
            self._wait()
        yield
        if not self.local_rank:
            self._wait()

    def check_same(self, what: str, value: str, hint: str) -> None:
        """Raise a MetacliError if a value differs between processes. The first process prints it."""
        values = self.gather(value)
        different_ranks = [rank for rank, rank_value in enumerate(values) if rank_value != values[0]]
        if different_ranks:
            with self.report_once():
                raise MetacliError(f"rank {different_ranks[0]} and rank 0 have different {what}", hint)

    def leave(self) -> None:
        """Disconnect from the other processes. No other method may be called afterwards."""
        if self.size > 1:
            torch.distributed.destroy_process_group()

    def _wait(self) -> None:
        if self.size > 1:
            with _report_lost_process():
                torch.distributed.barrier(group=self._data_group)

    def _connect(self, backend: str) -> Processes:
        with _note_waiting(self.rank, self.size), _report_lost_process():
            store, _, _ = next(torch.distributed.rendezvous("env://", self.rank, self.size, timeout=REPLY_TIMEOUT))
            store = torch.distributed.PrefixStore(exchange_key(store, self.rank, self.size), store)
            torch.distributed.init_process_group(
                backend, store=store, rank=self.rank, world_size=self.size, timeout=REPLY_TIMEOUT
            )
            self._data_group = torch.distributed.new_group(backend="gloo", timeout=DATA_TIMEOUT)
        return self


SINGLE_PROCESS = Processes(torchrun.RankInfo())


def join(requested_device: str) -> tuple[Processes, torch.device, str]:
    """Connect this process to the others of its torchrun.

    Args:
        requested_device: see `choose_device`. Of several processes, each takes the GPU of its local rank.

    Returns:
        The processes, the device of this process and the reason for it.

    Raises:
        UsageError: the device does not exist here, or there are not enough GPUs.
        ProcessLostError: some processes do not connect.
    """
    rank = torchrun.current_rank()
    if rank.size == 1:
        return SINGLE_PROCESS, *choose_device(requested_device)
    if requested_device not in ("auto", "cpu", "cuda"):
        message = f"--device {requested_device} is for one process"
        raise UsageError(message, "use --device cuda: each process takes the GPU of its local rank")
    if requested_device == "cpu" or (requested_device == "auto" and not torch.cuda.is_available()):
        device, reason = choose_device("cpu")
        return Processes(rank)._connect("gloo"), device, f"{reason}, in {rank.size} processes"
    if torch.cuda.device_count() < rank.local_size:
        message = f"{rank.local_size} processes on this machine, but torch sees {torch.cuda.device_count()} GPUs"
        raise UsageError(message, "start one process per GPU (torchrun --nproc-per-node gpu), or use --device cpu")
    device = torch.device("cuda", rank.local_rank)
    torch.cuda.set_device(device)
    reason = f"cuda ({torch.cuda.get_device_name()}): one GPU for each of {rank.size} processes"
    return Processes(rank)._connect("cpu:gloo,cuda:nccl"), device, reason


def exchange_key(store: Any, rank: int, size: int) -> str:
    """Returns a random key that all processes of this start share and that no earlier start used.

    When torchrun restarts its processes, its store still has the addresses of the old ones, and new processes would
    try to connect to those. The restart count cannot be the key, because each machine counts separately.

    Args:
        store: a store of torch.distributed that all processes reach.
        rank: the rank of this process.
        size: the number of processes.

    Raises:
        RuntimeError: some processes do not connect within REPLY_TIMEOUT.
    """
    key, deadline = secrets.token_hex(8), time.monotonic() + REPLY_TIMEOUT.total_seconds()
    if rank:  # ask with a key that only a living first process can answer, then confirm the answer
        store.set(f"metacli/ask/{rank}", key)
        shared: str = store.get(f"metacli/answer/{key}").decode()
        store.set(f"metacli/confirm/{shared}/{rank}", "")
        return shared
    waiting = set(range(1, size))
    while waiting:
        if time.monotonic() > deadline:
            raise RuntimeError(f"ranks {sorted(waiting)} did not connect")
        for other_rank in list(waiting):
            if store.check([f"metacli/confirm/{key}/{other_rank}"]):
                waiting.remove(other_rank)
            elif store.check([f"metacli/ask/{other_rank}"]):  # read it each time: a dead process may have written it
                store.set(f"metacli/answer/{store.get(f'metacli/ask/{other_rank}').decode()}", key)
        time.sleep(0.02)
    return key


@contextmanager
def _note_waiting(rank: int, size: int) -> Iterator[None]:
    """Print a note if the block takes long, in any process: the variables may be left over, and no other may come."""
    place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    note = f"rank {rank} waits for all {size} processes at {place} (to train in one process: unset WORLD_SIZE)"
    stream = sys.__stderr__ or terminal.stderr()  # `sys.stderr` of the other ranks is silenced
    timer = threading.Timer(NOTE_AFTER, terminal.print_to, (stream, note))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _report_lost_process() -> Iterator[None]:
    try:
        yield
    except RuntimeError as e:  # raised by torch.distributed with every backend
        minutes = f"{REPLY_TIMEOUT.total_seconds() / 60:.0f} minutes"
        raise ProcessLostError(
            f"another process of this training ended, or did not reply within {minutes}",
            "its own message says why; resume the run with --resume, or let torchrun restart it: --max-restarts",
        ) from e
