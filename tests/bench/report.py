"""The results as tables that stay whole at 80 columns."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tests.bench.case import OURS

LEGEND = """\
Medians. x: how many times as fast ours is as that line, per question or episode; the target beside it is of the same
kind. limit: the step's operations at the rate of a matrix product of its size, counted on the plain reference (SNAIL:
on ours). MiB: how far two steps raise the peak, on one thread.
A step is forward, loss, backward, clipping and update on an episode in memory; sampling is in its own rows alone.
copy 20: 41 time steps, memory 128 x 20, LSTM 100. stream: 16 x 50 steps; flat 20 x 20 pixels, as shipped 28 x 28 and
four convolution blocks. plain: the papers' equations as they stand, with F.cosine_similarity or, cheaper, K = u.v /
(|u| |v|) written out. SNAIL: its paper's size; 15q: 15 questions of each class. The plain SNAIL reads the whole
sequence for each question, as its paper does; one question in each task. dnc computes another, dearer model; easyfsl
turns no images."""


def draw(console: Console, result: dict[str, Any]) -> None:
    """Machine, cases, growth.

    Args:
        result: what `__main__` writes as JSON.
    """
    m, settings = result["machine"], result["settings"]
    console.print(f"{m['processor']}, {m['instructions']}, {m['cores']} cores, load {m['load']} at the start")
    console.print(f"torch {m['torch']}, Python {m['python']}, {settings['rounds']} rounds")
    if result["cases"]:
        console.print(_cases(result["cases"], settings["threads"]))
        console.print(LEGEND.replace("\n", " "), style="dim", highlight=False)
    if result["growth"]:
        console.print(_growth(result["growth"]))


def _cases(cases: list[dict[str, Any]], threads: list[int]) -> Table:
    table = Table(title="training steps and episodes, ours beside references", pad_edge=False, box=box.SIMPLE_HEAD)
    table.add_column("case")
    for n in threads:
        table.add_column(f"{n} thread{'s' * (n > 1)}", justify="right")
        table.add_column("x", justify="right")
    table.add_column("target", justify="right")
    table.add_column("MiB", justify="right")
    for case in cases:
        table.add_row(f"[bold]{case['title']}[/bold]")
        for name, side in case["sides"].items():
            if "missing" in side:
                table.add_row(f"  {name}: {side['missing']}")
            else:
                unit = f", {case['unit']}" if name == OURS else ""
                table.add_row(f"  {name}{unit}", *_side(case, name, side, threads))
        if "limit" in case:
            rows = [case["limit"]["threads"][n] for n in threads]
            cells = [text for row in rows for text in (number(row["value"]), number(row["quotient"]))]
            table.add_row("  limit", *cells, "", "", style="dim")
        table.add_section()
    return table


def _side(case: dict[str, Any], name: str, side: dict[str, Any], threads: list[int]) -> list[str]:
    rows = [side["threads"][n] for n in threads]
    cells = [text for r in rows for text in (number(r["value"]), "" if name == OURS else number(r["quotient"]))]
    target = case["target"]
    aim = number(target["quotient"]) if target and target["over"] == name else ""
    memory = "died" if side["peak_mib"] is None else f"{side['peak_mib']:,.0f}"
    return [*cells, aim, memory]


def _growth(sweeps: list[dict[str, Any]]) -> Table:
    table = Table(title="cost of a training step ~ size ^ exponent, one thread", pad_edge=False, box=box.SIMPLE_HEAD)
    for column in ("size", "from", "to"):
        table.add_column(column)
    for column in ("ms", "ms", "exponent", "last two"):
        table.add_column(column, justify="right")
    for sweep in sweeps:
        table.add_row(f"[bold]{sweep['title']}[/bold]")
        ends = [f"{sweep['size']} {sweep['sizes'][i]}" for i in (0, -1)]
        for name, side in sweep["sides"].items():
            times = [number(side["seconds"][i] * 1e3) for i in (0, -1)]
            table.add_row(f"  {name}", *ends, *times, f"{side['exponent']:.2f}", f"{side['last']:.2f}")
        table.add_section()
    return table


def number(value: float) -> str:
    """Three digits of a positive number, or all before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
