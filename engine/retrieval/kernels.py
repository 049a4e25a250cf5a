"""Compiled kernel of the search."""

from __future__ import annotations

from numba import njit


@njit(cache=True)
def capped(similarity, rows, sessions, episodes, cap, k, out_rows, out_similarity, seen_session, seen_episode):  # type: ignore[no-untyped-def]
    """First `k` hits of each query that keep the caps: one per episode, `cap` per session, similarity above 0.

    `similarity` and `rows` are ``(q, m)``, most similar first; the outputs ``(q, k)``; the two `seen` arrays are zeros, and are
    zeros again at the end.
    """
    for q in range(rows.shape[0]):
        n = 0
        for j in range(rows.shape[1]):
            row = rows[q, j]
            # Not similar at all: such a hit has no weight, and a zero vector is like nothing.
            if row < 0 or n == k or not similarity[q, j] > 0.0:
                break
            s, e = sessions[row], episodes[row]
            if seen_episode[e] or seen_session[s] >= cap:
                continue
            seen_episode[e] = 1
            seen_session[s] += 1
            out_rows[q, n] = row
            out_similarity[q, n] = similarity[q, j]
            n += 1
        for j in range(n):
            seen_episode[episodes[out_rows[q, j]]] = 0
            seen_session[sessions[out_rows[q, j]]] = 0
