"""Traces: what a model did is what it would have done, on one time axis, in files that NumPy alone can read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_contract import cases, data, make

from metacli.episode import Episode
from metacli.errors import MetacliError
from metacli.inspect.trace import COMMON, MemoryTrace, record_traces, save_json, save_npz
from metacli.models.recurrent import Recurrent, named_tensors
from metacli.models.trace import WEIGHTINGS, ArrayInfo
from metacli.registry import MODELS, resolve
from metacli.tasks.sequences.copy import Copy


def episode(mode: str) -> Episode:
    x_train, y_train, x_test, y_previous = data(mode)
    count, questions = x_test.shape[:2]
    return Episode(x_train, y_train, x_test, torch.zeros(count, questions, 1).long(), torch.arange(count), y_previous)


@pytest.mark.parametrize(("name", "mode"), cases())
class TestTrace:
    def test_logits_are_those_of_the_model(self, name, mode):
        model, tasks = make(name, mode), episode(mode)
        torch.testing.assert_close(model.trace(tasks).logits, model(tasks))

    def test_every_array_is_on_the_time_axis_and_described(self, name, mode):
        model, tasks = make(name, mode), episode(mode)
        steps = tasks.x_train.shape[1] + tasks.x_test.shape[1]
        for traced in model.trace(tasks).arrays.values():
            assert traced.values.shape[:2] == (len(tasks), steps)
            assert traced.values.dim() == 2 + len(traced.about.axes)
            assert traced.about.text
            if traced.about.role in WEIGHTINGS:
                low, high = traced.about.total
                total = traced.values.sum(-1)
                assert ((total >= low - 1e-6) & (total <= high + 1e-6)).all()
                assert (traced.values >= 0).all()

    def test_nothing_of_a_step_is_left_undescribed(self, name, mode):
        model = make(name, mode)
        if isinstance(model, Recurrent):
            step = model.step(model.initial_state(3), torch.zeros(3, model.input_size, dtype=torch.float64))
            assert set(named_tensors(step.state) | named_tensors(step.parameters)) == set(model.array_info)

    def test_a_question_starts_from_phi_and_not_from_the_question_before(self, name, mode):
        model, tasks = make(name, mode), episode(mode)
        if mode != "independent":
            return
        whole, last = model.trace(tasks).arrays, replace(tasks, x_test=tasks.x_test[:, -1:])
        seen = tasks.x_train.shape[1]
        for key, traced in model.trace(last).arrays.items():
            alone, among = traced.values[:, -1], whole[key].values[:, -1]
            if traced.about.role == "attention":
                alone, among = alone[..., :seen], among[..., :seen]
            torch.testing.assert_close(alone, among)


@pytest.mark.parametrize("name", MODELS)
def test_padding_changes_nothing(name):
    if "sequence" not in resolve(MODELS, name, "model").modes:
        model, mode = make(name, "independent"), "independent"
        tasks = episode(mode)
        mask = torch.tensor([[True] * 4, [True] * 2 + [False] * 2, [True] + [False] * 3])
        padded = model.trace(replace(tasks, mask_train=mask))
        for row, length in enumerate(mask.sum(1).tolist()):
            cut = {k: getattr(tasks, k)[row : row + 1] for k in ("x_train", "y_train", "x_test", "y_test", "index")}
            cut["x_train"], cut["y_train"] = cut["x_train"][:, :length], cut["y_train"][:, :length]
            alone = model.trace(Episode(**cut))
            places = [*range(length), *range(4, 9)]
            for key, traced in alone.arrays.items():
                among = padded.arrays[key].values[row][places]
                if traced.about.role == "attention":
                    among = among[..., places]
                torch.testing.assert_close(traced.values[0], among)
        return
    model, tasks = make(name, "sequence", torch.float32), Copy(Copy.Config(width=4, max_length=6), 1)
    model = resolve(MODELS, name, "model")(model.config, tasks.spec)
    together = record_traces(model, tasks, "test", 0, 6)
    assert len({t.steps for t in together}) > 1
    for i, among in enumerate(together):
        (alone,) = record_traces(model, tasks, "test", i)
        assert among.steps == alone.steps
        for key, values in alone.arrays.items():
            np.testing.assert_allclose(among.arrays[key], values, atol=1e-5)


def hand_made(writes: np.ndarray, reads: np.ndarray, retention: np.ndarray, start: int, mode: str = "sequence"):
    """A trace with one write and one read head that go where the arrays (T, L) say."""
    from test_terminal import make as make_sample

    count = len(writes)
    sample = make_sample(mode, start, count - start, image=mode != "sequence", classes=3)
    asked = count - start
    arrays = {"write_weights": writes[:, None], "read_weights": reads[:, None], "retention": retention}
    arrays |= {"correct": np.arange(asked) % 2 == 0, "confidence": np.full(asked, 0.5)}
    about = {
        "write_weights": ArrayInfo(("head", "location"), "w", "write"),
        "read_weights": ArrayInfo(("head", "location"), "w", "read"),
        "retention": ArrayInfo(("location",), "k", "retention"),
    }
    return MemoryTrace("made", sample, arrays, about)


def test_a_read_leads_to_the_step_that_wrote():
    eye = np.eye(6, dtype=np.float32)
    trace = hand_made(eye, eye[[0, 0, 1, 2, 1, 5]], np.ones((6, 6), np.float32), 4)
    assert trace.sources[:, 0].argmax(1).tolist() == [0, 0, 1, 2, 1, 5]
    np.testing.assert_allclose(trace.sources.sum(2), 1)


def test_erasing_and_overwriting_hand_the_location_over():
    writes = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    reads = np.array([[1, 0], [1, 0], [1, 0]], np.float32)
    retention = np.array([[1, 1], [0.25, 1], [1, 1]], np.float32)
    sources = hand_made(writes, reads, retention, 2).sources[:, 0]
    np.testing.assert_allclose(sources[1], [0.2, 0.8, 0])
    np.testing.assert_allclose(sources[2], [0.2, 0.8, 0])


def test_a_read_before_the_write_leads_to_earlier_steps_alone():
    eye = np.eye(4, dtype=np.float32)
    reads = eye[[0, 0, 1, 1]]
    after = hand_made(eye, reads, np.ones((4, 4), np.float32), 2)
    first = replace(after, reads_first=True)
    assert after.sources[:, 0].argmax(1).tolist() == [0, 0, 1, 1]
    assert first.sources[0].sum() == 0
    assert first.sources[1:, 0].argmax(1).tolist() == [0, 1, 1]
    erased = replace(
        first, arrays=first.arrays | {"retention": np.array([[1] * 4, [0] * 4, [1] * 4, [1] * 4], np.float32)}
    )
    assert erased.sources[1, 0].tolist() == [1, 0, 0, 0]  # the erase_least_used of step 1 comes after its read


def test_a_location_that_was_hardly_written_leads_nowhere():
    writes = np.array([[0.1, 0.9], [0, 1]], np.float32)
    reads = np.array([[1, 0], [1, 0]], np.float32)
    np.testing.assert_allclose(hand_made(writes, reads, np.ones((2, 2), np.float32), 1).sources[:, 0].sum(1), 0.1)


@pytest.mark.parametrize("mode", ["independent", "sequence"])
def test_sources_equal_a_plain_loop(mode):
    rng = np.random.default_rng(0)
    steps, locations, start = 9, 4, 5
    writes, reads = (rng.dirichlet(np.ones(locations), steps).astype(np.float32) for _ in range(2))
    retention = rng.uniform(0, 1, (steps, locations)).astype(np.float32)
    sources = hand_made(writes, reads, retention, start, mode).sources[:, 0]
    for t in range(steps):
        past = list(range(t)) if mode == "sequence" or t < start else list(range(start))
        for s in range(steps):
            total = 0.0
            for location in range(locations):
                owed = {}
                for u in [*past, t]:
                    left = writes[u, location]
                    for later in [*past, t]:
                        left = left * retention[later, location] if later > u else left
                    owed[u] = left
                total += reads[t, location] * owed.get(s, 0) / max(1, sum(owed.values()))
            assert sources[t, s] == pytest.approx(total, abs=1e-5)


@pytest.fixture(scope="module")
def trace():
    tasks = Copy(Copy.Config(width=3, length=4), 0)
    ntm = resolve(MODELS, "ntm", "model")
    torch.manual_seed(0)
    model = ntm(ntm.Config(locations=9, width=5, hidden=10, read_heads=2), tasks.spec)
    return record_traces(model, tasks, "test", 2)[0]


def test_heads_are_named_and_are_the_weightings(trace):
    assert [h.name for h in trace.heads] == ["write0", "read0", "read1"]
    np.testing.assert_array_equal(trace.heads[2].weights, trace.arrays["read_weights"][:, 1])
    assert (trace.start, trace.steps) == (5, 9)


def test_answers_are_those_of_the_logits(trace):
    logits, a = trace.arrays["logits"], trace.arrays
    np.testing.assert_allclose(a["probability"], 1 / (1 + np.exp(-logits)), rtol=1e-5)
    np.testing.assert_array_equal(a["prediction"], logits > 0)
    np.testing.assert_array_equal(a["correct"], ((logits > 0) == a["answer"]).all(1))
    np.testing.assert_allclose(a["confidence"], np.maximum(a["probability"], 1 - a["probability"]).mean(1), rtol=1e-5)


def test_files_hold_the_same_and_describe_every_array(trace, tmp_path: Path):
    save_npz(tmp_path / "t.npz", trace)
    save_json(tmp_path / "t.json", trace)
    plain = json.loads((tmp_path / "t.json").read_text())
    with np.load(tmp_path / "t.npz", allow_pickle=False) as saved:
        about = json.loads(str(saved["about"]))
        assert about == plain["about"]
        assert about["task"]["index"] == 2
        assert set(saved.files) - {"about"} == set(about["arrays"]) == set(plain["arrays"])
        assert set(trace.arrays) <= set(saved.files)
        assert set(COMMON) - {"scale"} <= set(saved.files)  # only predicted distributions have a scale
        for name, meaning in about["arrays"].items():
            assert meaning["text"]
            assert len(meaning["axes"]) == saved[name].ndim
            assert len(saved[name]) == (4 if meaning["axes"][0] == "query" else 9)
            np.testing.assert_allclose(np.array(plain["arrays"][name], float), saved[name], rtol=1e-5, atol=1e-12)
        for name, values in trace.arrays.items():
            np.testing.assert_array_equal(saved[name], values)


@pytest.mark.parametrize("save", [save_npz, save_json])
@pytest.mark.parametrize("damage", [np.nan, -0.5, 2.0])
def test_a_weighting_that_is_no_distribution_is_never_dumped(trace, save, damage, tmp_path: Path):
    broken = trace.arrays["read_weights"].copy()
    broken[3, 1, 0] = damage
    wrong = replace(trace, arrays=trace.arrays | {"read_weights": broken})
    with pytest.raises(MetacliError, match=r"read_weights, step 4, head 1: the weights sum to .*, not 1"):
        save(tmp_path / "t", wrong)
    assert not list(tmp_path.iterdir())
