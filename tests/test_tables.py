"""What is printed stays whole at 80 columns, whatever a person calls the classes."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.cells import cell_len
from rich.console import Console

from metacli.registry import TASKS, build, resolve
from metacli.show.results import print_evaluation, shorten
from metacli.show.samples import print_samples
from metacli.system.terminal import format_fact
from metacli.tasks import sample

NAMES = [
    "猫科動物/大熊猫",
    "漢字/非常に長い日本語のクラス名前を試す",
    "한국어/고양이와강아지와호랑이",
    "Кириллица/Очень-длинное-русское-название-класса-для-таблицы",
    "ascii/" + "a" * 90,
    "emoji/😀😀😀",
    "数字/第12号のクラス",
]


def drawn(draw) -> list[str]:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    draw(console)
    return console.file.getvalue().splitlines()


@pytest.fixture
def tasks(tmp_path):
    for i, name in enumerate(NAMES):
        for split in ("train", "val", "test"):
            (tmp_path / split / name).mkdir(parents=True)
            for k in range(3):
                Image.new("L", (9, 9), 30 * i + k).save(tmp_path / split / name / f"{k}.png")
    keys = {"root": str(tmp_path), "ways": 5, "queries": 1, "size": 8, "allow_same_names": True}
    return build(TASKS, resolve(TASKS, "folder", "task").Config(**keys), 0)


def test_rows_of_eval_hold_every_class(tasks):
    names = [[f"test/{NAMES[(i + k) % len(NAMES)]}" for k in range(5)] for i in range(len(NAMES) * 8)]
    names = [[n[i // len(NAMES) :] for n in row] for i, row in enumerate(names)]  # other widths, other line ends
    rows = [{"index": i, "classes": row, "loss": 1.0, "accuracy": 0.5} for i, row in enumerate(names)]
    result = {
        **{"n_tasks": len(rows), "tasks": rows, "split": "test", "step": 3, "orders": 1, "recipe": {"name": "mine"}},
        **{m.key: m.score(0.5, 0.1, len(rows)) for m in tasks.metrics},
        "baseline": {},
    }
    lines = drawn(lambda console: print_evaluation(console, result, tasks, len(rows)))
    assert all(cell_len(line) <= 80 for line in lines)
    table = [line for line in lines if line.startswith("│")]
    assert all(line.endswith("│") for line in table)
    cells = iter(table)
    text, found = "", []
    for line in cells:
        number, part = line.strip("│").split("│")[:2]
        if number.strip():
            found.append(text)
            text = ""
        text = f"{text} {part.strip()}".strip()
    found = [*found[1:], text]
    assert [t.replace(" ", "") for t in found] == [",".join(map(shorten, row)).replace(" ", "") for row in names]


def test_sample_tasks_fit(tasks):
    lines = drawn(lambda console: print_samples(console, sample.collect_samples(tasks, "test", 3)))
    assert all(cell_len(line.rstrip()) <= 80 for line in lines)
    shown = "".join(lines).replace(" ", "")
    assert all(name.replace(" ", "") in shown for name in sample.collect_samples(tasks, "test", 1)[0].classes)


@given(st.text(max_size=60), st.integers(16, 40))
def test_a_shortened_name_takes_no_more_columns_and_keeps_both_ends(name, width):
    short = shorten(name, width)
    assert cell_len(short) <= width
    if cell_len(name) <= width:
        assert short == name
    else:
        head, _, tail = short.rpartition("…")
        assert name.startswith(head)
        assert name.endswith(tail)


@given(st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=30), max_size=30))
def test_a_fact_is_continued_below_itself(words):
    text = " ".join(words)
    lines = format_fact("tasks", text)
    assert lines[0].startswith("tasks   ")
    assert all(line.startswith(" " * 8) for line in lines[1:])
    assert " ".join(line[8:] for line in lines) == text
    assert all(cell_len(line) <= 80 for line in lines)
