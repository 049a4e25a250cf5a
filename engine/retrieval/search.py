"""Exact nearest-neighbour search among vectors in time order, within or outside a span of sessions, with caps per episode and session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

FIRST_HITS_FACTOR = 2
"""Hits of the first search, as a multiple of the neighbours wanted; then four times as many, until enough pass the caps."""

BATCH = 16
"""Queries per faiss call, below the smallest batch (20) for which any faiss release uses a matrix product (see `raw_search`)."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Unit vectors in time order (a `faiss.IndexFlatIP`), with the session number (rising) and episode number of each, int64 ``(n,)``."""

    index: Any
    sessions: NDArray[np.int64]
    episodes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sessions)

    def before(self, session: int) -> int:
        """Number of vectors of sessions before `session`, which are the first rows."""
        return int(np.searchsorted(self.sessions, session, side="left"))

    def span(self, session: int) -> tuple[int, int]:
        """Rows of a session, ``[start, end)``."""
        return self.before(session), int(np.searchsorted(self.sessions, session, side="right"))


def make_pool(vectors: NDArray[np.float32], sessions: NDArray[np.int64], episodes: NDArray[np.int64]) -> Pool:
    """A pool of unit vectors; rows must be in the order of their sessions."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, np.float32))
    return Pool(index, np.ascontiguousarray(sessions, np.int64), np.ascontiguousarray(episodes, np.int64))


def raw_search(pool: Pool, queries: NDArray[np.float32], k: int, start: int, end: int, *, without: bool = False) -> tuple[Any, Any]:
    """(similarities, rows) of the `k` most similar of rows ``[start, end)``, or of all others with `without`; row -1 where there are fewer.

    Batches are small enough that faiss computes pair by pair. The last bits of a matrix product depend on the number of rows, and so on
    later sessions.
    """
    import faiss

    inside = faiss.IDSelectorRange(start, end)
    selector = faiss.IDSelectorNot(inside) if without else inside
    parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]  # the stubs do not know its keywords
    queries = np.ascontiguousarray(queries, np.float32)
    parts = [pool.index.search(queries[at : at + BATCH], k, params=parameters) for at in range(0, len(queries), BATCH)]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def search(
    pool: Pool, queries: NDArray[np.float32], k: int, start: int, end: int, *, cap: int, without: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Neighbours of each query, most similar first: (rows int64, similarities float64), each ``(q, k)``; -1 and 0 where there are fewer.

    At most one is of an episode and `cap` of a session. `queries` are unit vectors ``(q, d)``; a zero or NaN row has no neighbours. Rows
    ``[start, end)`` may be neighbours; with `without`, all others may.
    """
    rows = np.full((len(queries), k), -1, np.int64)
    similarity = np.zeros((len(queries), k))
    allowed = len(pool) - (end - start) if without else end - start
    if not allowed or not len(queries):
        return rows, similarity
    sessions = np.unique(pool.sessions, return_inverse=True)[1].astype(np.int64)
    episodes = np.unique(pool.episodes, return_inverse=True)[1].astype(np.int64)
    seen = np.zeros(len(pool), np.int64), np.zeros(len(pool), np.int8)
    directed = np.isfinite(queries).all(axis=1) & (queries != 0).any(axis=1)
    left = np.flatnonzero(directed)
    ask = min(allowed, FIRST_HITS_FACTOR * k)
    while len(left):
        found, at = raw_search(pool, queries[left], ask, start, end, without=without)
        got, near = np.full((len(left), k), -1, np.int64), np.zeros((len(left), k))
        apply_caps(found.astype(np.float64), at, sessions, episodes, cap, k, got, near, *seen)
        rows[left], similarity[left] = got, near
        full = (got[:, -1] >= 0) | (found[:, -1] <= 0)
        if ask == allowed:
            break
        left, ask = left[~full], min(allowed, 4 * ask)
    return rows, similarity


# ----------------------------------------------------------------------------
# Compiled kernel of the search


@njit(cache=True)
def apply_caps(similarity, rows, sessions, episodes, cap, k, out_rows, out_similarity, seen_session, seen_episode):  # type: ignore[no-untyped-def]
    """Write the first `k` hits of each query within the caps: one per episode, `cap` per session, similarity above 0.

    `similarity` and `rows` are ``(q, m)``, most similar first; the outputs ``(q, k)``; the two `seen` arrays are scratch space, zero
    before and after.
    """
    for q in range(rows.shape[0]):
        n = 0
        for j in range(rows.shape[1]):
            row = rows[q, j]
            # Hits that are not similar at all would have no weight.
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
