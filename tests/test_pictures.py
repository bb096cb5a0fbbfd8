"""Pictures of every range of values, shape and crop, through Python and the command line."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from test_learner import TASK, saved

import metacli
from metacli.classifier.inputs import PictureWarning

pytestmark = pytest.mark.filterwarnings("ignore:.*.*accuracy may be lower:UserWarning")
LINES = {
    "cross": [(8, 8, 40, 40), (40, 8, 8, 40)],
    "ell": [(10, 6, 10, 42), (10, 42, 38, 42)],
    "tee": [(6, 10, 42, 10), (24, 10, 24, 42)],
}


def characters(pen: int = 4) -> list[np.ndarray]:
    """Light ink (255) on dark paper (0), one picture of each class."""
    sheets = []
    for lines in LINES.values():
        sheet = Image.new("L", (48, 48))
        for line in lines:
            ImageDraw.Draw(sheet).line(line, 255, pen)
        sheets.append(np.asarray(sheet))
    return sheets


def crop(picture: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A model of prepared pictures that tells new classes apart without any training."""
    task = {**TASK, "size": 28, "prepare": True, "rotation": 0, "shift": 0}
    path = tmp_path_factory.mktemp("w") / "prepared.safetensors"
    return saved(path, "transformer", task, width=64, init="content")


@pytest.fixture(scope="module")
def plain(prepared) -> np.ndarray:
    """The probabilities for pictures in the plainest form."""
    return answer(prepared, characters())


def answer(path: Path, pictures: list, **params) -> np.ndarray:
    return metacli.load(path, orders=2, **params).fit(pictures, list(LINES)).predict_proba(pictures)


USUAL = [
    lambda a: a > 0,
    lambda a: a // 255,  # uint8, 0 and 1
    lambda a: a / 255,
    lambda a: (a / 255).astype(np.float16),
    lambda a: a.astype(np.float64),
    lambda a: a.astype(np.uint16) * 257,
    lambda a: a.astype(np.int32) * 257,
    lambda a: a / 127.5 - 1,
    lambda a: torch.from_numpy(a / 255).bfloat16().requires_grad_(),
    lambda a: torch.from_numpy(a.copy())[None],
    lambda a: torch.from_numpy(np.stack([a] * 3)) / 255,
    lambda a: np.stack([a] * 3, 2),
    lambda a: Image.fromarray(a.astype(np.float32) / 255),
    lambda a: Image.fromarray(a.astype(np.int32)),
    lambda a: Image.fromarray(a.astype(np.uint16) * 257),
]
STRETCHED = [
    lambda a: a / 255 * 16,  # scikit-learn's digits
    lambda a: np.rint(a / 255 * 16).astype(np.uint8),
    lambda a: Image.fromarray(np.rint(a / 255 * 16).astype(np.uint8)),
    lambda a: Image.fromarray(np.rint(a / 255 * 16).astype(np.uint8)).convert("P"),
    lambda a: Image.fromarray(np.rint(a / 255 * 16).astype(np.uint8)).convert("RGBA"),
    lambda a: (a / 255 * 4095).astype(np.uint16),
    lambda a: Image.fromarray((a / 255 * 4095).astype(np.uint16)),
    lambda a: (a / 255 * 70_000).astype(np.int64),
    lambda a: (a.astype(np.int16) - 128).astype(np.int8),
    lambda a: (a / 255 - 0.1307) / 0.3081,
    lambda a: Image.fromarray((a / 255 * 12 - 3).astype(np.float32)),
]


@pytest.mark.parametrize("form", USUAL)
def test_usual_ranges_and_shapes_are_the_same_picture(prepared, plain, form):
    with warnings.catch_warnings():
        warnings.simplefilter("error", PictureWarning)
        np.testing.assert_allclose(answer(prepared, [form(a) for a in characters()]), plain, atol=1e-5)


@pytest.mark.parametrize("form", STRETCHED)
def test_other_ranges_are_stretched_with_a_warning(prepared, plain, form):
    with pytest.warns(PictureWarning, match=r"stretched: (image|query) 0 \("):
        np.testing.assert_allclose(answer(prepared, [form(a) for a in characters()]), plain, atol=1e-5)


def test_files_of_every_range_are_the_same_picture(cli, prepared, tmp_path):
    (tmp_path / "query").mkdir()
    forms = {
        "8.png": lambda a: a,
        "16.png": lambda a: a.astype(np.uint16) * 257,
        "12.png": lambda a: (a / 255 * 4095).astype(np.uint16),
        "digits.png": lambda a: np.rint(a / 255 * 16).astype(np.uint8),
        "float.tif": lambda a: (a / 255 * 16).astype(np.float32),
        "int.tif": lambda a: a.astype(np.int32),
    }
    for name, picture in zip(LINES, characters(), strict=True):
        (tmp_path / "support" / name).mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / "support" / name / "1.png")
    for file, form in forms.items():
        Image.fromarray(form(characters()[1])).save(tmp_path / "query" / file)
    bad = np.zeros((9, 9), np.float32)
    bad[3, 5] = np.nan
    Image.fromarray(bad).save(tmp_path / "query" / "nan.tif")
    done = cli(
        "predict", "-c", prepared, "--support", "support", "--query", *sorted((tmp_path / "query").iterdir()), "--json"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {p["label"] for p in found["predictions"]} == {"ell"}
    assert len({p["probability"] for p in found["predictions"]}) == 1
    assert "nan.tif" in found["errors"][0]["message"]
    assert "the first at [3, 5]" in found["errors"][0]["message"]
    for file, span in (("12.png", "0 to 4095"), ("digits.png", "0 to 16"), ("float.tif", "0 to 16")):
        assert f"{file} ({span})" in done.stderr


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (np.where(np.eye(9) > 0, np.inf, 0), r"image 0 contains NaN, infinite or masked values, the first at \[0, 0\]"),
        (np.ma.masked_less(np.eye(9), 0.5), r"the first at \[0, 1\]"),
        (np.zeros((3, 9, 3)), r"\(3, 9, 3\), which can be \(C, H, W\) or \(H, W, C\)"),
        (np.zeros(64), r"shape \(64,\).*reshape the array of images to \(-1, 8, 8\)"),
        (np.zeros((2, 1, 9, 9)), r"shape \(2, 1, 9, 9\).*one by one"),
        (np.zeros((9, 9, 2)), r"shape \(9, 9, 2\)"),
        (np.full((9, 9), 7), "no ink: its brightness is almost uniform, from 7 to 7 of 255"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_place(prepared, picture, says):
    with pytest.raises(ValueError, match=says):
        answer(prepared, [picture, *characters()[1:]])


@pytest.mark.parametrize("pictures", [{"a": 1}, {1, 2}, Image.new("L", (9, 9)), torch.tensor(1.0), "ab", 3])
def test_what_is_no_collection_is_refused(prepared, pictures):
    with pytest.raises(TypeError, match="expected a list or an array of images"):
        answer(prepared, pictures)


def test_a_table_is_not_read_by_its_columns(prepared):
    class Table:
        """As a DataFrame: iteration gives the names of the columns."""

        def __array__(self, dtype=None, copy=None):
            return np.zeros((3, 64))

        def __iter__(self):
            return iter(["pixel0"] * 64)

    with pytest.raises(ValueError, match=r"image 0 has shape \(64,\)"):
        answer(prepared, Table())


def save_cropped(folder: Path) -> None:
    for k, (name, picture) in enumerate(zip(LINES, characters(9), strict=True)):
        (folder / "support" / name).mkdir(parents=True)
        (folder / "query").mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / "support" / name / "1.png")
        Image.fromarray(crop(picture)).save(folder / "query" / f"{k}-light.png")
        Image.fromarray(255 - crop(picture)).save(folder / "query" / f"{k}-dark.png")


def test_cropped_pictures_are_answered_with_a_warning(cli, prepared, tmp_path):
    save_cropped(tmp_path)
    done = cli("predict", "-c", prepared, "--support", "support", "--query", "query", "--json")
    found = json.loads(done.stdout)["predictions"]
    assert [p["label"] for p in found] == [name for name in LINES for _ in range(2)]
    edge = [line for line in done.stderr.splitlines() if "touches the edge" in line]
    assert len(edge) == 1
    assert "query/0-dark.png" in edge[0]
    assert "and 3 more: leave a border of paper" in edge[0]
    assert "support/" not in edge[0]


def test_a_frame_of_ink_at_the_edge_needs_invert(prepared):
    frame = np.full((40, 40), 255, np.uint8)
    frame[5:35, 5:35] = 0
    ring = np.pad(frame, 10)
    pictures = [ring, *characters(5)[:2]]
    learner = metacli.load(prepared, orders=2, invert=False)
    with pytest.warns(PictureWarning, match="touches the edge of query 0"):
        found = learner.fit(pictures, [0, 1, 2]).predict_proba([frame])
    np.testing.assert_allclose(found, learner.predict_proba([ring]), atol=1e-5)


def test_invert_and_no_prepare(cli, prepared, tmp_path):
    save_cropped(tmp_path)

    def probabilities(*args: str) -> list[float]:
        done = cli("predict", "-c", prepared, "--support", "support", "--query", "query/0-light.png", "--json", *args)
        assert done.returncode == 0, done.stderr
        assert ("touches the edge" in done.stderr) == ("--no-prepare" not in args)
        return list(json.loads(done.stdout)["predictions"][0]["probabilities"].values())

    files = [tmp_path / "support" / name / "1.png" for name in LINES]

    def in_python(**params) -> list[float]:
        learner = metacli.load(prepared, **params).fit(files, list(LINES))
        return learner.predict_proba([tmp_path / "query" / "0-light.png"])[0].tolist()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PictureWarning)
        expected = [in_python(), in_python(invert=False), in_python(invert=True), in_python(prepare=False)]
    found = [probabilities(), *(probabilities(option) for option in ("--no-invert", "--invert", "--no-prepare"))]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert np.abs(np.subtract(found[0], found[2])).max() > 0.01
    assert found[0] != found[3]
