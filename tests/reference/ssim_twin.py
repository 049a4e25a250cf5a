"""Structural similarity by its definition, pixel by pixel (Wang, Bovik, Sheikh, Simoncelli 2004): slow, and of nothing but numpy."""

from __future__ import annotations

import numpy as np


def gaussian_window(sigma: float = 1.5, radius: int = 5) -> np.ndarray:
    """(11, 11) weights that sum to 1."""
    d = np.arange(-radius, radius + 1)
    line = np.exp(-(d**2) / (2 * sigma**2))
    window = np.outer(line, line)
    return window / window.sum()


def ssim_at(x: np.ndarray, y: np.ndarray, row: int, column: int) -> float:
    """SSIM of two (height, width) channels at one pixel; borders are mirrored."""
    w = gaussian_window()
    a, b = (np.pad(c.astype(float), 5, mode="symmetric")[row : row + 11, column : column + 11] for c in (x, y))
    ma, mb = (w * a).sum(), (w * b).sum()
    va, vb = (w * (a - ma) ** 2).sum(), (w * (b - mb) ** 2).sum()
    cov = (w * (a - ma) * (b - mb)).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
