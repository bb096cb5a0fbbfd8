"""The CPU: its instructions, its support for bfloat16, and the cores that this process may use."""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from pathlib import Path

import torch

from metacli.compute import torchrun

_CGROUP = Path("/sys/fs/cgroup")
_WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")


def processor_name() -> str:
    """Returns the vendor and model of the CPU, as far as the system reports them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def instruction_set() -> str:
    """Returns the widest instructions that torch uses, such as `AVX2` or `AVX512 with bfloat16`."""
    return torch.backends.cpu.get_cpu_capability() + (" with bfloat16" if has_bfloat16() else "")


@lru_cache
def has_bfloat16() -> bool:
    """Returns whether the CPU has bfloat16 instructions that torch and oneDNN may use.

    `ATEN_CPU_CAPABILITY` and `ONEDNN_MAX_CPU_ISA` hide instructions from torch and from its convolutions.
    """
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # missing in older torch
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "")).upper()
    allowed = torch.backends.cpu.get_cpu_capability().startswith("AVX512") and limit not in _WITHOUT_BF16
    return allowed and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def choose_precision(requested: str, device: torch.device) -> tuple[torch.dtype, str]:
    """Returns the precision of convolutions in training, and the reason for it.

    Speed of a training step in bfloat16, relative to float32, on one thread: 1.3 with bfloat16 instructions, 0.4 with
    AVX-512 only, 0.1 with AVX2 only.

    Args:
        requested: auto, float32 or bfloat16.
        device: the device of the model.
    """
    if requested != "auto":
        return getattr(torch, requested), "set in the recipe"
    if device.type == "cpu":
        if has_bfloat16():
            return torch.bfloat16, f"faster than float32 on {instruction_set()}"
        return torch.float32, f"{instruction_set()} has no instructions for bfloat16"
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.bfloat16, "the GPU computes bfloat16 natively"
    return torch.float32, f"{device.type} has no instructions for bfloat16"


def connected_rank() -> torchrun.RankInfo:
    """Returns the rank of this process among those that it is connected to; rank 0 of 1 without any."""
    is_connected = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torchrun.rank_if_valid() if is_connected else torchrun.RankInfo()


def available_cores() -> tuple[int, str]:
    """Returns the number of cores that this process may use, at least 1, and a description of the limit.

    The limit is the smallest of the process's CPU affinity, the container's quota (rounded down) and
    `OMP_NUM_THREADS`. Processes that train together on a machine share its cores equally. torchrun always sets
    `OMP_NUM_THREADS` to 1 for them, so that value is ignored.
    """
    limits = [(_affinity_cores() or os.cpu_count() or 1, "cores of this process")]
    if quota := _container_quota():
        limits.append((max(1, int(quota)), "cores in the container's quota"))
    setting, processes = os.environ.get("OMP_NUM_THREADS", ""), connected_rank().local_size
    if setting.isdecimal() and not (processes > 1 and setting == "1"):
        limits.append((max(1, int(setting)) * processes, "set by OMP_NUM_THREADS"))
    count, limit = min(limits, key=lambda limit: limit[0])
    return max(1, count // processes), limit + (f", shared by {processes} processes" if processes > 1 else "")


def _affinity_cores() -> int | None:
    """Returns the number of cores that this process may run on, None if unknown, as on macOS and Windows."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return None


def _container_quota() -> float | None:
    """Returns the container's quota of CPU time in cores, from cgroup version 2 or 1; None without a limit."""
    try:
        if (_CGROUP / "cpu.max").is_file():
            quota, period = (_CGROUP / "cpu.max").read_text("utf-8").split()
        else:
            quota, period = ((_CGROUP / f"cpu/cpu.cfs_{part}_us").read_text("utf-8") for part in ("quota", "period"))
        return float(quota) / float(period) if quota.strip() not in ("max", "-1") else None
    except (OSError, ValueError):
        return None
