"""Which Omniglot data a folder has: a digest of the source, and a comparison with the official drawings."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from metacli.system import regular_files
from metacli.tasks.images.pixel_digests import EXACT

# SHA-256 of the names and pixel digests of all drawings, and of the sorted pixel digests alone
OFFICIAL_DATA = "6ec9e8424d7af08b0219b77f777796d0f95ff8bab9ac025622b019446996378d"
OFFICIAL_DRAWINGS = "53abf533b7da0cfaa61a992c1de2f4269a6235caded159c627c68b586da15a0d"


def digest_of_source(path: Path, max_bytes: int) -> bytes:
    """Returns the SHA-256 of a zip file, or of the names, sizes and times of the files in a folder.

    Args:
        path: a zip file or a folder.
        max_bytes: the largest size of a zip file.

    Raises:
        OSError: a file is missing or too large, or cannot be read.
    """
    if not os.path.isdir(path):
        with regular_files.open_regular_file(path, max_bytes) as file:
            return hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]
    digest = hashlib.sha256()
    for directory, folders, names in os.walk(path):
        folders.sort()
        for file_path in (os.path.join(directory, name) for name in sorted(names)):
            info = os.stat(file_path, follow_symlinks=False)
            inner_path = os.path.relpath(file_path, path)
            state = f"{inner_path} {info.st_size} {info.st_mtime_ns} {info.st_ctime_ns}\n"
            digest.update(os.fsencode(state))
    return digest.digest()


def compare_with_official(arrays: dict[str, np.ndarray]) -> str:
    """Returns how the drawings differ from the official ones, whatever archive they came in; empty if they do not."""
    exact = [digest[:EXACT] for digest in arrays["digests"].astype(str).ravel().tolist()]
    by_name = "\n".join([*arrays["names"].tolist(), *exact])
    if hashlib.sha256(by_name.encode()).hexdigest() == OFFICIAL_DATA:
        return ""
    drawings = hashlib.sha256("\n".join(sorted(exact)).encode()).hexdigest()
    if drawings == OFFICIAL_DRAWINGS:
        return "all drawings are official, but some belong to another character or have another name"
    return "some drawings are missing or different"
