"""Measures peak memory, as counted by the operating system or by torch on a GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from metacli.system import operating_system

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure_increase(work: Callable[[], object], device: torch.device) -> int | None:
    """Returns the peak increase of memory in bytes while `work` runs, None if unknown.

    On a GPU this is the memory that torch has allocated, on a CPU the resident memory of this process, which only Linux
    reports.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        bytes_before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - bytes_before
    operating_system.release_freed_memory()
    if device.type != "cpu" or not reset_peak():
        work()
        return None
    bytes_before = peak_resident_bytes() or 0
    work()
    return max(0, (peak_resident_bytes() or 0) - bytes_before)


def peak_resident_bytes() -> int | None:
    """Returns the peak of this process's resident memory since its start or `reset_peak`, None on Windows."""
    try:
        lines = _STATUS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    if peaks := [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]:
        return peaks[0] * 2**10
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 2**10)


def reset_peak() -> bool:
    """Reset the peak to the current resident memory. Returns False if the system cannot do that."""
    try:
        _CLEAR.write_text("5", encoding="utf-8")
    except OSError:
        return False
    return True
