"""Thinning: reduces strokes of any width to one pixel."""

from __future__ import annotations

import numpy as np

MAX_PASSES = 60  # each pass removes a pixel from both sides of a stroke


def thin_strokes(ink: np.ndarray) -> np.ndarray:
    """Returns the skeletons of drawings by parallel thinning (Guo and Hall 1989, algorithm A1).

    Args:
        ink: (M, H, W) bool, False on the border pixels.

    Returns:
        (M, H, W) bool, lines one pixel wide inside the ink, with the same connectivity.
    """
    ink = ink.copy()
    active = np.arange(len(ink))
    for _ in range(MAX_PASSES):
        images = ink[active]
        ink_before = images.sum((1, 2))
        for table in (_REMOVED_FIRST, _REMOVED_SECOND):
            images[:, 1:-1, 1:-1] &= ~table[_neighbour_codes(images)]
        ink[active] = images
        active = active[images.sum((1, 2)) < ink_before]
        if not len(active):
            break
    return ink


def _neighbour_codes(ink: np.ndarray) -> np.ndarray:
    """Returns (M, H - 2, W - 2) uint8, the eight neighbours of each inner pixel as bits, clockwise from the top."""
    height, width = ink.shape[1:]
    code = np.zeros((len(ink), height - 2, width - 2), np.uint8)
    byte = ink.view(np.uint8)
    for bit, (down, across) in enumerate(_NEIGHBOUR_OFFSETS):
        code |= byte[:, 1 + down : height - 1 + down, 1 + across : width - 1 + across] << np.uint8(bit)
    return code


_NEIGHBOUR_OFFSETS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def _removal_table(is_second_half: bool) -> np.ndarray:
    """Returns (256,) bool, whether a pixel with these neighbours is removed in the first or second half of a pass."""
    p = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool).T  # p[0] above, p[2] right, p[4] below, p[6] left
    crossings = sum((~p[i]).astype(int) * (p[i + 1] | p[(i + 2) % 8]) for i in (0, 2, 4, 6))
    left_neighbours = sum((p[i - 1] | p[i]).astype(int) for i in (0, 2, 4, 6))
    right_neighbours = sum((p[i] | p[i + 1]).astype(int) for i in (0, 2, 4, 6))
    neighbours = np.minimum(left_neighbours, right_neighbours)
    is_kept = (p[4] | p[5] | ~p[7]) & p[6] if is_second_half else (p[0] | p[1] | ~p[3]) & p[2]
    return (crossings == 1) & (neighbours >= 2) & (neighbours <= 3) & ~is_kept


_REMOVED_FIRST, _REMOVED_SECOND = _removal_table(False), _removal_table(True)
