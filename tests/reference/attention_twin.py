"""Attention the slow way, in plain Python over lists; imports nothing of what it checks."""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = Sequence[float]
Matrix = Sequence[Vector]


def scores(
    windows: Matrix, flat: Vector, filters: Matrix, times: Matrix, heads: Matrix, skip: Matrix, constant: Vector
) -> tuple[list[float], list[list[float]]]:
    """(log odds by class, attention by window and head) of one path: windows (T, F), filters (F, H), times (T, H), heads (H, C)."""
    many = len(times[0])
    s = [[sum(x * w[h] for x, w in zip(row, filters)) + times[t][h] for h in range(many)] for t, row in enumerate(windows)]
    said, attention = [], [[0.0] * many for _ in windows]
    for h in range(many):
        total = sum(math.exp(row[h]) for row in s)
        said.append(math.log(total / len(windows)))
        for t, row in enumerate(s):
            attention[t][h] = math.exp(row[h]) / total
    out = []
    for c, base in enumerate(constant):
        out.append(base + sum(m * heads[h][c] for h, m in enumerate(said)) + sum(v * skip[d][c] for d, v in enumerate(flat)))
    return out, attention


def loss(odds: Matrix, offset: Matrix, labels: Sequence[int]) -> float:
    """Mean log loss of classes with log odds on top of an offset."""
    total = 0.0
    for row, off, y in zip(odds, offset, labels):
        e = [math.exp(a + b) for a, b in zip(row, off)]
        total -= math.log(e[y] / sum(e))
    return total / len(labels)
