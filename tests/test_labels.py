"""Labels of every kind become plain values, or are refused with their position."""

from __future__ import annotations

import decimal
import enum

import numpy as np
import pytest
import torch
from test_learner import TASK, pictures, saved

import metacli

pytestmark = pytest.mark.filterwarnings("ignore:.*.*accuracy may be lower:UserWarning")


class Colour(enum.Enum):
    """Labels that are neither text nor numbers."""

    RED = 1
    BLUE = 2


class Column:
    """As a Series or a Categorical: one dimension, values by iteration."""

    def __init__(self, values: list, shape: tuple[int, ...] | None = None):
        self._values, self.shape = values, shape or (len(values),)

    def __iter__(self):
        return iter(self._values)


class Missing:
    """As pandas' NA: its comparisons have no truth value."""

    def __eq__(self, other):
        return self

    def __hash__(self):
        return 1

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("w") / "m.safetensors", "transformer", TASK, width=64, init="content")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (torch.tensor([7, 3, 7]), [3, 7]),
        (torch.tensor([0.5, 1.5, 0.5], requires_grad=True), [0.5, 1.5]),
        (torch.tensor([True, False, True]), [False, True]),
        (list(torch.tensor([7, 3, 7])), [3, 7]),
        (np.array([7, 3, 7], np.uint8), [3, 7]),
        (list(np.array([7, 3, 7], np.int16)), [3, 7]),
        ([np.array(7), np.array(3), np.array(7)], [3, 7]),
        (np.array(["b", "a", "b"]), ["a", "b"]),
        (np.array([b"b", b"a", b"b"]), [b"a", b"b"]),
        (np.array(["b", "a", "b"], object), ["a", "b"]),
        (np.array(["2020-02-02", "2020-01-01", "2020-02-02"], "datetime64[ns]"), None),
        (Column(["b", "a", "b"]), ["a", "b"]),
        (Column([np.int64(7), np.int64(3), np.int64(7)]), [3, 7]),
        ((name for name in "bab"), ["a", "b"]),
        ([Colour.RED, Colour.BLUE, Colour.RED], [Colour.RED, Colour.BLUE]),
        ([2**80, 1, 2**80], [1, 2**80]),
        ([2**63, -1, 2**63], [-1, 2**63]),
        (["a\0", "a", "a\0"], ["a", "a\0"]),
    ],
)
def test_labels_of_every_kind_are_plain_values(model, labels, classes):
    images = pictures(3)
    images[2] = images[0]
    learner = metacli.load(model, orders=2).fit(images, labels)
    assert len(learner.classes_) == 2
    if classes is not None:
        assert learner.classes_.tolist() == classes
        assert [type(name) for name in learner.classes_.tolist()] == [type(name) for name in classes]
    assert learner.predict_proba(images).shape == (3, 2)


@pytest.mark.parametrize(
    ("labels", "kind", "says"),
    [
        (["a", None, "b"], ValueError, r"label 1 is None \(NoneType\)"),
        ([1.0, 2.0, np.nan], ValueError, r"label 2 is nan \(float\)"),
        (torch.tensor([1.0, float("nan"), 2.0]), ValueError, "label 1 is nan"),
        (np.array(["2020-01-01", "NaT", "2020-01-01"], "datetime64[D]"), ValueError, "label 1 is .*NaT"),
        (np.ma.array([1, 2, 3], mask=[0, 0, 1]), ValueError, "label 2 is masked"),
        (Column(["a", "b", Missing()]), ValueError, "label 2 is .*Missing"),
        (["a", "b", decimal.Decimal("NaN")], ValueError, "label 2"),
        (["a", "b", ["c"]], TypeError, r"label 2 is \['c'\] \(list\), but labels must be hashable"),
        ([torch.tensor([1]), torch.tensor([2]), torch.tensor([3])], TypeError, "label 0 is tensor"),
        (np.eye(3), ValueError, r"labels have shape \(3, 3\).*argmax\(1\)"),
        (torch.tensor([[1], [2], [3]]), ValueError, r"labels have shape \(3, 1\).*ravel\(\)"),
        (Column(["label"], (3, 1)), ValueError, r"labels have shape \(3, 1\)"),
        (torch.tensor(3), ValueError, r"labels have shape \(\)"),
        ({"a", "b", "c"}, TypeError, r"not .*\(set\)"),
        ({"a": 1, "b": 2, "c": 3}, TypeError, r"not .*\(dict\)"),
        (b"abc", TypeError, r"not b'abc' \(bytes\)"),
        (3, TypeError, r"not 3 \(int\)"),
        (torch.tensor([1, 2]), ValueError, "3 images, but 2 labels"),
    ],
)
def test_labels_that_are_none_are_refused_with_their_position(model, labels, kind, says):
    learner = metacli.load(model, orders=2)
    with pytest.raises(kind, match=says):
        learner.fit(pictures(3), labels)
    learner.fit(pictures(3), [1, 2, 3])
    with pytest.raises(kind, match=says):
        learner.score(pictures(3), labels)
    with pytest.raises(kind, match=says):
        learner.partial_fit(pictures(3), labels)


def test_tensor_labels_are_scored(model):
    y = torch.tensor([2, 0, 1])
    assert metacli.load(model).fit(pictures(3), y).score(pictures(3), y) == 1


def test_without_a_seed_each_fit_draws_one(model):
    state = torch.get_rng_state(), np.random.get_state()[1].copy()
    learner = metacli.load(model, seed=None)
    first, second = (learner.fit(pictures(3), "abc").predict_proba(pictures(3)) for _ in range(2))
    assert not np.array_equal(first, second)
    assert learner.get_params()["seed"] is None
    assert torch.equal(torch.get_rng_state(), state[0])
    np.testing.assert_array_equal(np.random.get_state()[1], state[1])


@pytest.mark.parametrize("seed", [-1, 1.5, "x"])
def test_wrong_seeds(model, seed):
    with pytest.raises(ValueError, match=r"seed is .* must be an integer of 0 or more"):
        metacli.load(model, seed=seed).fit(pictures(2), "ab")
