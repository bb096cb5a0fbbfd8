"""The results of one thread as the tables of docs/benchmark.md."""

from __future__ import annotations

from typing import Any

from tests.bench.case import OURS
from tests.bench.cases import LSTM, PLAIN
from tests.bench.packages import DNC, EASYFSL
from tests.bench.report import format_number

COLUMNS = (PLAIN, DNC, EASYFSL)


def format_tables(result: dict[str, Any]) -> str:
    """Returns the machine and all tables.

    Args:
        result: what `__main__` writes as JSON.
    """
    m, threads = result["machine"], result["settings"]["threads"][0]
    versions = f"torch {m['torch']}, Python {m['python']}"
    parts = [f"{m['processor']} ({m['instructions']}), {threads} thread{'s' * (threads > 1)}, {versions}."]
    if result["cases"]:
        rows = [_case(case, threads) for case in result["cases"]]
        parts.append(_table(["", "metacli", "plain eager", "x", "package", "x", "others, x", "floor", "MiB"], rows))
    if result["commands"]:
        rows = [_command(command) for command in result["commands"]]
        parts.append(_table(["command", "until", "s", "steps", "MiB"], rows))
    if result["growth"]:
        rows = [_sweep(sweep) for sweep in result["growth"]]
        parts.append(_table(["", "size", "metacli", "exponent", "plain eager", "exponent"], rows))
    return "\n\n".join(parts) + "\n"


def _case(case: dict[str, Any], threads: int) -> list[str]:
    rows = {name: row["threads"][threads] for name, row in case["implementations"].items()}
    unit = " ms" if case["unit"] == "ms" else f" {case['unit']}"
    cells = [case["title"], format_number(rows[OURS]["value"]) + unit]
    packages = [name for name in (DNC, EASYFSL) if name in rows]
    for name in (PLAIN, packages[0] if packages else ""):
        label = f"`{name}` " if name in packages else ""
        cells += [label + format_number(rows[name]["value"]), _quotient(rows[name])] if name in rows else ["", ""]
    others = [f"{_short(name)} {_quotient(row)}" for name, row in rows.items() if name not in (OURS, *COLUMNS)]
    cells.append("; ".join(others))
    if "floor" in case:
        row = case["floor"]["threads"][threads]
        cells.append(f"{format_number(row['value'])} ({100 * row['share']:.0f} %)")
    else:
        cells.append("")
    memory = [case["implementations"][name]["peak_mib"] for name in (OURS, PLAIN, LSTM) if name in rows]
    return [*cells, ", ".join("died" if mib is None else f"{mib:,.0f}" for mib in memory)]


def _short(name: str) -> str:
    return f"`{name}`" if name == LSTM else name.removeprefix("metacli, ").removeprefix("plain, ")


def _quotient(row: dict[str, Any]) -> str:
    return format_number(row["quotient"])


def _command(command: dict[str, Any]) -> list[str]:
    memory = "" if command["peak_mib"] is None else f"{command['peak_mib']:,.0f}"
    seconds = format_number(command["seconds"])
    return [f"`{command['command']}`", command["title"], seconds, f"{command['steps']:,}", memory]


def _sweep(sweep: dict[str, Any]) -> list[str]:
    sizes = sweep["sizes"]
    cells = [sweep["title"], f"{sweep['size']} {sizes[0]} to {sizes[-1]}"]
    for name in (OURS, PLAIN):
        row = sweep["implementations"].get(name)
        if row:
            first, last = (format_number(row["seconds"][i] * 1e3) for i in (0, -1))
            cells += [f"{first} to {last} ms", f"{row['exponent']:.2f}"]
        else:
            cells += ["", ""]
    return cells


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
