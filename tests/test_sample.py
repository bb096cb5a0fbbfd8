"""Samples: padding gone, labels as words, files that hold what was sampled."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from metacli.episode import Episode, Spec
from metacli.errors import MetacliError
from metacli.show import picture
from metacli.tasks import sample
from metacli.tasks.answers import Symbols
from metacli.tasks.sequences.copy import Copy


class Fake:
    """A p(T) of `ways` classes: item i of class c is the constant image (c + 1) / 10."""

    view = "images"

    def __init__(self, mode: str = "independent", ways: int = 3, letters: int = 0):
        self.config = SimpleNamespace(name="fake")
        self.ways, self.letters = ways, letters
        self.answer = Symbols(letters, 5) if letters else Symbols(ways)
        self.spec = Spec(mode, (1, 6, 6), self.answer.label_size, self.answer.size, 10)

    def logits(self, output, episode):
        return self.answer.logits(output, episode.label_vectors)

    def decode(self, logits, answer):
        return self.answer.decode(logits, answer)

    def curves(self, split: str, first: int, count: int) -> None:
        return None

    def class_names(self, classes: torch.Tensor) -> list[str]:
        return [f"c{int(c)}" for c in classes]

    def one_hot(self, y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(y, self.spec.y_size // y.shape[-1]).flatten(2).float()

    def batch(self, split: str, first: int, count: int) -> Episode:
        def part(repeats: int) -> tuple[torch.Tensor, torch.Tensor]:
            c = torch.arange(self.ways).repeat(repeats).expand(count, -1)
            x = ((c + 1) / 10)[..., None, None, None].expand(-1, -1, 1, 6, 6)
            y = c[..., None]
            return x, (y + torch.arange(5)) % self.letters if self.letters else y

        (x_train, y_train), (x_test, y_test) = part(2), part(4)
        late = None
        if self.spec.mode == "stream":
            x_train, y_train = x_train[:, :0], y_train[:, :0]
            late = torch.nn.functional.pad(self.one_hot(y_test), (0, 0, 1, 0))[:, :-1]
        classes = torch.arange(self.ways).expand(count, -1) + 40
        index = torch.arange(first, first + count)
        return Episode(x_train, self.one_hot(y_train), x_test, y_test, index, y_previous=late, classes=classes)


def test_labels_are_words_and_name_the_class() -> None:
    one, two = sample.collect_samples(Fake(), "val", 2, first=5)
    assert (one.index, two.index, one.split) == (5, 6, "val")
    assert one.labels_train == ["0", "1", "2"] * 2
    assert one.labels_test == ["0", "1", "2"] * 4
    assert one.legend == [("0", "c40"), ("1", "c41"), ("2", "c42")]
    assert one.title == "fake, val split, task 5: 3-way 2-shot"


def test_a_string_label_is_five_letters() -> None:
    (one,) = sample.collect_samples(Fake(letters=4), "test", 1)
    assert one.labels_train[:3] == ["abcda", "bcdab", "cdabc"]
    assert one.labels_test[:3] == one.labels_train[:3]
    assert one.legend == []


def test_the_late_labels_of_a_stream_are_the_answers_one_step_before() -> None:
    (one,) = sample.collect_samples(Fake("stream"), "test", 1)
    assert one.labels_previous == ["", *one.labels_test[:-1]]
    assert one.labels_train == []


def test_padding_is_gone() -> None:
    tasks = Copy(Copy.Config(min_length=1, max_length=9), 3)
    episode = tasks.batch("train", 0, 8)
    lengths = episode.mask_train.sum(1).tolist()
    assert len(set(lengths)) > 1
    for row, one in enumerate(sample.collect_samples(tasks, "train", 8)):
        assert len(one.x_train) == lengths[row]
        assert int(one.scored.sum()) == int(episode.mask_test[row].sum())
        assert one.scored[-1]
        np.testing.assert_array_equal(one.y_test[one.scored], episode.y_test[row][episode.mask_test[row]].numpy())


def test_an_npz_holds_every_array_and_needs_no_metacli(tmp_path: Path) -> None:
    tasks = Copy(Copy.Config(min_length=1, max_length=9), 3)
    samples = sample.collect_samples(tasks, "train", 4)
    sample.save_npz(tmp_path / "tasks.npz", samples)
    with np.load(tmp_path / "tasks.npz", allow_pickle=False) as saved:
        assert saved["index"].tolist() == [0, 1, 2, 3]
        for i, one in enumerate(samples):
            np.testing.assert_array_equal(saved["x_train"][i][saved["mask_train"][i]], one.x_train)
            np.testing.assert_array_equal(saved["y_test"][i][saved["mask_test"][i]], one.y_test[one.scored])
    assert os.listdir(tmp_path) == ["tasks.npz"]


def test_json_is_plain_and_carries_the_task() -> None:
    for tasks in (Fake(), Fake("stream"), Copy(Copy.Config(max_length=4), 0)):
        samples = sample.collect_samples(tasks, "test", 2)
        back = json.loads(json.dumps(sample.as_json(samples), allow_nan=False))
        assert [b["index"] for b in back] == [0, 1]
        if samples[0].answer.is_class_label:
            assert [b["d_train"]["labels"] for b in back] == [s.labels_train for s in samples]
        assert all(b["d_test"]["items"] == len(b["d_test"]["answers"]) for b in back)
        if samples[0].view != "images":
            np.testing.assert_allclose(back[0]["d_train"]["x"], samples[0].x_train)


@pytest.mark.parametrize(
    "tasks",
    [Fake(), Fake(ways=20), Fake("stream"), Fake("stream", 15, 5), Copy(Copy.Config(length=1), 0), Copy(Copy.Config())],
    ids=["k-shot", "20-way", "stream", "strings", "short copy", "copy"],
)
def test_a_picture_of_every_kind_of_task_has_a_white_margin_and_ink(tasks, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture.save_samples(tmp_path / "out.png", sample.collect_samples(tasks, "test", 2))
    with Image.open(tmp_path / "out.png") as page:
        pixels = np.asarray(page.convert("L"))
    assert pixels[:10].min() == 255
    assert pixels[-10:].min() == 255
    assert pixels[:, :10].min() == 255
    assert pixels[:, -10:].min() == 255
    assert pixels.min() < 60
    assert pixels.shape[1] <= 1800


def test_a_picture_shows_the_pixels_of_the_items(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (one,) = sample.collect_samples(Fake(ways=2), "test", 1)
    picture.save_samples(tmp_path / "out.png", [one])
    with Image.open(tmp_path / "out.png") as page:
        grays, counts = np.unique(np.asarray(page.convert("L")), return_counts=True)
    tile = round(56 / 6) * 6
    for value in (0.1, 0.2):  # the two classes: 2 items of each in D_train, 4 in D_test
        gray = 255 - int(value * 255)
        assert counts[grays == gray].sum() >= 6 * tile**2


@pytest.mark.parametrize("save", [picture.save_samples, sample.save_npz])
def test_an_unwritable_path_is_an_error_and_leaves_nothing(save, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    samples = sample.collect_samples(Fake(), "test", 1)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "absent" / "x.png", tmp_path / "folder", tmp_path / "file" / "x.png"):
        with pytest.raises(MetacliError, match="cannot write") as caught:
            save(path, samples)
        assert caught.value.hint
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "kept"


def test_a_failure_keeps_the_file_that_was_there(tmp_path: Path, monkeypatch) -> None:
    samples = sample.collect_samples(Fake(), "test", 1)
    target = tmp_path / "tasks.npz"
    target.write_text("before")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(MetacliError, match="No space left"):
        sample.save_npz(target, samples)
    assert target.read_text() == "before"
    assert os.listdir(tmp_path) == ["tasks.npz"]


def test_one_channel_is_ink_on_white_and_three_are_colours(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (one,) = sample.collect_samples(Fake(ways=2), "test", 1)
    red = np.zeros((*one.x_test.shape[:1], 3, 6, 6), np.float32)
    red[:, 0] = 1
    colour = replace(one, x_train=red[: len(one.x_train)], x_test=red)
    picture.save_samples(tmp_path / "out.png", [colour])
    with Image.open(tmp_path / "out.png") as page:
        assert (255, 0, 0) in {c for _, c in page.convert("RGB").getcolors(100_000)}


@pytest.mark.parametrize(("length", "beside"), [(1, True), (3, True), (6, False)])
def test_few_steps_fill_the_picture_and_narrow_tasks_stand_side_by_side(length, beside, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    one, two = sample.collect_samples(Copy(Copy.Config(length=length), 0), "test", 2)
    pages = []
    for samples in ([one], [one, two]):
        picture.save_samples(tmp_path / "out.png", samples)
        with Image.open(tmp_path / "out.png") as page:
            pages.append(np.asarray(page.convert("L")))
    framed = (pages[0] < 250).mean(0) > 1 / 3  # columns where frames or ink cross a third of the rows
    assert np.flatnonzero(framed)[-1] > pages[0].shape[1] / 2
    assert (pages[1].shape[1] > 1.6 * pages[0].shape[1]) == beside
    assert (pages[1].shape[0] == pages[0].shape[0]) == beside


def test_class_names_of_other_scripts_are_drawn_as_themselves(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (one,) = sample.collect_samples(Fake(ways=2), "test", 1)
    pages = []
    for i, name in enumerate(["буква Ж", "буква Щ", "Ωμέγα"]):
        picture.save_samples(tmp_path / f"{i}.png", [replace(one, classes=[name, "plain"])])
        pages.append((tmp_path / f"{i}.png").read_bytes())
    assert len(set(pages)) == 3
