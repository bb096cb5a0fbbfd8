"""Exponential, logarithm, sigmoid and tanh of whole rows, compiled by numba into vector instructions.

The system's math library computes one number at a time, four times slower. Here an exponential is a polynomial times a
power of two that is assembled from its bits; a logarithm is the reverse. Both are accurate to the last one or two bits
of float32. Rows of float64 use the library. NaN stays NaN. Infinity is treated as the largest number.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from metacli.compute.jit import loop

compiled = partial(loop, reorder=True)  # reordering keeps NaN and infinity
Array = Any  # an array, inside compiled code

_F, _I = np.float32, np.int32
_LOG2_E, _LN_2_HIGH, _LN_2_LOW = _F(1.4426950408889634), _F(0.693359375), _F(2.12194440e-4)  # high - low = ln 2
_MIN_EXPONENT, _MAX_EXPONENT = _F(-87.0), _F(88.0)  # beyond these, the result is not a normal number
_HALF, _ONE, _TWO, _ROOT_2 = _F(0.5), _F(1.0), _F(2.0), _F(1.4142135)
_C3, _C4, _C5, _C6, _C7 = _F(1 / 6), _F(1 / 24), _F(1 / 120), _F(1 / 720), _F(1 / 5040)  # of exp(x)
_D3, _D5, _D7, _D9 = _F(1 / 3), _F(1 / 5), _F(1 / 7), _F(1 / 9)  # of artanh(x)
_BIAS, _SHIFT, _MANTISSA, _EXPONENT_0 = _I(127), _I(23), _I(0x7FFFFF), _I(0x3F800000)  # the fields of a float32


def make_scratch(size: int, dtype: np.dtype) -> np.ndarray:
    """Returns the array `bits` that the functions of this module need, for rows of up to `size` numbers of a dtype."""
    return np.empty(size, np.int32 if dtype == np.float32 else np.int64)


@compiled
def exp(x: Array, out: Array, bits: Array) -> None:
    """Writes the exponential of a row into `out`, which may be x.

    Args:
        bits: scratch array of integers, at least as long as x and of the same item size; overwritten.
    """
    if bits.itemsize == 8:
        for i in range(len(x)):
            out[i] = np.exp(x[i])
        return
    powers = bits.view(out.dtype)
    for i in range(len(x)):
        v = _MIN_EXPONENT if x[i] < _MIN_EXPONENT else (_MAX_EXPONENT if x[i] > _MAX_EXPONENT else x[i])
        n = np.floor(v * _LOG2_E + _HALF)
        r = v - n * _LN_2_HIGH + n * _LN_2_LOW  # |r| <= ln(2) / 2
        p = ((((_C7 * r + _C6) * r + _C5) * r + _C4) * r + _C3) * r + _HALF
        out[i] = (p * r + _ONE) * r + _ONE
        bits[i] = (_I(n) + _BIAS) << _SHIFT
    for i in range(len(x)):
        out[i] *= powers[i]


@compiled
def log(x: Array, out: Array, bits: Array) -> None:
    """Writes the logarithm of a row of positive normal numbers into `out`; `bits` as in `exp`."""
    if bits.itemsize == 8:
        for i in range(len(x)):
            out[i] = np.log(x[i])
        return
    integer_view, mantissas = x.view(bits.dtype), bits.view(x.dtype)
    for i in range(len(x)):
        bits[i] = (integer_view[i] & _MANTISSA) | _EXPONENT_0
    for i in range(len(x)):
        is_large = mantissas[i] > _ROOT_2
        m = mantissas[i] * (_HALF if is_large else _ONE)  # in [1/sqrt 2, sqrt 2]
        e = _F((integer_view[i] >> _SHIFT) - _BIAS) + (_ONE if is_large else _HALF - _HALF)
        s = (m - _ONE) / (m + _ONE)
        z = s * s
        series = (((_D9 * z + _D7) * z + _D5) * z + _D3) * z + _ONE
        out[i] = e * _LN_2_HIGH - e * _LN_2_LOW + _TWO * s * series + (_HALF - _HALF) * x[i]


@compiled
def sigmoid(x: Array, out: Array, bits: Array) -> None:
    """Writes the sigmoid 1 / (1 + exp(-x)) of a row into `out`, which may be x; `bits` as in `exp`."""
    for i in range(len(x)):
        out[i] = -x[i]
    exp(out, out, bits)
    for i in range(len(x)):
        out[i] = 1 / (1 + out[i])


@compiled
def sigmoid_backward(out: Array, d_out: Array) -> None:
    """Replaces `d_out`, the gradient of a row of sigmoids `out`, by that of their inputs."""
    for i in range(len(out)):
        d_out[i] *= out[i] * (1 - out[i])


@compiled
def tanh(x: Array, out: Array, bits: Array) -> None:
    """Writes the hyperbolic tangent of a row into `out`, which may be x; `bits` as in `exp`."""
    if bits.itemsize == 8:
        for i in range(len(x)):
            out[i] = np.tanh(x[i])
        return
    for i in range(len(x)):
        out[i] = _TWO * x[i]
    exp(out, out, bits)
    for i in range(len(x)):
        out[i] = _ONE - _TWO / (out[i] + _ONE)


@compiled
def softplus(x: float) -> float:
    """Returns log(1 + exp(x)) of one number, without overflow."""
    return max(x, x * 0) + np.log1p(np.exp(-abs(x)))
