"""The instruments' streams of a slice of a day, made into one."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy")
def merge(streams, out, state):
    """Merge streams by `ts_event`, events whole; sequence numbers and receive times rise through the file."""
    k = len(streams)
    at = np.zeros(k, np.int64)
    own = np.full(k, -1, np.int64)
    n = 0
    while True:
        best = -1
        for j in range(k):
            if at[j] < streams[j].shape[0] and (best < 0 or streams[j][at[j], 1] < streams[best][at[best], 1]):
                best = j
        if best < 0:
            return n
        row = streams[best][at[best]]
        at[best] += 1
        out[n] = row
        packet = row[6] >> 32
        if packet != own[best]:
            own[best] = packet
            state[0] += 1
        state[1] = max(state[1], row[5])
        out[n, 5] = state[1]
        out[n, 6] = (row[6] & 0xFFFFFFFF) | (state[0] << 32)
        n += 1
