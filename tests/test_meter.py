from __future__ import annotations

import math

import pytest
import torch

from metacli.config.train import TrainConfig
from metacli.errors import MetacliError
from metacli.training.meter import Meter
from metacli.training.progress import Forecast, duration


def test_means_since_the_last_line():
    meter = Meter("accuracy")
    for loss, accuracy, norm in ((1.0, 0.5, 3.0), (2.0, 0.7, 4.0)):
        meter.add(torch.tensor(loss), torch.tensor(accuracy), torch.tensor(norm), 8)
    means = meter.read(2)
    assert (means["loss"], means["grad_norm"]) == (1.5, 4.0)
    assert means["accuracy"] == pytest.approx(0.6)
    assert means["episodes_per_s"] > 0
    meter.reset()
    meter.add(torch.tensor(5.0), torch.tensor(0.0), torch.tensor(1.0), 8)
    assert meter.read(3)["loss"] == 5.0


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)])
def test_the_first_step_that_is_not_finite_is_named(loss, norm):
    meter = Meter("accuracy")
    for step in range(11, 18):
        bad = step >= 14
        meter.add(torch.tensor(loss if bad else 1.0), torch.tensor(0.5), torch.tensor(norm if bad else 1.0), 4)
    with pytest.raises(MetacliError, match=r"diverged at step 14: "):
        meter.read(17)


def test_forecast_counts_steps_and_validations(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("metacli.training.progress.time.monotonic", lambda: now[0])
    forecast = Forecast(TrainConfig(steps=100, batch=10, eval_every=30, eval_tasks=60), 0)

    def after(seconds, event):
        now[0] += seconds
        event()

    after(50.0, forecast.count_step)  # loads and compiles
    for _ in range(29):
        after(2.0, forecast.count_step)
    assert forecast.seconds_left() == pytest.approx(70 * 2 + 4 * 2 * 60 / 10 / 3)  # validations at 30, 60, 90 and 100
    after(7.0, forecast.count_validation)
    assert forecast.seconds_left() == pytest.approx(70 * 2 + 3 * 7)
    for steps in (30, 30, 10):
        for _ in range(steps):
            after(2.0, forecast.count_step)
        after(7.0, forecast.count_validation)
    assert forecast.seconds_left() == 0


def test_duration_reads_as_people_say_it():
    assert [duration(s) for s in (0.2, 45, 130, 3600, 12_345)] == ["0 s", "45 s", "2 min", "1 h 00 min", "3 h 26 min"]
