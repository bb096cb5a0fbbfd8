"""numba, which compiles loops that stand beside their plain equals, where it is installed: the extra `fast`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any


def available() -> bool:
    """Whether numba can be used. Imports it the first time, which takes a few tenths of a second."""
    return not _missing()


def reason() -> str:
    """Why `available` answers as it does, in a few words."""
    if missing := _missing():
        return f"numba cannot be used ({missing}); pip install 'metacli[fast]'"
    import numba

    return f"numba {numba.__version__}"


def loop(function: Callable[..., Any], reorder: bool = False) -> Any:
    """A decorator: compiled at the first call, kept in numba's cache for the next process, free of Python's lock.

    Args:
        reorder: sums may be taken in another order, products fused with them, divisions by 0 done as NumPy does; the
            last bits then depend on the processor's instructions.
    """
    from numba import njit

    options: dict[str, Any] = {"nogil": True}
    if reorder:
        options |= {"fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no folder that the cache could be written to
        return njit(**options)(function)


@cache
def _missing() -> str:
    """Why numba cannot be used; empty where it can."""
    try:
        import numba  # noqa: F401
    except Exception as error:  # numba refuses a NumPy that it does not know, in more than one way
        return str(error) or type(error).__name__
    return ""
