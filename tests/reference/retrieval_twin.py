"""Retrieval the slow way, in plain Python over lists, straight from retrieval.md; imports nothing of what it checks."""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = Sequence[float]


def median(values: Sequence[float]) -> float:
    """Middle value, or the mean of the two middle ones."""
    s = sorted(values)
    half = len(s) // 2
    return s[half] if len(s) % 2 else (s[half - 1] + s[half]) / 2


def normalised(rows: Sequence[Vector], fitted_on: Sequence[Vector], clip: float) -> list[list[float]]:
    """(x - median) / (1.4826 MAD + 1e-6), clipped, 0 where the MAD is 0; then length one, or zero."""
    columns = []
    for j in range(len(rows[0])):
        m = median([r[j] for r in fitted_on])
        mad = median([abs(r[j] - m) for r in fitted_on])
        columns.append([0.0 if mad == 0 else max(-clip, min(clip, (r[j] - m) / (1.4826 * mad + 1e-6))) for r in rows])
    out = []
    for i in range(len(rows)):
        v = [c[i] for c in columns]
        length = math.sqrt(sum(x * x for x in v))
        out.append([x / length if length else 0.0 for x in v])
    return out


def neighbours(
    query: Vector,
    vectors: Sequence[Vector],
    sessions: Sequence[object],
    episodes: Sequence[object],
    allowed: Sequence[bool],
    k: int,
    cap: int,
) -> list[tuple[int, float]]:
    """(row, similarity) of the k most similar allowed rows: one per episode, at most cap per session, similarity above 0."""
    ranked = sorted(
        ((sum(a * b for a, b in zip(query, v)), -i) for i, v in enumerate(vectors) if allowed[i]),
        reverse=True,
    )
    out: list[tuple[int, float]] = []
    per_session: dict[object, int] = {}
    met: set[object] = set()
    for similarity, minus in ranked:
        i = -minus
        if len(out) == k or similarity <= 0:
            break
        if episodes[i] in met or per_session.get(sessions[i], 0) >= cap:
            continue
        met.add(episodes[i])
        per_session[sessions[i]] = per_session.get(sessions[i], 0) + 1
        out.append((i, similarity))
    return out


def posterior(
    near: Sequence[tuple[int, float]], labels: Sequence[int], pi: Sequence[float], power: float, alpha: float
) -> tuple[list[float], float]:
    """(probabilities, n_eff): w = max(sim, 0)^p, n_eff = (sum w)^2 / sum w^2, p_c = (n_eff phat_c + alpha pi_c) / (n_eff + alpha)."""
    w = [max(s, 0.0) ** power for _, s in near]
    total, squares = sum(w), sum(x * x for x in w)
    n_eff = total * total / squares if squares else 0.0
    out = []
    for c, prior in enumerate(pi):
        phat = sum(x for x, (i, _) in zip(w, near) if labels[i] == c) / total if total else 0.0
        out.append((n_eff * phat + alpha * prior) / (n_eff + alpha))
    return out, n_eff


def weighted_quantile(values: Sequence[float], weights: Sequence[float], q: float) -> float:
    """The least value at which it and all below have the share q of the weight; NaN where there is none."""
    pairs = sorted((v, w) for v, w in zip(values, weights) if w > 0 and not math.isnan(v))
    total = sum(w for _, w in pairs)
    reached = 0.0
    for v, w in pairs:
        reached += w
        if reached >= q * total - 1e-12 * total:
            return v
    return math.nan


def ece(p: Sequence[Sequence[float]], y: Sequence[int], bins: int) -> float:
    """Expected calibration error of the top class over equal-count bins in the order of its probability."""
    rows = sorted((max(row), i) for i, row in enumerate(p))
    n = len(rows)
    sizes = [n // bins + (b < n % bins) for b in range(bins)]
    out, at = 0.0, 0
    for size in sizes:
        part = rows[at : at + size]
        at += size
        if part:
            sure = sum(s for s, _ in part) / len(part)
            right = sum(list(p[i]).index(max(p[i])) == y[i] for _, i in part) / len(part)
            out += len(part) / n * abs(sure - right)
    return out
