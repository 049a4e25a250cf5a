"""One pass over an order stream for what the ladder does not keep: orders by kind, and trades one by one."""

from __future__ import annotations

import numpy as np
from numba import njit

ADDS, CANCELS, CARRIED, FILLS, MODIFIES, MESSAGES, N_TRADES, N_IDS, IN_TRADE = range(9)
COUNT_WORDS = 12

_ADD, _CANCEL, _MODIFY, _TRADE, _FILL = 0, 1, 2, 4, 5
_LAST, _SNAPSHOT = 0x80, 0x20


@njit(cache=True, nogil=True)
def count(ts_event, order_id, size, flags, action, side, start_ns, end_ns, counts, ids, trade_ns, trade_sign, trade_size):
    """Count one instrument's records in ``[start_ns, end_ns)``, and list its aggressive orders.

    The prices that one aggressor takes are one trade (same event, same order id). A cancel carries out an execution where its
    order was filled in the same event (mbo.md, rules 6-9). `counts` and `ids` carry an event over to the next chunk.

    Returns
    -------
    int
        Number of trades listed; the caller makes the three arrays as long as the chunk.
    """
    n = 0
    last_order = np.uint64(0)
    for k in range(ts_event.shape[0]):
        if flags[k] & _SNAPSHOT or ts_event[k] < start_ns or ts_event[k] >= end_ns:
            continue
        counts[MESSAGES] += 1
        act = action[k]
        if act == _ADD:
            counts[ADDS] += 1
        elif act == _CANCEL:
            carried = False
            for j in range(counts[N_IDS]):
                if ids[j] == order_id[k]:
                    carried = True
                    break
            counts[CARRIED if carried else CANCELS] += 1
        elif act == _MODIFY:
            counts[MODIFIES] += 1
        elif act == _FILL:
            counts[FILLS] += 1
            if counts[N_IDS] < ids.shape[0]:
                ids[counts[N_IDS]] = order_id[k]
                counts[N_IDS] += 1
        elif act == _TRADE:
            counts[N_TRADES] += 1
            if side[k] < 2:
                if n > 0 and counts[IN_TRADE] == 1 and last_order == order_id[k] and trade_ns[n - 1] == ts_event[k]:
                    trade_size[n - 1] += size[k]
                else:
                    trade_ns[n] = ts_event[k]
                    trade_sign[n] = 1 if side[k] == 0 else -1
                    trade_size[n] = size[k]
                    n += 1
                last_order = order_id[k]
                counts[IN_TRADE] = 1
        if flags[k] & _LAST:
            counts[N_IDS] = 0
            counts[IN_TRADE] = 0
    return n
