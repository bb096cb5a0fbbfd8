"""Common parts of all pictures: colours, the default style of matplotlib, and saving a figure."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metacli.errors import MetacliError
from metacli.show.fonts import temporary_fonts
from metacli.system import outputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours for color-blind readers, without the yellow, which is too light on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#30363d")
INK, FAINT, FRAME = "#1b1f24", "#66707a", "#d5dae0"
TRAIN, TEST = "#0b6e4f", "#1f4e9c"  # D_train, D_test


def require_matplotlib(hint: str = "") -> None:
    """Imports matplotlib.

    The environment variable MPLBACKEND may name any backend. It is not checked, because only windows use it.

    Args:
        hint: an alternative to installing it.

    Raises:
        MetacliError: matplotlib is not installed or cannot be imported.
    """
    if sys.modules.get("matplotlib"):
        return
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
    """A context in which figures use the defaults of matplotlib, not the settings of the user's matplotlibrc.

    A `$` or a backslash does not start a formula. The settings of the process are restored at the end.

    Args:
        texts: foreign names, such as those of classes. Fonts with their characters are made available.
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
    figure.savefig(content, format="png", metadata={"Software": outputs.GENERATOR}, pil_kwargs={"optimize": True})
    outputs.write_output(path, content.getbuffer())
