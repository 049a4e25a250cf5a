"""Where each scalar of a contract's replay stands in its int64 state array, so that a replay can stop and go on anywhere."""

from __future__ import annotations

BID, ASK = 0, 1
NO_BID = -(2**62)
NO_ASK = 2**62
NO_TICK = -(2**62)
NO_KEY = -(2**63)
TAKER_SLOTS = 1024
RESTED = -(2**62)
"""Entry time of a snapshot's orders: they count as rested."""

_NAMES = (
    # the grid
    "LO", "DENSE", "BITS", "FAR_N", "FAR_SLOTS", "FAR_REST", "FAR_REST_ASK", "TOUCHED", "BEST", "BEST_ASK", "DIRTY", "DIRTY_ASK", "MOVED",
    # orders, events
    "COUNT", "EVENT", "TAKERS",
    # the last complete state: ticks and sizes
    "S_BID", "S_ASK", "S_BID_SIZE", "S_ASK_SIZE",
    # what is known of the book
    "KNOWN", "BAD", "IN_SNAPSHOT", "WINDOW_DIRTY", "NEW_FILE", "WARM", "COVER_END",
    # the window
    "WINDOW", "WINDOWS", "START_S", "LAST", "HIGH", "LOW", "TRADES", "BUY", "SELL", "OFI", "MESSAGES",
    # output and parameters
    "ROWS", "ROW_SLOTS", "REST_NS", "SPAN", "KEYFRAME_S", "TICK_FIXED", "OPEN_NS",
    # statistics
    "RECORDS", "LIVE", "SNAPSHOT", "UNKNOWN_CANCELS", "UNKNOWN_MODIFIES", "UNPLACED", "OFF_TICK", "CLEARS", "BAD_BOOK", "STATES", "CROSSED",
    "TAKERS_LOST",
)  # fmt: skip

(
    LO, DENSE, BITS, FAR_N, FAR_SLOTS, FAR_REST, _FAR_REST_ASK, TOUCHED, BEST, _BEST_ASK, DIRTY, _DIRTY_ASK, MOVED,
    COUNT, EVENT, TAKERS,
    S_BID, S_ASK, S_BID_SIZE, S_ASK_SIZE,
    KNOWN, BAD, IN_SNAPSHOT, WINDOW_DIRTY, NEW_FILE, WARM, COVER_END,
    WINDOW, WINDOWS, START_S, LAST, HIGH, LOW, TRADES, BUY, SELL, OFI, MESSAGES,
    ROWS, ROW_SLOTS, REST_NS, SPAN, KEYFRAME_S, TICK_FIXED, OPEN_NS,
    RECORDS, LIVE, SNAPSHOT, UNKNOWN_CANCELS, UNKNOWN_MODIFIES, UNPLACED, OFF_TICK, CLEARS, BAD_BOOK, STATES, CROSSED,
    TAKERS_LOST,
) = range(len(_NAMES))  # fmt: skip
STATE_SIZE = len(_NAMES)

STATISTICS = {
    "records": RECORDS,
    "live_records": LIVE,
    "snapshot_records": SNAPSHOT,
    "unknown_cancels": UNKNOWN_CANCELS,
    "unknown_modifies": UNKNOWN_MODIFIES,
    "unplaced": UNPLACED,
    "off_tick": OFF_TICK,
    "clears": CLEARS,
    "bad_book_records": BAD_BOOK,
    "states_after_open": STATES,
    "crossed_after_open": CROSSED,
    "takers_lost": TAKERS_LOST,
}
"""Names of the counts that `engine.mbo.replay.ReplayedContract.stats` reports."""
