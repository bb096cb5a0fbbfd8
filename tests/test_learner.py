"""The face in Python: taught by examples, asked about pictures, a classifier as scikit-learn knows them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import tiny_keys
from PIL import Image

import metacli
from metacli.checkpoints import checkpoint
from metacli.checkpoints.provenance import NO_CLASSES
from metacli.classifier.ensemble import FittedContext
from metacli.classifier.few_shot_model import load_few_shot_model
from metacli.classifier.learner import Learner, NotFittedError
from metacli.config.recipe import recipe_from_dict
from metacli.errors import MetacliError, UsageError
from metacli.registry import MODELS, TASKS, build, resolve

pytestmark = pytest.mark.filterwarnings("ignore:.*.*accuracy may be lower:UserWarning")

TASK = {"name": "strokes", "ways": 4, "size": 12, "rotation": 10, "shift": 1, "instances": 12}


def saved(path, name: str, task: dict, **keys):
    """A checkpoint of a model that was never trained."""
    torch.manual_seed(0)
    tree = {"name": "tiny", "task": task, "model": {**tiny_keys(name), **keys}, "train": {"steps": 1}}
    recipe = recipe_from_dict(tree, "tiny")
    spec = resolve(TASKS, recipe.task.name, "task").spec_of(recipe.task)
    model = build(MODELS, recipe.model, spec)
    checkpoint.save(path, checkpoint.Snapshot(recipe, 0, None, model, NO_CLASSES))
    return path


@pytest.fixture(scope="module")
def matching(tmp_path_factory):
    """A Transformer that begins as a matching network: it tells new classes apart without any training."""
    return saved(tmp_path_factory.mktemp("w") / "matching.safetensors", "transformer", TASK, width=64, init="content")


@pytest.fixture(scope="module", params=sorted(MODELS))
def anyone(request, tmp_path_factory):
    """A checkpoint of each registered model."""
    return saved(tmp_path_factory.mktemp("w") / f"{request.param}.safetensors", request.param, TASK)


EMBEDDED = {"width": 128, "heads": 2, "init": "content"}  # a head that holds a whole label


@pytest.fixture(scope="module")
def any_ways(tmp_path_factory):
    """A Transformer with embedded labels that was made for 4 classes."""
    task = {**TASK, "labels": "embedded"}
    return saved(tmp_path_factory.mktemp("w") / "any.safetensors", "transformer", task, **EMBEDDED)


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Blots, each unlike the others."""
    random = np.random.default_rng(seed)
    return [np.kron(random.integers(0, 2, (4, 4)) * 255, np.ones((8, 8))).astype(np.uint8) for _ in range(count)]


def test_it_recognises_what_it_was_shown(matching):
    images, names = pictures(4), ["d", "b", "a", "c"]
    learner = metacli.load(matching)
    assert learner.fit(images, names) is learner
    assert learner.classes_.tolist() == ["a", "b", "c", "d"]
    assert learner.predict(images).tolist() == names
    shares = learner.predict_proba(images)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert learner.score(images, names) == 1
    looked = learner.most_attended(images)
    assert looked.shape == (4, 4)
    np.testing.assert_allclose(looked.sum(1), 1)
    assert looked.argmax(1).tolist() == [0, 1, 2, 3]
    answers = learner.answer(images, with_attention=True)
    np.testing.assert_allclose(answers.probabilities, shares, atol=1e-6)
    np.testing.assert_array_equal(answers.attended, looked)


@pytest.mark.parametrize("ways", [2, 200])
def test_embedded_labels_serve_any_number_of_classes(any_ways, ways):
    images, names = pictures(ways), list(range(ways))
    learner = metacli.load(any_ways, orders=2).fit(images, names)
    shares = learner.predict_proba(images[:2])
    assert shares.shape == (2, ways)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert (learner.partial_fit(pictures(1, seed=9), [ways]).predict_proba(images[:1]) > 0).all()
    assert learner.context_.label_vectors.unique(dim=0).shape[0] == 2, "every order has labels of its own"


def test_more_classes_than_in_training_are_answered_with_a_warning(any_ways):
    with pytest.warns(UserWarning, match="trained on 4 classes and at most 4 support examples. You gave 30 classes"):
        metacli.load(any_ways, orders=1).fit(pictures(30), list(range(30)))


def test_every_model_is_taught_and_asked_alike(anyone):
    images, names = pictures(5), [1, 2, 1, 3, 2]
    learner = metacli.load(anyone, orders=3)
    with np.errstate(all="raise"):
        whole = learner.fit(images, names).predict_proba(images)
    assert whole.shape == (5, 3)
    np.testing.assert_allclose(whole.sum(1), 1)
    again = metacli.load(anyone, orders=3).fit(images, names)
    np.testing.assert_array_equal(again.predict_proba(images), whole)
    np.testing.assert_allclose(learner.predict_proba(images[1:3]), whole[1:3], atol=1e-5)  # asked alone or together
    looked = learner.most_attended(images)
    assert (looked is None) == (load_few_shot_model(anyone).model.config.name == "lstm")
    if looked is not None:
        assert looked.shape == (5, 5)
        np.testing.assert_allclose(looked.sum(1), 1, atol=1e-6)


def test_a_class_has_no_say_by_its_name_or_number(matching):
    """The same lesson under other names gives the same numbers, each at its name."""
    images = pictures(3)
    one = metacli.load(matching).fit(images, ["x", "y", "z"]).predict_proba(images)
    other = metacli.load(matching).fit(images, ["z", "y", "x"]).predict_proba(images)
    np.testing.assert_allclose(one, other[:, ::-1])


def test_the_mean_over_orders_hardly_hangs_on_the_order(anyone):
    if load_few_shot_model(anyone).model.config.name not in ("lstm", "ntm", "mann", "dnc"):
        pytest.skip("reads its examples in no order")
    images, names = pictures(6), list("abcabc")
    first, second = [5, 3, 1, 0, 2, 4], [0, 1, 2, 3, 4, 5]

    def spread(orders: int) -> float:
        found = [
            metacli.load(anyone, orders=orders).fit([images[i] for i in o], [names[i] for i in o]).predict_proba(images)
            for o in (first, second)
        ]
        return float(np.abs(found[0] - found[1]).mean())

    assert spread(40) < spread(1)


def test_partial_fit_goes_on_from_phi(anyone):
    images, names = pictures(5), list("abcab")
    one = metacli.load(anyone, orders=2)
    one.partial_fit(images[:2], names[:2])
    before = one.context_
    one.partial_fit(images[2:3], names[2:3]).partial_fit(images[3:], names[3:])
    assert one.classes_.tolist() == ["a", "b", "c"]
    assert before.x.shape[1] == 2, "an earlier lesson stays as it was"
    lesson = one.context_
    whole = lesson.few_shot.model.adapt(lesson.x, lesson.labels)
    ours, theirs = (lesson.few_shot.model.predict(phi, lesson.x) for phi in (lesson.phi, whole))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert lesson.few_shot.model.can_extend == (
        lesson.few_shot.model.config.name in ("lstm", "ntm", "mann", "dnc", "deltanet", "prototypical")
    )
    assert sorted(lesson.order[1].tolist()) == [0, 1, 2, 3, 4]


def test_a_recurrent_model_reads_nothing_twice(anyone, monkeypatch):
    model = load_few_shot_model(anyone).model
    if not model.can_extend:
        pytest.skip("reads D_train at once")
    learner = metacli.load(anyone, orders=2).fit(pictures(3), list("abc"))
    monkeypatch.setattr(type(model), "adapt", lambda *a: pytest.fail("D_train was read again"))
    learner.partial_fit(pictures(1, seed=5), ["a"])


@pytest.mark.parametrize(
    "form",
    [
        lambda a: a,
        lambda a: a[:, :, None],
        lambda a: np.stack([a] * 3, 2),
        lambda a: a.astype(bool),
        lambda a: a / 255.0,
        lambda a: a.astype(np.int64),
        lambda a: a.tolist(),
        Image.fromarray,
        lambda a: torch.from_numpy(a),
    ],
)
def test_forms_of_a_picture(matching, form):
    images = pictures(3)
    plain = metacli.load(matching).fit(images, [0, 1, 2]).predict_proba(images)
    other = metacli.load(matching).fit([form(a) for a in images], [0, 1, 2]).predict_proba([form(a) for a in images])
    np.testing.assert_allclose(other, plain, atol=1e-6)


def test_paths_and_an_array_of_pictures(matching, tmp_path):
    images = pictures(3)
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    plain = metacli.load(matching).fit(np.stack(images), [0, 1, 2]).predict_proba(images)
    read = metacli.load(matching).fit(paths, [0, 1, 2]).predict_proba([str(path) for path in paths])
    np.testing.assert_array_equal(read, plain)


@pytest.mark.parametrize(
    "names",
    [["b", "a", "c"], [3, 1, 2], [2.5, 0.5, 1.0], [True, False, True], [("a", 1), ("b", 2), ("a", 0)], [1, "a", b"b"]],
)
def test_class_names_of_any_kind_are_kept(matching, names):
    images = pictures(3)
    learner = metacli.load(matching).fit(images, names)
    found = learner.predict(images)
    assert [a == b for a, b in zip(found, names, strict=True)] == [True] * 3
    assert {type(a) for a in learner.classes_.tolist()} == {type(a) for a in names}


def test_a_lesson_is_a_value(matching):
    lesson = FittedContext.create_empty(load_few_shot_model(matching), 3, 0).extend(
        torch.rand(2, 1, 12, 12), np.arange(2)
    )
    x, y = torch.rand(3, 1, 12, 12), np.array([2, 0, 1])
    one, other = lesson.extend(x, y), lesson.extend(x, y)
    assert (one.order == other.order).all()
    assert len(lesson.y) == 2


def test_a_class_that_was_only_announced_has_no_probability(anyone):
    learner = metacli.load(anyone, orders=2).partial_fit(pictures(3), ["c", "a", "c"], classes=["a", "b", "c"])
    shares = learner.predict_proba(pictures(3))
    assert (shares[:, 1] == 0).all()
    np.testing.assert_allclose(shares.sum(1), 1)
    learner.partial_fit(pictures(1, seed=4), ["b"])
    assert (learner.predict_proba(pictures(3))[:, 1] > 0).all()


@pytest.mark.parametrize(
    ("images", "names", "kind", "says"),
    [
        (pictures(3), ["a", "b"], ValueError, "3 images, but 2 labels"),
        (pictures(2), ["a", "a"], ValueError, "1 class, but a model needs two classes or more"),
        ([], [], ValueError, "0 classes, but"),
        (pictures(5), list("abcde"), ValueError, "matching.* supports at most 4 classes, but the support set has 5"),
        ([np.full((8, 8), np.nan), *pictures(1)], ["a", "b"], ValueError, "image 0 contains NaN"),
        ([np.zeros((8, 8, 7)), *pictures(1)], ["a", "b"], ValueError, r"image 0 has shape \(8, 8, 7\)"),
        ([np.array(["a"]), *pictures(1)], ["a", "b"], TypeError, "image 0"),
        (["nowhere.png", *pictures(1)], ["a", "b"], ValueError, "cannot read the image nowhere.png"),
        ([b"nothing", *pictures(1)], ["a", "b"], ValueError, "not an image"),
        ([np.zeros((20_000, 20_000), bool), *pictures(1)], ["a", "b"], ValueError, "20000 x 20000"),
        (pictures(2), ["a", ["b"]], TypeError, r"label 1 is \['b'\] \(list\), but labels must be hashable"),
        (3, ["a", "b"], TypeError, "list or an array"),
        ("ab", ["a", "b"], TypeError, "list or an array"),
    ],
)
def test_what_cannot_be_taught_is_said(matching, images, names, kind, says):
    with pytest.raises(kind, match=says):
        metacli.load(matching).fit(images, names)


def test_what_cannot_be_asked_is_said(matching):
    learner = metacli.load(matching)
    with pytest.raises(NotFittedError, match="call fit first"):
        learner.predict(pictures(1))
    learner.fit(pictures(2), "ab")
    with pytest.raises(ValueError, match="query 1 contains NaN"):
        learner.predict([*pictures(1), np.full((8, 8), np.nan)])
    with pytest.raises(ValueError, match="1 images, but 3 labels"):
        learner.score(pictures(1), "abc")
    assert learner.predict([]).shape == (0,)
    for orders in (0, -1, 1.5, "x"):
        with pytest.raises(ValueError, match="orders"):
            metacli.load(matching, orders=orders).fit(pictures(2), "ab")


def test_wrong_checkpoints(tmp_path):
    with pytest.raises(UsageError, match="no checkpoint 'nonesuch'"):
        metacli.load("nonesuch")
    with pytest.raises(MetacliError):
        metacli.load(tmp_path / "gone.safetensors")
    stream = saved(tmp_path / "stream.safetensors", "ntm", {**TASK, "protocol": "stream", "length": 10})
    with pytest.raises(UsageError, match="is not a few-shot classifier"):
        metacli.load(stream)
    with pytest.raises(UsageError, match="is not a few-shot classifier"):
        metacli.load(saved(tmp_path / "copy.safetensors", "lstm", {"name": "copy"}))


def test_doubtful_numbers_of_classes_and_pictures_warn(matching):
    with pytest.warns(
        UserWarning, match=r"trained on 4 classes. You gave 2 classes, so accuracy may be lower"
    ) as caught:
        metacli.load(matching).fit(pictures(2), "ab")
    assert caught[0].filename == __file__  # the user's line, through the decorated methods
    with pytest.warns(UserWarning, match="at most 4 support examples. You gave 8"):
        metacli.load(matching).fit(pictures(8), "abcdabcd")


def test_paths_of_pictures_may_begin_at_the_home_folder(matching, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, array in zip("abcd", pictures(4), strict=True):
        (tmp_path / "all" / name).mkdir(parents=True)
        Image.fromarray(array).save(tmp_path / "all" / name / "1.png")
    images, labels = metacli.list_images("~/all")
    assert metacli.load(matching).fit(images, labels).predict(["~/all/a/1.png"]).tolist() == ["a"]


def test_vectors_for_a_model_of_vectors(tmp_path):
    path = saved(
        tmp_path / "v.safetensors", "transformer", {"name": "clusters", "ways": 3, "width": 6}, width=64, init="content"
    )
    x = np.random.default_rng(0).uniform(-1, 1, (3, 6))
    learner = metacli.load(path).fit(x, ["a", "b", "c"])
    assert learner.predict(x).tolist() == ["a", "b", "c"]
    for wrong in (x[:, :4], np.full((3, 6), np.nan)):
        with pytest.raises(ValueError, match="query 0"):
            learner.predict(wrong)


def test_lessons_in_one_process_do_not_touch_each_other(matching):
    one, other = metacli.load(matching), metacli.load(matching)
    before = one.fit(pictures(3), "abc").predict_proba(pictures(3))
    other.fit(pictures(4, seed=9), "wxyz").predict(pictures(2))
    np.testing.assert_array_equal(one.predict_proba(pictures(3)), before)


def test_the_first_order_sees_the_pictures_as_they_are(matching):
    x = torch.rand(3, 1, 12, 12)
    lesson = FittedContext.create_empty(load_few_shot_model(matching), 5, 0).extend(x, np.arange(3))
    torch.testing.assert_close(lesson.x[0], x[torch.from_numpy(lesson.order[0])], atol=1e-5, rtol=0)
    for m in range(1, 5):
        assert not torch.allclose(lesson.x[m], x[torch.from_numpy(lesson.order[m])], atol=1e-2)


def test_scikit_learn_takes_it_for_a_classifier(matching):
    sklearn = pytest.importorskip("sklearn")
    from sklearn.base import clone, is_classifier
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.utils import estimator_checks as checks

    assert sklearn
    learner = Learner(matching, orders=2)
    assert is_classifier(learner)
    other = clone(learner)
    params = {"checkpoint": matching, "orders": 2, "seed": 0, "prepare": True, "invert": None, "min_probability": 0.0}
    assert other.get_params() == learner.get_params() == params
    images = np.stack(pictures(4) * 4)
    names = np.array(["a", "b", "c", "d"] * 4)
    assert cross_val_score(learner, images, names, cv=4).tolist() == [1, 1, 1, 1]
    search = GridSearchCV(learner, {"orders": [1, 3]}, cv=2).fit(images, names)
    assert search.best_score_ == 1
    for check in (
        checks.check_no_attributes_set_in_init,
        checks.check_parameters_default_constructible,
        checks.check_get_params_invariance,
        checks.check_set_params,
    ):
        check("Learner", learner)
    with pytest.raises(ValueError, match="has no parameter 'order'"):
        learner.set_params(order=3)


def test_importing_is_quick_and_torch_waits():
    code = (
        "import time; t = time.perf_counter(); import metacli; s = time.perf_counter() - t; import sys; "
        "print('torch' in sys.modules, 'numpy' in sys.modules, s)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[:2] == ["False", "False"]
    with pytest.raises(AttributeError, match="nonesuch"):
        metacli.nonesuch  # noqa: B018
    assert {"load", "Learner"} <= set(dir(metacli))
