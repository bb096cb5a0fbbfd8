"""The settings of torch and NumPy that results depend on: fixed during a call, and restored after it.

A notebook or a program may have changed the default dtype or device, the grad mode, the precision of products or the
reaction to numerical errors. `own_settings` makes a call independent of them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

if hasattr(os, "register_at_fork"):  # a forked child has none of the threads that OpenMP would wait for
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


class Setting(NamedTuple):
    """A setting of a library.

    Attributes:
        get: returns its value.
        set: changes it.
        value: the value during a call.
    """

    get: Callable[[], Any]
    set: Callable[[Any], object]
    value: Any


def attribute(owner: Any, name: str, value: Any) -> Setting:
    """Returns the setting that is an attribute of a module or an object."""
    return Setting(lambda: getattr(owner, name), lambda new: setattr(owner, name, new), value)


class SharedSettings:
    """Settings that all threads of the process share; a context manager that any thread may enter, also nested.

    The first entry changes the settings, and the last exit restores them.

    Args:
        settings: the settings. Each one is read after those before it have been changed.
    """

    def __init__(self, settings: list[Setting]):
        self._settings, self._previous = settings, list[Any]()
        self._lock, self._entries = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._entries += 1
            if self._entries == 1:
                self._previous = [_change(setting) for setting in self._settings]

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._entries -= 1
            if not self._entries:
                for setting, previous in reversed(list(zip(self._settings, self._previous, strict=True))):
                    if setting.get() != previous:
                        setting.set(previous)


def _change(setting: Setting) -> Any:
    previous = setting.get()
    if previous != setting.value:
        setting.set(setting.value)
    return previous


def _readable(setting: Setting) -> Setting:
    """Returns a setting that reads as the value of a call where torch refuses to read it."""

    def get() -> Any:
        try:
            return setting.get()
        except RuntimeError:  # the newer settings `fp32_precision` contradict it
            return setting.value

    return setting._replace(get=get)


def _precisions() -> list[Setting]:
    """Returns the precision of float32 operations: the two older settings, then the newer ones, general to special.

    Changing an older setting changes newer ones. torch 2.8 and older have only the older ones.
    """
    backends: Any = torch.backends
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    matmul = Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest")
    older = [_readable(matmul), _readable(attribute(cudnn, "allow_tf32", True))]
    if not hasattr(backends, "fp32_precision"):
        return older
    plain = [backends, cudnn, mkldnn, backends.cuda.matmul, mkldnn.matmul, mkldnn.conv, mkldnn.rnn]
    newer = [attribute(owner, "fp32_precision", "none") for owner in plain]
    return older + newer + [attribute(owner, "fp32_precision", "tf32") for owner in (cudnn.conv, cudnn.rnn)]


def _process_settings() -> list[Setting]:
    cuda: Any = torch.backends.cuda
    attention = [
        Setting(getattr(cuda, f"{kind}_sdp_enabled"), getattr(cuda, f"enable_{kind}_sdp"), True)
        for kind in ("flash", "mem_efficient", "math", "cudnn")
    ]
    return [
        Setting(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        Setting(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0),
        *_precisions(),
        attribute(cuda.matmul, "allow_fp16_reduced_precision_reduction", True),
        attribute(cuda.matmul, "allow_bf16_reduced_precision_reduction", True),
        attribute(torch.backends.cudnn, "enabled", True),
        attribute(torch.backends.cudnn, "benchmark", False),
        attribute(torch.backends.cudnn, "deterministic", False),
        attribute(torch.backends.mkldnn, "enabled", True),
        *attention,
    ]


_shared = SharedSettings(_process_settings())


@contextmanager
def own_settings() -> Iterator[None]:
    """In the block, or in a decorated function, torch and NumPy have the settings that this package needs.

    At the end the previous settings are restored. Blocks may be nested, and other threads may be in such a block.
    Denormal numbers are flushed to zero. Random states and the number of threads are those of
    `metacli.compute.device.preserve_torch_state`.
    """
    with ExitStack() as stack:
        stack.enter_context(_shared)
        if torch.get_default_device().type != "cpu":  # the block makes every call of torch slower
            stack.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device_type in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(device_type):
                stack.enter_context(torch.autocast(device_type, enabled=False))
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        flushes = flushes_denormals()
        torch.set_flush_denormal(True)
        stack.callback(torch.set_flush_denormal, flushes)
        yield


def flushes_denormals() -> bool:
    """Returns whether this thread flushes denormal numbers to zero. It tries, as PyTorch has no function for it."""
    return bool(torch.tensor(1e-40, dtype=torch.float32, device="cpu") * 1 == 0)
