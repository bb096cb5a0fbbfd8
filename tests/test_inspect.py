"""What is said of a trace: heads by name, shares on the right class, paths in order, the table over many tasks."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_keys
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from test_sample import Fake
from test_trace import hand_made

from metacli.checkpoints import checkpoint
from metacli.checkpoints.provenance import NO_CLASSES
from metacli.config.recipe import recipe_from_dict
from metacli.errors import MetacliError, UsageError
from metacli.inspect import analysis, figure, highlights, inspection
from metacli.inspect.page import page_data
from metacli.inspect.terminal import print_trace
from metacli.inspect.trace import MemoryTrace, record_traces
from metacli.inspect.usage import MEANING, Usage, print_usage
from metacli.registry import MODELS, resolve
from metacli.tasks.sequences.copy import Copy


def model_for(name: str, tasks):
    cls = resolve(MODELS, name, "model")
    torch.manual_seed(0)
    return cls(cls.Config.model_validate(tiny_keys(name)), tasks.spec)


def trace_of(name: str, kind: str) -> MemoryTrace:
    tasks = Copy(Copy.Config(length=5), 0) if kind == "sequence" else Fake(kind)
    return record_traces(model_for(name, tasks), tasks, "test", 0)[0]


CASES = [
    (name, kind)
    for name in MODELS
    for kind in ("independent", "stream", "sequence")
    if kind in resolve(MODELS, name, "model").modes
]


@pytest.fixture(scope="module", params=CASES, ids=lambda c: f"{c[0]}-{c[1]}")
def trace(request):
    return trace_of(*request.param)


def shown(trace: MemoryTrace, heads: list[str], **options) -> str:
    console = Console(file=io.StringIO(), width=80, **options)
    print_trace(console, trace, heads)
    return console.file.getvalue()


def table(text: str) -> list[list[str]]:
    """The words of the lines of the table of steps."""
    lines = [*text.splitlines(), ""]
    first = next(i for i, line in enumerate(lines) if line.startswith("step  in")) + 1
    return [line.split() for line in lines[first : lines.index("", first)]]


def test_the_summary_fits_80_columns_and_names_every_step(trace):
    text = shown(trace, [])
    assert "\x1b[" not in text
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= 80
    rows, answers = table(text), trace.arrays["correct"]
    assert [row[0] for row in rows] == [str(t + 1) for t in range(trace.steps)]
    assert [row[-1] for row in rows[trace.start :]] == ["right" if ok else "WRONG" for ok in answers]


def test_long_labels_and_location_numbers_fit_too():
    tasks = Fake("stream", 15, 5)
    cls = resolve(MODELS, "mann", "model")
    trace = record_traces(cls(cls.Config(hidden=8), tasks.spec), tasks, "test", 0)[0]
    text = shown(trace, [])
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_summary_says_where_the_heaviest_write_went(trace):
    text = shown(trace, [])
    writes = [h.weights for h in trace.heads if h.role == "write"]
    for t in range(trace.steps if writes else 0):
        best = max(writes, key=lambda w: w[t].max())[t]
        assert table(text)[t][2:4] == [str(best.argmax() + 1), f"{best.max():.2f}"]


def test_chosen_heads_are_shown_one_by_one():
    trace = trace_of("mann", "stream")
    text = shown(trace, ["read1", "write0"])
    assert "read by read1" in text
    assert "written by write0" in text
    assert "read0" not in text.replace("  read0 ", "")
    assert "strongest" not in text
    assert "less informative" not in text


def test_the_most_telling_head_comes_first_and_what_is_left_out_is_said(trace):
    if not trace.heads or not trace.sample.answer.is_class_label:
        return
    shares, known = analysis.share_on_right_class(trace), analysis.mask_right_steps(trace).any(1)
    scores = dict(zip(analysis.reading_head_names(trace), shares[known].mean(0).tolist(), strict=True))
    told = highlights.rank_heads(trace)
    assert told == pytest.approx(scores)
    assert list(told.values()) == sorted(told.values(), reverse=True)
    shown = [v for v in highlights.build_views(trace, []) if v.role != "write"]
    assert [v.who for v in shown] == list(told)[: len(shown)]
    writes = [h.weights for h in trace.heads if h.role == "write"]
    for view in highlights.build_views(trace, []):
        if view.role == "write":
            np.testing.assert_array_equal(view.values, np.max(writes, 0).T)
    rest = list(told)[len(shown) :]
    hidden = highlights.describe_hidden_heads(trace, [])
    assert hidden.startswith(f"{len(rest)} less informative read head" if rest else "")
    assert [v.who for v in highlights.build_views(trace, ["all"])] == [h.name for h in trace.heads]
    assert highlights.describe_hidden_heads(trace, ["all"]) == ""


def test_a_head_that_copies_in_order_tells_more_than_one_that_stands_still():
    eye = np.eye(8, dtype=np.float32)
    reads = np.stack([np.repeat(eye[:1], 8, 0), eye[[0, 1, 2, 3, 0, 1, 2, 3]]], 1)
    trace = hand_made(eye, eye, np.ones((8, 8), np.float32), 4)
    trace = replace(trace, arrays=trace.arrays | {"read_weights": reads})
    assert list(highlights.rank_heads(trace)) == ["read1", "read0"]


@pytest.mark.parametrize(("correct", "expected"), [([True] * 4, 2), ([False, False, True, False], 3), ([False] * 4, 2)])
def test_it_opens_on_the_first_wrong_answer_that_could_have_been_known(correct, expected):
    trace = trace_of("ntm", "stream")
    labels = ["0", "1", "0", "1"]
    sample = replace(trace.sample, x_test=trace.sample.x_test[:4], labels_test=labels, scored=np.ones(4, bool))
    trace = replace(trace, sample=sample, arrays=trace.arrays | {"correct": np.array(correct)})
    assert highlights.choose_first_step(trace) == expected


def test_it_opens_on_the_first_question_where_all_are_right(trace):
    right = replace(trace, arrays=trace.arrays | {"correct": trace.sample.scored})
    known = analysis.mask_right_steps(trace).any(1)
    expected = int(known.argmax()) if trace.sample.answer.is_class_label else 0
    assert highlights.choose_first_step(right) == trace.start + expected


def test_an_unknown_head_names_the_known_ones():
    with pytest.raises(UsageError, match="has no head 'read9'") as caught:
        analysis.find_heads(trace_of("mann", "stream"), ["read9"])
    assert "write0, write1, read0, read1" in caught.value.hint


def test_a_model_without_memory_has_no_heads_and_no_measure():
    trace = trace_of("lstm", "stream")
    with pytest.raises(UsageError, match="lstm has no memory"):
        analysis.find_heads(trace, ["read0"])
    with pytest.raises(UsageError, match="lstm has no memory"):
        Usage().add(trace)
    assert "h of the last layer" in shown(trace, [])
    labelled = inspection.as_json(trace_of("lstm", "independent"))
    assert {row["measure"] for row in labelled["measures"]} <= {"confidence"}


def test_a_model_that_describes_nothing_can_be_looked_at_all_the_same(monkeypatch, tmp_path: Path):
    tasks = Fake()
    model = model_for("lstm", tasks)
    monkeypatch.setattr(type(model), "array_info", {})
    trace = record_traces(model, tasks, "test", 0)[0]
    assert len(table(shown(trace, []))) == trace.steps
    figure.save_figure(tmp_path / "f.png", trace, [])
    data = page_data(trace, [])
    assert (data["heads"], data["arrays"], data["sources"]) == ([], [], None)


def test_right_steps_of_a_k_shot_task():
    trace = trace_of("ntm", "independent")
    right = analysis.mask_right_steps(trace)
    train, test = trace.sample.labels_train, trace.sample.labels_test
    for q, answer in enumerate(test):
        assert right[q].tolist() == [label == answer for label in train] + [False] * len(test)
    np.testing.assert_allclose(analysis.uniform_baseline(trace), 1 / 3)


def test_right_steps_of_a_stream_are_those_that_showed_the_class_or_brought_its_label():
    trace = trace_of("ntm", "stream")
    labels = trace.sample.labels_test
    for q, answer in enumerate(labels):
        expected = [s < q and (labels[s] == answer or (s > 0 and labels[s - 1] == answer)) for s in range(len(labels))]
        assert analysis.mask_right_steps(trace)[q].tolist() == expected


def test_share_on_the_right_class_equals_a_plain_loop(trace):
    if trace.sources is None or not trace.sample.labels_test:
        return
    shares, right = analysis.share_on_right_class(trace), analysis.mask_right_steps(trace)
    for q in range(len(right)):
        for h in range(trace.sources.shape[1]):
            expected = sum(trace.sources[trace.start + q, h, s] for s in range(trace.steps) if right[q, s])
            assert shares[q, h] == pytest.approx(expected, abs=1e-5)
    assert (shares <= 1 + 1e-5).all()


@given(st.integers(3, 12), st.integers(2, 15), st.sampled_from([1, -1]), st.integers(0, 11))
def test_a_path_of_one_location_per_step_is_in_order(locations, steps, direction, first):
    path = np.eye(locations)[(first + direction * np.arange(steps)) % locations]
    assert analysis.score_order(path) == pytest.approx(1)
    assert analysis.score_order(np.full((steps, locations), 1 / locations)) == pytest.approx(1 / locations)
    assert analysis.score_order(np.repeat(path[:1], steps, 0)) == 0


@pytest.mark.parametrize("late", [0, 1])
def test_reads_that_follow_the_writes_score_one(late):
    eye = np.eye(8, dtype=np.float32)
    order = [0, 1, 2, 3, *range(late, 4), *[0] * late]
    trace = hand_made(eye, eye[order], np.ones((8, 8), np.float32), 4)
    expected = 1.0 if late == 0 else 0.75 + 0.25
    assert analysis.score_copying(trace.sources[:, 0], 4) == pytest.approx(expected)
    backwards = hand_made(eye, eye[[0, 1, 2, 3, 3, 2, 1, 0]], np.ones((8, 8), np.float32), 4)
    assert analysis.score_copying(backwards.sources[:, 0], 4) <= 0.5


def test_entropy_of_known_distributions():
    assert analysis.entropy(np.array([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])).tolist() == pytest.approx(
        [0, 2, 1]
    )


def test_used_locations_are_those_that_a_step_writes():
    writes = np.array([[0.95, 0.05, 0], [0.85, 0.05, 0.1]], np.float32)
    assert analysis.find_written_locations(hand_made(writes, writes, np.ones((2, 3), np.float32), 1)).tolist() == [0, 2]


def test_the_table_is_the_mean_over_tasks_and_apart_for_right_and_wrong():
    tasks = Fake("independent")
    traces = record_traces(model_for("mann", tasks), tasks, "test", 0, 6)
    usage = Usage()
    for i, one in enumerate(traces):
        correct = np.arange(len(one.sample.x_test)) % 3 <= i % 2
        usage.add(replace(one, arrays=one.arrays | {"correct": correct}))
    summary = usage.summary()
    rows = {(r["measure"], r["head"]): r for r in summary["measures"]}
    shares = [analysis.share_on_right_class(t)[:, 1] for t in traces]
    right = [s[np.arange(len(s)) % 3 <= i % 2].mean() for i, s in enumerate(shares)]
    wrong = [s[np.arange(len(s)) % 3 > i % 2].mean() for i, s in enumerate(shares)]
    row = rows["on the right class", "read1"]
    assert row["all"]["mean"] == pytest.approx(np.mean([s.mean() for s in shares]), rel=1e-5)
    assert row["right"]["mean"] == pytest.approx(np.mean(right), rel=1e-5)
    assert row["wrong"]["mean"] == pytest.approx(np.mean(wrong), rel=1e-5)
    assert row["right"]["ci95"] == pytest.approx(2.5706 * np.std(right, ddof=1) / np.sqrt(6), rel=1e-3, abs=1e-7)
    assert rows["uniform baseline", ""]["all"]["mean"] == pytest.approx(1 / 3)
    assert summary["n_tasks"] == 6
    assert summary["d_test_accuracy"]["mean"] == pytest.approx(0.5)
    json.dumps(summary, allow_nan=False)


def test_the_table_fits_80_columns_and_explains_every_measure(trace):
    if not trace.heads:
        return
    usage = Usage()
    usage.add(trace)
    console = Console(file=io.StringIO(), width=80)
    print_usage(console, usage.summary())
    text = console.file.getvalue()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert all(f"{row['measure']}: {MEANING[row['measure']][:10]}" in text for row in usage.summary()["measures"])


@given(st.integers(1, 60), st.sets(st.integers(0, 59), max_size=12), st.integers(1, 9))
def test_the_locations_in_use_are_all_used_ones_in_order_round_the_ring(count, used, most):
    values = np.zeros((count, 2))
    values[[u for u in used if u < count], 1] = 0.5
    view = highlights.View("read0", "read", values, [""] * count)
    rows = highlights.find_used_locations([view])
    assert {u for u in used if u < count} <= set(rows.tolist())
    assert len(set(rows.tolist())) == len(rows) == max(min(count, 8), (values[:, 1] > 0).sum())
    assert (np.diff(rows) % count).sum() < count
    fewer = highlights.select_most_read([view], rows, most)
    assert len(fewer) == min(most, len(rows))
    assert values[fewer, 1].sum() == np.sort(values[rows, 1])[::-1][:most].sum()
    assert [r for r in rows if r in fewer] == fewer.tolist()


def test_a_figure_shows_every_head_on_the_scale_from_0_to_1(trace):
    pytest.importorskip("matplotlib")
    axes = figure.draw_trace(trace, ["all"] if trace.heads else []).axes
    titles = [ax.get_title(loc="left").split(",")[0].split(" by ")[-1] for ax in axes]
    for head in trace.heads:
        (image,) = axes[titles.index(head.name)].get_images()
        assert image.get_clim() == (0, 1)
        shown = np.asarray(image.get_array())
        if head.role == "attention":
            np.testing.assert_array_equal(shown, analysis.head_rows(trace, head)[0])
        else:
            names = [text.get_text() for text in axes[titles.index(head.name)].get_yticklabels()]
            every = -(-len(shown) // len(names))
            np.testing.assert_array_equal(shown[::every], head.weights.T[[int(name.split()[1]) - 1 for name in names]])
    assert bool(trace.heads) or "of the last layer" in titles[2]


def test_a_figure_is_written_and_only_the_chosen_head_is_in_it(tmp_path: Path):
    pytest.importorskip("matplotlib")
    trace = trace_of("mann", "independent")
    assert len(figure.draw_trace(trace, ["read1"]).axes) < len(figure.draw_trace(trace, []).axes)
    assert len(figure.draw_trace(trace, []).axes) < len(figure.draw_trace(trace, ["all"]).axes)
    figure.save_figure(tmp_path / "f.png", trace, ["read1"])
    with Image.open(tmp_path / "f.png") as picture:
        assert picture.width >= 1000
        pixels = np.asarray(picture.convert("L"))
    assert pixels[:6].mean() > 200
    assert pixels.min() < 60


def test_without_matplotlib_the_other_files_are_written(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert inspection.parse_formats("npz,png,json") == ["npz", "json"]
    warning = "warning: no PNG is written: matplotlib is not installed. To get one: pip install 'metacli[plot]'"
    assert capsys.readouterr().err.startswith(warning)
    with pytest.raises(MetacliError, match="matplotlib") as caught:
        inspection.parse_formats("png")
    assert "metacli[plot]" in caught.value.hint
    assert inspection.parse_formats("npz,html,json") == ["npz", "html", "json"]


def test_an_unknown_format_is_refused():
    with pytest.raises(UsageError, match="gif") as caught:
        inspection.parse_formats("npz,gif")
    assert "npz, png, html, json" in caught.value.hint


@pytest.mark.parametrize("index", [-1, 2**31])
def test_a_task_index_out_of_range_is_refused(index):
    tasks = Fake()
    with pytest.raises(UsageError, match="out of range"):
        inspection.trace_task(model_for("ntm", tasks), tasks, "test", index, [])


def test_many_tasks_are_those_of_the_split_one_by_one():
    tasks, done = Fake(ways=2), []
    model = model_for("ntm", tasks)
    summary = inspection.measure_usage(model, tasks, "test", 30, done.append)
    usage = Usage()
    for i in range(30):
        usage.add(inspection.trace_task(model, tasks, "test", i, []))
    assert sum(done) == summary["n_tasks"] == 30
    for together, alone in zip(summary["measures"], usage.summary()["measures"], strict=True):
        assert together["all"]["mean"] == pytest.approx(alone["all"]["mean"], rel=1e-4)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(MetacliError, match="cannot write the folder") as caught:
        inspection.save_trace([tmp_path / "file" / "sub" / "x.npz"], trace_of("ntm", "stream"), [])
    assert "--out" in caught.value.hint


def test_the_verb_prints_json_alone_and_writes_the_files(cli, tmp_path: Path):
    tree = {"task": {"name": "copy", "max_length": 4}, "model": tiny_keys("ntm")}
    recipe = recipe_from_dict({"name": "x", "seed": 0, **tree}, "x")
    model = model_for("ntm", Copy(recipe.task, 0))
    checkpoint.save(tmp_path / "m.safetensors", checkpoint.Snapshot(recipe, 5, None, model, NO_CLASSES))
    options = ["--task", 4, "--out", "o", "--format", "npz,html", "--json"]
    done = cli("inspect-memory", "-c", "m.safetensors", "task.length=3", *options)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["task"]["index"] == 4
    assert result["steps"] == {"d_train": 4, "d_test": 3}
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["task-4.html", "task-4.npz"]
    wrong = cli("inspect-memory", "-c", "m.safetensors", "--head", "read7")
    assert wrong.returncode == 2
    error, hint = wrong.stderr.splitlines()[-2:]
    assert (error, hint) == ("error: this ntm has no head 'read7'", "hint: its heads: write0, read0, read1; or all")
