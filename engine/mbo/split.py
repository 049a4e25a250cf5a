"""One pass over raw records into columns (numba)."""

from __future__ import annotations

import numba as nb
import numpy as np

_ACTIONS = np.full(256, 255, np.uint8)
_ACTIONS[list(b"ACMRTFN")] = range(7)
_SIDES = np.full(256, 255, np.uint8)
_SIDES[list(b"BAN")] = range(3)


@nb.njit(cache=True, nogil=True, boundscheck=False)
def split(
    words, known, keep,
    ts_event, ts_recv, order_id, price, size, flags, action, side, instrument_id, publisher_id, channel_id, ts_in_delta, sequence,
):  # fmt: skip
    """Split records into columns, keeping those of wanted instruments.

    Parameters
    ----------
    words
        uint64 (records, words per record): MBO records as they stand in the file, little-endian.
    known, keep
        Sorted instrument ids of the metadata (uint32), and whether each is wanted.
    ts_event, ...
        Outputs, at least as long as `words`.

    Returns
    -------
    tuple
        Number of records kept, and the index of the first record that is not a good MBO record of a known instrument (-1: none).
    """
    head = np.uint64(0xA000) | np.uint64(words.shape[1] * 2)  # record type 0xa0; length counts words of four bytes
    kept = 0
    last_id = np.uint64(0)
    last_keep = False
    have = False
    for i in range(words.shape[0]):
        w0 = words[i, 0]
        if (w0 & np.uint64(0xFFFF)) != head:
            return kept, i
        iid = w0 >> np.uint64(32)
        if not have or iid != last_id:
            j = np.searchsorted(known, np.uint32(iid))
            if j >= known.shape[0] or np.uint64(known[j]) != iid:
                return kept, i
            last_id = iid
            last_keep = keep[j]
            have = True
        w4 = words[i, 4]
        a = _ACTIONS[(w4 >> np.uint64(48)) & np.uint64(0xFF)]
        s = _SIDES[w4 >> np.uint64(56)]
        if a == 255 or s == 255:
            return kept, i
        if not last_keep:
            continue
        w6 = words[i, 6]
        ts_event[kept] = np.int64(words[i, 1])
        ts_recv[kept] = np.int64(words[i, 5])
        order_id[kept] = words[i, 2]
        price[kept] = np.int64(words[i, 3])
        size[kept] = np.uint32(w4 & np.uint64(0xFFFFFFFF))
        flags[kept] = np.uint8((w4 >> np.uint64(32)) & np.uint64(0xFF))
        channel_id[kept] = np.uint8((w4 >> np.uint64(40)) & np.uint64(0xFF))
        action[kept] = a
        side[kept] = s
        instrument_id[kept] = np.uint32(iid)
        publisher_id[kept] = np.uint16((w0 >> np.uint64(16)) & np.uint64(0xFFFF))
        ts_in_delta[kept] = np.int32(np.uint32(w6 & np.uint64(0xFFFFFFFF)))
        sequence[kept] = np.uint32(w6 >> np.uint64(32))
        kept += 1
    return kept, -1
