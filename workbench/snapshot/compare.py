"""How alike two pictures are: structural similarity as a map, its worst tile, and a picture of what differs.

The similarity is the SSIM of Wang, Bovik, Sheikh and Simoncelli (2004): Gaussian window of sigma 1.5 cut at 11 x 11,
K1 = 0.01, K2 = 0.03, of every colour channel, averaged. It is a few lines over scipy's Gaussian filter, which scikit-learn brings
along; scikit-image would bring imageio, tifffile and networkx for this one function.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from engine.errors import BadPicture

TILE = 64
"""Px of a tile's side: a changed number spoils a tile, where in the mean over the picture nobody would see it."""

CHANGED = 8
"""Of 255: a channel that differs by more counts as changed."""


@dataclass(frozen=True)
class Comparison:
    """What differs between two pictures of one size.

    Attributes
    ----------
    ssim, worst_tile : float
        Mean structural similarity, 1 for equal pictures, and the least mean of a tile of `TILE` px, whose (left, top) is `worst_at`.
    changed_share : float
        Share of pixels that differ by more than `CHANGED` in a channel.
    largest : int
        Largest difference of a channel, 0 to 255.
    box : tuple of int or None
        (left, top, right, bottom) that holds every changed pixel.
    difference : ndarray of uint8, shape (height, width, 3)
        The first picture pale, what differs in magenta over it, the stronger the more it differs.
    """

    ssim: float
    worst_tile: float
    worst_at: tuple[int, int]
    changed_share: float
    largest: int
    box: tuple[int, int, int, int] | None
    difference: np.ndarray


def ssim_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Structural similarity of two pictures ``uint8 (height, width, 3)`` at every pixel, mean over channels; 1 where they are equal."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    total = np.zeros(a.shape[:2])

    def mean(x: np.ndarray) -> np.ndarray:
        return gaussian_filter(x, 1.5, truncate=3.5)

    for channel in range(a.shape[2]):
        x, y = a[..., channel].astype(np.float64), b[..., channel].astype(np.float64)
        mx, my = mean(x), mean(y)
        vx, vy, vxy = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
        total += (2 * mx * my + c1) * (2 * vxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return total / a.shape[2]


def compare(a: np.ndarray, b: np.ndarray) -> Comparison:
    """Compare two pictures, uint8 (height, width, 3); raises `BadPicture` where they differ in size."""
    if a.shape != b.shape:
        sizes = " and ".join(f"{p.shape[1]} x {p.shape[0]}" for p in (a, b))
        raise BadPicture(f"two pictures to compare: expected one size, found {sizes} px; draw both with one --size")
    gap = np.abs(a.astype(np.int16) - b.astype(np.int16)).max(axis=2)
    changed = gap > CHANGED
    # Equal pictures are exactly alike; the filter's rounding would say 1 - 1e-16.
    alike = ssim_map(a, b) if gap.any() else np.ones(gap.shape)
    worst, at = _worst(alike)
    box = None
    if changed.any():
        ys, xs = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        box = (int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1)
    return Comparison(float(alike.mean()), worst, at, float(changed.mean()), int(gap.max()), box, _difference(a, gap))


def _worst(alike: np.ndarray) -> tuple[float, tuple[int, int]]:
    height, width = alike.shape
    tops, lefts = range(0, height, TILE), range(0, width, TILE)
    means = np.array([[alike[y : y + TILE, x : x + TILE].mean() for x in lefts] for y in tops])
    i, j = np.unravel_index(int(means.argmin()), means.shape)
    return float(means[i, j]), (lefts[int(j)], tops[int(i)])


def _difference(a: np.ndarray, gap: np.ndarray) -> np.ndarray:
    pale = 200 + a.mean(axis=2, keepdims=True) * (55 / 255)
    # The root keeps a faint difference visible; the first step is already a third.
    weight = np.where(gap > 0, np.maximum(np.sqrt(gap / 255), 0.35), 0.0)[..., None]
    return np.rint(pale * (1 - weight) + np.array([214.0, 0.0, 140.0]) * weight).astype(np.uint8)
