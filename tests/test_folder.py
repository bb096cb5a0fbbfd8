"""A person's own images: any mode and size, ragged classes, splits by fraction or by directory."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metacli.checkpoints.held_out import check_held_out
from metacli.checkpoints.provenance import Provenance
from metacli.errors import MetacliError, UsageError
from metacli.tasks.base import SPLITS
from metacli.tasks.images import folder_cache
from metacli.tasks.images.fingerprints import fingerprint
from metacli.tasks.images.folder import Folder, to_pixels
from metacli.tasks.images.pixel_digests import picture_digest
from metacli.tasks.images.preprocess import decode
from metacli.tasks.images.preprocess.decode import read_image


@pytest.fixture(autouse=True)
def kept(tmp_path_factory, monkeypatch) -> Path:
    """A cache of each test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("METACLI_CACHE", str(folder))
    return folder


def grow(root: Path, classes: list[str], each: int = 6, size: tuple[int, int] = (9, 9)) -> Path:
    """Directories of grey images, each class of one brightness."""
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(each):
            Image.new("L", size, 10 * c + 5).save(root / name / f"{i}.png")
    return root


def tasks(root: Path, seed: int = 0, **keys) -> Folder:
    return Folder(Folder.Config(**{"root": str(root), "ways": 2, "size": 8, "queries": 2, **keys}), seed)


def names(task: Folder) -> dict[str, set[str]]:
    return {split: {task.image_set.names[c] for c in task.pools[split]} for split in SPLITS}


def names_of(task: Folder) -> dict[str, set[str]]:
    """The division itself, whether or not it suffices for the tasks."""
    found = task.image_set.names
    return {split: {found[c] for c in classes} for split, classes in task.class_splits(len(found)).items()}


def test_every_directory_with_images_is_a_class(tmp_path):
    grow(tmp_path, ["cat", "dog", "birds/owl", "birds/tit", "birds/rare/auk", "fox"])
    (tmp_path / "fox" / "notes.txt").write_text("no image")
    (tmp_path / "cat" / ".hidden.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loose.png").write_bytes((tmp_path / "cat" / "0.png").read_bytes())
    task = tasks(tmp_path, val_fraction=0.3, test_fraction=0.3, split_seed=11)
    assert task.image_set.names == ["birds/owl", "birds/rare/auk", "birds/tit", "cat", "dog", "fox"]
    assert task.image_set.counts.tolist() == [6] * 6
    e = task.batch("train", 0, 3)
    assert e.x_train.shape == (3, 2, 1, 8, 8)
    brightness = dict(
        zip(["cat", "dog", "birds/owl", "birds/tit", "birds/rare/auk", "fox"], range(5, 65, 10), strict=True)
    )
    for b in range(3):
        for x, y in zip(e.x_test[b], e.y_test[b, :, 0], strict=True):
            name = task.class_names(e.classes[b])[y]
            np.testing.assert_allclose(x.numpy() * 255, brightness[name], atol=1e-3)


def test_fractions_hold_out_whole_classes_by_the_split_seed(tmp_path):
    grow(tmp_path, [f"c{i:02d}" for i in range(20)])
    task = tasks(tmp_path, val_fraction=0.2, test_fraction=0.3)
    found = names(task)
    assert sum(len(found[split]) for split in SPLITS) == len(set().union(*found.values())) == 20
    keys = {"val_fraction": 0.2, "test_fraction": 0.3}
    assert names(tasks(tmp_path, 1, **keys)) == found, "the seed of the run divides no classes"
    assert names(tasks(tmp_path, split_seed=1, **keys)) != found
    sizes = [f"{split} {len(found[split])} classes, {6 * len(found[split])} images" for split in SPLITS]
    assert "; ".join(sizes) in task.describe()


def test_a_new_class_moves_no_other_one(tmp_path):
    """Found once: a directory that sorts first moved classes from train to test."""
    grow(tmp_path, [f"c{i:02d}" for i in range(40)])
    first = tasks(tmp_path)
    before, recorded = names(first), first.resolve_config().model_dump(include={"val_cut", "test_cut"})
    new = {"a-first", "c20-middle", *(f"z{i}" for i in range(20))}
    grow(tmp_path, sorted(new))
    after = names(tasks(tmp_path, **recorded))
    assert all(before[split] == after[split] - new for split in SPLITS)
    assert all(after[split] & new for split in SPLITS), "new classes are divided as the others are"
    grow(tmp_path / "test", ["more"])  # a directory of the split does not free its recorded classes for training
    assert names(tasks(tmp_path, **recorded))["test"] == after["test"] | {"test/more"}


@pytest.mark.parametrize(
    ("count", "keys", "sizes"),
    [
        (400, {}, [280, 60, 60]),
        (40, {"ways": 5}, [28, 6, 6]),
        (40, {"ways": 10}, [20, 10, 10]),
        (16, {"ways": 5}, [6, 5, 5]),
        (12, {"ways": 5}, [5, 5, 2]),
        (4, {"val_fraction": 0.001, "test_fraction": 0.001}, [2, 1, 1]),
        (2, {}, [1, 1, 0]),
        (1, {}, [1, 0, 0]),
        (20, {"val_fraction": 0.9, "test_fraction": 0.9}, [2, 16, 2]),
    ],
)
def test_each_split_has_its_share_and_enough_classes_for_a_task(tmp_path, count, keys, sizes):
    grow(tmp_path, [f"n{i}" for i in range(count)], each=1, size=(4, 4))
    for seed in range(2):
        found = names_of(tasks(tmp_path, split_seed=seed, **keys))
        assert [len(found[split]) for split in SPLITS] == sizes


def test_a_class_is_known_by_its_pictures_wherever_it_is(tmp_path):
    fractions = {"val_fraction": 0.3, "test_fraction": 0.3}
    one = tasks(grow(tmp_path / "one", [f"c{i:02d}" for i in range(24)]), **fractions)
    grow(tmp_path / "two" / "test", [f"other{i:02d}" for i in range(24)])  # the same brightnesses under other names
    grow(tmp_path / "two", [f"free{i}" for i in range(12)], each=7)
    two = tasks(tmp_path / "two", val_fraction=0.5, split_seed=2)
    for path in (tmp_path / "two" / "test").rglob("*.png"):  # and saved anew
        Image.open(path).convert("RGB").save(path.with_suffix(".bmp"))
        path.unlink()
    with pytest.raises(UsageError, match=r"the model was trained on .* classes of this test split"):
        check_held_out(Provenance.of(one).trained, two, "test")
    check_held_out(Provenance.of(one).trained, one, "test")


@pytest.mark.parametrize("made", [("train", "val", "test"), ("train", "test"), ("test",)])
def test_directories_named_after_splits_are_the_splits(tmp_path, made):
    for split in made:
        grow(tmp_path / split, [f"{split}{i}" for i in range(6)])
    if "train" not in made:
        grow(tmp_path, [f"train{i}" for i in range(6)])
    found = names_of(tasks(tmp_path, val_fraction=0.4))
    assert found["test"] == {f"test/test{i}" for i in range(6)}
    where = "train/" if "train" in made else ""
    free = {f"{where}train{i}" for i in range(6)}
    if "val" in made:
        assert found["train"] == free
        assert found["val"] == {f"val/val{i}" for i in range(6)}
    else:
        assert found["train"] | found["val"] == free
        assert found["val"]


def test_images_of_any_mode_and_size_are_read(tmp_path):
    """Left half dark (40), right half bright (200), in every mode and file type."""
    grey = np.full((12, 30), 40, np.uint8)
    grey[:, 15:] = 200
    colour = Image.fromarray(grey).convert("RGB")
    wide = {"grey": Image.fromarray(grey), "colour": colour, "alpha": colour.convert("RGBA")}
    wide |= {"palette": colour.convert("P"), "16": Image.fromarray(grey.astype(np.uint16) * 257)}
    files = {f"{name}.png": image for name, image in wide.items()}
    files |= {
        "j.jpg": colour,
        "k.JPEG": colour.convert("CMYK"),
        "b.bmp": colour,
        "g.gif": colour.convert("P"),
        "w.webp": colour,
    }
    for name, image in files.items():
        image.save(tmp_path / name)
        for channels in (1, 3):
            found = to_pixels(read_image(tmp_path / name, name), channels, 8)
            assert found.shape == (channels, 8, 8), name
            np.testing.assert_allclose(found[:, :, :3], 40, atol=14, err_msg=name)
            np.testing.assert_allclose(found[:, :, 5:], 200, atol=14, err_msg=name)
    bits = Image.fromarray(grey > 100)
    bits.save(tmp_path / "bits.png")
    assert to_pixels(bits, 1, 8)[0, 4, [0, 7]].tolist() == [0, 255]


def test_transparent_is_white_and_photographs_stand_upright(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (to_pixels(read_image(tmp_path / "clear.png", "clear"), 1, 8) == 255).all()
    image = Image.new("L", (8, 8), 0)
    image.paste(255, (0, 0, 8, 4))  # bright above
    exif = Image.Exif()
    exif[0x0112] = 3  # the camera was upside down
    image.save(tmp_path / "photo.jpg", exif=exif)
    assert to_pixels(read_image(tmp_path / "photo.jpg", "photo"), 1, 8)[0, 0].max() < 20


def digest_of(to_pixels: np.ndarray) -> str:
    """The documented form of a digest, of (H, W) or (H, W, 3) uint8, with the fingerprint of the same pixels."""
    size = f"{to_pixels.shape[1]} {to_pixels.shape[0]} {to_pixels.shape[2] if to_pixels.ndim == 3 else 1}\n".encode()
    return hashlib.sha256(size + to_pixels.tobytes()).hexdigest()[:16] + fingerprint(Image.fromarray(to_pixels))


@pytest.mark.parametrize("band", [1_000_000, 50])
def test_a_picture_has_one_digest_in_every_mode(band, monkeypatch):
    monkeypatch.setattr(decode, "BAND_PIXELS", band)
    random = np.random.default_rng(0)
    grey, bits = random.integers(0, 256, (20, 30), np.uint8), random.random((20, 30)) > 0.5
    expected = digest_of(grey)
    one = Image.fromarray(grey)
    for mode in ("L", "P", "RGB", "RGBA", "LA", "RGBX"):
        assert picture_digest(one.convert(mode)) == expected, mode
    assert picture_digest(Image.fromarray(grey.astype(np.uint16) * 257)) == expected
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        assert picture_digest(Image.fromarray(bits).convert(mode)) == digest_of(bits.astype(np.uint8) * 255), mode
    colour = random.integers(0, 256, (20, 30, 3), np.uint8)
    assert picture_digest(Image.fromarray(colour)) == digest_of(colour)
    clear = np.dstack([colour, np.where(bits, 255, 0).astype(np.uint8)])
    assert picture_digest(Image.fromarray(clear)) == digest_of(np.where(bits[..., None], colour, 255).astype(np.uint8))
    colour[:] = grey[..., None]
    colour[19, 29, 2] ^= 1
    others = [grey.reshape(30, 20), grey[:19], grey ^ (np.arange(30) == 7).astype(np.uint8), grey.T.copy(), colour]
    assert len({expected, *(picture_digest(Image.fromarray(other)) for other in others)}) == 1 + len(others)


def test_the_digest_is_that_of_the_upright_picture(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter
    Image.fromarray(np.rot90(grey)).save(tmp_path / "turned.png", exif=exif)
    assert picture_digest(read_image(tmp_path / "turned.png", "x")) == digest_of(grey)


def test_invert_and_colour(tmp_path):
    grow(tmp_path, [f"c{i}" for i in range(8)])
    keys = {"val_fraction": 0.25, "test_fraction": 0.25}
    plain, inverted = tasks(tmp_path, **keys), tasks(tmp_path, invert=True, channels=3, **keys)
    assert inverted.spec.x_shape == (3, 8, 8)
    assert (inverted.image_set.images == 255 - plain.image_set.images).all()
    assert inverted.class_digests("train") == plain.class_digests("train")


def test_ragged_classes_show_no_padding(tmp_path):
    grow(tmp_path, [f"c{i}" for i in range(8)], each=3)
    grow(tmp_path, ["many"], each=9)
    task = tasks(tmp_path, val_fraction=0.3, test_fraction=0.3, split_seed=1)
    assert sorted(task.image_set.counts.tolist()) == [3] * 8 + [9]
    for split in SPLITS:
        e = task.batch(split, 0, 50)
        assert min(e.x_train.min(), e.x_test.min()) > 0, "padding is 0, no image is"


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (None, "is not a folder"),
        ([], "contains no directory with pictures"),
        (["a", "b", "c", "d"], "val: 2 ways, but the split has 1 class\ntest: 2 ways, but the split has 1 class"),
    ],
)
def test_folders_without_enough_are_told(tmp_path, classes, message):
    root = tmp_path / "root"
    if classes is not None:
        root.mkdir()
        grow(root, classes)
    with pytest.raises(MetacliError) as caught:
        tasks(root).batch("val", 0, 1)
    assert message in caught.value.message
    assert caught.value.hint


def test_too_few_images_name_the_class(tmp_path):
    grow(tmp_path, [f"c{i}" for i in range(20)])
    os.remove(tmp_path / "c7" / "0.png")
    home = next(split for split in SPLITS if "c7" in names(tasks(tmp_path))[split])
    with pytest.raises(UsageError, match="1 shots \\+ 5 queries, but class c7 has 5 images"):
        tasks(tmp_path, queries=5).batch(home, 0, 1)


def test_too_few_images_name_all_the_classes_or_ten_and_a_count(tmp_path):
    for split, count in (("train", 13), ("val", 2), ("test", 2)):
        grow(tmp_path, [f"{split}/{split}{i:02d}" for i in range(count)])
    os.remove(tmp_path / "val" / "val01" / "0.png")
    with pytest.raises(UsageError) as caught:
        tasks(tmp_path, queries=6, rotated_classes=True).batch("train", 0, 1)
    train, val, test = caught.value.message.splitlines()[1:]
    listed = ", ".join(f"train/train{i:02d} (6)" for i in range(10))
    assert train == f"train: 1 shots + 6 queries, but 13 classes have fewer images: {listed} and 3 more"
    assert val.endswith("but 2 classes have fewer images: val/val00 (6), val/val01 (5)")
    assert test.endswith("but 2 classes have fewer images: test/test00 (6), test/test01 (6)")


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n1234", "cut"])
def test_an_unreadable_image_is_named(tmp_path, content):
    grow(tmp_path, [f"c{i}" for i in range(20)], size=(40, 40))
    path = tmp_path / "c3" / "2.png"
    path.write_bytes(path.read_bytes()[:50] if content == "cut" else content)
    with pytest.raises(MetacliError, match="cannot read the image") as caught:
        tasks(tmp_path).batch("train", 0, 1)
    assert str(path) in caught.value.message


def test_a_folder_of_test_classes_alone_serves_a_trained_model_and_no_training(tmp_path):
    grow(tmp_path, [f"test/c{i}" for i in range(3)])
    task = tasks(tmp_path)
    assert task.batch("test", 0, 2).x_test.shape == (2, 4, 1, 8, 8)
    for split in ("train", "val"):
        with pytest.raises(UsageError, match=f"{split}: 2 ways, but the split has 0 classes"):
            task.batch(split, 0, 1)


@pytest.fixture
def decodings(monkeypatch) -> list[str]:
    """The images that are decoded, as they are."""
    seen = []

    def spy(source, name, hint):
        seen.append(Path(name).as_posix())
        return read_image(source, name, hint)

    monkeypatch.setattr(folder_cache, "read_image", spy)
    return seen


def test_images_are_decoded_once(tmp_path, kept, decodings):
    root = grow(tmp_path / "root", ["a", "b", "c"], each=2)
    grow(root, ["d"], each=5)
    first = tasks(root).image_set
    assert len(decodings) == 11
    again, inverted = tasks(root).image_set, tasks(root, invert=True).image_set
    os.rename(root, tmp_path / "elsewhere")
    elsewhere = tasks(tmp_path / "elsewhere").image_set
    assert len(decodings) == 11
    assert len(list(kept.iterdir())) == 1
    for other in (again, elsewhere):
        assert (other.images == first.images).all()
        assert other.names == first.names == ["a", "b", "c", "d"]
        assert other.counts.tolist() == first.counts.tolist() == [2, 2, 2, 5]
    for c, count in enumerate(first.counts):
        assert (inverted.of(c) == 255 - first.of(c)).all()
        for i in range(count):
            assert (
                first.of(c)[i].numpy() == to_pixels(Image.open(tmp_path / "elsewhere" / "abcd"[c] / f"{i}.png"), 1, 8)
            ).all()


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "moved", "size", "channels", "pillow"])
def test_whatever_the_images_depend_on_makes_them_anew(tmp_path, decodings, monkeypatch, change):
    grow(tmp_path, ["a", "b", "c"])
    before, keys, path = tasks(tmp_path).image_set, {}, tmp_path / "b" / "2.png"
    assert len(decodings) == 18
    if change == "added":
        Image.new("L", (8, 8), 16).save(path.with_name("6.png"))
    elif change == "removed":
        path.unlink()
    elif change == "renamed":
        path.rename(path.with_name("9.png"))
    elif change == "moved":
        path.rename(tmp_path / "c" / "9.png")
    elif change == "pillow":
        monkeypatch.setattr(folder_cache.PIL, "__version__", "another")
    else:
        keys = {"size": {"size": 9}, "channels": {"channels": 3}}[change]
    after = tasks(tmp_path, **keys).image_set
    assert len(decodings) == before.counts.sum() + after.counts.sum()


def test_a_changed_image_of_the_same_length_and_time_is_noticed(tmp_path):
    grow(tmp_path, ["a", "b", "c"])
    path = tmp_path / "b" / "9.bmp"
    Image.new("L", (8, 8), 15).save(path)
    assert (tasks(tmp_path).image_set.of(1)[6] == 15).all()
    before = path.stat()
    Image.new("L", (8, 8), 16).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert (tasks(tmp_path).image_set.of(1)[6] == 16).all()


def test_an_image_that_changes_while_it_is_read_is_not_kept(tmp_path, kept, monkeypatch):
    grow(tmp_path, ["a", "b"])
    monkeypatch.setattr(folder_cache, "file_digest", lambda path: "0" * 64)
    with pytest.raises(MetacliError, match="changed while it was read"):
        tasks(tmp_path).image_set  # noqa: B018
    assert not list(kept.iterdir())


def save_strokes(root: Path, ink: int, paper: int) -> Path:
    for c in range(6):
        (root / f"c{c}").mkdir(parents=True)
        for i in range(6):
            page = np.full((20, 20), paper, np.uint8)
            page[4 + c : 6 + c, 4 : 12 + i // 2] = ink
            Image.fromarray(page).save(root / f"c{c}" / f"{i}.png")
    return root


@pytest.mark.parametrize(
    ("ink", "paper", "keys", "says"),
    [
        (
            0,
            255,
            {},
            "light paper, unlike those of the bundled models: set task.invert=true",
        ),
        (255, 0, {"invert": True}, "after task.invert=true, most images show dark ink on light paper"),
        (0, 255, {"invert": True}, ""),
        (255, 0, {}, ""),
        (0, 255, {"prepare": True}, ""),
        (0, 255, {"channels": 3}, ""),
    ],
)
def test_wrong_polarity_gets_a_note(tmp_path, capsys, ink, paper, keys, says):
    tasks(save_strokes(tmp_path / "p", ink, paper), size=20, **keys).batch("train", 0, 1)
    said = capsys.readouterr().err
    assert said.count("note:") == bool(says)
    assert says in said


def test_photographs_get_no_note_about_polarity(tmp_path, capsys):
    y, x = np.mgrid[:20, :20]
    for c in range(6):
        (tmp_path / "p" / f"c{c}").mkdir(parents=True)
        for i in range(6):
            photo = 130 + 50 * np.sin((c + 1) * x / 4 + i) + 60 * np.cos(y / 3 + i)
            Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(tmp_path / "p" / f"c{c}" / f"{i}.png")
    tasks(tmp_path / "p", size=20).batch("train", 0, 1)
    assert "note:" not in capsys.readouterr().err
