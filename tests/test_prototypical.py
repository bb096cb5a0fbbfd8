"""The model `prototypical` against plain NumPy loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metacli.config.recipe import recipe_from_dict
from metacli.episode import Episode, Spec
from metacli.errors import UsageError
from metacli.models.prototypical import Prototypical

WAYS, D = 3, 5
FLAT = {"kind": "flat"}


def make(mode: str, **keys) -> Prototypical:
    config = Prototypical.Config.model_validate({"encoder": FLAT, **keys})
    return Prototypical(config, Spec(mode, (D,), WAYS, WAYS, 9)).double().eval()


def similarity(kind: str, query: np.ndarray, mean: np.ndarray) -> float:
    if kind == "cosine":
        return query @ mean / np.linalg.norm(query) / np.linalg.norm(mean)
    return 1 - np.square(query - mean).sum() / (2 * len(query))


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_a_query_is_compared_with_the_mean_of_each_class(kind):
    model, random = make("independent", similarity=kind, scale=7), np.random.default_rng(0)
    x, query, label = random.normal(size=(7, D)), random.normal(size=(4, D)), np.array([0, 2, 2, 1, 0, 2, 1])
    y = np.eye(WAYS)[label]
    tensors = [torch.from_numpy(array)[None] for array in (x, y, query)]
    with torch.no_grad():
        logits = model.predict(model.adapt(*tensors[:2]), tensors[2])[0].numpy()
    expected = [[7 * similarity(kind, q, x[label == n].mean(0)) for n in range(WAYS)] for q in query]
    np.testing.assert_allclose(logits, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_a_stream_has_running_means_and_new_classes_are_equally_probable(kind):
    model, random = make("stream", similarity=kind, scale=7), np.random.default_rng(1)
    x, label = random.normal(size=(6, D)), np.array([1, 1, 0, 1, 2, 0])
    y_previous = np.vstack([np.zeros(WAYS), np.eye(WAYS)[label[:-1]]])
    none = torch.zeros(1, 0, D, dtype=torch.float64), torch.zeros(1, 0, WAYS, dtype=torch.float64)
    with torch.no_grad():
        logits = model.predict(model.adapt(*none), torch.from_numpy(x)[None], torch.from_numpy(y_previous)[None])
    for t in range(6):
        for n in range(WAYS):
            earlier = x[:t][label[:t] == n]
            expected = similarity(kind, x[t], earlier.mean(0)) if len(earlier) else 0.5
            assert logits[0, t, n].item() == pytest.approx(7 * expected, rel=1e-5)


def test_a_label_without_support_examples_has_probability_0():
    model = make("independent")
    x, y = torch.randn(1, 2, D, dtype=torch.float64), torch.eye(WAYS, dtype=torch.float64)[None, :2]
    assert model.predict(model.adapt(x, y), x).softmax(-1)[0, :, 2].tolist() == [0, 0]


def test_the_share_of_an_example_is_the_probability_of_its_class():
    model, x = make("independent"), torch.randn(1, 6, D, dtype=torch.float64)
    y = torch.eye(WAYS, dtype=torch.float64)[[0, 1, 2, 0, 1, 0]][None]
    episode = Episode(x, y, x[:, :2], torch.zeros(1, 2, 1).long(), torch.zeros(1).long())
    trace = model.trace(episode)
    share = trace.arrays["attention"].values[0, 6:, 0, :6] @ y[0]
    torch.testing.assert_close(share, trace.logits[0].softmax(-1))


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("copy", "supports tasks in mode independent, stream"),
        ("sinusoid", "predicts class labels"),
        ("gp", "predicts class labels"),
    ],
)
def test_tasks_without_classes_are_refused(task, words):
    with pytest.raises(UsageError, match=words):
        recipe_from_dict({"task": {"name": task}, "model": {"name": "prototypical", "encoder": FLAT}}, "r")
