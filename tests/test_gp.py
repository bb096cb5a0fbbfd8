"""Functions of a Gaussian process: tasks, and the posterior against plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metacli.tasks.gp import LENGTHS, SCALES, GaussianProcess
from metacli.tasks.gp_posterior import Grid, infer_posterior


def naive_predictive(x, y, x_query, length, scale, noise):
    """log p(y), mean and variance at a query (Rasmussen and Williams 2006, equations 2.25, 2.26 and 2.30)."""
    kernel = lambda a, b: scale**2 * math.exp(-((a - b) ** 2) / (2 * length**2))  # noqa: E731
    covariance = np.array([[kernel(a, b) for b in x] for a in x]).reshape(len(x), len(x)) + noise**2 * np.eye(len(x))
    cross = np.array([kernel(a, x_query) for a in x])
    inverse = np.linalg.inv(covariance)
    log_likelihood = -0.5 * (y @ inverse @ y + np.linalg.slogdet(covariance)[1] + len(x) * math.log(2 * math.pi))
    return log_likelihood, cross @ inverse @ y, scale**2 + noise**2 - cross @ inverse @ cross


@given(
    count=st.integers(0, 8),
    padding=st.integers(0, 3),
    noise=st.sampled_from([0.05, 0.5]),
    nodes=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    seed=st.integers(0, 999),
)
@settings(max_examples=30, deadline=None)
def test_the_posterior_is_the_weighted_mixture_of_the_textbook(count, padding, noise, nodes, seed):
    rng = np.random.default_rng(seed)
    x, y, x_query = rng.uniform(-2, 2, count), rng.standard_normal(count), rng.uniform(-2, 2, 2)
    grid = Grid.uniform((0.2, 0.7), (0.3, 1.1), nodes)
    padded = [torch.from_numpy(np.concatenate([v, rng.standard_normal(padding)])[None]) for v in (x, y)]
    mask = torch.arange(count + padding)[None] < count
    posterior = infer_posterior(*padded, torch.from_numpy(x_query[None]), grid, noise, mask)
    value = rng.standard_normal(2)
    nll, (mean, scale) = posterior.nll(torch.from_numpy(value[None]))[0], posterior.moments()
    for q in range(2):
        parts = [
            (float(grid.log_weights[g, h]), *naive_predictive(x, y, x_query[q], float(length), float(scale_h), noise))
            for g, length in enumerate(grid.lengths)
            for h, scale_h in enumerate(grid.scales)
        ]
        weights = np.array([math.exp(prior + log_likelihood) for prior, log_likelihood, _, _ in parts])
        weights /= weights.sum()
        means, variances = np.array([p[2] for p in parts]), np.array([p[3] for p in parts])
        density = weights @ (np.exp(-0.5 * (value[q] - means) ** 2 / variances) / np.sqrt(2 * math.pi * variances))
        assert nll[q].item() == pytest.approx(-math.log(density), rel=1e-6, abs=1e-6)
        assert mean[0, q].item() == pytest.approx(weights @ means, abs=1e-6)
        second = weights @ (variances + means**2)
        assert scale[0, q].item() == pytest.approx(math.sqrt(second - (weights @ means) ** 2), rel=1e-5)


def test_more_nodes_do_not_change_the_optimum():
    tasks = GaussianProcess(GaussianProcess.Config(fewest_shots=0, shots=30, queries=8), 0)
    e = tasks.batch("test", 0, 6)
    x_train, y_train, x_test, y = (t[..., 0] for t in (e.x_train, e.y_train, e.x_test, e.y_test.double()))
    few, many = (
        infer_posterior(x_train, y_train, x_test, Grid.uniform(LENGTHS, SCALES, nodes), 0.02).nll(y)
        for nodes in ((32, 16), (64, 32))
    )
    assert (few - many).abs().max() < 0.002
    assert (few - many).mean().abs() < 1e-4
    np.testing.assert_allclose(tasks.reference_costs(e)["optimum"], few, rtol=1e-5)


def test_the_optimum_costs_less_than_every_other_reference():
    tasks = GaussianProcess(GaussianProcess.Config(shots=12), 0)
    costs = {k: v.mean().item() for k, v in tasks.reference_costs(tasks.batch("test", 0, 60)).items()}
    assert costs["optimum"] < costs["best_normal"] < min(costs["fixed_kernel"], costs["prior"])


def test_without_examples_the_optimum_is_the_prior():
    tasks = GaussianProcess(GaussianProcess.Config(shots=2, fewest_shots=0), 0)
    e = tasks.batch("test", 0, 3)
    far = torch.full_like(e.x_train, 1e3)  # uncorrelated with the queries
    costs = tasks.reference_costs(e.__class__(far, 0 * e.y_train, e.x_test, e.y_test, e.index))
    assert (costs["optimum"] != costs["prior"]).all(), "an example tells the output scale"
    assert (costs["optimum"] - costs["prior"]).abs().mean() < 0.5


def test_values_have_the_covariance_of_the_kernel():
    tasks = GaussianProcess(GaussianProcess.Config(shots=1, fewest_shots=0, queries=1, noise=0.1), 1)
    e = tasks.batch("train", 0, 30_000)
    product = (e.y_train[:, 0, 0] * e.y_test[:, 0, 0]).double().numpy()
    distance = (e.x_train - e.x_test)[:, 0, 0].abs().double().numpy()
    length = np.linspace(*LENGTHS, 2001)
    power = (SCALES[1] ** 3 - SCALES[0] ** 3) / 3 / (SCALES[1] - SCALES[0])  # E[a^2]
    for low, high in ((0, 0.1), (0.3, 0.4), (1, 1.2), (2.5, 4)):
        near = (distance >= low) & (distance < high)
        wanted = power * np.exp(-0.5 * (distance[near][:, None] / length) ** 2).mean()
        assert product[near].mean() == pytest.approx(wanted, abs=0.05)
    assert e.y_test.square().mean().item() == pytest.approx(power + 0.01, abs=0.01)


def test_the_drawn_curve_passes_through_the_points():
    tasks = GaussianProcess(GaussianProcess.Config(noise=0.001), 0)
    curves, e = tasks.curves("test", 3, 2), tasks.batch("test", 3, 2)
    for curve, x, y in zip(curves, e.x_test[..., 0].numpy(), e.y_test[..., 0].numpy(), strict=True):
        np.testing.assert_allclose(np.interp(x, *curve.T), y, atol=0.03)


def test_an_episode_does_not_depend_on_its_batch_and_training_batches_need_no_padding():
    tasks = GaussianProcess(GaussianProcess.Config(shots=9, queries=4), 1)
    many = tasks.batch("test", 60, 8)
    assert many.mask_train is not None
    counts = many.mask_train.sum(1)
    assert len(counts.unique()) > 1
    for row in range(8):
        one, count = tasks.batch("test", 60 + row, 1), int(counts[row])
        assert one.x_train.shape[1] == count
        for name in ("x_train", "y_train"):
            assert torch.equal(getattr(many, name)[row, :count], getattr(one, name)[0])
        assert torch.equal(many.y_test[row], one.y_test[0])
        assert not many.y_train[row, count:].any()
    assert tasks.batch("train", 64, 64).mask_train is None
    with pytest.raises(ValueError, match="fewest_shots 3 is above shots 2"):
        GaussianProcess.Config(shots=2)
