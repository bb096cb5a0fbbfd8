"""The five algorithmic tasks against answers worked out step by step from what the model is shown."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from metacli.registry import TASKS, resolve
from metacli.tasks.sequences.ngrams import DynamicNgrams

# Small and awkward settings of each task: lengths differ within a batch, widths differ from the defaults.
SMALL = {
    "copy": {"width": 3, "min_length": 2, "max_length": 6},
    "repeat-copy": {"width": 2, "min_length": 1, "max_length": 4, "min_repeats": 1, "max_repeats": 5},
    "associative-recall": {"width": 12, "item_length": 2, "min_items": 2, "max_items": 5},
    "dynamic-ngrams": {"order": 4, "length": 60},
    "priority-sort": {"width": 4, "items": 7, "answers": 5},
}
NAMES = list(SMALL)
CURRICULUM = ["copy", "repeat-copy", "associative-recall"]


def make(name, seed=0, **keys):
    cls = resolve(TASKS, name, "task")
    return cls(cls.Config(**{**SMALL[name], **keys}), seed)


def runs(episode):
    """(input steps, answers) of each task as plain lists, without the padding."""
    for b in range(len(episode)):
        shown = [x.tolist() for x, real in zip(episode.x_train[b], episode.mask_train[b], strict=True) if real]
        answers = [y.tolist() for y, real in zip(episode.y_test[b], episode.mask_test[b], strict=True) if real]
        yield shown, answers


def single(episode, b):
    """One task of a batch without its padding."""
    real, asked = episode.mask_train[b], episode.mask_test[b]
    return episode.x_train[b][real], episode.x_test[b][asked], episode.y_test[b][asked], int(episode.index[b])


# What is asked, read back out of what is shown


def test_copy_answers_are_what_was_shown_before_the_delimiter():
    seen = set()
    for shown, answers in runs(make("copy").batch("train", 0, 200)):
        *vectors, last = shown
        assert last == [0, 0, 0, 1]
        assert all(v[3] == 0 for v in vectors)
        assert answers == [v[:3] for v in vectors]
        seen.add(len(vectors))
    assert seen == {2, 3, 4, 5, 6}


def test_repeat_copy_answers_repeat_as_often_as_the_count_says_then_end():
    seen = set()
    deviation = np.std(range(1, 6))
    for shown, answers in runs(make("repeat-copy").batch("train", 0, 300)):
        *vectors, last = shown
        assert last[:3] == [0, 0, 1]
        assert all(v[2:] == [0, 0] for v in vectors)
        repeats = round(last[3] * deviation + 3)
        assert answers == [[v[0], v[1], 0] for _ in range(repeats) for v in vectors] + [[0, 0, 1]]
        seen.add((len(vectors), repeats))
    assert seen == {(n, r) for n in range(1, 5) for r in range(1, 6)}


def test_repeat_count_has_mean_0_and_variance_1_over_the_training_range():
    values = []
    for repeats in range(1, 11):
        task = make("repeat-copy", max_repeats=10, length=1, repeats=repeats)
        values.append(task.batch("test", 0, 1).x_train[0, 1, 3].item())
    assert np.mean(values) == pytest.approx(0, abs=1e-6)
    assert np.var(values) == pytest.approx(1, abs=1e-6)
    assert np.diff(values) == pytest.approx(np.full(9, values[1] - values[0]), abs=1e-6)


def test_recall_answer_is_the_item_after_the_query():
    seen = set()
    for shown, answers in runs(make("associative-recall").batch("train", 0, 200)):
        items: list[list] = []
        query: list = []
        now, into = query, 0
        for x in shown:
            bits, item_starts, query_edge = x[:12], x[12], x[13]
            if item_starts:
                assert bits == [0] * 12
                items.append([])
                now = items[-1]
            elif query_edge:
                assert bits == [0] * 12
                into += 1
                now = query
            else:
                now.append(bits)
        assert into == 2
        assert shown[-1][13] == 1
        assert all(len(item) == 2 for item in items)
        assert answers == items[items.index(query) + 1]
        seen.add((len(items), items.index(query)))
    assert seen == {(n, q) for n in range(2, 6) for q in range(n - 1)}


def test_ngram_stream_is_predicted_one_bit_ahead():
    episode = make("dynamic-ngrams").batch("train", 0, 5)
    assert episode.x_train.shape == (5, 0, 1)
    assert torch.equal(episode.x_test[:, 1:], episode.y_test[:, :-1])
    assert (episode.x_test[:, 0] == 0).all()
    assert episode.mask_test.all()


def test_ngram_probabilities_follow_the_beta_law():
    """Frequencies after each context, over many tasks: the mean and the variance of Beta(1/2, 1/2) are 1/2 and 1/8."""
    bits = make("dynamic-ngrams", order=2, length=2000).batch("train", 0, 2000).y_test[..., 0].numpy()
    before, after = bits[:, :-1], bits[:, 1:]
    counts = (before == 1).sum(1)
    enough = counts > 200
    p = ((before == 1) & (after == 1)).sum(1)[enough] / counts[enough]
    # P(1 | 1) is above its mean where ones abound, which `enough` selects: compare with a draw of the same selection.
    rng = np.random.default_rng(0)
    table = rng.beta(0.5, 0.5, (40_000, 2))
    ones = table[:, 0] / (1 - table[:, 1] + table[:, 0])  # stationary share of ones
    expected = table[ones > 0.1, 1]
    assert p.mean() == pytest.approx(expected.mean(), abs=0.03)
    assert p.var() == pytest.approx(expected.var(), abs=0.02)
    assert bits.mean() == pytest.approx(0.5, abs=0.03)


def test_ngram_first_bits_are_fair_coins():
    first = make("dynamic-ngrams").batch("train", 0, 4000).y_test[:, :3, 0]
    assert first.mean(0).tolist() == pytest.approx([0.5] * 3, abs=0.03)


def test_sort_gives_the_highest_first():
    for shown, answers in runs(make("priority-sort").batch("train", 0, 50)):
        *vectors, last = shown
        assert last == [0] * 5 + [1]
        assert all(v[5] == 0 and -1 <= v[4] < 1 for v in vectors)
        ranked = sorted(vectors, key=lambda v: v[4], reverse=True)
        assert answers == [v[:4] for v in ranked[:5]]


def test_priorities_are_uniform():
    priority = make("priority-sort").batch("train", 0, 3000).x_train[:, :-1, 4]
    assert priority.mean().item() == pytest.approx(0, abs=0.02)
    assert priority.var().item() == pytest.approx(1 / 3, abs=0.02)


# What every one of them keeps to


@pytest.mark.parametrize("name", NAMES)
def test_shapes_padding_and_bits(name):
    task = make(name)
    episode = task.batch("val", 3, 40)
    spec = task.spec
    steps, answers = episode.x_train.shape[1], episode.y_test.shape[1]
    assert episode.x_train.shape == (40, steps, *spec.x_shape)
    assert episode.y_train.shape == (40, steps, spec.y_size)
    assert episode.x_test.shape == (40, answers, *spec.x_shape)
    assert episode.y_test.shape == (40, answers, spec.out_size)
    assert steps + answers <= spec.length
    assert episode.index.tolist() == list(range(3, 43))
    for tensor in (episode.x_train, episode.y_train, episode.x_test, episode.y_test):
        assert tensor.dtype == torch.float32
    for mask, values in (
        (episode.mask_train, [episode.x_train]),
        (episode.mask_test, [episode.x_test, episode.y_test]),
    ):
        assert mask.dtype == torch.bool
        assert (mask[:, 1:] <= mask[:, :-1]).all()  # padding at the end
        assert all((v[~mask] == 0).all() for v in values)
        assert mask.shape[1] == 0 or mask[:, -1].any()  # no longer than the longest
    assert ((episode.y_test == 0) | (episode.y_test == 1)).all()
    assert episode.y_test[episode.mask_test].mean().item() == pytest.approx(0.5, abs=0.25)


@pytest.mark.parametrize("name", NAMES)
def test_spec_length_is_the_longest_episode(name):
    task = make(name)
    episode = task.batch("train", 0, 300)
    steps = episode.mask_train.sum(1) + episode.mask_test.sum(1)
    assert steps.max() == task.spec.length


@given(
    st.sampled_from(NAMES), st.sampled_from(["train", "val", "test"]), st.integers(0, 30), st.integers(1, 9), st.data()
)
@settings(max_examples=60, deadline=None)
def test_an_episode_is_the_same_in_every_batch(name, split, first, count, data):
    keys = {"curriculum": 25} if name in CURRICULUM else {}
    task = make(name, seed=4, **keys)
    number = data.draw(st.integers(first, first + count - 1))
    in_batch = single(task.batch(split, first, count), number - first)
    alone = single(task.batch(split, number, 1), 0)
    for a, b in zip(in_batch[:3], alone[:3], strict=True):
        assert torch.equal(a, b)
    assert in_batch[3] == alone[3] == number


@pytest.mark.parametrize("name", NAMES)
def test_seed_split_and_number_make_other_episodes(name):
    def answers(seed, split, first):
        episode = make(name, seed=seed).batch(split, first, 20)
        return [a for _, a in runs(episode)]

    base = answers(0, "train", 0)
    assert base == answers(0, "train", 0)
    for other in (answers(1, "train", 0), answers(0, "val", 0), answers(0, "train", 20)):
        assert base != other
    assert len({str(a) for a in base}) > 10


@pytest.mark.parametrize("name", NAMES)
def test_loss_and_scores_against_loops(name):
    task = make(name)
    episode = task.batch("test", 0, 6)
    logits = 2 * torch.randn(episode.y_test.shape, generator=torch.Generator().manual_seed(0))
    scores = task.score(logits, episode)
    everything = []
    for b in range(6):
        nats, wrong = [], 0
        for q in range(episode.y_test.shape[1]):
            if not episode.mask_test[b, q]:
                continue
            for o in range(episode.y_test.shape[2]):
                p = 1 / (1 + math.exp(-logits[b, q, o].item()))
                bit = episode.y_test[b, q, o].item()
                nats.append(-math.log(p if bit else 1 - p))
                wrong += (p > 0.5) != bool(bit)
        assert scores["loss"][b].item() == pytest.approx(sum(nats) / len(nats), rel=1e-4)
        assert scores["bits"][b].item() == pytest.approx(sum(nats) / math.log(2), rel=1e-4)
        assert scores["errors"][b].item() == wrong
        assert scores["accuracy"][b].item() == pytest.approx(1 - wrong / len(nats), abs=1e-6)
        everything += nats
    assert task.loss(logits, episode).item() == pytest.approx(sum(everything) / len(everything), rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_padding_costs_nothing_and_moves_no_gradient(name):
    task = make(name)
    episode = task.batch("train", 0, 20)
    logits = torch.zeros_like(episode.y_test).masked_fill(~episode.mask_test[..., None], 1e6).requires_grad_()
    loss = task.loss(logits, episode)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(math.log(2), rel=1e-5)
    assert (gradient[~episode.mask_test] == 0).all()
    assert (gradient[episode.mask_test] != 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_chance_is_what_coins_score(name):
    task = make(name)
    episode = task.batch("val", 0, 400)
    coins = torch.randint(0, 2, episode.y_test.shape, generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    assert task.score(coins, episode)["accuracy"].mean().item() == pytest.approx(task.baseline["accuracy"], abs=0.03)
    undecided = task.score(torch.zeros_like(coins), episode)
    assert undecided["loss"].mean().item() == pytest.approx(task.baseline["loss"], rel=1e-5)
    right = task.score((episode.y_test - 0.5) * 100, episode)
    assert right["accuracy"].min() == 1
    assert right["bits"].max() < 1e-3


@pytest.mark.parametrize(
    ("name", "keys", "sizes"),
    [
        ("copy", {"length": 9}, {"length": 9}),
        ("repeat-copy", {"length": 6, "repeats": 7}, {"length": 6, "repeats": 7}),
        ("associative-recall", {"items": 8}, {"length": 8}),
        ("dynamic-ngrams", {"length": 33}, {"length": 33}),
        ("priority-sort", {"items": 9, "answers": 8}, {"length": 8}),
    ],
)
def test_fixed_sizes_reach_beyond_the_range_and_are_scored(name, keys, sizes):
    task = make(name, **keys)
    episode = task.batch("test", 0, 3)
    assert episode.x_train.shape[1] + episode.y_test.shape[1] == task.spec.length
    scores = task.score(torch.zeros_like(episode.y_test), episode)
    for score, size in sizes.items():
        assert scores[score].tolist() == [size] * 3


# The optimal estimator


def optimal_bits(task, episode):
    return task.score(torch.zeros_like(episode.y_test), episode)["optimal_bits"]


def test_optimal_bits_against_a_loop_that_counts():
    task = make("dynamic-ngrams")
    episode = task.batch("val", 0, 4)
    optimal = optimal_bits(task, episode)
    for b, (_, answers) in enumerate(runs(episode)):
        bits = [int(a[0]) for a in answers]
        cost = 3.0
        counts: dict[tuple, tuple[int, int]] = {}
        for t in range(3, len(bits)):
            zeros, ones = counts.get(tuple(bits[t - 3 : t]), (0, 0))
            p = (ones + 0.5) / (zeros + ones + 1)
            cost -= math.log2(p if bits[t] else 1 - p)
            counts[tuple(bits[t - 3 : t])] = (zeros + 1 - bits[t], ones + bits[t])
        assert optimal[b].item() == pytest.approx(cost, rel=1e-5)


def test_no_other_pseudo_count_beats_the_optimal_estimator():
    """Beta(1/2, 1/2) is conjugate: on average every other pseudo-count costs more. The paper's optimum is about 133."""
    task = DynamicNgrams(DynamicNgrams.Config(), 0)
    episode = task.batch("val", 0, 1000)
    bits = episode.y_test[..., 0].numpy().astype(int)
    optimal = optimal_bits(task, episode).mean().item()
    for pseudo in (0.25, 1.0):
        counts = np.full((1000, 32, 2), pseudo)
        cost = np.full(1000, 5.0)
        rows = np.arange(1000)
        for t in range(5, 200):
            context = bits[:, t - 5 : t] @ [16, 8, 4, 2, 1]
            p = counts[rows, context, bits[:, t]] / counts[rows, context].sum(-1)
            cost -= np.log2(p)
            counts[rows, context, bits[:, t]] += 1
        assert optimal < cost.mean() - 0.3
    assert optimal == pytest.approx(133, abs=3.5)


def test_a_stream_of_coins_alone_costs_its_length():
    task = make("dynamic-ngrams", length=2)
    assert optimal_bits(task, task.batch("val", 0, 5)).tolist() == [2] * 5


# The curriculum and the config


@pytest.mark.parametrize("name", CURRICULUM)
def test_curriculum_lengthens_training_episodes_only(name):
    task = make(name, curriculum=1000)
    low = min(make(name).batch("train", 0, 300).mask_train.sum(1))
    high = max(make(name).batch("train", 0, 300).mask_train.sum(1))

    def longest(split, first, count=100):
        return task.batch(split, first, count).mask_train.sum(1).max()

    assert longest("train", 0) == low
    assert low < longest("train", 450) < high
    assert longest("train", 1000) == high
    assert longest("val", 0) == longest("test", 0) == high
    for first in (0, 450, 1000):
        assert task.batch("train", first, 100).mask_train.sum(1).min() == low  # short ones stay
    assert task.spec == make(name).spec


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("copy", {"min_length": 5, "max_length": 3}, "min_length 5 is above max_length 3"),
        ("repeat-copy", {"min_length": 5, "max_length": 3}, "min_length 5 is above max_length 3"),
        ("repeat-copy", {"min_repeats": 6}, "min_repeats 6 is above max_repeats 5"),
        ("associative-recall", {"min_items": 6}, "min_items 6 is above max_items 5"),
        ("associative-recall", {"items": 1}, "items is 1, but the answer is the item after the query"),
        ("associative-recall", {"min_items": 1}, "greater than or equal to 2"),
        ("priority-sort", {"answers": 8}, "answers 8 is above items 7"),
        ("copy", {"min_length": 0}, "greater than or equal to 1"),
        ("dynamic-ngrams", {"order": 1}, "greater than or equal to 2"),
        ("dynamic-ngrams", {"curriculum": 5}, "Extra inputs"),
    ],
)
def test_impossible_configs_are_refused(name, keys, message):
    with pytest.raises(ValidationError, match=message):
        make(name, **keys)


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_the_papers(name):
    cls = resolve(TASKS, name, "task")
    config = cls.Config()
    sizes = {
        "copy": (9, 8, 41),
        "repeat-copy": (10, 9, 112),
        "associative-recall": (8, 6, 32),
        "dynamic-ngrams": (1, 1, 200),
        "priority-sort": (10, 8, 37),
    }
    spec = cls.spec_of(config)
    assert (spec.x_shape[0], spec.out_size, spec.length) == sizes[name]
    assert cls(config).describe().startswith(name)
