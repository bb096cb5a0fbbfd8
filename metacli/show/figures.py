"""What all pictures share: colours, matplotlib's default style, and how a figure is saved."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metacli.errors import MetacliError
from metacli.show.fonts import temporary_fonts
from metacli.system import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's, told apart by everyone; the first stands out least from text, the yellow is left out
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#30363d")
INK, FAINT, FRAME = "#1b1f24", "#66707a", "#d5dae0"
TRAIN, TEST = "#0b6e4f", "#1f4e9c"  # D_train, D_test


def require_matplotlib(hint: str = "") -> None:
    """Imports matplotlib.

    A backend that only a window needs is not checked: the environment variable MPLBACKEND may name any.

    Args:
        hint: what can be done instead of installing it.

    Raises:
        MetacliError: matplotlib is not installed or cannot be imported.
    """
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    except ImportError:
        install = "pip install 'metacli[plot]'"
        raise MetacliError("matplotlib is not installed", f"{install}, {hint}" if hint else install) from None
    except Exception as error:  # its configuration file is read on import
        raise MetacliError(f"matplotlib cannot be imported: {error}", "check your matplotlibrc file") from None
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend  # for other code of this process, as matplotlib itself does


@contextmanager
def default_style(texts: Iterable[str] = ()) -> Iterator[None]:
    """Within it figures are drawn and saved in matplotlib's own defaults, whatever the user's matplotlibrc sets.

    A `$` or a backslash begins no formula. The process's settings are restored at the end.

    Args:
        texts: names from outside, such as those of classes; fonts that have their characters are made available.
    """
    require_matplotlib()
    from matplotlib import rc_context, rcdefaults, rcParams

    with temporary_fonts(texts) as families, rc_context():
        rcdefaults()
        rcParams.update({"font.family": families, "text.parse_math": False})
        yield


def new_figure(width: float, height: float, dpi: float = 130, layout: Any = "constrained") -> Figure:
    """Returns an empty figure on the Agg canvas, width and height in inches; use it within `default_style`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def save(path: str | Path, figure: Figure) -> None:
    """Saves a figure as a PNG: equal figures give equal bytes. Use it within `default_style`.

    Raises:
        MetacliError: the file cannot be written.
    """
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})
    files.write(path, content.getbuffer())
