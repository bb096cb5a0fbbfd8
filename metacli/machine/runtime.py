"""Where and how a run computes: device, threads, seeds, denormals, and the signals that ask it to stop."""

from __future__ import annotations

import platform
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from metacli import __version__
from metacli.errors import UsageError
from metacli.machine import launch, processor, system
from metacli.machine.threads import Threads


def choose_device(wanted: str) -> tuple[torch.device, str]:
    """The device and the reason for it.

    Args:
        wanted: auto, cpu, cuda, cuda:N or mps.

    Raises:
        UsageError: the device does not exist here; there is no silent fall to the CPU.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda"), f"cuda ({torch.cuda.get_device_name()}): the first GPU that torch sees"
        return torch.device("cpu"), f"cpu ({processor.name()}, {processor.instructions()}): torch sees no CUDA device"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UsageError(f"unknown device {wanted!r}", "one of auto, cpu, cuda, cuda:0, mps") from None
    here = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= here.get(device.type, 0):
        raise UsageError(f"device {wanted!r} is absent: torch {torch.__version__} does not see it", "use --device auto")
    return device, f"{device}: as asked"


def prepare(seed: int) -> None:
    """Seed the weights' start and flush denormal numbers to zero.

    Sharpened weightings and a memory that starts at 1e-6 fill the arithmetic with denormals, which makes an NTM
    training step on a CPU about three times slower.
    """
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)
    system.keep_freed_memory()


@contextmanager
def preserved() -> Iterator[None]:
    """Puts back at its end what training and evaluation set for the whole process: seed, threads and denormals."""
    threads, flushes = torch.get_num_threads(), flushes_denormals()
    try:
        gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
        with torch.random.fork_rng(gpus):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushes)


def flushes_denormals() -> bool:
    """Whether this thread takes denormal numbers for zero; PyTorch tells only by doing so."""
    return bool(torch.tensor(1e-40) * 1 == 0)


def environment(device: torch.device, threads: Threads, precision: str, scan: str | None) -> dict[str, Any]:
    """What a result may depend on: versions, device, instructions, threads, precision, scan and processes."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "metacli": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # of a class of its own, which no checkpoint holds
        "numpy": np.__version__,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": processor.name(),
        "instructions": processor.instructions(),
        "device": str(device),
        "gpu": gpu,
        "threads": threads.count,
        "threads_reason": threads.reason,
        "precision": precision,
        "scan": scan,
        "processes": launch.place().size,
        "launch": launch.identity(),
    }


class StopSignal:
    """Turns SIGINT, SIGTERM and SIGHUP into a wish to stop after the step in hand; a second one stops at once.

    See `system.stop_signals` for those that there are.

    Signals are the main thread's: in another one it leaves them as they are.

    Args:
        twice: whether a second one stops at once. Not where torchrun passes on what its processes may have got already.

    Attributes:
        code: 0 while nobody asked, else the exit status, 130 (SIGINT), 143 (SIGTERM) or
            129 (SIGHUP).
    """

    def __init__(self, twice: bool = True) -> None:
        self.code, self._twice = 0, twice

    def __enter__(self) -> StopSignal:
        numbers = system.stop_signals() if threading.current_thread() is threading.main_thread() else []
        self._before = {s: signal.signal(s, self._on_signal) for s in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set from Python

    def _on_signal(self, number: int, _frame: object) -> None:
        if self.code and self._twice:
            raise KeyboardInterrupt
        self.code = self.code or 128 + number
