"""The same episodes whatever the batch, the thread, the process and the processor's instructions."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from metacli.registry import TASKS, resolve
from metacli.tasks.base import SPLITS, Tasks
from metacli.training import prefetch

MOVED = {
    "rotation": 30.0,
    "shift": 1.5,
    "stretch": 1.2,
    "slant": 10.0,
    "rotated_classes": True,
    "mirrored_classes": True,
    "augment": "all",
}
FEW = {"classes": 50, "val_classes": 25, "test_classes": 25, "instances": 8, "size": 14}
OLDER = {"ATEN_CPU_CAPABILITY": "avx2", "NUMBA_CPU_NAME": "haswell"}


def folder(root: Path) -> Path:
    """A folder of 30 classes of 3 to 12 pictures, always the same."""
    if not root.is_dir():
        draw = np.random.default_rng(0)
        for c in range(30):
            (root / f"c{c:02d}").mkdir(parents=True)
            for i in range(3 + c % 10):
                Image.fromarray(draw.integers(0, 256, (12, 12), np.uint8)).save(root / f"c{c:02d}" / f"{i}.png")
    return root


def all_tasks(root: Path, seed: int) -> dict[str, Tasks]:
    """Tasks of every registered kind, those over images in several protocols; Omniglot where its data are."""
    keys: dict[str, dict[str, Any]] = {name: {"name": name} for name in TASKS}
    keys["folder"] |= {"root": str(folder(root / "pictures")), "ways": 2, "queries": 1, "size": 12, **MOVED}
    keys["strokes"] |= {**FEW, **MOVED, "within": 0.5}
    keys |= {
        "strokes, stream": {"name": "strokes", **FEW, "protocol": "stream", "labels": "strings", "length": 20},
        "strokes, any ways": {"name": "strokes", **FEW, "fewest_ways": 3, "ways": 4, "queries": 1},
        "strokes, embedded": {"name": "strokes", **FEW, "labels": "embedded", "within": 0.5, "ways": 25, "shots": 1},
        "folder, as it is": {**keys["folder"], **dict.fromkeys(("rotation", "shift", "slant"), 0.0), "stretch": 1.0},
    }
    if not os.environ.get("METACLI_DATA"):
        del keys["omniglot"]
    classes = {name: resolve(TASKS, key["name"], "task") for name, key in keys.items()}
    return {name: cls(cls.Config(**keys[name]), seed) for name, cls in classes.items()}


def digests(root: Path, seed: int, count: int, sizes: list[int]) -> dict[str, str]:
    """A digest of the first episodes of every task and split, made in batches of these sizes in turn.

    What pads an episode to the length of others of its batch is left out.
    """
    found = {}
    for name, tasks in all_tasks(root, seed).items():
        for split in SPLITS:
            parts, first, turn = [], 0, 0
            while first < count:
                size = min(sizes[turn % len(sizes)], count - first)
                episode = tasks.batch(split, first, size)
                parts += [single(episode, b) for b in range(size)]
                first, turn = first + size, turn + 1
            found[f"{name}, {split}"] = hashlib.sha256(b"".join(parts)).hexdigest()
    return found


def single(episode: Any, b: int) -> bytes:
    """Digest of task b of a batch, without padding."""
    found = hashlib.sha256()
    for field in fields(episode):
        tensor = getattr(episode, field.name)
        if tensor is None or field.name == "mask_train":  # all True without padding
            continue
        row, part = tensor[b], field.name.rpartition("_")[2]
        mask = getattr(episode, f"mask_{part}", None) if part in ("train", "test") else None
        if mask is not None:
            row = row[: int(mask[b].nonzero().max()) + 1] if mask[b].any() else row[:0]
        found.update(f"{field.name} {row.dtype} {tuple(row.shape)}".encode() + row.contiguous().numpy().tobytes())
    return found.digest()


def elsewhere(root: Path, seed: int, count: int, sizes: list[int], **settings: str) -> dict[str, str]:
    """`digests`, in a process of its own with these environment variables."""
    command = [sys.executable, "-m", "tests.trust.episodes", str(root), str(seed), str(count), *map(str, sizes)]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def threaded(root: Path, seed: int, count: int) -> dict[str, str]:
    """`digests` of the training episodes, by the thread that samples ahead of the steps."""
    found = {}
    for name, tasks in all_tasks(root, seed).items():
        with closing(prefetch.batches(tasks, 1, range(count), torch.device("cpu"), True)) as episodes:
            parts = [single(episode, 0) for episode in episodes]
        found[f"{name}, train"] = hashlib.sha256(b"".join(parts)).hexdigest()
    return found


def main(times: int, seed: int) -> str:
    """Make the first `times` episodes of every task in many ways; a line on what was compared."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        first = digests(root, seed, times, [1])
        sizes = [[draw.randint(1, 40) for _ in range(5)] for _ in range(5)]
        with ThreadPoolExecutor(2) as pool:
            side_by_side = list(pool.map(lambda s: digests(root, seed, times, s), sizes[:2]))
        others = {
            "threads": side_by_side[0],
            "other threads": side_by_side[1],
            "a process": elsewhere(root, seed, times, sizes[2], PYTHONHASHSEED="1"),
            "another process": elsewhere(root, seed, times, sizes[3], PYTHONHASHSEED="2"),
            "older instructions": elsewhere(root, seed, times, sizes[4], **OLDER),
            "the sampler": threaded(root, seed, times),
        }
    for where, found in others.items():
        odd = [key for key, digest in found.items() if digest != first[key]]
        assert not odd, f"{where}: other episodes of {', '.join(odd)}"
    ways = "one by one, in batches, in threads, in processes, by the sampler, by AVX2"
    return f"episodes: {times} of each of {len(first)} tasks and splits, the same {ways}"


if __name__ == "__main__":
    print(json.dumps(digests(Path(sys.argv[1]), *map(int, sys.argv[2:4]), [int(size) for size in sys.argv[4:]])))
