"""The results as tables that stay whole at 80 columns."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tests.bench.case import OURS

LEGEND = """\
Medians. x: how many times as fast metacli is, per query or episode, and the target for it. floor: the step's matrix
products at the highest rate of this machine; x is its share of metacli's time. MiB: how far two steps raise the peak,
on one thread.
A step is forward, loss, backward, clipping and update on an episode in memory; only "with sampling" includes sampling.
copy: length 20, 41 time steps, memory 128 x 20, LSTM 100. stream: 16 x 50 steps; flat 20 x 20 pixels, with an encoder
28 x 28 and four convolution blocks. plain: the papers' equations as they stand, with F.cosine_similarity or, cheaper,
K = u.v / (|u| |v|) written out. SNAIL: its paper's size; 15q: 15 queries of each class. The plain SNAIL reads the whole
sequence for each query, as its paper does; one query in each task."""


def print_report(console: Console, result: dict[str, Any]) -> None:
    """Prints machine, cases, growth and commands.

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
    if result["commands"]:
        console.print(_commands(result["commands"]))


def find_below_floor(cases: list[dict[str, Any]]) -> list[str]:
    """Returns the measurements that are faster than the arithmetic floor, which then is none."""
    return [
        f"{case['title']}, {name}, {threads} thread{'s' * (threads > 1)}"
        for case in cases
        if "floor" in case
        for threads, row in case["floor"]["threads"].items()
        for name in row["exceeded_by"]
    ]


def _cases(cases: list[dict[str, Any]], threads: list[int]) -> Table:
    table = Table(title="training steps and episodes, beside references", pad_edge=False, box=box.SIMPLE_HEAD)
    table.add_column("case")
    for n in threads:
        table.add_column(f"{n} thread{'s' * (n > 1)}", justify="right")
        table.add_column("x", justify="right")
    table.add_column("target", justify="right")
    table.add_column("MiB", justify="right")
    for case in cases:
        table.add_row(f"[bold]{case['title']}[/bold]")
        for name, row in case["implementations"].items():
            unit = f", {case['unit']}" if name == OURS else ""
            table.add_row(f"  {name}{unit}", *_cells(case, name, row, threads))
        if "floor" in case:
            rows = [case["floor"]["threads"][n] for n in threads]
            cells = [text for row in rows for text in (format_number(row["value"]), f"{100 * row['share']:.0f} %")]
            table.add_row("  floor", *cells, "", "", style="dim")
        table.add_section()
    return table


def _cells(case: dict[str, Any], name: str, row: dict[str, Any], threads: list[int]) -> list[str]:
    rows = [row["threads"][n] for n in threads]
    cells = []
    for figures in rows:
        cells += [format_number(figures["value"]), "" if name == OURS else format_number(figures["quotient"])]
    target = case["target"]
    goal = format_number(target["quotient"]) if target and target["reference"] == name else ""
    memory = "died" if row["peak_mib"] is None else f"{row['peak_mib']:,.0f}"
    return [*cells, goal, memory]


def _growth(sweeps: list[dict[str, Any]]) -> Table:
    table = Table(title="cost of a training step ~ size ^ exponent, one thread", pad_edge=False, box=box.SIMPLE_HEAD)
    for column in ("size", "from", "to"):
        table.add_column(column)
    for column in ("ms", "ms", "exponent", "last two"):
        table.add_column(column, justify="right")
    for sweep in sweeps:
        table.add_row(f"[bold]{sweep['title']}[/bold]")
        ends = [f"{sweep['size']} {sweep['sizes'][i]}" for i in (0, -1)]
        for name, row in sweep["implementations"].items():
            times = [format_number(row["seconds"][i] * 1e3) for i in (0, -1)]
            table.add_row(f"  {name}", *ends, *times, f"{row['exponent']:.2f}", f"{row['last']:.2f}")
        table.add_section()
    return table


def _commands(commands: list[dict[str, Any]]) -> Table:
    table = Table(title="from the command to its result", pad_edge=False, box=box.SIMPLE_HEAD)
    table.add_column("result")
    for column in ("s", "steps", "MiB"):
        table.add_column(column, justify="right")
    for row in commands:
        memory = "" if row["peak_mib"] is None else f"{row['peak_mib']:,.0f}"
        table.add_row(row["title"], format_number(row["seconds"]), f"{row['steps']:,}", memory)
    return table


def format_number(value: float) -> str:
    """Formats a positive number with three digits, or all before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
