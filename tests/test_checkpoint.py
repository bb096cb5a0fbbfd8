from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from metacli.checkpoints import checkpoint
from metacli.checkpoints.provenance import NO_CLASSES
from metacli.errors import MetacliError
from metacli.registry import MODELS, TASKS, build


@pytest.fixture
def model(tiny):
    return build(MODELS, tiny.model, build(TASKS, tiny.task, 0).spec)


def test_round_trip(tmp_path, tiny, model):
    checkpoint.save(tmp_path / "a.pt", tiny, 7, 0.5, model, NO_CLASSES)
    saved = checkpoint.load(tmp_path / "a.pt")
    assert (saved.recipe, saved.step, saved.best, saved.optimizer) == (tiny, 7, 0.5, None)
    for name, value in saved.build_model().state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_a_run_directory_means_its_best(tmp_path, tiny, model):
    checkpoint.save(tmp_path / "last.pt", tiny, 2, 0.5, model, NO_CLASSES)
    assert checkpoint.load(tmp_path).step == 2
    checkpoint.save(tmp_path / "best.pt", tiny, 1, 0.5, model, NO_CLASSES)
    assert checkpoint.load(tmp_path).step == 1


class Evil:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "truncated, or not a checkpoint"),
        (b"not a checkpoint at all", "not a checkpoint"),
        ({"weights": torch.zeros(2)}, "not a checkpoint of metacli"),
        ([1, 2], "not a checkpoint of metacli"),
        ({"x": Evil()}, "pickled object"),
    ],
)
def test_foreign_files_are_refused(tmp_path, monkeypatch, content, words):
    monkeypatch.chdir(tmp_path)
    path = Path("x.pt")
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(MetacliError) as e:
        checkpoint.load(path)
    assert words in e.value.message
    assert not Path("pwned").exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated(tmp_path, tiny, model, share):
    path = tmp_path / "a.pt"
    checkpoint.save(path, tiny, 7, 0.5, model, NO_CLASSES)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(MetacliError, match="truncated"):
        checkpoint.load(path)


def test_missing_and_newer(tmp_path, tiny, model, monkeypatch):
    with pytest.raises(MetacliError, match="no checkpoint at"):
        checkpoint.load(tmp_path / "none.pt")
    monkeypatch.setattr(checkpoint, "FORMAT", 99)
    checkpoint.save(tmp_path / "a.pt", tiny, 7, None, model, NO_CLASSES)
    monkeypatch.undo()
    with pytest.raises(MetacliError, match="format 99"):
        checkpoint.load(tmp_path / "a.pt")


def test_weights_that_do_not_fit(tmp_path, tiny, model):
    checkpoint.save(tmp_path / "a.pt", tiny, 7, None, torch.nn.Linear(2, 2), NO_CLASSES)
    with pytest.raises(MetacliError, match="do not fit model 'lstm'"):
        checkpoint.load(tmp_path / "a.pt").build_model()


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path, tiny, model, monkeypatch, where):
    path = tmp_path / "a.pt"
    checkpoint.save(path, tiny, 1, None, model, NO_CLASSES)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, where, full)
    with pytest.raises(MetacliError, match="No space left"):
        checkpoint.save(path, tiny, 2, None, model, NO_CLASSES)
    assert checkpoint.load(path).step == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]
