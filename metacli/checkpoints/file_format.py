"""The bytes of a checkpoint: a safetensors file whose metadata is one entry of canonical JSON with a digest in it.

The JSON has sorted keys and safetensors sorts the tensors, so equal content gives equal bytes in every process. The
digest is the SHA-256 of the whole file in which the digest's own 64 characters are zeros. No content
of a file is used before its digest has been verified.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, NoReturn

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from metacli.checkpoints.errors import ANOTHER_COPY, RefusedError
from metacli.errors import MetacliError
from metacli.system import files, memory, regular_files

METADATA_KEY = "metacli"  # the only entry of the safetensors metadata, an unordered map of strings
DIGEST_KEY = "file_sha256"  # a key of the JSON in that entry
MAX_HEADER_BYTES = 100_000_000  # limit of the safetensors library
DTYPES = ("F64", "F32", "F16", "BF16", "C64", "I64", "I32", "I16", "I8", "U8", "BOOL")

_LENGTH_BYTES = 8  # a safetensors file begins with the length of its header, little-endian
_NO_DIGEST = "0" * 64
_DIGEST = re.compile(rb'\\"' + DIGEST_KEY.encode() + rb'\\":\\"([0-9a-f]{64})\\"')  # JSON within a text of JSON
_HEADER_START = json.dumps({"__metadata__": {METADATA_KEY: ""}}, separators=(",", ":"))[:-3].encode()
_TORCH_FILES = (b"PK\x03\x04", b"\x80\x02")  # zip archives, and the pickles of old versions


def write_file(path: Path, metadata: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write a checkpoint file completely or not at all; see `encode`.

    Raises:
        RefusedError: the metadata are larger than `read_file` accepts.
        MetacliError: the file cannot be written. An existing file is unchanged.
    """
    files.write(path, memoryview(encode(metadata, tensors)), "free some space, then resume the run with --resume")


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the metadata and the tensors of a checkpoint file; see `decode`. Never waits for a pipe.

    Raises:
        RefusedError: as `decode`.
        MetacliError: the file cannot be read, is not a regular file, or does not fit into memory.
    """
    try:
        with regular_files.open_regular_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            _read_header_length(file.read(_LENGTH_BYTES), size)
            memory.check_fits(2 * size, f"reading {path}", "read it on a larger machine", memory.available_bytes())
            file.seek(0)
            return decode(file.read())
    except OSError as e:
        raise MetacliError(f"cannot read {path}: {e.strerror or e}", ANOTHER_COPY) from None


def encode(metadata: dict[str, Any], tensors: dict[str, Tensor]) -> bytearray:
    """Returns the bytes of a checkpoint file.

    Args:
        metadata: JSON values, without the digest. Numbers must be finite.
        tensors: tensors by name. If they share memory, the file stores each separately.
    """
    text = json.dumps({**metadata, DIGEST_KEY: _NO_DIGEST}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    cpu_tensors = {name: _copy_to_cpu(value) for name, value in tensors.items()}
    data = bytearray(safetensors.torch.save(cpu_tensors, {METADATA_KEY: text}))
    header_bytes = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if header_bytes > MAX_HEADER_BYTES:
        raise RefusedError(
            f"its metadata would have {header_bytes:,} bytes, more than {MAX_HEADER_BYTES:,}", "train on fewer classes"
        )
    set_digest(data)
    return data


def decode(data: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns the metadata, digest included, and the tensors in the bytes of a checkpoint file.

    Raises:
        RefusedError: the file is of another kind, or its bytes have changed. A file with a recalculated digest is
            refused if a name occurs twice or if it contains anything but JSON and tensors.
    """
    header = data[_LENGTH_BYTES : _LENGTH_BYTES + _read_header_length(data[:_LENGTH_BYTES], len(data))]
    if not header.startswith(_HEADER_START):
        raise _other_file_error()
    start = _LENGTH_BYTES + _find_digest(header)
    digest = data[start : start + len(_NO_DIGEST)]
    if _calculate_digest(data, start) != digest:
        raise RefusedError("damaged or truncated: its SHA-256 digest does not match its content", ANOTHER_COPY)
    entries = _parse_json(header)
    match entries.pop("__metadata__"):
        case {"metacli": str(text), **others} if not others:
            metadata = _parse_json(text.encode("utf-8", "surrogatepass"))
        case _:
            raise _other_file_error()
    if metadata.get(DIGEST_KEY) != digest.decode():
        raise _other_file_error()
    for name, entry in entries.items():
        if not isinstance(entry, dict) or entry.get("dtype") not in DTYPES:
            raise RefusedError(f"tensor {name[:80]!r} has a dtype that no checkpoint uses")
    try:
        return metadata, dict(sorted(safetensors.torch.load(data).items()))  # the library has no fixed order
    except (SafetensorError, ValueError, RuntimeError, TypeError, OverflowError) as e:
        raise RefusedError(f"not a checkpoint of metacli: {str(e).splitlines()[0][:200]}", ANOTHER_COPY) from None


def set_digest(data: bytearray) -> None:
    """Set the digest of a checkpoint file's bytes, in place."""
    header_bytes = int.from_bytes(data[:_LENGTH_BYTES], "little")
    start = _LENGTH_BYTES + _find_digest(data[_LENGTH_BYTES : _LENGTH_BYTES + header_bytes])
    data[start : start + len(_NO_DIGEST)] = _calculate_digest(data, start)


def _read_header_length(start: bytes, size: int) -> int:
    """Returns the length in bytes of the header of a file that starts with `start` and has `size` bytes."""
    if start.startswith(_TORCH_FILES):
        raise RefusedError(
            "a file of PyTorch (.pt) or a zip archive, not a checkpoint of metacli",
            "checkpoints of metacli are .safetensors files, as `metacli train` writes them",
        )
    header_bytes = int.from_bytes(start, "little")
    if not 0 < header_bytes <= min(size - _LENGTH_BYTES, MAX_HEADER_BYTES):
        raise _other_file_error()
    return header_bytes


def _find_digest(header: bytes | bytearray) -> int:
    """Returns the offset of the digest in a header."""
    matches = list(_DIGEST.finditer(header))
    if len(matches) != 1:
        raise RefusedError(f"damaged: it has {len(matches)} digests instead of one", ANOTHER_COPY)
    return matches[0].start(1)


def _calculate_digest(data: bytes | bytearray, start: int) -> bytes:
    """Returns the hexadecimal SHA-256 of a file whose digest, at offset `start`, is replaced by zeros."""
    view = memoryview(data)
    digest = hashlib.sha256(view[:start])
    digest.update(_NO_DIGEST.encode())
    digest.update(view[start + len(_NO_DIGEST) :])
    return digest.hexdigest().encode()


def _copy_to_cpu(value: Tensor) -> Tensor:
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def _parse_json(text: bytes) -> dict[str, Any]:
    """Parses a JSON object. Refuses duplicate names and infinite or NaN numbers."""

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            raise RefusedError("refused: a name occurs twice in it")
        return mapping

    def refuse(constant: str) -> NoReturn:
        raise ValueError(constant)

    try:
        content = json.loads(text.decode("utf-8", "surrogatepass"), object_pairs_hook=collect, parse_constant=refuse)
    except RefusedError:
        raise
    except (ValueError, RecursionError, MemoryError):
        raise _other_file_error() from None
    if not isinstance(content, dict):
        raise _other_file_error()
    return content


def _other_file_error() -> RefusedError:
    return RefusedError(
        "truncated, damaged or not a checkpoint of metacli", "train again, or resume the run with --resume"
    )
