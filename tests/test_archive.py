"""Finding, fetching, checking and caching Omniglot, on archives of four characters and without a network."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import urllib.error
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from metacli.errors import MetacliError
from metacli.system import cache, download
from metacli.tasks.images import omniglot_archive, omniglot_identity
from metacli.tasks.images.folder import Folder
from metacli.tasks.images.pixel_digests import EXACT

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def png(seed: int, size: int = 105) -> bytes:
    """A black line on white, one bit."""
    image = Image.new("1", (size, size), 1)
    ends = np.random.default_rng(seed).integers(10, size - 10, 4).tolist()
    ImageDraw.Draw(image).line(ends, fill=0, width=5)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def tree(name: str) -> dict[str, bytes]:
    """Two alphabets with one character each, drawn twice."""
    paths = [f"{name}/{a}/character{c:02d}/{c:04d}_{d:02d}.png" for c, a in enumerate("BA", 1) for d in (1, 2)]
    return {path: png(i + len(name)) for i, path in enumerate(paths)}


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return file.getvalue()


NAMES = ("images_background", "images_evaluation")
ZIPS = {name: zipped(tree(name)) for name in NAMES}


class Network:
    """Stands in for urlopen: serves ZIPS, or what `answer` says, and counts."""

    def __init__(self, answer=None):
        self.asked: list[str] = []
        self.answer = answer

    def __call__(self, asked, timeout):
        url = asked.full_url
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        content = self.answer or ZIPS[Path(url).stem]
        return Answer(content) if isinstance(content, bytes) else content


class Answer(io.BytesIO):
    status = 200
    headers: dict[str, str] = {}  # noqa: RUF012


class Broken(Answer):
    """A connection that is lost after the first part, or a user who interrupts."""

    def __init__(self, content: bytes, error: BaseException):
        super().__init__(content)
        self.error = error

    def read1(self, size=-1):
        if self.tell():
            raise self.error
        return super().read1(100)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Archives of two characters, an empty cache, no METACLI_DATA and no network."""
    archives = tuple(omniglot_archive.Archive(n, hashlib.md5(ZIPS[n]).hexdigest(), 2, 2) for n in NAMES)
    monkeypatch.setattr(omniglot_archive, "ARCHIVES", archives)
    monkeypatch.setattr(omniglot_archive, "DRAWINGS", 2)
    monkeypatch.delenv("METACLI_MIRROR", raising=False)
    monkeypatch.setenv("METACLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("METACLI_DATA", raising=False)
    monkeypatch.setattr(download, "open_url", Network(urllib.error.URLError("no network in tests")))


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Path:
    """A METACLI_DATA with the two zips."""
    path = tmp_path / "data"
    path.mkdir()
    for name in NAMES:
        (path / f"{name}.zip").write_bytes(ZIPS[name])
    monkeypatch.setenv("METACLI_DATA", str(path))
    return path


def network(monkeypatch, answer=None) -> Network:
    net = Network(answer)
    monkeypatch.setattr(download, "open_url", net)
    return net


def failure(part: str = "") -> MetacliError:
    with pytest.raises(MetacliError) as caught:
        omniglot_archive.omniglot(28)
    assert part in caught.value.message
    return caught.value


def cached() -> list[str]:
    return sorted(path.name for path in cache.directory().iterdir()) if cache.directory().exists() else []


def test_zips_folders_and_download_give_the_same(folder, monkeypatch, tmp_path):
    from_zips = omniglot_archive.omniglot(28)
    assert from_zips["images"].shape == (4, 2, 28, 28)
    assert from_zips["images"].dtype == np.uint8
    assert from_zips["names"].tolist() == ["A/character02", "B/character01"] * 2

    unpacked = tmp_path / "unpacked"
    for name in NAMES:
        for path, content in tree(name).items():
            (unpacked / path).parent.mkdir(parents=True, exist_ok=True)
            (unpacked / path).write_bytes(content)
    monkeypatch.setenv("METACLI_DATA", str(unpacked))
    monkeypatch.setenv("METACLI_CACHE", str(tmp_path / "second"))
    from_folders = omniglot_archive.omniglot(28)

    monkeypatch.delenv("METACLI_DATA")
    monkeypatch.setenv("METACLI_CACHE", str(tmp_path / "third"))
    net = network(monkeypatch)
    from_network = omniglot_archive.omniglot(28)
    assert net.asked == [archive.url for archive in omniglot_archive.ARCHIVES]
    for other in (from_folders, from_network):
        assert np.array_equal(other["images"], from_zips["images"])
        assert np.array_equal(other["names"], from_zips["names"])


def test_a_drawing_has_the_same_digest_in_the_zip_and_in_a_folder(folder, tmp_path):
    """As the file itself, and saved anew in other lossless formats."""
    packed = omniglot_archive.omniglot(14)
    expected = [sorted(digests.astype(str)) for digests in packed["digests"]]
    copies = {"same": None, "bmp": "1", "webp": "RGB", "gif": "P", "png": "RGBA", "tiff.png": "L"}
    for kind, mode in copies.items():
        root = tmp_path / kind
        for part in NAMES:
            for path, content in tree(part).items():
                file = root / Path(path).with_suffix(f".{kind.split('.')[-1]}" if mode else ".png")
                file.parent.mkdir(parents=True, exist_ok=True)
                if mode is None:
                    file.write_bytes(content)
                else:
                    copy = Image.open(io.BytesIO(content)).convert(mode)
                    copy.save(file, "TIFF" if kind == "tiff.png" else None, lossless=True)  # which WebP asks for
        read = Folder(Folder.Config(root=str(root), size=9), 0).image_set
        assert [read.pixel_digests(c) for c in range(4)] == expected, kind


def test_ink_is_bright_and_its_coverage_is_kept(folder):
    packed = omniglot_archive.omniglot(21)
    images, names = packed["images"], packed["names"]
    for c, name in enumerate(names):
        part = NAMES[c // 2]
        files = {path: content for path, content in tree(part).items() if name in path}
        for drawing, content in zip(images[c], files.values(), strict=True):
            ink = 255.0 * (1 - np.asarray(Image.open(io.BytesIO(content)), float))
            boxes = ink.reshape(21, 5, 21, 5).mean((1, 3))  # share of each pixel that ink covers
            assert abs(drawing.mean() - ink.mean()) < 2
            assert np.corrcoef(drawing.ravel(), boxes.ravel())[0, 1] > 0.97
            assert drawing[boxes == 255].min(initial=255) > 200


def test_nothing_is_fetched_twice_and_another_size_uses_the_kept_zips(monkeypatch, capsys):
    net = network(monkeypatch)
    first = omniglot_archive.omniglot(28)
    assert "downloading https://github.com/brendenlake/omniglot/" in capsys.readouterr().err
    network(monkeypatch, AssertionError("asked the network again"))
    assert np.array_equal(omniglot_archive.omniglot(28)["images"], first["images"])
    assert omniglot_archive.omniglot(14)["images"].shape == (4, 2, 14, 14)
    assert len(net.asked) == 2
    assert not any(name.endswith(".part") for name in cached())


def test_without_data_or_network_the_error_names_every_way_out():
    error = failure("cannot download https://github.com/brendenlake/omniglot/raw/master/python/images_background.zip")
    assert error.code == 1
    for way in ("METACLI_DATA", "strokes_", *(part.url for part in omniglot_archive.ARCHIVES)):
        assert way in error.hint
    assert cached() == []


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), TimeoutError("timed out"), KeyboardInterrupt()])
def test_a_broken_download_leaves_nothing(monkeypatch, error):
    network(monkeypatch, Broken(ZIPS[NAMES[0]], error))
    with pytest.raises((MetacliError, KeyboardInterrupt)):
        omniglot_archive.omniglot(28)
    assert cached() == []


@pytest.mark.parametrize("content", [ZIPS[NAMES[0]][:-1], ZIPS[NAMES[1]], b"<html>sign in</html>"])
def test_a_download_that_is_not_the_official_file_is_refused(monkeypatch, content):
    network(monkeypatch, content)
    assert "try again" in failure("MD5").hint
    assert cached() == []


def test_metacli_data_must_lead_somewhere(monkeypatch, tmp_path, folder):
    omniglot_archive.omniglot(28)
    monkeypatch.setenv("METACLI_DATA", str(tmp_path / "nowhere"))
    failure("which is not a folder")  # though the cache could serve
    (folder / f"{NAMES[1]}.zip").unlink()
    monkeypatch.setenv("METACLI_DATA", str(folder))
    monkeypatch.setenv("METACLI_CACHE", str(tmp_path / "other"))
    failure(f"contains neither {NAMES[1]}.zip nor {NAMES[1]}/")


def spoil(folder: Path, **changes: bytes | None) -> None:
    """Write the first archive anew with some files replaced, added or (None) left out."""
    files = {**tree(NAMES[0]), **changes}
    whole = {path: content for path, content in files.items() if content is not None}
    (folder / f"{NAMES[0]}.zip").write_bytes(zipped(whole))


FIRST = next(iter(tree(NAMES[0])))


@pytest.mark.parametrize("path", ["../outside.png", "/outside.png", f"{NAMES[0]}/../../outside.png"])
def test_a_zip_entry_that_leaves_the_folder_is_refused(folder, path):
    spoil(folder, **{path: png(0)})
    failure(f"contains {path}, a path outside of its folder")
    assert not list(folder.parent.rglob("outside.png"))


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({FIRST: None}, "B/character01 has 1 drawings"),
        ({FIRST.replace("_01", "_03"): png(0)}, "B/character01 has 3 drawings"),
        ({path: None for path in tree(NAMES[0]) if "/A/" in path}, "found 1 and 1"),
        ({FIRST.replace("/B/", "/C/"): png(0)}, "expected 2 alphabets and 2 characters"),
        ({FIRST: b"no image"}, f"cannot read the image {FIRST}"),
        ({FIRST: png(0)[:60]}, f"cannot read the image {FIRST}"),
        ({FIRST: png(0, 104)}, f"{FIRST} has 104 x 104 pixels, not 105 x 105"),
    ],
)
def test_an_archive_is_checked_by_its_content(folder, changes, part):
    spoil(folder, **changes)
    assert "METACLI_DATA" in failure(part).hint
    assert cached() == []


def test_other_files_in_an_archive_do_no_harm(folder):
    expected = omniglot_archive.omniglot(28)["images"]
    spoil(folder, **{f"__MACOSX/{FIRST}": b"", f"{NAMES[0]}/.DS_Store": b"", f"{NAMES[0]}/README": b""})
    assert np.array_equal(omniglot_archive.omniglot(28)["images"], expected)


def test_the_cache_is_bound_to_its_source(folder, monkeypatch, tmp_path, capsys):
    """Shuffled archives fill the cache; then the right ones are in METACLI_DATA again, and in the end unpacked."""
    right = omniglot_archive.omniglot(28)
    exact = [digest[:EXACT] for digest in right["digests"].astype(str).ravel().tolist()]
    named = "\n".join([*right["names"].tolist(), *exact])
    for name, content in (("OFFICIAL_DATA", named), ("OFFICIAL_DRAWINGS", "\n".join(sorted(exact)))):
        monkeypatch.setattr(omniglot_identity, name, hashlib.sha256(content.encode()).hexdigest())
    capsys.readouterr()
    shuffled = dict(zip(tree(NAMES[0]), reversed(tree(NAMES[0]).values()), strict=True))
    spoil(folder, **shuffled)
    for _ in range(2):  # packed, then from the cache
        wrong = omniglot_archive.omniglot(28)
        assert not np.array_equal(wrong["images"], right["images"])
        note = f"note: the Omniglot data in {folder} are not the official data: all drawings are official, but some"
        assert note in capsys.readouterr().err
    spoil(folder, **{FIRST: png(99)})
    omniglot_archive.omniglot(28)
    assert "not the official data: some drawings are missing or different" in capsys.readouterr().err

    (folder / f"{NAMES[0]}.zip").write_bytes(zipped(dict(reversed(tree(NAMES[0]).items()))))  # packed anew
    assert np.array_equal(omniglot_archive.omniglot(28)["images"], right["images"])
    monkeypatch.setattr(omniglot_archive, "_pack", None)
    assert np.array_equal(omniglot_archive.omniglot(28)["images"], right["images"])
    assert "note" not in capsys.readouterr().err


def test_a_changed_folder_is_packed_again(monkeypatch, tmp_path):
    for name in NAMES:
        for path, content in tree(name).items():
            (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / path).write_bytes(content)
    monkeypatch.setenv("METACLI_DATA", str(tmp_path / "data"))
    first = omniglot_archive.omniglot(28)
    one, two = (tmp_path / "data" / path for path in list(tree(NAMES[0]))[::2])
    one.rename(tmp_path / "other")  # two drawings change places: names and times of modification stay
    two.rename(one)
    (tmp_path / "other").rename(two)
    second = omniglot_archive.omniglot(28)
    assert not np.array_equal(second["images"], first["images"])
    with monkeypatch.context() as patch:
        patch.setattr(omniglot_archive, "_pack", None)
        assert np.array_equal(omniglot_archive.omniglot(28)["images"], second["images"])


def test_a_cached_download_that_changed_is_fetched_again(monkeypatch):
    network(monkeypatch)
    first = omniglot_archive.omniglot(28)
    (cache.directory() / f"{NAMES[0]}.zip").write_bytes(ZIPS[NAMES[1]])
    again = network(monkeypatch)
    assert np.array_equal(omniglot_archive.omniglot(14)["names"], first["names"])
    assert [Path(url).stem for url in again.asked] == [NAMES[0]]
    for name in NAMES:
        (cache.directory() / f"{name}.zip").unlink()
    network(monkeypatch, AssertionError("asked the network again"))
    assert np.array_equal(omniglot_archive.omniglot(28)["images"], first["images"]), "packed data need no archives"


@SLOW
@given(st.data())
def test_a_damaged_archive_is_an_error_that_names_it(folder, draw):
    content = bytearray(ZIPS[NAMES[0]])
    if draw.draw(st.booleans(), "cut"):
        del content[draw.draw(st.integers(0, len(content) - 1), "at") :]
    else:
        for _ in range(draw.draw(st.integers(1, 20), "changes")):
            content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
    path = folder / f"{NAMES[0]}.zip"
    path.write_bytes(content)
    told = str(path)
    try:
        omniglot_archive._read_drawings(omniglot_archive.ARCHIVES[0], folder)
    except MetacliError as error:
        told = error.message
    assert str(path) in told


ARRAYS = {"a": np.arange(60, dtype=np.uint8).reshape(3, 20), "names": np.array(["x", "yy"])}


def same(arrays: dict[str, np.ndarray]) -> bool:
    return arrays.keys() == ARRAYS.keys() and all(np.array_equal(arrays[k], ARRAYS[k]) for k in ARRAYS)


def never() -> dict[str, np.ndarray]:
    raise AssertionError("made again")


def test_arrays_are_made_once():
    assert same(cache.load_or_make("thing", lambda: ARRAYS))
    assert same(cache.load_or_make("thing", never))
    assert cached() == ["thing.npz"]


@SLOW
@given(st.data())
def test_a_damaged_cache_file_never_gives_wrong_arrays(draw):
    cache.load_or_make("thing", lambda: ARRAYS)
    path = cache.directory() / "thing.npz"
    content = bytearray(path.read_bytes())
    if draw.draw(st.booleans(), "cut"):
        del content[draw.draw(st.integers(0, len(content) - 1), "at") :]
    else:
        at = draw.draw(st.integers(0, len(content) - 1), "at")
        content[at] ^= draw.draw(st.integers(1, 255), "by")
    path.write_bytes(content)
    assert same(cache.load_or_make("thing", lambda: ARRAYS))


def test_a_damaged_cache_file_is_made_again_and_told(capsys):
    cache.load_or_make("thing", lambda: ARRAYS)
    (cache.directory() / "thing.npz").write_bytes(b"PK")
    assert same(cache.load_or_make("thing", lambda: ARRAYS))
    assert "is damaged, creating it again" in capsys.readouterr().err
    assert same(cache.load_or_make("thing", never))


def test_a_cache_that_cannot_be_written_costs_a_warning(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("METACLI_CACHE", str(tmp_path / "file" / "cache"))
    net = network(monkeypatch)
    assert omniglot_archive.omniglot(28)["images"].any()
    assert "continuing without" in capsys.readouterr().err
    assert len(net.asked) == 2


def test_a_run_that_fails_to_make_leaves_nothing():
    def fail() -> dict[str, np.ndarray]:
        raise MetacliError("no")

    with pytest.raises(MetacliError):
        cache.load_or_make("thing", fail)
    assert cached() == []


def _many(seed: int) -> bool:
    arrays = {"a": np.full(200_000, 7)}
    results = [cache.load_or_make("shared", lambda: arrays)["a"] for _ in range(20)]
    (cache.directory() / "shared.npz").unlink(missing_ok=True)  # so that the others write again
    return all((result == 7).all() and len(result) == 200_000 for result in results)


def test_runs_side_by_side_do_no_harm():
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert all(pool.map(_many, range(12)))
    assert set(cached()) <= {"shared.npz"}
