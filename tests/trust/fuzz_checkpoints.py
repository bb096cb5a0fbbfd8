"""Checkpoints: with bytes damaged, which must be noticed before a number is printed, and with foreign values inside."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from metacli.checkpoints import checkpoint
from tests.golden import HERE
from tests.trust import fuzz
from tests.trust.confined import Case
from tests.trust.goods import Goods
from tests.trust.hostile import Draw, bent, damaged, values

NEEDS = ("finished", "memory")
tensors = st.sampled_from(
    [
        torch.zeros(0), torch.zeros(()), torch.zeros(3, 3), torch.full((4,), float("nan")),
        torch.zeros(2, dtype=torch.int64),
        torch.zeros(2, dtype=torch.complex64), torch.zeros(2, dtype=torch.bfloat16), torch.zeros(5, dtype=torch.uint8),
        torch.zeros(4).to_sparse(), torch.zeros(3, device="meta"), torch.zeros(1).expand(1 << 40),
    ]
)  # fmt: skip
foreign = st.one_of(values, tensors)


def case(draw: Draw, place: Path, goods: Goods) -> Case:
    """A checkpoint, and a verb that reads it."""
    own = [goods.finished() / "best.pt", goods.finished() / "last.pt", goods.memory() / "best.pt"]
    source = draw(st.sampled_from([*own, *own, *sorted(HERE.glob("*.pt"))]))
    argv = ["eval", "-c", "x.pt", "--tasks", "2", "--threads", "1", "--json"]
    if draw(st.integers(0, 3)) == 0:
        argv = ["inspect-memory", "-c", "x.pt", "--threads", "1", "--json"]
    path = place / "x.pt"
    if draw(st.booleans()):
        path.write_bytes(damaged(draw, source.read_bytes()))
        whole = [str(source) if word == "x.pt" else word for word in argv]
        good = goods.numbers(f"{source} {argv[0]}", whole)
        return Case(argv, lambda outcome: same(outcome.json(), good))
    if draw(st.integers(0, 9)) == 0:
        save(draw, draw(foreign), path)
    else:
        save(draw, bent(draw, _content(source), foreign), path)
    return Case([word for word in argv if word != "--json" or draw(st.booleans())])


def save(draw: Draw, content: Any, path: Path) -> None:
    """Write content as metacli does, closed by a digest, or as PyTorch does."""
    if draw(st.integers(0, 3)):
        checkpoint.write(path, content)
    else:
        torch.save(content, path)


def same(found: Any, good: Any) -> None:
    """Raise an AssertionError where two results differ in anything but the name of the file."""
    for key in good:
        assert key == "checkpoint" or found.get(key) == good[key], (
            f"{key}: {found.get(key)!r:.200}, of the good file {good[key]!r:.200}"
        )


@functools.cache
def _bytes(source: Path) -> bytes:
    return source.read_bytes()


def _content(source: Path) -> Any:
    return torch.load(io.BytesIO(_bytes(source)), weights_only=True)


def main(times: int, seed: int) -> str:
    """See `tests.trust`."""
    return fuzz.fuzz({"fuzz_checkpoints": times}, seed)
