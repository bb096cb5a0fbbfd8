"""Where and how a run computes: device, threads, seeds and denormals."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from metacli.compute import cpu, torchrun
from metacli.compute.threads import Threads
from metacli.errors import UsageError
from metacli.system import operating_system
from metacli.version import __version__


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
        return torch.device("cpu"), f"cpu ({cpu.name()}, {cpu.instructions()}): torch sees no CUDA device"
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
    operating_system.keep_freed_memory()


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
        "processor": cpu.name(),
        "instructions": cpu.instructions(),
        "device": str(device),
        "gpu": gpu,
        "threads": threads.count,
        "threads_reason": threads.reason,
        "precision": precision,
        "scan": scan,
        "processes": torchrun.place().size,
        "launch": torchrun.identity(),
    }
