"""How much memory some work takes, measured by the system's own count."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

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
    give_back()
    if device.type != "cpu" or not clear():
        work()
        return None
    before = resident() or 0
    work()
    return max(0, (resident() or 0) - before)


def resident() -> int | None:
    """The peak of this process's resident memory in bytes, since its start or since it was cleared; None on Windows."""
    if _STATUS.is_file():
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 2**10 for line in lines if line.startswith("VmHWM"))
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


def give_back() -> None:
    """Return freed memory to the system, which training otherwise keeps for its next step."""
    with suppress(OSError, AttributeError, TypeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
