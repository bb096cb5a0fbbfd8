"""What an answer is: its cost, scores, decoding and words against plain loops; metrics by unit and direction."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metacli.registry import TASKS, resolve
from metacli.tasks.answers import Answer, Bits, Gaussian, Reals, Symbols, summarize_result
from metacli.tasks.answers.gaussian import MIN_SCALE
from metacli.tasks.metrics import Metric, format_number, format_score

KINDS: dict[str, Answer] = {"label": Symbols(4), "string": Symbols(3, 5), "bits": Bits(6)}
KINDS |= {"reals": Reals(2), "gaussian": Gaussian(2)}
B, Q = 3, 7


def drawn(answer: Answer, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (B, Q, O) and right answers (B, Q, C)."""
    g = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(B, Q, answer.size, generator=g)
    if isinstance(answer, Symbols):
        return logits, torch.randint(answer.choices, (B, Q, answer.components), generator=g)
    right = torch.randn(B, Q, answer.components, generator=g)
    return logits, (right > 0).float() if isinstance(answer, Bits) else right


def naive_cost(answer: Answer, logits: np.ndarray, right: np.ndarray) -> list[float]:
    """The cost of each part of one answer, by the definition."""
    if isinstance(answer, Bits):
        return [math.log1p(math.exp(-v if y > 0.5 else v)) for v, y in zip(logits, right, strict=True)]
    if isinstance(answer, Gaussian):
        scales = [MIN_SCALE + math.log1p(math.exp(s)) for s in logits[2:]]
        nll = lambda m, s, y: (y - m) ** 2 / (2 * s**2) + math.log(s * math.sqrt(2 * math.pi))  # noqa: E731
        return [nll(m, s, y) for m, s, y in zip(logits[:2], scales, right, strict=True)]
    if isinstance(answer, Reals):
        return [(v - y) ** 2 for v, y in zip(logits, right, strict=True)]
    parts = logits.reshape(answer.components, -1)
    return [math.log(np.exp(p).sum()) - p[int(y)] for p, y in zip(parts, right, strict=True)]


@pytest.mark.parametrize("name", KINDS)
def test_cost_is_that_of_its_definition(name: str) -> None:
    answer = KINDS[name]
    logits, right = drawn(answer)
    cost = answer.cost(logits, right)
    assert cost.shape == (B, Q, answer.components)
    for b in range(B):
        for q in range(Q):
            wanted = naive_cost(answer, logits[b, q].double().numpy(), right[b, q].numpy())
            np.testing.assert_allclose(cost[b, q], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_decoding_agrees_with_the_scores(name: str) -> None:
    answer = KINDS[name]
    logits, right = drawn(answer)
    scored = torch.rand(B, Q, generator=torch.Generator().manual_seed(1)) < 0.7
    cost = answer.cost(logits, right).masked_fill(~scored[..., None], 0)
    scores = answer.scores(logits, right, cost, scored)
    assert set(scores) == {m.name for m in answer.metrics} - {"loss"}
    for b in range(B):
        told = answer.decode(logits[b].numpy(), right[b].numpy())
        asked = scored[b].numpy()
        assert told.prediction.shape == (Q, answer.components)
        if told.correct is None:
            error = np.square(told.prediction - right[b].numpy())[asked].mean()
            assert scores["squared_error"][b].item() == pytest.approx(error, rel=1e-5)
            assert summarize_result(told, right[b].numpy(), asked) == f"mean squared error {format_number(error)}"
            continue
        assert told.confidence is not None
        assert ((told.confidence > 0) & (told.confidence <= 1)).all()
        count = int(told.correct[asked].sum())
        assert summarize_result(told, right[b].numpy(), asked) == f"{count} of {int(asked.sum())} answers correct"
        if answer.is_class_label:
            assert scores["accuracy"][b].item() == pytest.approx(count / asked.sum())
        else:
            wrong = (told.prediction != right[b].numpy())[asked]
            assert scores["errors"][b].item() == wrong.sum()
            assert scores["accuracy"][b].item() == pytest.approx(1 - wrong.mean())


@pytest.mark.parametrize("name", KINDS)
def test_a_perfect_answer_is_right_and_said_so(name: str) -> None:
    answer = KINDS[name]
    _, right = drawn(answer)
    if isinstance(answer, Symbols):
        logits = 30 * answer.encode(right)
    elif isinstance(answer, Gaussian):
        logits = torch.cat([right, torch.full_like(right, -30)], -1)
    else:
        logits = 30 * (2 * right - 1) if isinstance(answer, Bits) else right
    told = answer.decode(logits[0].numpy(), right[0].numpy())
    np.testing.assert_allclose(told.prediction, right[0])
    assert told.correct is None or told.correct.all()
    assert answer.cost(logits, right).max() < 1e-6
    for said, y in zip(told.prediction, right[0].numpy(), strict=True):
        assert answer.format_answer(said) == answer.format_answer(y)


@pytest.mark.parametrize("name", ["label", "string", "reals", "gaussian"])
def test_a_label_is_read_as_the_word_that_it_is_and_a_question_as_none(name: str) -> None:
    answer = KINDS[name]
    _, right = drawn(answer)
    label = answer.encode(right)  # type: ignore[attr-defined]
    assert label.shape == (B, Q, answer.label_size)
    assert answer.format_labels(label[0].numpy()) == [answer.format_answer(y) for y in right[0].numpy()]
    assert answer.format_labels(np.zeros((2, answer.label_size), np.float32)) == ["", ""]


def test_a_scale_is_decoded_printed_and_bounded() -> None:
    answer = Gaussian(1)
    told = answer.decode(np.array([[0.5, math.log(math.expm1(0.099))], [0.0, -1e4]], np.float32), np.zeros((2, 1)))
    assert told.scale is not None
    np.testing.assert_allclose(told.scale[:, 0], [0.1, MIN_SCALE], rtol=1e-5)
    assert answer.format_prediction(told.prediction[0], np.array([0.47]), told.scale[0]) == "0.50 ± 0.10, off 0.03"
    cost = answer.cost(torch.tensor([[[0.0, -1e4], [3e3, 1e4]]]), torch.zeros(1, 2, 1))
    assert cost.isfinite().all()


def test_the_expected_cost_is_least_for_the_right_mean_and_scale() -> None:
    answer, value = Gaussian(1), 0.3 + 0.2 * torch.randn(1, 20_000, 1, generator=torch.Generator().manual_seed(0))
    raw = math.log(math.expm1(0.2 - MIN_SCALE))
    costs = {
        (mean, shift): answer.cost(torch.tensor([mean, raw + shift]).expand(1, 20_000, 2), value).mean().item()
        for mean in (0.25, 0.3, 0.35)
        for shift in (-0.3, 0.0, 0.3)
    }
    assert min(costs, key=costs.__getitem__) == (0.3, 0.0)


def test_a_label_of_zero_is_no_question() -> None:
    assert Reals(1).encode(torch.zeros(1, 1, 1)).any()


@pytest.mark.parametrize("name", ["label", "string", "bits"])
def test_guessing_is_what_even_logits_cost(name: str) -> None:
    answer = KINDS[name]
    logits, right = drawn(answer)
    assert answer.cost(0 * logits, right).mean().item() == pytest.approx(answer.chance_level["loss"], rel=1e-5)


def test_which_model_serves_which_answers() -> None:
    assert Symbols(3).check_compatible(Symbols(5)) is None
    assert "one of 3, but these tasks need one of 5" in (Symbols(5).check_compatible(Symbols(3)) or "")
    assert Symbols(5).check_compatible(Reals(5))
    assert Gaussian(1).check_compatible(Reals(1))
    assert Reals(1).check_compatible(Gaussian(1))
    assert Symbols(5, 5).check_compatible(Symbols(4, 5))
    assert Bits(3).check_compatible(Symbols(3))
    assert all(kind.check_compatible(kind) is None for kind in KINDS.values())


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
@settings(max_examples=50)
def test_a_metric_knows_its_direction(score: float, best: float) -> None:
    up, down = Metric("a", "", True), Metric("a", "", False)
    assert up.is_better(score, None)
    assert up.is_better(score, best) == (score > best)
    assert down.is_better(score, best) == (score < best)


def test_a_metric_writes_its_numbers_by_its_unit() -> None:
    share, number = Metric("a", "%", True), Metric("a_b", "bits", False)
    assert share.format_value(0.5) == "50.0 %"
    assert share.format_value(0.9444, 0.0077) == "94.4 % ± 0.8"
    assert share.format_value(0.9998, 0.0001) == "99.98 % ± 0.01"
    assert share.format_value(0.99998, 0.0004) == "100.0 % ± 0.04"
    assert share.format_value(1.0, 0.0) == "100.0 % ± 0.0"
    assert number.format_value(0.03123, 0.0041) == "0.0312 ± 0.0041"
    assert number.format_value(134.3836, 2.1608) == "134.4 ± 2.2"
    assert number.format_value(1.0986, 0.0002) == "1.099 ± 0.0002"
    assert number.format_value(-0.0003, 0.02) == "0.000 ± 0.020"
    assert number.format_value(0.031234) == "0.03123"
    assert number.format_value(2.0) == "2"
    assert number.format_value(123456.0, 1200.0) == "1.235e+05 ± 1.2e+03"
    assert number.format_value(6.78e-5, 8.83e-5) == "0.000068 ± 0.000088"
    assert number.format_value(math.nan) == "nan"
    assert format_score(share.score(0.5, n_tasks=1)) == "50.0 %"
    assert format_score(share.score(math.nan, n_tasks=0)) == "-"


def test_a_score_has_one_shape():
    score = Metric("squared_error", "", False).score(0.25, math.nan, 7)
    assert score == {"metric": "squared_error", "unit": "", "mean": 0.25, "ci95": None, "n_tasks": 7}


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_share_has_at_most_four_significant_digits(mean: float, half: float) -> None:
    number = format_number(mean, half, "%").split(" ")[0]
    assert len(number.lstrip("0.").replace(".", "")) <= 4
    assert abs(float(number) - 100 * mean) <= 0.0501


def test_keys_labels_and_directions() -> None:
    share, number = Metric("a", "%", True), Metric("a_b", "bits", False)
    assert Metric("a", "", True).key == "d_test_a"
    assert Metric("a_at_k", "%", True, "appearance").key == "by_appearance"
    assert (number.label, number.better_direction, share.better_direction) == ("a b", "lower", "higher")
    assert Metric("a", "", None).better_direction is None


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("copy", {}),
        ("dynamic-ngrams", {}),
        ("sinusoid", {}),
        ("linear", {}),
        ("gp", {}),
        ("clusters", {}),
        ("strokes", {"protocol": "stream"}),
    ],
)
def test_the_headline_score_is_the_first_of_all_scores(name, keys):
    cls = resolve(TASKS, name, "task")
    tasks = cls(cls.Config(name=name, **keys), 0)
    episode = tasks.batch("train", 0, 3)
    logits = torch.randn(*episode.y_test.shape[:2], tasks.spec.out_size)
    scores = tasks.score(logits, episode)
    assert torch.equal(tasks.headline_score(logits, episode), scores[tasks.metrics[0].name])
