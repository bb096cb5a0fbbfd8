"""What an archive holds, as tensors and plain values: a pickle that can name nothing to be called.

`torch.save` writes a pickle of some thirty kinds of instructions. Here are those alone, over a stack of values: no
instruction reaches a function or a class of Python, and what cannot be read is a RefusedError, whatever the bytes.
Tensors are bounded by the bytes of their storages, numbers by 64 bits, the pickle by its length.
"""

from __future__ import annotations

import math
import pickletools
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metacli.checkpoints.archive import Archive, RefusedError, no_checkpoint

LONGEST = 8_000_000  # bytes of the pickle, which holds no tensors: those of 40,000
SHARED = 4  # times the bytes of all storages that all tensors may have together, as of weights that are tied

_DTYPES = {
    f"torch {name}Storage": dtype
    for name, dtype in {
        "Float": torch.float32,
        "Double": torch.float64,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Byte": torch.uint8,
        "Char": torch.int8,
        "Short": torch.int16,
        "Int": torch.int32,
        "Long": torch.int64,
        "Bool": torch.bool,
        "ComplexFloat": torch.complex64,
        "ComplexDouble": torch.complex128,
    }.items()
}
_TENSOR, _MAPPING = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_SCALARS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE")
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Name(NamedTuple):
    """A name that the pickle gives, of a type of storage, of `_TENSOR` or of `_MAPPING`."""

    name: str


class _Storage(NamedTuple):
    """The numbers of one record, (n,)."""

    values: Tensor


def read(archive: Archive) -> Any:
    """The value that an archive holds.

    Dictionaries have keys that are texts or whole numbers. What PyTorch notes beside a state_dict, the versions of
    its modules' formats, is left out.

    Raises:
        RefusedError: anything else than tensors and plain values, or more of them than the file has room for.
    """
    if archive.length("data.pkl") > LONGEST:
        raise RefusedError("refused: more parts than a checkpoint has")
    try:
        return _Reader(archive).run(archive.record("data.pkl"))
    except (IndexError, KeyError, ValueError) as e:  # a stack that is empty, a memo never made, a broken instruction
        if isinstance(e, RefusedError):
            raise
        raise no_checkpoint() from None


class _Reader:
    """The stack of values, and what the instructions do to it."""

    def __init__(self, archive: Archive):
        self._archive = archive
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._storages: dict[str, Tensor] = {}
        self._room = SHARED * archive.size

    def run(self, code: bytes) -> Any:
        """Follow the instructions to the value that they end with."""
        stack = self._stack
        for instruction, given, _ in pickletools.genops(code):
            name: str = instruction.name
            if name in _SCALARS:
                stack.append(_scalar(given))
            elif name in ("BINPUT", "LONG_BINPUT"):
                self._memo[int(given or 0)] = stack[-1]
            elif name in ("BINGET", "LONG_BINGET"):
                stack.append(self._memo[int(given or 0)])
            elif name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            elif name == "EMPTY_DICT":
                stack.append({})
            elif name == "EMPTY_LIST":
                stack.append([])
            elif name == "MARK":
                self._marks.append(len(stack))
            elif name == "TUPLE":
                stack.append(tuple(self._since_mark()))
            elif name in _TUPLES:
                stack.append(tuple(self._take(_TUPLES[name])))
            elif name in ("APPEND", "APPENDS"):
                values = self._since_mark() if name == "APPENDS" else self._take(1)
                _only(stack[-1], list).extend(values)
            elif name in ("SETITEM", "SETITEMS"):
                values = self._since_mark() if name == "SETITEMS" else self._take(2)
                self._set(_only(stack[-1], dict), values)
            elif name == "GLOBAL":
                stack.append(_named(str(given)))
            elif name == "BINPERSID":
                stack.append(self._storage(*self._take(1)))
            elif name == "REDUCE":
                stack.append(self._made(*self._take(2)))
            elif name == "BUILD":
                self._take(1)
            elif name == "STOP":
                return stack.pop()
            elif name != "PROTO":
                raise _foreign()
        raise no_checkpoint()

    def _take(self, count: int) -> list[Any]:
        """The last values of the stack."""
        if len(self._stack) < count:
            raise no_checkpoint()
        taken = self._stack[-count:]
        del self._stack[-count:]
        return taken

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        taken = self._stack[start:]
        del self._stack[start:]
        return taken

    @staticmethod
    def _set(target: dict[Any, Any], pairs: list[Any]) -> None:
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if type(key) not in (str, int):
                raise _foreign()
            target[key] = value

    def _storage(self, said: Any) -> _Storage:
        """What the pickle means by `("storage", type, record, device, length)`."""
        match said:
            case ("storage", _Name(kind), str(key), str(), int(length)) if kind in _DTYPES:
                pass
            case _:
                raise _foreign()
        dtype, name = _DTYPES[kind], f"data/{key}"
        if length < 0 or length * dtype.itemsize != self._archive.length(name):
            raise RefusedError(f"refused: {name} is not as long as the file says")
        if name not in self._storages:
            values = torch.empty(length, dtype=dtype)
            if length:
                values.view(torch.uint8).numpy()[:] = np.frombuffer(self._archive.record(name), np.uint8)
            self._storages[name] = values
        return _Storage(self._storages[name].view(dtype))

    def _made(self, what: Any, given: Any) -> Any:
        """A tensor, or an empty dictionary."""
        match what, given:
            case _Name(name), () if name == _MAPPING:
                return {}
            case _Name(name), (_Storage(values), int(first), tuple(shape), tuple(stride), *_) if name == _TENSOR:
                pass
            case _:
                raise _foreign()
        if len(shape) != len(stride) or len(shape) > 16 or not all(type(n) is int and n >= 0 for n in shape + stride):
            raise _foreign()
        count = math.prod(shape)
        last = first + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
        if first < 0 or (count and last >= len(values)):
            raise RefusedError("refused: a tensor lies outside its numbers")
        self._room -= count * values.itemsize
        if self._room < 0:
            raise RefusedError("refused: its tensors are larger than the file")
        return values.as_strided(shape, stride, first) if count else values.new_empty(shape)


def _scalar(value: Any) -> Any:
    """A number or a text of a pickle, of a size that is any use."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise RefusedError("refused: it holds a number of more than 64 bits")
    return value


def _named(name: str) -> _Name:
    if name not in (_TENSOR, _MAPPING) and name not in _DTYPES:
        raise _foreign()
    return _Name(name)


def _only(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise _foreign()
    return value


def _foreign() -> RefusedError:
    return RefusedError(
        "refused: not a checkpoint, or it holds a pickled object",
        "metacli only ever reads tensors and plain values, because a pickled object can run code",
    )
