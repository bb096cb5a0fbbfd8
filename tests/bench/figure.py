"""The plot: the cost of a training step over each size, both axes logarithmic, with the fitted exponents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metacli.errors import MetacliError
from tests.bench.case import OURS


def draw(sweeps: list[dict[str, Any]], path: Path) -> None:
    """Draws one panel for each size. A full line is metacli, a dashed one a reference.

    Raises:
        MetacliError: the extra `plot` is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import NullLocator
    except ImportError:
        raise MetacliError("matplotlib is not installed", "pip install 'metacli[plot]'") from None
    sizes = list(dict.fromkeys(sweep["size"] for sweep in sweeps))
    figure = Figure(figsize=(4 * len(sizes), 4), layout="constrained")
    models = list(dict.fromkeys(sweep["title"] for sweep in sweeps))
    for axes, size in zip(figure.subplots(1, len(sizes), squeeze=False)[0], sizes, strict=True):
        for sweep in (s for s in sweeps if s["size"] == size):
            for name, row in sweep["implementations"].items():
                label = f"{sweep['title']}, {name}: {row['exponent']:.2f}"
                style = "-o" if name == OURS else "--."
                milliseconds = [1e3 * s for s in row["seconds"]]
                axes.loglog(sweep["sizes"], milliseconds, style, label=label, color=f"C{models.index(sweep['title'])}")
        ticks = next(s["sizes"] for s in sweeps if s["size"] == size)  # those of one sweep: all would overlap
        axes.set_xticks(ticks, [str(x) for x in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(size)
        axes.legend(fontsize=7)
    figure.axes[0].set_ylabel("ms a training step, one thread")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
