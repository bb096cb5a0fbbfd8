"""Linear regression in context: the optimum and the baselines against plain solutions of each prefix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metacli.tasks.linear import Linear, average_nearest, average_products, posterior_means


def solve_prefix(x: np.ndarray, y: np.ndarray, noise: float) -> np.ndarray:
    """The mean of w ~ N(0, I / d) given y = x w + noise: minimum norm without noise, else ridge regression."""
    size = x.shape[1]
    if not noise:
        return np.linalg.lstsq(x, y, rcond=None)[0]
    return np.linalg.solve(x.T @ x + noise**2 * size * np.eye(size), x.T @ y)


@given(
    size=st.integers(1, 6), points=st.integers(1, 14), noise=st.sampled_from([0.0, 0.1, 2.0]), seed=st.integers(0, 999)
)
@settings(max_examples=30, deadline=None)
def test_the_optimum_and_the_baselines_are_those_of_every_prefix(size, points, noise, seed):
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((2, points, size)), rng.standard_normal((2, 1, size))
    y = (x * w).sum(2) + noise * rng.standard_normal((2, points))
    if points > 3:
        x[0, 2], y[0, 2] = 2 * x[0, 0], 2 * y[0, 0]  # an example that adds no direction
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    means = posterior_means(*tensors, noise**2).numpy()
    nearest, products = (f(*tensors).numpy() for f in (average_nearest, average_products))
    for b in range(2):
        for t in range(points):
            before, seen = x[b, :t], y[b, :t]
            np.testing.assert_allclose(means[b, t], solve_prefix(before, seen, noise), rtol=1e-5, atol=1e-6)
            if not t:
                assert nearest[b, t] == products[b, t] == 0
                continue
            order = np.argsort(np.linalg.norm(before - x[b, t], axis=1))
            assert nearest[b, t] == pytest.approx(seen[order[:3]].mean())
            assert products[b, t] == pytest.approx(x[b, t] @ (before * seen[:, None]).mean(0))


def test_the_first_answer_has_the_error_of_zero_and_the_optimum_falls_to_nothing():
    tasks = Linear(Linear.Config(dimension=5, points=11), 0)
    costs = tasks.reference_costs(tasks.batch("test", 0, 2000))
    optimum = costs["optimum"].mean(0)
    assert optimum[0].item() == pytest.approx(1, abs=0.1)  # Var[y] = 1, whatever the dimension
    np.testing.assert_allclose(optimum[:5], 1 - np.arange(5) / 5, atol=0.1)
    assert optimum[6:].max() < 1e-6
    assert all((cost.mean() > optimum.mean()) for name, cost in costs.items() if name != "optimum")


def test_with_noise_the_optimum_tends_to_its_variance():
    tasks = Linear(Linear.Config(dimension=2, points=60, noise=0.5), 0)
    assert tasks.reference_costs(tasks.batch("test", 0, 1000))["optimum"][:, -1].mean().item() == pytest.approx(
        0.25 * (1 + 2 / 59), rel=0.15
    )


def test_a_label_arrives_one_step_late():
    episode = Linear(Linear.Config(dimension=3, points=7), 0).batch("train", 5, 4)
    assert episode.y_previous is not None
    assert not episode.y_previous[:, 0].any()
    assert torch.equal(episode.y_previous[:, 1:, 0], episode.y_test[:, :-1, 0])
    assert (episode.y_previous[:, 1:, 1] == 1).all()


def test_the_curriculum_grows_inputs_and_pairs_in_training_alone():
    keys = {"dimension": 6, "points": 13, "first_dimension": 2, "first_points": 5, "curriculum": 100}
    tasks = Linear(Linear.Config(**keys), 0)
    for first, dimension, points in ((0, 2, 5), (50, 4, 9), (100, 6, 13), (10**6, 6, 13)):
        episode = tasks.batch("train", first, 1)
        assert (int((episode.x_test[0] != 0).any(0).sum()), episode.x_test.shape[1]) == (dimension, points)
        assert episode.mask_test is None
    mixed = tasks.batch("train", 40, 20)
    assert mixed.mask_test is not None
    for row, index in enumerate(range(40, 60)):
        alone = tasks.batch("train", index, 1)
        count = alone.x_test.shape[1]
        assert int(mixed.mask_test[row].sum()) == count
        assert torch.equal(mixed.x_test[row, :count], alone.x_test[0])
        assert torch.equal(mixed.y_test[row, :count], alone.y_test[0])
    assert tasks.batch("val", 0, 2).x_test.shape == (2, 13, 6)


def test_a_curriculum_that_shrinks_is_refused():
    with pytest.raises(ValueError, match="first_points 11 is above points 4"):
        Linear.Config(points=4, curriculum=10)
    Linear.Config(points=4)
