"""Pictures put together from blocks, laid out in pixels from the upper left corner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metacli.show import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 72  # a point is a pixel


class Block:
    """Part of a picture: texts, images and lines at positions within it, and further blocks.

    Use it within `figures.default_style`.

    Args:
        width: in pixels.
        height: in pixels.
    """

    def __init__(self, width: float, height: float):
        self.width, self.height = round(width), round(height)
        self._parts: list[Callable[[Axes, float, float], object]] = []

    def text(self, left: float, top: float, text: str, color: str, size: float) -> None:
        """Places a line of text; `size` is that of the font, in pixels."""
        self._parts.append(
            lambda axes, x, y: axes.text(x + left, y + top + round(1.05 * size), text, color=color, fontsize=size)
        )

    def image(self, left: float, top: float, pixels: np.ndarray, width: float, height: float) -> None:
        """Places an image, (H, W, 3) or (H, W, 4) uint8; squares stay sharp where it is enlarged."""
        how = "nearest" if width >= pixels.shape[1] else "antialiased"

        def draw(axes: Axes, x: float, y: float) -> None:
            box = (x + left, x + left + width, y + top + height, y + top)
            axes.imshow(pixels, extent=box, aspect="auto", interpolation=how)

        self._parts.append(draw)

    def rectangle(self, left: float, top: float, width: float, height: float, fill: str = "", edge: str = "") -> None:
        """Places a rectangle; its edge, a pixel wide, lies within it."""
        from matplotlib.patches import Rectangle

        size = (width - 1, height - 1) if edge else (width, height)
        colors: Any = {"facecolor": fill or "none", "edgecolor": edge or "none", "linewidth": 1 if edge else 0}
        self._parts.append(lambda axes, x, y: axes.add_patch(Rectangle((x + left, y + top), *size, **colors)))

    def vertical_line(self, left: float, top: float, bottom: float, color: str, width: float = 1) -> None:
        """Places a line from top to bottom."""
        self._parts.append(
            lambda axes, x, y: axes.plot(
                [x + left, x + left], [y + top, y + bottom], color=color, linewidth=width, solid_capstyle="butt"
            )
        )

    def cells(self, left: float, top: float, values: np.ndarray, size: tuple[float, float], color: str) -> None:
        """Places a grid of framed cells: white at 0, `color` at 1, no cell at NaN.

        Args:
            values: (rows, columns).
            size: width and height of a cell.
        """
        from matplotlib.collections import PolyCollection
        from matplotlib.colors import LinearSegmentedColormap

        shades = LinearSegmentedColormap.from_list("shades", ["white", color])
        indices = np.argwhere(~np.isnan(values))
        corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0]])
        outlines = (indices[:, None, ::-1] + corners) * size + (left, top)

        def draw(axes: Axes, x: float, y: float) -> None:
            style: Any = {"cmap": shades, "clim": (0, 1), "edgecolors": figures.FRAME}
            framed = PolyCollection(outlines + np.array([x, y]), array=values[tuple(indices.T)], linewidths=1, **style)
            axes.add_collection(framed)

        self._parts.append(draw)

    def plot(self, left: float, top: float, size: tuple[float, float], draw: Callable[[Axes], object]) -> None:
        """Places axes that `draw` fills; their labels are outside of `size`."""

        def draw_plot(axes: Axes, x: float, y: float) -> None:
            page_width, page_height = axes.get_xlim()[1], axes.get_ylim()[0]
            lower = page_height - (y + top + size[1])
            box = ((x + left) / page_width, lower / page_height, size[0] / page_width, size[1] / page_height)
            draw(axes.figure.add_axes(box))

        self._parts.append(draw_plot)

    def place_block(self, block: Block, left: float, top: float) -> None:
        """Places another block."""
        self._parts.append(lambda axes, x, y: block.draw(axes, x + left, y + top))

    def draw(self, axes: Axes, left: float, top: float) -> None:
        """Draws all parts into axes whose units are pixels, counted from the upper left corner."""
        for part in self._parts:
            part(axes, left, top)

    def save(self, path: str | Path, margin: int) -> None:
        """Saves the block as a PNG, with a white margin.

        Raises:
            MetacliError: the file cannot be written.
        """
        width, height = self.width + 2 * margin, self.height + 2 * margin
        figure = figures.new_figure(width / _DPI, height / _DPI, _DPI, layout="none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
        self.draw(axes, margin, margin)
        figures.save(path, figure)


def row(blocks: Sequence[Block], gap: int) -> Block:
    """Returns blocks side by side, their tops aligned."""
    combined = Block(row_width(blocks, gap), max((b.height for b in blocks), default=0))
    left = 0
    for block in blocks:
        combined.place_block(block, left, 0)
        left += block.width + gap
    return combined


def row_width(blocks: Sequence[Block], gap: int) -> int:
    """Returns the width of blocks side by side."""
    return sum(b.width for b in blocks) + gap * (len(blocks) - 1)


def column(blocks: Sequence[Block], gap: int) -> Block:
    """Returns blocks under each other, aligned on the left."""
    height = sum(b.height for b in blocks) + gap * max(0, len(blocks) - 1)
    combined = Block(max((b.width for b in blocks), default=0), height)
    top = 0
    for block in blocks:
        combined.place_block(block, 0, top)
        top += block.height + gap
    return combined


def grid(cells: Sequence[Block], across: int, gap: tuple[int, int]) -> Block:
    """Returns cells of one size in rows of `across` cells.

    Args:
        gap: between columns, and between rows.
    """
    return column([row(cells[i : i + across], gap[0]) for i in range(0, len(cells), across)], gap[1])
