"""Tells ink from paper: dark on light or light on dark, under uneven light, and where a tight crop cuts the ink."""

from __future__ import annotations

import numpy as np

from metacli.errors import MetacliError

MIN_CONTRAST = 12.0  # minimum difference of brightness between ink and paper, of 255
FLAT_EDGE_SHARE = 0.8  # share of equally bright edge pixels above which the paper has constant brightness
UNIFORM_SHARE = 0.05  # of the image's contrast: largest difference within the purest fifth of uniform paper
DEGREE = 2  # degree of the polynomial that is fitted to the paper's brightness
FIT_PIXELS = 64  # pixels per side in the fit
FIT_ITERATIONS = 5  # each iteration excludes outliers of the previous one


def extract_ink(brightness: np.ndarray, invert: bool | None = None) -> np.ndarray:
    """Returns the contrast of the ink, (H, W) float32, above 0 where a pixel is ink rather than paper.

    The paper has the brightness of most of the image, with a smooth variation from the lighting. Pixels that are darker
    or lighter than the paper, whichever has more contrast in total, are ink.

    Args:
        brightness: (H, W) in [0, 255].
        invert: see `prepare.normalize_characters`.

    Raises:
        MetacliError: there is no ink.
    """
    height, width = brightness.shape
    if min(height, width) < 3:
        raise MetacliError(f"the image has only {width} x {height} pixels", "use a larger image")
    ink, is_dark = _split_contrast(brightness - estimate_paper(brightness))
    if invert is not None and is_dark != invert:  # what looked like paper is the ink
        paper = _cluster_paper(brightness, invert)[0]
        ink = np.maximum(paper - brightness if invert else brightness - paper, 0)
    level = otsu_threshold(ink)
    if ink.max() < MIN_CONTRAST:
        raise MetacliError(
            f"the image contains no ink: its brightness is almost uniform, from {brightness.min():.0f} to "
            f"{brightness.max():.0f} of 255",
            "draw with more contrast, or remove the image",
        )
    return ink - np.float32(level)


def _split_contrast(contrast: np.ndarray) -> tuple[np.ndarray, bool]:
    """Returns the contrast of the ink, (H, W) of 0 or more, and whether it is darker than the paper."""
    dark, light = np.maximum(-contrast, 0), np.maximum(contrast, 0)
    is_dark = bool((dark**2).sum() >= (light**2).sum())
    return dark if is_dark else light, is_dark


def estimate_paper(brightness: np.ndarray) -> np.ndarray | np.float32:
    """Returns the brightness of the paper, (H, W) or a single number.

    It is that of most of the edge. If the edge is uneven, a smooth surface is fitted to pixels near that of the edge.
    If the surface does not explain the edge, because the image is cropped so that ink touches it, and a part of the
    image is uniform, then that part is the paper.
    """
    edge = edge_pixels(brightness)
    if (level := _flat_level(edge)) is not None:
        return level
    paper = _fit_paper(brightness, edge)
    contrast = brightness - paper
    edge_limit = max(otsu_threshold(_split_contrast(contrast)[0]), MIN_CONTRAST)
    if (np.abs(edge_pixels(contrast)) > edge_limit).any():
        cluster, is_uniform = _cluster_paper(brightness)
        return cluster if is_uniform else paper
    return paper


def has_light_paper(brightness: np.ndarray) -> bool:
    """Whether the edge of an image (H, W) is even and light."""
    level = _flat_level(edge_pixels(brightness.astype(np.float32)))
    return level is not None and bool(level > 127)


def _flat_level(edge: np.ndarray) -> np.float32 | None:
    """Returns the brightness of an even edge, None if the edge is uneven."""
    level = np.median(edge)
    return np.float32(level) if np.mean(np.abs(edge - level) < MIN_CONTRAST / 2) > FLAT_EDGE_SHARE else None


def _fit_paper(brightness: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Returns the paper as a polynomial of the coordinates, (H, W), fitted to pixels near the edge's brightness."""
    height, width = brightness.shape
    level = np.median(edge)
    step = max(1, round(max(height, width) / FIT_PIXELS))
    terms = _polynomial_terms(np.arange(0, height, step) / height, np.arange(0, width, step) / width)
    values = brightness[::step, ::step].ravel().astype(np.float64)
    is_paper = np.abs(values - level) <= max(3 * float(np.median(np.abs(edge - level))), MIN_CONTRAST)
    for _ in range(FIT_ITERATIONS):
        kept_terms = terms[is_paper]
        gram = kept_terms.T @ kept_terms + 1e-9 * np.eye(kept_terms.shape[1])
        weights = np.linalg.solve(gram, kept_terms.T @ values[is_paper])
        residual = np.abs(values - terms @ weights)
        is_paper = residual <= max(3 * float(np.median(residual)), MIN_CONTRAST / 2)
    return (_polynomial_terms(np.arange(height) / height, np.arange(width) / width) @ weights).reshape(height, width)


def _cluster_paper(brightness: np.ndarray, is_light: bool | None = None) -> tuple[np.float32, bool]:
    """Splits the pixels of a cropped image into dark and light ones, and takes one kind for the paper.

    Args:
        brightness: (H, W).
        is_light: whether the paper is the light part. None: the part that prevails in the area, the edge and the
            corners, each counting a third.

    Returns:
        The brightness of the paper, and whether it is uniform, unlike that of a photograph.
    """
    lowest = brightness.min()
    light = brightness >= lowest + otsu_threshold(brightness - lowest)
    if is_light is None:
        corners = light[[0, 0, -1, -1], [0, -1, 0, -1]]
        is_light = bool(light.mean() + edge_pixels(light).mean() + corners.mean() > 1.5)
    part = brightness[light == is_light]
    if not part.size:
        return np.float32(lowest), False
    # Blur mixes ink into the paper beside it, so only the fifth of the pixels that differ most from ink are compared.
    purest, paper, mixed = np.percentile(part, (98, 90, 80) if is_light else (2, 10, 20))
    return np.float32(paper), bool(abs(purest - mixed) < UNIFORM_SHARE * np.ptp(brightness))


def edge_pixels(image: np.ndarray) -> np.ndarray:
    """Returns the pixels of the four sides of an image (H, W), one after the other."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])


def _polynomial_terms(down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Returns (H * W, terms), the monomials up to DEGREE of the coordinates of each pixel."""
    powers = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]
    return np.stack([np.outer(down**i, across**j).ravel() for i, j in powers], 1)


def otsu_threshold(values: np.ndarray) -> float:
    """Returns the threshold that splits values into two classes of least variance (Otsu 1979)."""
    count, edge = np.histogram(values, 128, (0, max(float(values.max()), 1e-6)))
    bin_centre = (edge[1:] + edge[:-1]) / 2
    below, sum_below = count.cumsum(), (count * bin_centre).cumsum()
    above, sum_above = below[-1] - below, sum_below[-1] - sum_below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.nan_to_num(below * above * (sum_below / below - sum_above / above) ** 2)
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))  # several if no value lies between them
    return float(edge[1:][best].mean())
