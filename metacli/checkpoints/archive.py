"""The file of a checkpoint: the zip archive that `torch.save` writes, closed by a digest of every byte before it.

The digest is the archive's comment, which every reader of zip files passes over. Archives without one are older; their
records have CRC-32 sums, which `torch.load` does not look at and this module does.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import struct
import sys
import zipfile
import zlib
from typing import BinaryIO

_MARK = b"metacli sha256 "
_HEX = 64  # characters of the digest
_RECORD = re.compile(r"data\.pkl|byteorder|data/[0-9]+")  # the others say nothing that a number depends on
_PIECE = 2**20


class RefusedError(ValueError):
    """A file that is not read any further.

    Args:
        message: why, a line or a list of lines.
        hint: what to try next.
    """

    def __init__(self, message: str | list[str], hint: str = ""):
        self.said = [message] if isinstance(message, str) else message
        self.hint = hint
        super().__init__(*self.said)


def no_checkpoint() -> RefusedError:
    """What is said of most files that are none."""
    return RefusedError("truncated, or not a checkpoint", "train again, or --resume the run")


def seal(file: io.BytesIO) -> None:
    """Close an archive, as `torch.save` wrote it, with its digest; `torch.load` still reads it."""
    length = struct.Struct("<H")  # of the comment: the last two bytes of an archive without one
    file.seek(-length.size, os.SEEK_END)
    if file.read() != length.pack(0):
        raise ValueError("an archive that has a comment already")
    file.seek(-length.size, os.SEEK_END)
    file.write(length.pack(len(_MARK) + _HEX) + _MARK)
    file.write(hashlib.sha256(file.getbuffer()).hexdigest().encode())


class Archive:
    """The records of a checkpoint's file by name, each checked as it is read.

    Records are stored as they are: of a file of n bytes no more than n are ever read.

    Args:
        file: at its start; read at once as far as its digest and its directory go, and record by record later.

    Attributes:
        sealed: whether the file has a digest, which is right.
        size: bytes of the file.

    Raises:
        RefusedError: no such archive, a wrong digest, or a record that is compressed, encrypted or there twice.
    """

    def __init__(self, file: BinaryIO):
        if file.read(4) != b"PK\x03\x04":
            raise no_checkpoint()
        self.size = file.seek(0, os.SEEK_END)
        try:
            self._zip = zipfile.ZipFile(file)
        except _BROKEN:
            raise no_checkpoint() from None
        entries = self._zip.infolist()
        if any(e.compress_type != zipfile.ZIP_STORED or e.compress_size != e.file_size for e in entries):
            raise RefusedError("refused: it holds compressed data, which no checkpoint does")
        if sum(e.file_size for e in entries) > self.size:
            raise RefusedError("refused: its parts are larger than the file")
        self.sealed = _sealed(file, self.size)
        folder = entries[0].filename.partition("/")[0] if entries else ""
        named = [(e.filename.removeprefix(f"{folder}/"), e) for e in entries]
        self._entries = {name: e for name, e in named if _RECORD.fullmatch(name)}
        if len(self._entries) < sum(bool(_RECORD.fullmatch(name)) for name, _ in named):
            raise RefusedError("refused: it holds a part twice")
        if self.record("byteorder", b"little") != sys.byteorder.encode():
            raise RefusedError("refused: written by a machine whose numbers have another order of bytes")

    def record(self, name: str, default: bytes | None = None) -> bytes:
        """The bytes of a record, whose checksum is right.

        Args:
            default: of one that is not there.

        Raises:
            RefusedError: it is not there, or damaged.
        """
        if name not in self._entries:
            if default is None:
                raise no_checkpoint()
            return default
        try:
            return self._zip.read(self._entries[name])
        except _BROKEN:
            raise RefusedError(f"damaged: the checksum of {name} is wrong", _ANOTHER) from None

    def length(self, name: str) -> int:
        """How many bytes a record has; -1 for one that is not there."""
        return self._entries[name].file_size if name in self._entries else -1


_ANOTHER = "take another copy of it, or another checkpoint of the run; else train again"
_BROKEN = (  # all that `zipfile` raises for bytes that are no archive, or no longer
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    KeyError,
    IndexError,
    EOFError,
    OSError,
    OverflowError,
    struct.error,
    zlib.error,
)


def _sealed(file: BinaryIO, size: int) -> bool:
    """Whether the file ends in a digest; raises a RefusedError if it is not that of the bytes before it."""
    file.seek(max(size - _HEX - len(_MARK), 0))
    if file.read(len(_MARK)) != _MARK:
        return False
    file.seek(0)
    digest, left = hashlib.sha256(), size - _HEX
    while left > 0:
        piece = file.read(min(left, _PIECE))
        if not piece:
            raise no_checkpoint()
        digest.update(piece)
        left -= len(piece)
    if digest.hexdigest().encode() != file.read(_HEX):
        raise RefusedError("damaged: its bytes are not those that were written (SHA-256)", _ANOTHER)
    return True
