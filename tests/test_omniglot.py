"""The published divisions of Omniglot's classes, on stand-ins, and the real data where it is at hand."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metacli.errors import MetacliError, UsageError
from metacli.tasks.base import SPLITS
from metacli.tasks.images import omniglot_archive, omniglot_identity
from metacli.tasks.images.folder import Folder
from metacli.tasks.images.omniglot import Omniglot

BACKGROUND = 964
REAL = Path(os.environ.get("METACLI_DATA") or Path(__file__).parent.parent.parent / "shared" / "omniglot")
needs_data = pytest.mark.skipif(
    not (REAL / "images_background.zip").is_file(), reason="no Omniglot in METACLI_DATA or ../shared/omniglot"
)


def stand_in(size: int, prepare: bool = False) -> dict[str, np.ndarray]:
    """1,623 classes in 30 + 20 alphabets of different sizes, blank images."""
    names = [f"A{i % 30:02d}/character{i // 30:02d}" for i in range(BACKGROUND)]
    names = sorted(names) + sorted(f"E{i % 20:02d}/character{i // 20:02d}" for i in range(659))
    digests = np.array([f"{i:016x}" for i in range(1623 * 20)], "S16").reshape(1623, 20)
    return {"images": np.zeros((1623, 20, size, size), np.uint8), "digests": digests, "names": np.array(names)}


@pytest.fixture
def blank(monkeypatch):
    """Omniglot without its pixels."""
    monkeypatch.setattr(omniglot_archive, "omniglot", stand_in)
    monkeypatch.delenv("METACLI_DATA", raising=False)


def tasks(seed=0, **keys) -> Omniglot:
    return Omniglot(Omniglot.Config(size=4, **keys), seed)


def splits(**keys) -> dict[str, set[int]]:
    task = tasks(rotated_classes=False, **keys)
    pools = {split: task.pools[split].tolist() for split in SPLITS}
    sets = {split: set(pool) for split, pool in pools.items()}
    assert all(len(sets[split]) == len(pools[split]) for split in SPLITS), "a class comes twice"
    assert not sets["train"] & sets["val"] | sets["train"] & sets["test"] | sets["val"] & sets["test"]
    return sets


def sizes(**keys) -> list[int]:
    return [len(classes) for classes in splits(**keys).values()]


def test_the_random_split(blank):
    assert sizes() == [1100, 100, 423]
    assert sizes(val_classes=20) == [1180, 20, 423]
    assert splits(val_classes=20)["test"] == splits()["test"], "val comes from the 1,200"
    assert splits() == splits(), "fixed"
    assert splits(split_seed=1)["test"] != splits()["test"]
    assert set().union(*splits().values()) == set(range(1623))
    for first, second in ((tasks(seed=1).pools, tasks(seed=2).pools),):
        assert all(np.array_equal(first[s], second[s]) for s in SPLITS), "the seed of the run divides no classes"


def test_the_lake_split_keeps_alphabets_whole(blank):
    found = splits(split="lake")
    assert found["test"] == set(range(BACKGROUND, 1623))
    assert found["train"] | found["val"] == set(range(BACKGROUND))
    alphabet = [name.split("/")[0] for name in stand_in(4)["names"]]
    assert not {alphabet[c] for c in found["train"]} & {alphabet[c] for c in found["val"]}
    largest = max(alphabet.count(a) for a in alphabet)
    assert 100 <= len(found["val"]) < 100 + largest
    assert splits(split="lake", split_seed=1)["val"] != found["val"]


def test_training_classes_are_turned_unless_asked_not_to(blank):
    assert [len(tasks().pools[split]) for split in SPLITS] == [4400, 100, 423]
    assert [len(tasks(augment="all").pools[split]) for split in SPLITS] == [4400, 400, 1692]
    assert "train 1,100 classes in 4 poses, 22,000 images; val 100 classes" in tasks().describe()


def test_a_turned_class_counts_as_the_one_that_it_was_turned_from(blank):
    turned, plain = tasks(augment="all"), tasks(rotated_classes=False)
    for split in SPLITS:
        assert turned.class_digests(split) == plain.class_digests(split)
        assert all(len(digests) == 20 for digests in plain.class_digests(split).values())


def test_val_may_not_eat_up_the_training_classes(blank):
    with pytest.raises(UsageError, match="train: 5 ways, but the split has 0 classes"):
        tasks(split="lake", val_classes=950).batch("train", 0, 1)


@pytest.fixture
def lists(tmp_path) -> Path:
    """Class lists in the form of the Vinyals split, four turns of each class."""
    names = stand_in(4)["names"]
    for split, some in (("train", names[:10]), ("val", names[10:16]), ("test", names[16:24])):
        lines = [f"{name}/rot{turn:03d}" for name in some for turn in (0, 90, 180, 270)]
        (tmp_path / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_the_vinyals_split_reads_lists(blank, lists, monkeypatch):
    expected = [set(range(10)), set(range(10, 16)), set(range(16, 24))]
    assert list(splits(split="vinyals", split_dir=str(lists)).values()) == expected
    (lists / "vinyals_split").mkdir()
    for split in SPLITS:
        (lists / f"{split}.txt").rename(lists / "vinyals_split" / f"{split}.txt")
    monkeypatch.setenv("METACLI_DATA", str(lists))
    assert list(splits(split="vinyals").values()) == expected


def test_faults_of_the_lists_are_told(blank, lists):
    def failure() -> str:
        with pytest.raises(MetacliError) as caught:
            splits(split="vinyals", split_dir=str(lists))
        assert "split_dir" in caught.value.hint
        return caught.value.message

    with (lists / "val.txt").open("a") as file:
        file.write("A00/character00/rot000\n")
    assert "A00/character00 is listed in train.txt and in val.txt" in failure()
    (lists / "train.txt").write_text("A00/character00/rot000\nNowhere/character01/rot000\n")
    assert "train.txt, line 2: 'Nowhere/character01/rot000' is not a class" in failure()
    (lists / "train.txt").write_bytes(b"\xff\xfe")
    assert "train.txt" in failure()
    (lists / "train.txt").unlink()
    assert "does not contain train.txt" in failure()
    with pytest.raises(MetacliError, match="split_dir is empty"):
        splits(split="vinyals")


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Omniglot:
    """The real data at 28 x 28, packed into a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METACLI_DATA", str(REAL))
        patch.setenv("METACLI_CACHE", str(tmp_path_factory.mktemp("cache")))
        task = Omniglot(Omniglot.Config(split="vinyals"), 0)
        assert [len(task.pools[split]) for split in SPLITS] == [4 * 1028, 172, 423]
        yield task


@needs_data
def test_the_real_data_is_whole(real):
    images, names = real.image_set.images, real.image_set.names
    assert images.shape == (1623 * 20, 1, 28, 28)
    assert (real.image_set.counts == 20).all()
    assert len(set(names)) == 1623
    assert len({name.split("/")[0] for name in names[:BACKGROUND]}) == 30
    assert len({name.split("/")[0] for name in names[BACKGROUND:]}) == 20
    blank_drawings = images.flatten(1).amax(1) < 128
    assert not blank_drawings.any(), "every drawing has ink"
    assert 0.03 < images.float().mean() / 255 < 0.15, "ink is bright and rare"
    arrays = {"names": np.array(names), "digests": real.image_set.source_digests}
    assert omniglot_identity.compare_with_official(arrays) == ""


@needs_data
def test_real_drawings_that_were_saved_anew_are_recognised(real, tmp_path):
    names = sorted(real.class_digests("test"))[:2]
    with zipfile.ZipFile(REAL / "images_background.zip") as a, zipfile.ZipFile(REAL / "images_evaluation.zip") as b:
        for source in (a, b):
            for file in (f for f in source.namelist() if f.endswith(".png") and "/".join(f.split("/")[1:3]) in names):
                copy = tmp_path / f"{'-'.join(file.split('/')[1:3])}" / Path(file).with_suffix(".bmp").name
                copy.parent.mkdir(exist_ok=True)
                with Image.open(source.open(file)) as drawing:
                    drawing.convert("RGB").save(copy)
    read = Folder(Folder.Config(root=str(tmp_path), size=9), 0).image_set
    assert [read.pixel_digests(c) for c in range(2)] == [real.class_digests("test")[name] for name in names]


@needs_data
def test_a_real_episode_shows_the_published_drawings(real):
    e = real.batch("test", 0, 4)
    with zipfile.ZipFile(REAL / "images_background.zip") as a, zipfile.ZipFile(REAL / "images_evaluation.zip") as b:
        for image, label in zip(e.x_train[0, :, 0], e.y_train[0].argmax(1), strict=True):
            name = real.class_names(e.classes[0])[label]
            source, top = (
                (a, "images_background") if name in real.image_set.names[:BACKGROUND] else (b, "images_evaluation")
            )
            files = [f for f in source.namelist() if f.startswith(f"{top}/{name}/") and f.endswith(".png")]
            assert len(files) == 20
            near = []
            for file in files:
                with Image.open(source.open(file)) as drawing:
                    ink = 1 - torch.from_numpy(np.array(drawing)).float()
                small = torch.nn.functional.interpolate(ink[None, None], (28, 28), mode="bilinear", antialias=True)[
                    0, 0
                ]
                near.append(float((small - image).abs().mean()))
            assert min(near) < 0.03, "none of the class's drawings is the one shown"
