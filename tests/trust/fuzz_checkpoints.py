"""Checkpoints: with bytes damaged, which must be noticed before a number is printed, and with foreign values inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from hypothesis import strategies as st
from torch import Tensor

from metacli.checkpoints import file_format
from tests.golden import HERE
from tests.trust import fuzz
from tests.trust.confined import Case
from tests.trust.goods import Goods
from tests.trust.hostile import Draw, bent, damaged, texts, values

NEEDS = ("finished", "memory")
TENSORS = [
    torch.zeros(0), torch.zeros(()), torch.zeros(3, 3), torch.full((4,), float("nan")), torch.zeros(4, 3),
    torch.zeros(2, dtype=torch.int64), torch.zeros(5, dtype=torch.uint8), torch.zeros(2, dtype=torch.complex64),
    torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.float8_e4m3fn), torch.zeros(0, 1 << 40),
]  # fmt: skip
NAMES = ["meter", "random.cpu", "random.cuda.0", "optimizer.0.exp_avg", "optimizer.7.step", "model.x", "__metadata__"]


def case(draw: Draw, place: Path, goods: Goods) -> Case:
    """A checkpoint, and a verb that reads it."""
    best, last, other = goods.finished() / "best.safetensors", goods.finished() / "last.safetensors", goods.memory()
    own = [best, last, other / "best.safetensors"]
    source = draw(st.sampled_from([*own, *own, *sorted(HERE.glob("*.safetensors"))]))
    argv = ["eval", "-c", "x.safetensors", "--tasks", "2", "--threads", "1", "--json"]
    if draw(st.integers(0, 3)) == 0:
        argv = ["inspect-memory", "-c", "x.safetensors", "--threads", "1", "--json"]
    path = place / "x.safetensors"
    if draw(st.booleans()):
        path.write_bytes(damaged(draw, source.read_bytes()))
        whole = [str(source) if word == "x.safetensors" else word for word in argv]
        good = goods.numbers(f"{source} {argv[0]}", whole)
        return Case(argv, lambda outcome: same(outcome.json(), good))
    metadata, tensors = file_format.read_file(source)
    del metadata[file_format.DIGEST_KEY]
    how = draw(st.sampled_from(["metadata", "metadata", "tensors", "header", "foreign"]))
    if how == "metadata":
        metadata = bent(draw, metadata)
    elif how == "tensors":
        for _ in range(draw(st.integers(1, 3))):
            name = draw(st.one_of(st.sampled_from([*tensors, *NAMES]), texts.filter(str.isprintable)))
            tensors[name] = draw(st.sampled_from(TENSORS))
            tensors.pop(draw(st.sampled_from([*tensors, "none"])), None)
    data = sealed(draw(values) if how == "foreign" else metadata, tensors)
    path.write_bytes(with_bent_header(draw, data) if how == "header" else data)
    return Case([word for word in argv if word != "--json" or draw(st.booleans())])


def sealed(metadata: Any, tensors: dict[str, Tensor]) -> bytes:
    """The bytes of a file with any metadata, NaN included, and a digest that is right."""
    if isinstance(metadata, dict):
        metadata = metadata | {file_format.DIGEST_KEY: "0" * 64}
    text = json.dumps(metadata, separators=(",", ":"))
    data = bytearray(safetensors.torch.save({k: v.clone() for k, v in tensors.items()}, {"metacli": text}))
    if isinstance(metadata, dict):
        file_format.set_digest(data)
    return bytes(data)


def with_bent_header(draw: Draw, data: bytes) -> bytes:
    """The bytes of a file with another header in front of the same tensors, and a digest that is right."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    about = header.pop("__metadata__")
    header = bent(draw, header)
    text = json.dumps({"__metadata__": about, **(header if isinstance(header, dict) else {})}, separators=(",", ":"))
    changed = bytearray(len(text).to_bytes(8, "little") + text.encode() + data[8 + length :])
    file_format.set_digest(changed)
    return bytes(changed)


def same(found: Any, good: Any) -> None:
    """Raise an AssertionError where two results differ in anything but the name of the file."""
    for key in good:
        assert key == "checkpoint" or found.get(key) == good[key], (
            f"{key}: {found.get(key)!r:.200}, of the good file {good[key]!r:.200}"
        )


def main(times: int, seed: int) -> str:
    """See `tests.trust`."""
    return fuzz.fuzz({"fuzz_checkpoints": times}, seed)
