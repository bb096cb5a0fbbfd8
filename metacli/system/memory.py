"""How much memory there is, and what to say where it does not suffice. Imports no torch."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metacli.errors import MetacliError

KEYS = "lower train.batch, the sizes of the model (as model.locations) or of the tasks (as task.size, task.ways)"
CLEARLY = 1.25  # times what is there: less is left to the system to find, which counts with care
_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
_V2 = ("memory.max", "memory.current", "file")  # the limit, what is used, and what of that the system can take back
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache")
_ASKED = re.compile(r"allocate (\d+\.?\d*) ?(bytes|[KMGTPE]iB)")
_FAILED = (
    "can't allocate memory",
    "out of memory",
    "Cannot allocate memory",
    "Storage size calculation overflowed",
    "array is too big",
    "Maximum allowed dimension exceeded",
)


def refuse(needed: int, what: str, hint: str, there: int | None) -> None:
    """Raise a MetacliError where something needs more memory than there is, clearly.

    Args:
        needed: bytes, a lower bound.
        what: needs them.
        hint: what to change.
        there: bytes, see `available`; None: nobody knows, and nothing is refused.
    """
    if there is not None and needed > CLEARLY * there:
        message = f"out of memory: {what} needs {said(needed)} or more, and this machine has {said(there)} to give"
        raise MetacliError(message, hint)


def available() -> int | None:
    """Bytes that this process may have: what is free, swap included, within its container's limits, and what it has.

    None where the system does not tell. What a process has freed it may keep for itself, so that counts as well.
    """
    if sys.platform == "win32":
        return _windows()
    if not (_PROC / "meminfo").is_file():
        names = getattr(os, "sysconf_names", {})
        known = "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names  # all of it: macOS does not say what is free
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else None
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB", _text(_PROC / "meminfo"), re.M))
    if "MemAvailable" not in found:
        return None
    swap = int(found.get("SwapFree", 0)) * 2**10
    own = re.search(r"^VmRSS:\s+(\d+) kB", _text(_PROC / "self" / "status"), re.M)
    return min([int(found["MemAvailable"]) * 2**10, *_limits()]) + swap + (int(own[1]) * 2**10 if own else 0)


def said(count: int) -> str:
    """A number of bytes, as in `16.0 GiB (17,179,869,184 bytes)`."""
    return f"{short(count)} ({count:,} bytes)" if count >= 2**10 else short(count)


def short(count: int) -> str:
    """A number of bytes, as in `16.0 GiB`."""
    power = min(max(count.bit_length() - 1, 0) // 10, 6)
    return f"{count / 2 ** (10 * power):.1f} {'KMGTPE'[power - 1]}iB" if power else f"{count} bytes"


@contextmanager
def explained() -> Iterator[None]:
    """Makes a MetacliError of an allocation that fails within, be it Python's, NumPy's or PyTorch's, on any device."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError, ValueError) as error:
        if (told := _told(error)) is None:
            raise
        raise told from None


def _told(error: BaseException) -> MetacliError | None:
    text = str(error)
    if not (isinstance(error, MemoryError) or any(part in text for part in _FAILED)):
        return None
    what, asked = "no memory is left", _ASKED.search(text)
    if asked:
        power = "BKMGTPE".index(asked[2][0].upper())
        what = f"asked for {said(int(float(asked[1]) * 2 ** (10 * power)))} at once"
    where = " on the GPU" if "CUDA" in text else ""
    return MetacliError(f"out of memory{where}: {what}", f"{KEYS}; what a run has saved is whole: --resume")


def _limits() -> list[int]:
    """What the process's control groups and those around them have left, in bytes, by version 1 and 2."""
    found = []
    for line in _text(_PROC / "self" / "cgroup").splitlines():
        _, kinds, path = [*line.split(":", 2), "", ""][:3]
        if kinds in ("", "memory"):
            root, names = (_CGROUP / "memory", _V1) if kinds else (_CGROUP, _V2)
            places = Path(path.lstrip("/"))
            found += [_left(root / place, *names) for place in (places, *places.parents)]
    return [left for left in found if left is not None]


def _left(group: Path, limit: str, used: str, cache: str) -> int | None:
    """The bytes that a control group has left; None without a limit."""
    try:
        most, now = (int(_text(group / name)) for name in (limit, used))
    except ValueError:  # absent, or `max`
        return None
    kept = re.search(rf"^{cache} (\d+)$", _text(group / "memory.stat"), re.M)
    return max(0, most - now + (int(kept[1]) if kept else 0))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _windows() -> int | None:
    """What Windows would still grant to this process."""

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
