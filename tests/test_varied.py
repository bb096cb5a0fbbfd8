"""Tasks of any number of ways, and tasks within one alphabet."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metacli.errors import UsageError
from metacli.registry import TASKS, resolve
from metacli.tasks.images.sampling import sample_varied_shots, sample_varied_ways
from metacli.tasks.rng import CounterRNG


def tasks(**keys):
    cls = resolve(TASKS, "strokes", "task")
    base = {"size": 8, "classes": 75, "val_classes": 25, "test_classes": 50, "instances": 6}
    return cls(cls.Config(**{**base, **keys}), 0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_parts_of_varied_tasks(data):
    ways = data.draw(st.integers(2, 8))
    fewest = data.draw(st.integers(1, ways))
    shots, queries = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    least = -(-ways * (shots + queries) // fewest)
    counts = np.array(
        data.draw(
            st.lists(st.lists(st.integers(least, least + 5), min_size=ways, max_size=ways), min_size=1, max_size=6)
        )
    )
    rng = CounterRNG(data.draw(st.integers(0, 99)), "train", np.arange(len(counts)))
    (label, nth), (asked, nth_asked) = sample_varied_ways(rng, counts, fewest, ways * shots, ways * queries)
    assert label.shape == nth.shape == (len(counts), ways * shots)
    assert asked.shape == nth_asked.shape == (len(counts), ways * queries)
    for b in range(len(counts)):
        used = set(label[b])
        assert fewest <= len(used) <= ways
        assert set(asked[b]) <= used
        shown = [*zip(label[b], nth[b], strict=True), *zip(asked[b], nth_asked[b], strict=True)]
        assert len(set(shown)) == len(shown), "no instance comes twice"
        assert all(n < counts[b, c] for c, n in shown)


def test_half_of_varied_tasks_have_all_ways_and_labels_are_alike():
    counts = np.full((4000, 6), 20)
    (label, _), _ = sample_varied_ways(CounterRNG(0, "train", np.arange(4000)), counts, 2, 6, 6)
    size = np.array([len(set(row)) for row in label])
    share = np.bincount(size, minlength=7)[2:] / 4000
    np.testing.assert_allclose(share, [0.1, 0.1, 0.1, 0.1, 0.6], atol=0.025)
    np.testing.assert_allclose(np.bincount(label.ravel()) / label.size, 1 / 6, atol=0.01)


def test_an_episode_is_the_same_however_many_are_asked_for():
    t = tasks(ways=5, fewest_ways=2, within=0.5, queries=1, rotated_classes=True, rotation=5, stretch=1.2, slant=9)
    whole = t.batch("train", 0, 12)
    for i in (0, 7, 11):
        one = t.batch("train", i, 1)
        assert torch.equal(one.x_train[0], whole.x_train[i])
        assert torch.equal(one.x_test[0], whole.x_test[i])
        assert torch.equal(one.y_train[0], whole.y_train[i])
        assert torch.equal(one.classes[0], whole.classes[i])


def alphabets(t, episode) -> list[set[str]]:
    return [
        {name.split("/")[0] + "".join(name.split("/")[2:]) for name in t.class_names(row)} for row in episode.classes
    ]


def test_within_takes_classes_of_one_alphabet_turned_alike():
    t = tasks(ways=5, within=1, rotated_classes=True)
    homes = alphabets(t, t.batch("train", 0, 60))
    assert all(len(home) == 1 for home in homes)
    assert len(set.union(*homes)) == 12  # three alphabets in four turns, and all of them come
    t = tasks(ways=5, within=0.5)
    mixed = alphabets(t, t.batch("train", 0, 200))
    assert 70 < sum(len(home) == 1 for home in mixed) < 130
    t = tasks(ways=5)
    assert set.union(*mixed) == set.union(*alphabets(t, t.batch("train", 0, 200)))


def test_within_joins_alphabets_where_none_is_large_enough():
    t = tasks(ways=26, within=1, queries=1, rotated_classes=True, val_classes=50)  # an alphabet has 25 characters
    homes = alphabets(t, t.batch("train", 0, 60))
    assert all(len(home) == 2 for home in homes)
    assert len(set.union(*homes)) == 12
    t = tasks(ways=26, within=0.5, queries=1, rotated_classes=True, val_classes=50)
    assert 10 < sum(len(home) == 2 for home in alphabets(t, t.batch("train", 0, 60))) < 50


def test_too_few_instances_for_the_fewest_ways():
    with pytest.raises(UsageError, match="fewest_ways"):
        tasks(ways=5, fewest_ways=2, shots=2, queries=2).batch("train", 0, 1)
    with pytest.raises(ValueError, match="fewest_ways"):
        tasks(ways=5, fewest_ways=6)


def test_tasks_with_a_varying_number_of_shots():
    t, most = (
        tasks(ways=3, shots=4, fewest_shots=shots, queries=2, rotation=10, shift=1, stretch=1.2) for shots in (2, 4)
    )
    whole = t.batch("train", 0, 192)
    shots = whole.mask_train.sum(1) // 3
    assert set(shots.tolist()) == {2, 3, 4}
    assert all(len(set(group.tolist())) == 1 for group in shots.split(64))
    for i in (0, 70, 191):
        one, count = t.batch("train", i, 1), int(shots[i])
        assert one.mask_train is None
        assert one.y_train.sum(1).tolist() == [[count] * 3]
        assert torch.equal(one.x_train[0], whole.x_train[i, : 3 * count])
        assert torch.equal(one.x_test[0], whole.x_test[i])
    assert most.batch("train", 0, 192).mask_train is None
    assert not torch.equal(t.batch("val", 0, 1).x_train, t.batch("train", 0, 1).x_train)
    with pytest.raises(ValueError, match="fewest_shots 5 is above shots 4"):
        tasks(shots=4, fewest_shots=5)
    with pytest.raises(ValueError, match="fewest_ways already varies"):
        tasks(shots=4, fewest_shots=2, fewest_ways=2)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(1, 5), st.integers(0, 99))
def test_every_class_has_the_shots_of_its_task(shots, ways, seed):
    rng, counts = CounterRNG(seed, "train", np.arange(len(shots))), np.array(shots)
    (label, instance), mask = sample_varied_shots(rng, ways, counts, 4)
    for b, count in enumerate(shots):
        chosen = {*zip(label[b][mask[b]].tolist(), instance[b][mask[b]].tolist(), strict=True)}
        assert chosen == {(c, k) for c in range(ways) for k in range(count)}
