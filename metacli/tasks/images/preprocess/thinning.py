"""Strokes of any width made one pixel wide."""

from __future__ import annotations

import numpy as np

PASSES = 60  # at most; each takes a pixel off either side of a stroke


def thinned(ink: np.ndarray) -> np.ndarray:
    """The skeletons of drawings by parallel thinning (Guo and Hall 1989, algorithm A1), all at once.

    Args:
        ink: (M, H, W) bool, nothing of it on the outermost pixels.

    Returns:
        (M, H, W) bool: lines one pixel wide, connected as the ink is, none of it outside the ink.
    """
    ink = ink.copy()
    going = np.arange(len(ink))
    for _ in range(PASSES):
        some = ink[going]
        before = some.sum((1, 2))
        for table in (_FIRST, _SECOND):
            some[:, 1:-1, 1:-1] &= ~table[_neighbours(some)]
        ink[going] = some
        going = going[some.sum((1, 2)) < before]
        if not len(going):
            break
    return ink


def _neighbours(ink: np.ndarray) -> np.ndarray:
    """(M, H - 2, W - 2) uint8: the eight neighbours of each inner pixel as bits, from the upper one clockwise."""
    height, width = ink.shape[1:]
    code = np.zeros((len(ink), height - 2, width - 2), np.uint8)
    byte = ink.view(np.uint8)
    for bit, (down, across) in enumerate(_AROUND):
        code |= byte[:, 1 + down : height - 1 + down, 1 + across : width - 1 + across] << np.uint8(bit)
    return code


_AROUND = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def _table(second: bool) -> np.ndarray:
    """(256,) bool: whether a pixel with these neighbours is taken away in the first or the second half of a pass."""
    p = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool).T  # p[0] above, p[2] right, p[4] below, p[6] left
    crossings = sum((~p[i]).astype(int) * (p[i + 1] | p[(i + 2) % 8]) for i in (0, 2, 4, 6))
    one = sum((p[i - 1] | p[i]).astype(int) for i in (0, 2, 4, 6))
    other = sum((p[i] | p[i + 1]).astype(int) for i in (0, 2, 4, 6))
    few = np.minimum(one, other)
    kept = (p[4] | p[5] | ~p[7]) & p[6] if second else (p[0] | p[1] | ~p[3]) & p[2]
    return (crossings == 1) & (few >= 2) & (few <= 3) & ~kept


_FIRST, _SECOND = _table(False), _table(True)
