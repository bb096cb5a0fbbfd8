"""The processor at hand: its instructions, what it computes in bfloat16, and the cores that this process may use."""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from pathlib import Path

import torch

from metacli.compute import torchrun

_CGROUP = Path("/sys/fs/cgroup")
_WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")


def name() -> str:
    """Maker and model, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine()


def instructions() -> str:
    """The widest instructions that torch uses here, as in `AVX2` or `AVX512 with bfloat16`."""
    return torch.backends.cpu.get_cpu_capability() + (" with bfloat16" if native_bfloat16() else "")


@lru_cache
def native_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 numbers itself, and torch and oneDNN are allowed to use that.

    `ATEN_CPU_CAPABILITY` and `ONEDNN_MAX_CPU_ISA` hide instructions from torch and from its convolutions.
    """
    has: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # missing in older torch
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "")).upper()
    used = torch.backends.cpu.get_cpu_capability().startswith("AVX512") and limit not in _WITHOUT_BF16
    return used and bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def training_precision(wanted: str, device: torch.device) -> tuple[torch.dtype, str]:
    """The arithmetic of convolutions in training, and the reason for it.

    Measured on one thread, training steps in bfloat16 against float32: 1.3 times the speed with bfloat16 instructions,
    0.4 with AVX-512 alone, 0.1 with AVX2, which compute it by detours.

    Args:
        wanted: auto, float32 or bfloat16.
        device: where the model is.
    """
    if wanted != "auto":
        return getattr(torch, wanted), "as the recipe asks"
    if device.type == "cpu":
        if native_bfloat16():
            return torch.bfloat16, f"{instructions()}, where it is the faster one"
        return torch.float32, f"{instructions()} has no instructions for bfloat16"
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.bfloat16, "the GPU computes bfloat16 natively"
    return torch.float32, f"{device.type} has no instructions for bfloat16"


def cores() -> tuple[int, str]:
    """How many cores this process may use, and what sets the number.

    The least of: the cores that it may run on (affinity), the container's quota, rounded down, and `OMP_NUM_THREADS`.
    Of several processes that train together on a machine each one has its part; torchrun sets an `OMP_NUM_THREADS` of
    1 for them, whatever there is, which therefore does not count. At least 1.
    """
    limits = [(_affinity() or os.cpu_count() or 1, "cores of this process")]
    if quota := _quota():
        limits.append((max(1, int(quota)), "cores by the container's quota"))
    asked, together = os.environ.get("OMP_NUM_THREADS", ""), torchrun.place().local_size
    if asked.isdecimal() and not (together > 1 and asked == "1"):
        limits.append((max(1, int(asked)) * together, "by OMP_NUM_THREADS"))
    count, limit = min(limits, key=lambda limit: limit[0])
    return max(1, count // together), limit + (f", shared by {together} processes" if together > 1 else "")


def _affinity() -> int | None:
    """The cores that this process may run on; None where the system does not tell, as macOS and Windows."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return None


def _quota() -> float | None:
    """The container's share of processor time in cores, by cgroup 2 or 1; None where there is no bound."""
    try:
        if (_CGROUP / "cpu.max").is_file():
            quota, period = (_CGROUP / "cpu.max").read_text("utf-8").split()
        else:
            quota, period = ((_CGROUP / f"cpu/cpu.cfs_{part}_us").read_text("utf-8") for part in ("quota", "period"))
        return float(quota) / float(period) if quota.strip() not in ("max", "-1") else None
    except (OSError, ValueError):
        return None
