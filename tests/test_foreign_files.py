"""Whatever file is given as a checkpoint: read as it was written, or one `error:` line; never another number."""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metacli.checkpoints import checkpoint
from metacli.checkpoints.archive import seal
from metacli.checkpoints.provenance import Provenance
from metacli.cli import main as command_line
from metacli.config.recipe import load_recipe, recipe_from_dict
from metacli.errors import MetacliError
from metacli.registry import MODELS, TASKS, build
from metacli.training.optimizer import make_optimizer
from tests.golden import HERE

GOLDEN = sorted(HERE.glob("format*_lstm.pt")) + sorted(HERE.glob("format*_mann.pt"))


@pytest.fixture
def resumable(tmp_path, tiny) -> Path:
    """A checkpoint of today, with all that there is for resuming."""
    tasks = build(TASKS, tiny.task, 0)
    model = build(MODELS, tiny.model, tasks.spec)
    optimizer = make_optimizer(model, tiny.train)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    path = tmp_path / "last.pt"
    checkpoint.save(path, tiny, 3, 0.5, model, Provenance.of(tasks), optimizer, {"torch": "2", "threads": 1})
    return path


def used(path: Path) -> checkpoint.Checkpoint:
    """Read, build, and go on for a step where that is what the file is for."""
    saved = checkpoint.load(path)
    model = saved.build_model()
    if saved.optimizer is not None:
        optimizer = make_optimizer(model, saved.recipe.train)
        saved.restore(model, optimizer)
        for weight in model.parameters():
            weight.grad = torch.zeros_like(weight)
        optimizer.step()
    return saved


def same(one: Any, other: Any) -> bool:
    """Whether two values are, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def said(saved: checkpoint.Checkpoint) -> tuple[Any, ...]:
    """All that was read from a file."""
    generators = None if saved.random is None else [saved.random.cpu, *saved.random.cuda]
    known = None if saved.provenance is None else (saved.provenance.classes, saved.provenance.digest)
    parts = saved.step, saved.best, saved.model, saved.optimizer, saved.environment
    return (saved.recipe.as_dict(), *parts, generators, known)


def run(monkeypatch: pytest.MonkeyPatch, *args: object) -> int:
    """The command line in this process; its exit status."""
    monkeypatch.setattr(sys, "argv", ["metacli", *map(str, args)])
    with pytest.raises(SystemExit) as end:
        command_line.main()
    return int(end.value.code or 0)


def repacked(content: Any, change: Callable[[str, bytes], bytes], **how: Any) -> bytes:
    """A sealed file of `content` whose records have been changed."""
    before, after = io.BytesIO(), io.BytesIO()
    torch.save(content, before)
    with zipfile.ZipFile(before) as old, zipfile.ZipFile(after, "w", **how) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    seal(after)
    return after.getvalue()


@pytest.mark.parametrize("source", [*GOLDEN, "today"], ids=lambda s: getattr(s, "stem", s))
def test_any_damage_is_found_or_changes_nothing(tmp_path, resumable, source):
    source = resumable if source == "today" else source
    whole, rng, path = source.read_bytes(), random.Random(source.name), tmp_path / "x.pt"
    wanted, passed = said(used(source)), 0
    for turn in range(120):
        damaged = bytearray(whole)
        if turn % 4 < 3:
            place = rng.randrange(8 * len(damaged))
            damaged[place // 8] ^= 1 << place % 8
        else:
            start = rng.randrange(len(damaged))
            damaged[start : start + rng.randrange(1, 40)] = rng.randbytes(rng.randrange(40))
        path.write_bytes(damaged)
        try:
            found = said(used(path))
        except MetacliError:
            continue
        passed += 1
        assert same(found, wanted)
    if "format1" not in source.name and "format2" not in source.name:
        assert passed == 0, "every byte of a file of today is covered"


def test_other_programs_read_what_is_sealed(resumable):
    content = torch.load(resumable, weights_only=True)
    assert content["step"] == 3
    assert same(content["model"], checkpoint.load(resumable).model)
    assert zipfile.ZipFile(resumable).testzip() is None


FILES = {
    "text": b"hello\n",
    "yaml": b"seed: 0\n",
    "empty": b"",
    "noise": random.Random(0).randbytes(5000),
    "zip": repacked([1], lambda name, data: data)[:-200],
    "other": repacked({"weights": torch.zeros(3)}, lambda name, data: data),
}


@pytest.mark.parametrize("verb", ["eval", "inspect-memory"])
def test_a_wrong_file_is_one_error(tmp_path, monkeypatch, capsys, verb):
    (tmp_path / "folder" / "best.pt").mkdir(parents=True)
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    for path in [tmp_path / name for name in (*FILES, "folder", "folder/best.pt", "n" * 300)] + ["~nobody-here/x.pt"]:
        assert run(monkeypatch, verb, "-c", path) in (1, 2), path
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: "), err
        assert len(err) < 1000


def test_a_wrong_file_in_a_process_of_its_own(cli, tmp_path):
    (tmp_path / "x.pt").write_bytes(b"seed: 0\n")
    done = cli("eval", "-c", "x.pt")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: x.pt: truncated, or not a checkpoint\nhint: train again, or --resume the run\n"


WRONG: dict[str, list[Any]] = {
    "format": [0, 4, True, "2", 2.0, None, torch.tensor(2), [3]],
    "recipe": [1.5, (1, 2), [1], "x", None, {}, {"task": {"name": "[/red]"}}, {1: 2}, {"seed": torch.zeros(2)}],
    "step": ["3", [3], torch.tensor(3), -1, True, 1.5, None],
    "best": ["x", [1.0], torch.tensor(1.0), float("nan"), float("inf")],
    "model": [[1], None, {}, {"x": torch.zeros(1)}, {"x": 1}, {1: torch.zeros(1)}],
    "optimizer": [[1], 3, {}, {"state": 3}, {"state": {0: {}}}, {"state": {99: {}}}, {"state": {"a": {"b": 1}}}],
    "provenance": [3, [], {}, {"classes": {}}],
    "random": [3, {}, {"cpu": torch.zeros(3), "cuda": []}, {"cpu": torch.zeros(9, dtype=torch.uint8), "cuda": []}],
    "environment": [3, [], {"a": [1]}, {"a": torch.zeros(1)}],
}


@pytest.mark.parametrize("key", WRONG)
def test_fields_of_a_wrong_kind(resumable, key):
    content = torch.load(resumable, weights_only=True)
    for value in WRONG[key]:
        checkpoint.write(resumable, content | {key: value})
        with pytest.raises(MetacliError, match=r"last\.pt"):
            used(resumable)


def test_an_optimizer_or_weights_of_other_shapes_or_kinds(resumable):
    content = torch.load(resumable, weights_only=True)
    key, weight = next(iter(content["model"].items()))
    for other in (weight[:-1], weight.to(torch.complex64), weight.long()):
        checkpoint.write(resumable, content | {"model": content["model"] | {key: other}})
        with pytest.raises(MetacliError, match="do not fit model 'lstm'"):
            used(resumable)
    state = content["optimizer"]["state"]
    mean = state[0]["exp_avg"]
    for wrong in (mean[:-1], mean.long(), mean / 0, 1.0):
        changed = {"state": state | {0: state[0] | {"exp_avg": wrong}}, "param_groups": "of no use"}
        checkpoint.write(resumable, content | {"optimizer": changed})
        with pytest.raises(MetacliError, match=r"last\.pt: (its|the) optimiser's"):
            used(resumable)


def test_a_recipe_of_a_model_far_larger_than_its_weights(resumable):
    content = torch.load(resumable, weights_only=True)
    content["recipe"]["model"] |= {"hidden": 8192, "layers": 16}  # 34 GB
    checkpoint.write(resumable, content)
    with pytest.raises(MetacliError, match="far larger than the weights"):
        used(resumable)
    content["recipe"]["model"] |= {"hidden": 10**9}
    checkpoint.write(resumable, content)
    with pytest.raises(MetacliError, match="less than or equal to 8192"):
        used(resumable)


def test_bombs(tmp_path, resumable):
    content, path = torch.load(resumable, weights_only=True), tmp_path / "x.pt"

    def refused(words: str, data: bytes) -> None:
        path.write_bytes(data)
        with pytest.raises(MetacliError, match=words):
            checkpoint.load(path)

    def keep(name: str, data: bytes) -> bytes:
        return data

    zeros = content | {"more": torch.zeros(1000)}
    refused("compressed data", repacked(zeros, keep, compression=zipfile.ZIP_DEFLATED))
    claim = struct.pack("<H", 1000)

    def longer(name: str, data: bytes) -> bytes:
        return data.replace(b"M" + claim, b"J" + struct.pack("<i", 2**31 - 1)) if name.endswith(".pkl") else data

    refused("not as long as the file says|larger than", repacked({"more": torch.zeros(1000)}, longer))
    wide = torch.zeros(1000).as_strided((10**6, 1000), (0, 1))
    refused("larger than the file", repacked(content | {"more": wide}, keep))
    endless = struct.pack("<2sB", b"\x80\x02", ord("]")) + b"]a" * 5 + b"]" * 100_000 + b"a" * 100_000 + b"."
    refused("not a checkpoint of metacli", repacked(content, lambda n, d: endless if n.endswith(".pkl") else d))
    calls = b"\x80\x02cos\nmkdir\nX\x05\x00\x00\x00pwned\x85R."
    refused("pickled object", repacked(content, lambda n, d: calls if n.endswith(".pkl") else d))
    huge = b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b"."
    refused("64 bits", repacked(content, lambda n, d: huge if n.endswith(".pkl") else d))
    assert not Path("pwned").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path, monkeypatch, capsys, tiny_file, value):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        run(patch, "train", tiny_file, "train.steps=2", "train.eval_every=0", "--run-dir", "run", "--threads", "1")
    run_dir = tmp_path / "run"
    for name in ("best.pt", "last.pt"):
        content = torch.load(run_dir / name, weights_only=True)
        key = list(content["model"])[1]
        content["model"][key].view(-1)[3:5] = value
        checkpoint.write(run_dir / name, content)
    capsys.readouterr()
    for command in (
        ("eval", "-c", run_dir, "--json"),
        ("inspect-memory", "-c", run_dir, "--json"),
        ("train", "--resume", run_dir),
    ):
        assert run(monkeypatch, *command) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert f"weights that are not finite in 1 of {len(content['model'])} tensors, first {key}: 2 of" in err


def test_the_data_and_what_was_computed_with_are_recorded(cli, tmp_path, tiny_file):
    assert cli("train", tiny_file, "--run-dir", "run", "--threads", "1").returncode == 0
    noted = json.loads((tmp_path / "run" / "env.json").read_text())
    best, last = (checkpoint.load(tmp_path / "run" / name) for name in ("best.pt", "last.pt"))
    assert best.environment == last.environment == noted
    assert noted["data"] == last.provenance.digest
    assert {"metacli", "python", "torch", "numpy", "processor", "device", "threads", "precision"} <= noted.keys()
    found = json.loads(cli("eval", "-c", "run", "--tasks", "5", "--threads", "1", "--json").stdout)
    assert found["data"] == noted["data"]
    same_here = ("metacli", "python", "torch", "numpy", "platform", "processor", "device", "threads", "precision")
    assert {key: found["environment"][key] for key in same_here} == {key: noted[key] for key in same_here}


class _Unwritable:
    def __repr__(self) -> str:
        raise OSError("no text")


_CIRCLE: list[Any] = []
_CIRCLE.append(_CIRCLE)
_PLAIN = [1.5, (1, 2), [1], None, True, -1, 10**5000, float("nan"), "x", "a" * 10**5, {}, {1: 2}, {None: 1}, b"x"]
_ODD = [_CIRCLE, _Unwritable(), object, {"name": []}, {"name": "ntm"}, torch.zeros(2), "[/red]"]
_VALUES = st.sampled_from([*_PLAIN, *_ODD])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_recipe_of_any_value_is_read_or_refused(data):
    tree: Any = load_recipe("smoke").as_dict()
    for _ in range(data.draw(st.integers(1, 2))):
        tree = _changed(tree, data)
    with contextlib.suppress(MetacliError):
        recipe_from_dict(tree, "x")


def _changed(tree: Any, data: st.DataObject) -> Any:
    """A copy with a value put somewhere."""
    if not isinstance(tree, dict) or not data.draw(st.integers(0, 8)):
        return data.draw(_VALUES)
    key = data.draw(st.sampled_from([*tree, "other", 3]))
    return {**tree, key: _changed(tree.get(key), data)}
