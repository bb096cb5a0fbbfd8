"""Leaks between splits, and from training into held-out classes: found by pixels, through the real command line."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from metacli.checkpoints.held_out import find_overlap
from metacli.config import yaml_file
from metacli.tasks.images import fingerprints
from metacli.tasks.images.fingerprints import MAX_DISTANCE, find_near_pairs, fingerprint, to_array, turn
from metacli.tasks.images.pixel_digests import EXACT, picture_digest
from metacli.tasks.images.poses import Pose
from metacli.tasks.images.strokes import draw

EACH, PIXELS = 6, 105


def characters(first: int, count: int, each: int = EACH) -> list[list[Image.Image]]:
    """Characters of the family that strokes_transformer was trained on, by class, dark ink on white."""
    pages = draw(0, np.arange(first, first + count), each, PIXELS)["images"]
    return [[Image.fromarray(255 - page) for page in drawings] for drawings in pages]


def as_jpeg(picture: Image.Image, quality: int = 75) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("L")


def with_one_pixel_changed(picture: Image.Image) -> Image.Image:
    copy = picture.copy()
    copy.putpixel((40, 60), 255 - int(copy.getpixel((40, 60))))
    return copy


def save(classes: list[list[Image.Image]], root: Path, change=lambda picture: picture, name: str = "c") -> Path:
    for c, pictures in enumerate(classes):
        (root / f"{name}{c:02d}").mkdir(parents=True)
        for i, picture in enumerate(pictures):
            change(picture).save(root / f"{name}{c:02d}" / f"{i}.png")
    return root


def bits(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return np.unpackbits((one ^ two).view(np.uint8).reshape(-1, 8), axis=1).sum(1)


def test_copies_have_near_fingerprints_and_other_characters_have_not():
    pictures = [picture for drawings in characters(100, 40) for picture in drawings]
    known = to_array([fingerprint(picture) for picture in pictures])
    changes = [lambda p, q=q: as_jpeg(p, q) for q in (50, 75, 95)]
    changes += [with_one_pixel_changed, lambda p: p.resize((52, 52), Image.Resampling.LANCZOS)]
    for change in changes:
        copies = to_array([fingerprint(change(picture)) for picture in pictures])
        assert (bits(known, copies) <= MAX_DISTANCE).mean() > 0.98
    i, j = find_near_pairs(known, known)
    assert len(i) == len(pictures)
    assert (i == j).all()
    assert fingerprint(Image.new("RGB", (9, 30), "navy")) == "0" * fingerprints.LENGTH


def test_a_turned_fingerprint_is_that_of_the_turned_picture():
    noise = np.random.default_rng(0).integers(0, 256, (5, 40, 40), np.uint8)
    known = to_array([fingerprint(Image.fromarray(image)) for image in noise])
    for mirrored in (False, True):
        for quarter_turns in range(4):
            turned = Pose(mirrored, quarter_turns).of(noise)
            expected = to_array([fingerprint(Image.fromarray(image)) for image in turned])
            assert (bits(turn(known, mirrored, quarter_turns), expected) <= 1).all()


def test_near_pairs_are_those_of_a_naive_search(monkeypatch):
    random = np.random.default_rng(0)
    one = random.integers(0, 2**64, 60, np.uint64)
    flips = [sum(1 << int(bit) for bit in random.choice(64, count, replace=False)) for count in range(6) for _ in one]
    two = np.tile(one, 6) ^ np.array(flips, np.uint64)
    naive = {(i, j) for i in range(len(one)) for j in range(len(two)) if bits(one[[i]], two[[j]])[0] <= MAX_DISTANCE}
    for most in (1 << 22, 7):  # all at once, and in many blocks
        monkeypatch.setattr(fingerprints, "_MAX_CANDIDATES", most)
        i, j = find_near_pairs(one, two)
        assert set(zip(i.tolist(), j.tolist(), strict=True)) == naive
    assert len(naive) == 60 * (MAX_DISTANCE + 1)
    assert len(find_near_pairs(one, two[:0])[0]) == 0


def test_one_common_image_makes_no_classes_the_same():
    one, two, three, blank = (f"{i:016x}" for i in range(4))
    assert find_overlap({"a": [one, two]}, {"b": [one, two, three]}).same == {"b": "a"}
    overlap = find_overlap({"a": [one, two]}, {"b": [one, three]})
    assert not overlap.same
    assert overlap.images == {one: ("a", "b")}
    many = {f"c{i}": [blank] for i in range(30)}
    assert not find_overlap(many, {"b": [blank]}).same, "a blank image identifies no class"


@pytest.fixture
def recipe(tmp_path) -> str:
    """A recipe over the folder `data`, which the test fills."""
    task = {"name": "folder", "root": "data", "ways": 2, "queries": 2, "size": 8, "invert": True}
    train = {"steps": 1, "batch": 2, "eval_tasks": 2}
    tree = {"task": task, "model": {"name": "lstm", "hidden": 4, "layers": 1}, "train": train}
    (tmp_path / "r.yaml").write_text("# x\n" + yaml_file.dump(tree))
    return "r.yaml"


def test_a_run_whose_splits_are_copies_does_not_start(cli, tmp_path, recipe):
    for split in ("train", "val", "test"):
        save(characters(0, 3), tmp_path / "data" / split, name=split)
    for options in ([], ["--dry-run"]):
        refused = cli("train", recipe, "--run-dir", "run", *options)
        assert refused.returncode == 2, refused.stderr
        for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
            example = f"such as {second}/{second}00 and {first}/{first}00"
            line = f"3 classes of {second} with the same images as classes of {first}, {example}"
            assert line in " ".join(refused.stderr.split())
        assert not (tmp_path / "run").exists()


def test_an_image_in_two_splits_is_a_warning_that_names_both_files(cli, tmp_path, recipe):
    classes = characters(0, 9)
    for i, split in enumerate(("train", "val", "test")):
        save(classes[3 * i : 3 * i + 3], tmp_path / "data" / split, name=split)
    clean = cli("train", recipe, "--dry-run")
    assert clean.returncode == 0, clean.stderr
    assert "warning" not in clean.stderr
    Image.open(tmp_path / "data/train/train01/2.png").convert("RGB").save(tmp_path / "data/test/test02/copy.bmp")
    for options in ([], ["--dry-run"]):
        done = cli("train", recipe, "--run-dir", "run", *options)
        assert done.returncode == 0, done.stderr
        text = " ".join(done.stderr.split())
        assert (
            "warning: 1 image in both train and test, such as train/train01/2.png and test/test02/copy.bmp" in text
        ), done.stderr
        shutil.rmtree(tmp_path / "run", ignore_errors=True)


@pytest.mark.parametrize("change", [as_jpeg, with_one_pixel_changed, ImageOps.invert])
def test_edited_copies_in_two_splits_are_a_warning(cli, tmp_path, recipe, change):
    save(characters(0, 6), tmp_path / "data" / "train", name="train")
    save(characters(6, 3), tmp_path / "data" / "val", name="val")
    save(characters(3, 3), tmp_path / "data" / "test", change, name="test")
    done = cli("train", recipe, "--dry-run")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stderr.split())
    assert (
        "3 classes of test look like edited copies of classes of train, such as test/test00 and train/train03" in text
    )


def test_rotated_copies_count_where_training_rotates(cli, tmp_path, recipe):
    save(characters(0, 6), tmp_path / "data" / "train", name="train")
    turn_left = Image.Transpose.ROTATE_90
    save(characters(3, 3), tmp_path / "data" / "val", lambda p: p.transpose(turn_left), name="val")
    save(characters(6, 3), tmp_path / "data" / "test", name="test")
    assert "warning" not in cli("train", recipe, "--dry-run").stderr
    rotated = " ".join(cli("train", recipe, "--dry-run", "task.rotated_classes=true").stderr.split())
    assert (
        "3 classes of val look like edited copies of classes of train, such as val/val00 and train/train03" in rotated
    )


def test_training_classes_of_another_kind_of_task_are_recognised(cli, tmp_path):
    """The bundled model knows them by their pixels, as its own 20 drawings of each class in a folder."""
    task = ["task.name=folder", "task.invert=true", "--tasks", "2"]
    save(characters(30, 6, 20), tmp_path / "same" / "test")
    save(characters(30, 6, 20), tmp_path / "jpeg" / "test", as_jpeg)
    save(characters(30, 6, 20), tmp_path / "turned" / "test", lambda p: p.transpose(Image.Transpose.ROTATE_180))
    save(characters(55_000, 6, 20), tmp_path / "new" / "test")
    refused = cli("eval", "strokes_transformer", "task.root=same", *task)
    assert refused.returncode == 2
    assert "the model was trained on 6 classes of this test split, such as test/c00" in refused.stderr
    for copies in ("jpeg", "turned"):
        warned = cli("eval", "strokes_transformer", f"task.root={copies}", *task)
        assert warned.returncode == 0, warned.stderr
        text = " ".join(warned.stderr.split())
        assert "warning: 6 classes of test look like edited copies of training classes, such as test/c00" in text
    new = cli("eval", "strokes_transformer", "task.root=new", *task)
    assert new.returncode == 0, new.stderr
    assert "warning" not in new.stderr
    for i in range(20):  # at least one of them is among the images that the checkpoint stores
        shutil.copy(tmp_path / f"same/test/c03/{i}.png", tmp_path / f"new/test/c0{i % 6}/copy{i}.png")
    shared = cli("eval", "strokes_transformer", "task.root=new", *task)
    assert shared.returncode == 0, shared.stderr
    assert "warning: the model was trained on" in shared.stderr
    assert "of this test split, such as test/c0" in " ".join(shared.stderr.split())


def test_a_digest_begins_with_its_exact_part():
    picture = characters(0, 1, 1)[0][0]
    copy = with_one_pixel_changed(picture)
    assert picture_digest(copy)[:EXACT] != picture_digest(picture)[:EXACT]
    assert len(picture_digest(copy)) == EXACT + fingerprints.LENGTH
