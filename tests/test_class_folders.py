"""What a folder of pictures holds: one rule for `folder`, `predict`, `list_images` and the drawings of `draw`."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image
from test_learner import saved

import metacli
from metacli.checkpoints import checkpoint
from metacli.classifier.learner import Learner
from metacli.classifier.prediction import predict
from metacli.config import yaml_file
from metacli.errors import MetacliError
from metacli.tasks.base import SPLITS
from metacli.tasks.images.class_folders import list_classes
from tests.own import folders
from tests.own.folders import HEIC, Made, encode, make, plans

MODEL = {"name": "lstm", "hidden": 4, "layers": 1}


@pytest.fixture(autouse=True)
def kept(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("METACLI_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model of 20 classes that needs no training."""
    task = {"name": "strokes", "ways": 20, "size": 12, "instances": 12}
    return saved(tmp_path_factory.mktemp("w") / "matching.safetensors", "transformer", task, width=64, init="content")


def grow(root: Path, *names: str, each: int = 3, first: int = 0) -> Path:
    """Classes of pictures that all differ; `first` is the number of the first class."""
    for c, name in enumerate(names, first):
        (root / name).mkdir(parents=True)
        for i in range(each):
            Image.new("RGB", (9, 9), (c, i, 7)).save(root / name / f"{i}.png")
    return root


def divided(root: Path, **keys) -> dict[str, set[str]]:
    """The class names of each split, by the Python interface."""
    task = {"name": "folder", "root": str(root), "ways": 2, "queries": 1, "size": 8, **keys}
    tasks = metacli.build_tasks({"task": task, "model": MODEL})
    return {split: set(tasks.class_digests(split)) for split in SPLITS}


def test_hidden_entries_and_those_of_operating_systems_are_ignored_at_every_depth(tmp_path, capsys):
    root = grow(tmp_path / "root", "a", "b", "c/d")
    for place in (root, root / "a", root / "c", root / "c" / "d"):
        for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".cache-thumbs/x"):
            (place / name).mkdir(parents=True)
            (place / name / "1.png").write_bytes(encode(200, "PNG", "L"))
        for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._0.png"):
            (place / name).write_bytes(encode(200, "PNG", "L"))
    found = divided(root)
    assert set().union(*found.values()) == {"a", "b", "c/d"}
    assert capsys.readouterr().err == ""
    (root / "nothing").mkdir()
    divided(root)
    assert "note: ignored 1 empty directory: nothing" in capsys.readouterr().err


def test_predict_and_folder_list_the_same(tmp_path, model, cli):
    root = grow(tmp_path / "root", "a", "b", "c/d", each=1)
    (root / "__MACOSX" / "a").mkdir(parents=True)
    (root / "b" / "notes.txt").write_text("none")
    (root / "empty").mkdir()
    done = cli("predict", "-c", model, "--support", root, "--query", root / "a" / "0.png", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["classes"] == ["a", "b", "c/d"]
    assert "ignored 1 file that is not a picture: b/notes.txt" in done.stderr
    assert "ignored 1 empty directory: empty" in done.stderr
    with pytest.warns(UserWarning, match=r"notes.txt|empty"):
        paths, labels = metacli.list_images(root)
    assert [path.parent.name for path in paths] == ["a", "b", "d"]
    assert labels == ["a", "b", "c/d"]


def test_every_picture_that_is_asked_about_is_answered_or_named(tmp_path, model, cli):
    support = grow(tmp_path / "support", "a", "b", each=1)
    asked = tmp_path / "asked"
    (asked / "deeper").mkdir(parents=True)
    files = {f"{i}{suffix}": encode(9, kind, "L") for i, (kind, suffix) in enumerate([("PNG", ""), ("TIFF", ".tif")])}
    files |= {"deeper/3.JPEG": encode(9, "JPEG", "L"), "deeper/4.dat": encode(9, "PPM", "L"), "5.bmp": b"BM"}
    files |= {"6.jpg": HEIC, "7.avif": b"\0\0\0\x18ftypavif\0\0\0\0", "8.jp2": b"\0\0\0\x0cjP  \r\n\x87\n"}
    for name, content in files.items():
        (asked / name).write_bytes(content)
    (asked / "README.md").write_text("Photographs")
    done = cli("predict", "-c", model, "--support", support, "--query", asked, "--json")
    found = json.loads(done.stdout)
    assert {Path(p["query"]).name for p in found["predictions"]} == {"0", "1.tif", "3.JPEG", "4.dat"}
    errors = {Path(e["query"]).name: e["message"] for e in found["errors"]}
    assert errors.keys() == {"5.bmp", "6.jpg", "7.avif", "8.jp2"}
    assert "HEIC is not supported" in errors["6.jpg"]
    assert "README.md" in done.stderr


def test_a_class_of_unsupported_images_is_an_error_and_a_single_one_a_note(tmp_path, capsys):
    root = grow(tmp_path / "root", "a", "b", "c")
    (root / "a" / "phone.jpg").write_bytes(HEIC)
    divided(root)
    assert "ignored 1 image in unsupported formats (HEIC): a/phone.jpg" in (capsys.readouterr().err)
    (root / "d").mkdir()
    (root / "d" / "1").write_bytes(b"\xff\x4f\xff\x51")
    with pytest.raises(MetacliError, match=r"unsupported formats \(JPEG 2000\): d"):
        divided(root)


@pytest.mark.parametrize("kind", folders.FORMATS)
def test_a_format_is_recognised_by_its_content(tmp_path, kind):
    for i, suffix in enumerate(["", ".txt", ".heic", ".png"]):
        for name in "ab":
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{i}{suffix}").write_bytes(encode(7, kind, folders.FORMATS[kind][0]))
    assert [len(paths) for paths in list_classes(tmp_path, "x").classes.values()] == [4, 4]


@pytest.mark.parametrize("text", ["P1 is the first", "BMW and 20 others", "Python", "GIF", "(\0\0\0 forty", ""])
def test_a_text_that_begins_as_a_picture_does_is_none(tmp_path, text):
    grow(tmp_path, "a")
    (tmp_path / "a" / "notes").write_text(text)
    classes, notes = list_classes(tmp_path, "x")
    assert len(classes["a"]) == 3
    assert notes == ["ignored 1 file that is not a picture: a/notes"]


def test_links_to_classes_and_pictures_are_followed_and_loops_are_not(tmp_path, capsys):
    store, root = grow(tmp_path / "store", *"abcd"), tmp_path / "root"
    root.mkdir()
    for name in "abc":
        (root / name).symlink_to(store / name, target_is_directory=True)
    (root / "e").mkdir()
    (root / "e" / "1").symlink_to(store / "d" / "0.png")
    (root / "e" / "round").symlink_to("..", target_is_directory=True)
    (store / "a" / "itself").symlink_to(".", target_is_directory=True)
    (root / "e" / "gone.txt").symlink_to("nowhere")
    assert set().union(*divided(root, val_fraction=0.3).values()) == {"a", "b", "c", "e"}
    told = capsys.readouterr().err
    assert "ignored 2 links to directories that hold them: a/itself, e/round" in told
    assert "e/gone.txt" in told
    (root / "z").symlink_to("a", target_is_directory=True)
    with pytest.raises(MetacliError, match=f"{root / 'a'} and {root / 'z'} are the same directory"):
        divided(root)


@pytest.mark.parametrize(
    "spelled", [("Train", "valid", "TEST"), ("training", "validation", "testing"), ("TRAIN", "Val", "Testing")]
)
def test_splits_are_recognised_in_the_usual_spellings(tmp_path, spelled, capsys):
    for split, name in zip(SPLITS, spelled, strict=True):
        grow(tmp_path / name, f"{split}1", f"{split}2")
    (tmp_path / spelled[0] / "loose.png").write_bytes(encode(3, "PNG", "L"))
    expected = {s: {f"{name}/{s}1", f"{name}/{s}2"} for s, name in zip(SPLITS, spelled, strict=True)}
    assert divided(tmp_path) == expected
    told = capsys.readouterr().err
    assert told == f"note: ignored pictures that are directly in the split {spelled[0]}: 1\n"


def test_two_directories_of_one_split_are_an_error(tmp_path):
    grow(tmp_path, "train/a", "train/b", "val/c", "valid/d")
    with pytest.raises(MetacliError, match="2 directories for the split val: val, valid"):
        divided(tmp_path)


def test_what_only_resembles_a_split_gets_a_warning(tmp_path, capsys):
    grow(tmp_path, "test_images/a", "dev/b", "train2/c", "cat/train", "train", "latest/protest", "trainer", "d")
    divided(tmp_path)
    expected = "warning: not taken as a split: cat/train, dev, test_images, train, train2. A split is a directory"
    assert expected in capsys.readouterr().err
    grow(tmp_path / "deeper" / "data", "train/x", "test/y")
    divided(tmp_path / "deeper")
    assert "not taken as a split: data/test, data/train." in capsys.readouterr().err


def test_a_class_name_in_two_splits_is_an_error_unless_allowed(tmp_path, cli):
    grow(tmp_path, "train/c1", "train/c2", "train/c3", "test/c1", "test/x", "Val/c2", "Val/y")
    words = ["sample-tasks", "strokes_ntm", "task.name=folder", f"task.root={tmp_path}", "task.ways=2"]
    words += ["task.queries=1", "-n", "1"]
    refused = cli(*words)
    assert refused.returncode == 2
    assert "more than one split: Val/c2 = train/c2, test/c1 = train/c1" in refused.stderr
    assert "task.allow_same_names=true" in refused.stderr
    assert cli(*words, "task.allow_same_names=true").returncode == 0


def test_a_name_means_the_same_in_both_forms_of_unicode(tmp_path):
    names = ["é1", "ä2", "z", "が", "A/ö", "n", "é0", "o"]
    composed = grow(tmp_path / "NFC", *[unicodedata.normalize("NFC", name) for name in names])
    decomposed = grow(tmp_path / "NFD", *[unicodedata.normalize("NFD", name) for name in names])
    if sorted(os.listdir(composed)) == sorted(os.listdir(decomposed)):
        pytest.skip("this file system changes names")
    assert divided(composed) == divided(decomposed)
    assert metacli.list_images(composed)[1] == metacli.list_images(decomposed)[1]
    grow(composed, unicodedata.normalize("NFD", "ä2"))
    with pytest.raises(MetacliError, match=r"look the same: '.*\\xe42' and '.*a\\u03082'|look the same: .*a\\u03082"):
        divided(composed)


def test_all_damaged_pictures_are_named_at_once(tmp_path, model, cli):
    root = grow(tmp_path / "root", *"abcdef")
    Image.new("LAB", (9, 9)).save(root / "a" / "lab.tif")
    for i in range(12):
        (root / "b" / f"x{i:02}.png").write_bytes(encode(1, "PNG", "L")[:40])
    (root / "c" / "empty.png").touch()
    words = [f"task.root={root}", "task.ways=2", "task.queries=1", "-n", "1"]
    refused = cli("sample-tasks", "strokes_ntm", "task.name=folder", *words)
    assert refused.returncode == 1
    lines = refused.stderr.splitlines()
    assert lines[0] == "error: 14 of 32 images cannot be used:"
    assert re.search(r"lab.tif: .*LAB", lines[1])
    assert lines[11:13] == ["and 4 more", "hint: replace or remove the files"]
    done = cli("predict", "-c", model, "--support", root, "--query", root / "c", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["predictions"]) == 3
    assert done.stderr.count("skipped: ") == 10
    assert "and 4 more" in done.stderr


def test_a_lab_image_is_named_in_python_too(model):
    with pytest.raises(ValueError, match=r"image 1: .*LAB"):
        Learner(model).fit([Image.new("L", (9, 9)), Image.new("LAB", (9, 9))], ["a", "b"])


def test_predict_asks_for_one_split(tmp_path, model, cli):
    grow(tmp_path / "root", "Train/a", "Train/b", "test/c")
    refused = cli("predict", "-c", model, "--support", "root", "--query", "root")
    assert refused.returncode == 2
    assert "divided into splits: Train, test" in refused.stderr
    assert cli("predict", "-c", model, "--support", "root/Train", "--query", "root/Train/a").returncode == 0


def test_a_run_records_where_its_classes_are_cut(tmp_path, cli):
    """Once: 40 classes at 5 ways failed, because the hash left 2 of them for validation."""
    root = grow(tmp_path / "root", *(f"c{i:02}" for i in range(40)))
    task = {"name": "folder", "root": "root", "ways": 5, "queries": 1, "size": 8}
    tree = {"task": task, "model": MODEL, "train": {"steps": 2, "batch": 2, "eval_tasks": 2}}
    (tmp_path / "r.yaml").write_text("# x\n" + yaml_file.dump(tree))
    done = cli("train", "r.yaml", "--run-dir", "run")
    assert done.returncode == 0, done.stderr
    before = checkpoint.load(tmp_path / "run").provenance.classes
    assert [len(before[split]) for split in SPLITS] == [28, 6, 6]
    again = cli("train", "r.yaml", "--resume", "run")
    assert again.returncode == 0, again.stderr  # the recipe leaves the cuts to the run
    assert cli("train", "--resume", "run", "train.steps=3").returncode == 0

    grow(root, *(f"new{i:02}" for i in range(20)), first=40)
    evaluated = cli("eval", "run", "--tasks", "3")
    assert evaluated.returncode == 0, evaluated.stderr
    changes = re.findall(r"changed since training: (\w+): (\d+) classes (\w+)", evaluated.stderr)
    assert [(split, word) for split, _, word in changes] == [(split, "new") for split in SPLITS]
    assert sum(int(number) for _, number, _ in changes) == 20
    refused = cli("train", "--resume", "run", "train.steps=4")  # its batches would change
    assert refused.returncode == 2
    assert "gone" not in refused.stderr
    assert "run/recipe.yaml keeps each class in its split" in refused.stderr
    another = cli("train", "run/recipe.yaml", "--init", "run", "--run-dir", "more")
    assert another.returncode == 0, another.stderr
    after = checkpoint.load(tmp_path / "more").provenance.classes
    assert all(before[split].keys() <= after[split].keys() for split in SPLITS)

    few = grow(tmp_path / "few", *(f"other{i}" for i in range(7)), first=60)
    short = cli("eval", "run", f"task.root={few}", "--tasks", "3")
    assert short.returncode == 2
    assert "task.val_cut=null task.test_cut=null" in short.stderr


def check(made: Made, model: Path) -> None:
    """A right answer or one clear error, by every interface of Python."""
    keys = {"name": "folder", "root": str(made.root), "ways": 2, "queries": 1, "size": 8}
    tasks = metacli.build_tasks({"task": keys, "model": MODEL})
    if made.errors:
        with pytest.raises(MetacliError) as caught:
            tasks.batch("train", 0, 1)
        assert any(re.search(error, caught.value.message) for error in made.errors), caught.value.message
        assert caught.value.hint
        assert len(caught.value.message.splitlines()) <= 12
        return
    digests = {
        split: {name: [digest[:16] for digest in of_class] for name, of_class in tasks.class_digests(split).items()}
        for split in SPLITS
    }
    expected = made.classes
    if "" in expected:
        assert {name: d for found in digests.values() for name, d in found.items()} == expected[""]
        assert min(map(len, digests.values())) >= 2
        digests, expected = {"": expected[""]}, {"": expected[""]}
    assert digests == expected
    for split in expected:
        support = made.root / next(iter(expected[split])).split("/")[0] if split else made.root
        found = predict(Learner(model, orders=1), support, [made.root])
        prefix = f"{support.name}/" if split else ""
        assert {prefix + name for name in found.classes} == expected[split].keys()
        assert len(found.queries) + len(found.errors) == made.images


def run(plan: dict, model: Path, then=lambda made: None) -> None:
    with tempfile.TemporaryDirectory() as place:
        made = make(plan, Path(place) / "root", Path(place) / "store")
        check(made, model)
        then(made)


NUMBERS = itertools.count()
SWEEP = {"deadline": None, "derandomize": True, "database": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.filterwarnings("ignore:.*accuracy may be lower")
@settings(max_examples=5, **SWEEP)
@given(plan=plans())
def test_a_mixed_folder_ends_in_a_right_answer_or_one_error(plan, model):
    run(plan, model)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*accuracy may be lower")
@settings(max_examples=200, **SWEEP)
@given(plan=plans())
def test_200_mixed_folders_end_in_a_right_answer_or_one_error(plan, model, cli):
    def by_command(made: Made) -> None:
        if next(NUMBERS) % 4:  # a command takes a second
            return
        words = ["task.name=folder", f"task.root={made.root}", "task.ways=2", "task.queries=1", "task.size=8"]
        done = cli("train", "strokes_lstm", *words, "train.batch=2", "--dry-run", "--json")
        assert "Traceback" not in done.stderr
        if made.errors:
            assert done.returncode in (1, 2)
            assert done.stdout == ""
            assert done.stderr.count("error:") == done.stderr.count("hint:") == 1
            return
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)["classes"]
        assert {n for names in found.values() for n in names} == {n for c in made.classes.values() for n in c}
        assert all(note in done.stderr for note in made.notes), done.stderr

    run(plan, model, by_command)


def test_the_formats_of_the_sweep_keep_every_brightness():
    for kind, modes in folders.FORMATS.items():
        for mode in modes:
            with Image.open(io.BytesIO(encode(77, kind, mode))) as image:
                assert image.convert("RGB").getpixel((4, 4)) == (77, 77, 77) or mode == "I;16", (kind, mode)
