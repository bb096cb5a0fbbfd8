from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from metacli.checkpoints import checkpoint, file_format
from metacli.checkpoints.checkpoint import Snapshot
from metacli.checkpoints.provenance import NO_CLASSES, Provenance, TrainingClasses
from metacli.errors import MetacliError
from metacli.registry import MODELS, TASKS, build

ROOT = Path(__file__).parent.parent


@pytest.fixture
def model(tiny):
    return build(MODELS, tiny.model, build(TASKS, tiny.task, 0).spec)


@pytest.fixture
def path(tmp_path, tiny, model) -> Path:
    file = tmp_path / "a.safetensors"
    checkpoint.save(file, Snapshot(tiny, 7, 0.5, model, NO_CLASSES))
    return file


def test_round_trip(path, tiny, model):
    saved = checkpoint.load(path)
    assert (saved.recipe, saved.step, saved.best, saved.provenance) == (tiny, 7, 0.5, NO_CLASSES)
    assert (saved.optimizer, saved.random, saved.environment, saved.meter) == (None, None, None, None)
    for name, value in saved.build_model().state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_round_trip_of_what_a_run_is_resumed_from(tmp_path, tiny, model):
    optimizer = torch.optim.Adam(model.parameters())
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    classes = {"train": {"ä/1": ["0" * 16, "1" * 16], "\udcff": ["a" * 16]}, "val": {}, "test": {}}
    known = Provenance(classes, "a" * 64, "folder", (TrainingClasses("strokes 3", {"b": []}),), ("b" * 64,))
    environment, meter = {"torch": "2", "threads": 1, "gpu": None}, torch.tensor([[1.0, 0.5, float("nan")]])
    file = tmp_path / "a.safetensors"
    for taken in (optimizer, torch.optim.Adam(model.parameters())):  # the second has not made a step
        checkpoint.save(file, Snapshot(tiny, 7, None, model, known, taken, environment, meter))
        saved = checkpoint.load(file)
        assert (saved.best, saved.provenance, saved.environment) == (None, known, environment)
        assert torch.equal(saved.meter.isnan(), meter.isnan())
        assert torch.equal(saved.random.cpu, torch.get_rng_state())
        state = taken.state_dict()["state"]
        assert saved.optimizer.keys() == state.keys()
        assert all(torch.equal(saved.optimizer[i][name], value) for i in state for name, value in state[i].items())


def test_a_run_directory_means_its_best(tmp_path, tiny, model):
    checkpoint.save(tmp_path / "last.safetensors", Snapshot(tiny, 2, 0.5, model, NO_CLASSES))
    assert checkpoint.load(tmp_path).step == 2
    checkpoint.save(tmp_path / "best.safetensors", Snapshot(tiny, 1, 0.5, model, NO_CLASSES))
    assert checkpoint.load(tmp_path).step == 1


def test_the_digest_is_that_of_the_file_with_zeros_in_its_place(path):
    data = path.read_bytes()
    digest = file_format.read_file(path)[0]["file_sha256"]
    assert data.count(digest.encode()) == 1
    assert hashlib.sha256(data.replace(digest.encode(), b"0" * 64)).hexdigest() == digest


def test_other_programs_read_a_checkpoint(path, model):
    with safetensors.safe_open(path, "pt") as opened:
        assert json.loads(opened.metadata()["metacli"])["step"] == 7
        assert sorted(opened.keys()) == sorted(f"model.{name}" for name in model.state_dict())
    for name, value in safetensors.torch.load_file(path).items():
        assert torch.equal(value, model.state_dict()[name.removeprefix("model.")])


WRITE = """
import sys, torch
from pathlib import Path
from metacli.checkpoints import file_format
names = [f"model.{c}" for c in {"b", "a", "d", "c", "e"}]
tensors = {name: torch.arange(3, dtype=torch.float16 if name < "model.c" else torch.int64) for name in names}
metadata = {key: {other: 0.1 for other in {"x", "y", "z", "ä"}} for key in {"one", "two", "three", "four"}}
file_format.write_file(Path(sys.argv[1]), metadata, tensors)
"""


def test_equal_content_gives_equal_bytes_in_every_process(tmp_path):
    for seed in ("1", "2", "3"):
        settings = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", WRITE, seed], cwd=tmp_path, env=settings, check=True)
    assert len({(tmp_path / seed).read_bytes() for seed in ("1", "2", "3")}) == 1


def test_tensors_that_share_memory_or_lie_crosswise(tmp_path):
    wide = torch.arange(6.0).reshape(2, 3)
    tensors = {"a": wide, "b": wide, "c": wide[0], "d": wide.T, "e": wide.expand(2, 2, 3), "f": torch.zeros(0, 4)}
    file_format.write_file(tmp_path / "x", {}, tensors)
    found = file_format.read_file(tmp_path / "x")[1]
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], value) and found[name].is_contiguous() for name, value in tensors.items())


class Evil:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "truncated, damaged or not a checkpoint of metacli"),
        (b"not a checkpoint at all", "not a checkpoint of metacli"),
        (b"\0" * 5000, "not a checkpoint of metacli"),
        (pickle.dumps(Evil(), 2), r"a file of PyTorch \(.pt\) or a zip archive, not a checkpoint of metacli"),
        (safetensors.torch.save({"w": torch.zeros(2)}), "not a checkpoint of metacli"),
        (safetensors.torch.save({"w": torch.zeros(2)}, {"format": "pt"}), "not a checkpoint of metacli"),
        (safetensors.torch.save({"w": torch.zeros(2)}, {"metacli": "{}"}), "0 digests"),
        ({"weights": torch.zeros(2)}, r"a file of PyTorch \(.pt\) or a zip archive, not a checkpoint of metacli"),
        ({"x": Evil()}, "a file of PyTorch"),
    ],
)
def test_foreign_files_are_refused(tmp_path, monkeypatch, content, words):
    monkeypatch.chdir(tmp_path)
    path = Path("x.safetensors")
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(MetacliError, match=f"^x.safetensors: .*{words}") as e:
        checkpoint.load(path)
    assert e.value.hint
    assert not Path("pwned").exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(MetacliError, match="truncated"):
        checkpoint.load(path)


def test_missing(tmp_path):
    for name in ("none.safetensors", "n" * 300, "none/none"):
        with pytest.raises(MetacliError, match="no checkpoint at"):
            checkpoint.load(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, path):
    os.mkfifo(tmp_path / "best.safetensors")
    for name in (tmp_path / "best.safetensors", tmp_path):
        with pytest.raises(MetacliError, match=r"cannot read .*best\.safetensors: it is a pipe"):
            checkpoint.load(name)
    path.rename(tmp_path / "last.safetensors")
    assert checkpoint.load(tmp_path).step == 7


def test_weights_that_do_not_fit(path, tiny):
    checkpoint.save(path, Snapshot(tiny, 7, None, torch.nn.Linear(2, 2), NO_CLASSES))
    with pytest.raises(MetacliError, match="do not fit model 'lstm'"):
        checkpoint.load(path).build_model()


def test_metadata_that_could_not_be_read_again_is_not_written(path, tiny, model, monkeypatch):
    monkeypatch.setattr(file_format, "MAX_HEADER_BYTES", 5000)
    many = replace(NO_CLASSES, classes={"train": {str(i): ["mark"] for i in range(1000)}, "val": {}, "test": {}})
    with pytest.raises(MetacliError, match=r"a\.safetensors: its metadata would have"):
        checkpoint.save(path, Snapshot(tiny, 8, None, model, many))
    assert checkpoint.load(path).step == 7


def test_a_file_larger_than_the_memory_is_not_read(path, monkeypatch):
    monkeypatch.setattr("metacli.system.memory.available_bytes", lambda: 1000)
    with pytest.raises(MetacliError, match="out of memory"):
        checkpoint.load(path)


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(path, tiny, model, monkeypatch, where):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, where, full)
    with pytest.raises(MetacliError, match="No space left"):
        checkpoint.save(path, Snapshot(tiny, 8, None, model, NO_CLASSES))
    assert checkpoint.load(path).step == 7
    assert [p.name for p in path.parent.iterdir()] == ["a.safetensors"]
