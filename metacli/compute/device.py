"""The device, the global state of torch, and the environment that results depend on."""

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


def choose_device(requested_device: str) -> tuple[torch.device, str]:
    """Returns the device and the reason for it.

    Args:
        requested_device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        UsageError: the device does not exist here. There is no silent fallback to the CPU.
    """
    if requested_device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda"), f"cuda ({torch.cuda.get_device_name()}): the first GPU that torch sees"
        return torch.device("cpu"), f"cpu ({cpu.processor_name()}, {cpu.instruction_set()}): torch sees no CUDA device"
    try:
        device = torch.device(requested_device)
    except RuntimeError:
        raise UsageError(f"unknown device {requested_device!r}", "one of auto, cpu, cuda, cuda:0, mps") from None
    device_counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= device_counts.get(device.type, 0):
        message = f"device {requested_device!r} is not available: torch {torch.__version__} does not see it"
        raise UsageError(message, "use --device auto")
    return device, f"{device}: as requested"


def set_up_torch(seed: int) -> None:
    """Seed the random initial weights and flush denormal numbers to zero.

    Sharpened weightings and a memory that starts at 1e-6 produce many denormals. They make an NTM training step on a
    CPU about three times slower.
    """
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)
    operating_system.keep_freed_memory()


@contextmanager
def preserve_torch_state() -> Iterator[None]:
    """Restore the random state and the number of threads, which a call may set for the whole process."""
    threads = torch.get_num_threads()
    try:
        gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
        with torch.random.fork_rng(gpus):
            yield
    finally:
        torch.set_num_threads(threads)


def environment(device: torch.device, threads: Threads, precision: str, scan: str | None) -> dict[str, Any]:
    """Returns what results may depend on: versions, device, instructions, threads, precision, scan and processes."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "metacli": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # a str subclass, which checkpoints do not store
        "numpy": np.__version__,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": cpu.processor_name(),
        "instructions": cpu.instruction_set(),
        "device": str(device),
        "gpu": gpu,
        "threads": threads.count,
        "threads_reason": threads.reason,
        "precision": precision,
        "scan": scan,
        "processes": cpu.connected_rank().size,
        "launch": torchrun.launch_id(),
    }
