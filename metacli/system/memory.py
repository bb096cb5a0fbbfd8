"""The available memory of this machine, and clear errors if it is insufficient. Imports no torch."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metacli.errors import MetacliError

KEYS_TO_LOWER = "lower train.batch, a size of the model (such as model.locations) or of the tasks (such as task.size)"
CLEAR_EXCESS = 1.25  # times the available memory; with less excess the attempt is made, as the estimate is not exact
_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
# The limit, the memory in use, and the part of that which the system can reclaim.
_V2 = ("memory.max", "memory.current", "file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache")
_REQUESTED = re.compile(r"allocate (\d+\.?\d*) ?(bytes|[KMGTPE]iB)")
_FAILED = (
    "can't allocate memory",
    "out of memory",
    "Cannot allocate memory",
    "Storage size calculation overflowed",
    "array is too big",
    "Maximum allowed dimension exceeded",
)


def check_fits(needed: int, user: str, hint: str, available: int | None) -> None:
    """Check that a use of memory does not clearly exceed what is available.

    Args:
        needed: bytes, a lower bound.
        user: what needs the memory, for the message.
        hint: what to change.
        available: bytes, see `available_bytes`. None skips the check.

    Raises:
        MetacliError: it needs more than CLEAR_EXCESS times the available memory.
    """
    if available is not None and needed > CLEAR_EXCESS * available:
        amounts = f"{describe_bytes(needed)} or more, and this machine has {describe_bytes(available)} available"
        raise MetacliError(f"out of memory: {user} needs {amounts}", hint)


def available_bytes() -> int | None:
    """Returns how many bytes this process may use, None if the system does not report it.

    This is the free memory, swap included, within the limits of the container, plus what the process already holds,
    because it may keep memory that it has freed.
    """
    if sys.platform == "win32":
        return _available_on_windows()
    if not (_PROC / "meminfo").is_file():
        names = getattr(os, "sysconf_names", {})
        # The total, because macOS does not report free memory.
        is_reported = "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if is_reported else None
    meminfo = dict(re.findall(r"^(\w+):\s+(\d+) kB", _read_text(_PROC / "meminfo"), re.M))
    if "MemAvailable" not in meminfo:
        return None
    swap = int(meminfo.get("SwapFree", 0)) * 2**10
    resident = re.search(r"^VmRSS:\s+(\d+) kB", _read_text(_PROC / "self" / "status"), re.M)
    held_bytes = int(resident[1]) * 2**10 if resident else 0
    return min([int(meminfo["MemAvailable"]) * 2**10, *_cgroup_limits()]) + swap + held_bytes


def describe_bytes(count: int) -> str:
    """Returns a number of bytes as in `16.0 GiB (17,179,869,184 bytes)`."""
    return f"{format_bytes(count)} ({count:,} bytes)" if count >= 2**10 else format_bytes(count)


def format_bytes(count: int) -> str:
    """Returns a number of bytes as in `16.0 GiB`."""
    power = min(max(count.bit_length() - 1, 0) // 10, 6)
    return f"{count / 2 ** (10 * power):.1f} {'KMGTPE'[power - 1]}iB" if power else f"{count} bytes"


@contextmanager
def explain_out_of_memory() -> Iterator[None]:
    """Turn a failed allocation of Python, NumPy or PyTorch, on any device, into a MetacliError."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError, ValueError) as error:
        if (explanation := _explanation(error)) is None:
            raise
        raise explanation from None


def _explanation(error: BaseException) -> MetacliError | None:
    text = str(error)
    if not (isinstance(error, MemoryError) or any(part in text for part in _FAILED)):
        return None
    cause, requested = "no memory is left", _REQUESTED.search(text)
    if requested:
        power = "BKMGTPE".index(requested[2][0].upper())
        cause = f"requested {describe_bytes(int(float(requested[1]) * 2 ** (10 * power)))} at once"
    where = " on the GPU" if "CUDA" in text else ""
    return MetacliError(f"out of memory{where}: {cause}", f"{KEYS_TO_LOWER}; a saved run can be resumed: --resume")


def _cgroup_limits() -> list[int]:
    """Returns the bytes left in the process's control groups and their parents, of version 1 and 2."""
    bytes_left = []
    for line in _read_text(_PROC / "self" / "cgroup").splitlines():
        _, kinds, path = [*line.split(":", 2), "", ""][:3]
        if kinds in ("", "memory"):
            root, names = (_CGROUP / "memory", _V1) if kinds else (_CGROUP, _V2)
            group = Path(path.lstrip("/"))
            bytes_left += [_bytes_left(root / part, *names) for part in (group, *group.parents)]
    return [left for left in bytes_left if left is not None]


def _bytes_left(group: Path, limit: str, used: str, cache: str) -> int | None:
    """Returns the bytes that a control group has left, None without a limit."""
    try:
        limit_bytes, used_bytes = (int(_read_text(group / name)) for name in (limit, used))
    except ValueError:  # absent, or `max`
        return None
    cached = re.search(rf"^{cache} (\d+)$", _read_text(group / "memory.stat"), re.M)
    return max(0, limit_bytes - used_bytes + (int(cached[1]) if cached else 0))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _available_on_windows() -> int | None:
    """Returns the bytes that Windows would still grant to this process."""

    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("all", "free", "pages", "pages_left", "own", "own_left", "none")),
        )

    status = Status()
    status.length = ctypes.sizeof(status)
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009
    return int(status.pages_left) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else None
