"""How much memory some work takes, measured by the system's own count."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from metacli.system import operating_system

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def rise(work: Callable[[], object], device: torch.device) -> int | None:
    """Bytes by which memory in use rises above what it was, at most, while `work` runs; None where it is not known.

    On a GPU what torch has allocated there; on a CPU this process's resident memory, which Linux tells.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    operating_system.give_back_memory()
    if device.type != "cpu" or not clear():
        work()
        return None
    before = resident() or 0
    work()
    return max(0, (resident() or 0) - before)


def resident() -> int | None:
    """The peak of this process's resident memory in bytes, since its start or since it was cleared; None on Windows."""
    try:
        lines = _STATUS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    if told := [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]:
        return told[0] * 2**10
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 2**10)


def clear() -> bool:
    """Let the peak start anew from what is resident now; False where the system has no such thing."""
    try:
        _CLEAR.write_text("5", encoding="utf-8")
    except OSError:
        return False
    return True
