"""Pixel values of any usual range, converted to 8 bits. The same rule holds for arrays, tensors and files."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FULL_SCALES = (1, 255, 65535)  # white in the usual ranges: shares, 8 bits, 16 bits
DIM = 17  # of 255: if no value is above, the range of the values is not that of the scale, as for 0 to 16


class ValueRange(NamedTuple):
    """The values that become 0 and 255.

    Attributes:
        low: becomes 0.
        high: becomes 255.
        is_usual: False if the range was taken from the values themselves.
    """

    low: float
    high: float
    is_usual: bool


def find_range(low: float, high: float) -> ValueRange:
    """Returns the range that values from `low` to `high` are converted from.

    This is the first of 0 to 1, 0 to 255 and 0 to 65535 that holds the values. If they reach only DIM / 255 of it, as
    scikit-learn's digits (0 to 16) and 12-bit images do, they are stretched: their largest becomes white. Values below
    0 or above 65535 are also stretched, from their smallest (if it is below 0) to their largest.
    """
    if low < 0:
        return ValueRange(low, high, low >= -1 and high <= 1)
    for scale in FULL_SCALES:
        if high <= scale:
            is_dim = _scale_values(np.array([high], np.float64), scale)[0] <= DIM
            return ValueRange(0, high, False) if is_dim and low < high else ValueRange(0, scale, True)
    return ValueRange(0, high, False)


def convert_values(values: np.ndarray, scale: ValueRange) -> np.ndarray:
    """Converts values from `scale` to 0 to 255, uint8."""
    if scale.is_usual and scale.low == 0:
        return _scale_values(values, scale.high)
    span = max(scale.high - scale.low, 1e-38)  # above 0 if all values are equal
    return np.rint((values.astype(np.float64) - scale.low) * (255 / span)).astype(np.uint8)


def describe_invalid_value(values: np.ndarray) -> str:
    """Returns where the first NaN, infinite or masked value is, otherwise ''."""
    invalid = ~np.isfinite(np.ma.getdata(values)) | np.ma.getmaskarray(values)
    if not invalid.any():
        return ""
    position = ", ".join(str(i) for i in np.argwhere(invalid)[0])
    return f"contains NaN, infinite or masked values, the first at [{position}]"


def _scale_values(values: np.ndarray, white: float) -> np.ndarray:
    if white == 65535:
        return (values // 256).astype(np.uint8)  # so that 8 bits stored as 256 v and as 257 v are both v
    return np.rint(values.astype(np.float64) * (255 / white)).astype(np.uint8)
