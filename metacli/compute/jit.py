"""numba (extra `fast`): compiles loops that also exist, slower, in plain PyTorch or NumPy."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from metacli.system import terminal

_DISABLED = "NUMBA_DISABLE_JIT is set"  # its loops would run as slow Python


def available() -> bool:
    """Returns whether numba can be used. The first call imports it, which takes a few tenths of a second."""
    return not _missing()


def reason() -> str:
    """Returns the version of numba, or why it cannot be used."""
    if missing := _missing():
        return f"numba cannot be used ({missing})" + ("" if missing == _DISABLED else "; pip install 'metacli[fast]'")
    import numba

    return f"numba {numba.__version__}"


def loop(function: Callable[..., Any], reorder: bool = False) -> Any:
    """Compile a function at its first call. It runs without Python's global lock. numba caches it on disk.

    The first compilation in a process is announced on stderr. Loading from the cache is not.

    Args:
        function: the function, in numba's subset of Python.
        reorder: whether sums may be reordered and fused with products, and divisions by 0 follow NumPy. The last bits
            of a result then depend on the processor's instructions.
    """
    from numba import njit

    _announce_compilation()
    options: dict[str, Any] = {"nogil": True}
    if reorder:
        options |= {"fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no writable folder for the cache
        return njit(**options)(function)


@cache
def _announce_compilation() -> None:
    """Print a line on stderr when numba first compiles a function of this package."""
    from numba.core import event

    class Announcement(event.Listener):
        printed = False

        def on_start(self, event: Any) -> None:
            if self.printed or not event.data["dispatcher"].py_func.__module__.startswith("metacli."):
                return
            self.printed = True
            from tqdm import tqdm

            with tqdm.external_write_mode(file=terminal.stderr()):
                terminal.print_to_stderr("numba   compiles the fast loops: some 20 s, once on this machine")

        def on_end(self, event: Any) -> None:
            pass

    event.register("numba:compile", Announcement())


@cache
def _missing() -> str:
    """Returns why numba cannot be used; empty if it can."""
    try:
        import numba
    except Exception as error:  # numba raises various errors for a NumPy version that it does not know
        return str(error) or type(error).__name__
    return _DISABLED if getattr(numba.config, "DISABLE_JIT", 0) else ""
