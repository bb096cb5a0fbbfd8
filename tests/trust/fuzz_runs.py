"""Run directories: their files damaged, taken away, replaced by folders, links and pipes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
import yaml
from hypothesis import strategies as st

from metacli.checkpoints import checkpoint
from tests.trust import fuzz
from tests.trust.confined import Case
from tests.trust.fuzz_checkpoints import same
from tests.trust.goods import Goods, copied
from tests.trust.hostile import Draw, bent, damaged, values

NEEDS = ("finished", "stopped", "memory")
FILES = ["recipe.yaml", "metrics.jsonl", "last.safetensors", "best.safetensors", "env.json", "eval.json"]
PLAIN_TEXTS = ["", "[]", "3", "null", "a: b", "\xff", '{"step": "x"}', '{"step": 1e400}', "[" * 5000, '{"a":' * 5000]


def case(draw: Draw, place: Path, goods: Goods) -> Case:
    """A run, damaged, and a verb that reads it."""
    verb = draw(st.sampled_from(["resume", "resume", "resume", "eval", "inspect"]))
    source = {"resume": goods.stopped(), "eval": goods.finished(), "inspect": goods.memory()}[verb]
    run = copied(source, place / "run")
    files = draw(st.lists(st.sampled_from(FILES), min_size=1, max_size=2, unique=True))
    ways = [_hurt(draw, run / name) for name in files]
    argv = {
        "resume": ["train", "--resume", "run", "--threads", "1", "--json"],
        "eval": ["eval", "-c", "run", "--tasks", "2", "--threads", "1", "--json"],
        "inspect": ["inspect-memory", "-c", "run", "--threads", "1", "--json"],
    }[verb]
    if "changed" in ways or verb == "inspect":
        return Case(argv)
    if verb == "resume":
        return Case(argv, lambda _: _same_weights(run / "last.safetensors", goods.finished() / "last.safetensors"))
    if not (run / "best.safetensors").is_file():
        return Case(argv)
    good = goods.numbers("finished run", ["eval", "-c", str(goods.finished() / "best.safetensors"), *argv[3:]])
    return Case(argv, lambda outcome: same(outcome.json(), good))


def _same_weights(found: Path, whole: Path) -> None:
    """Raise an AssertionError where a run that went on ended otherwise than the one that was never stopped."""
    ours, theirs = checkpoint.load(found).model, checkpoint.load(whole).model
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours), "resumed to other weights"


def _hurt(draw: Draw, file: Path) -> str:
    """Do something to a file; "changed" where other numbers than those of the good run are right after it."""
    how = draw(
        st.sampled_from(["damage", "damage", "damage", "bend", "bend", "text", "gone", "folder", "link", "pipe"])
    )
    whole = file.read_bytes() if file.is_file() else b"{}"
    file.unlink(missing_ok=True)
    if how == "damage":
        file.write_bytes(damaged(draw, whole))
        return "changed" if file.name == "recipe.yaml" else ""
    if how == "bend" and file.suffix != ".safetensors":
        file.write_bytes(_bent(draw, file.name, whole))
        return "changed"
    if how in ("text", "bend"):
        file.write_bytes(draw(st.sampled_from(PLAIN_TEXTS)).encode("latin-1"))
    elif how == "folder":
        (file / "x").mkdir(parents=True)
    elif how == "link":
        file.symlink_to(draw(st.sampled_from(["nowhere", file.name, ".", "/dev/zero", "recipe.yaml"])))
    elif how == "pipe":
        os.mkfifo(file)
    return ""


def _bent(draw: Draw, name: str, whole: bytes) -> bytes:
    if name == "recipe.yaml":
        return yaml.safe_dump(bent(draw, yaml.safe_load(whole)), allow_unicode=True).encode("utf-8", "surrogatepass")
    lines = [json.loads(line) for line in whole.splitlines()] if name == "metrics.jsonl" else [json.loads(whole)]
    i = draw(st.integers(0, max(len(lines) - 1, 0)))
    lines[i : i + 1] = [draw(st.one_of(values, st.just(lines[i]).map(lambda t: bent(draw, t))))] if lines else []
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def main(times: int, seed: int) -> str:
    """See `tests.trust`."""
    return fuzz.fuzz({"fuzz_runs": times}, seed)
