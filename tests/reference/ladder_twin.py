"""Slow twin of the ladder: dicts rebuilt from the keyframe before, written from features.md section 1 alone."""

from __future__ import annotations

NS = 1_000_000_000
STATES = ("depth", "orders")
FLOWS = ("add", "pull", "fill", "pull_rest", "away_rest", "toward_rest")


class TwinLadder:
    """`rows` and `tape` are lists of dicts, one per line of the two tables."""

    def __init__(self, rows: list[dict], tape: list[dict]) -> None:
        self.start_s = tape[0]["window_start_ts_ns"] // NS
        self.end_s = tape[-1]["window_end_ts_ns"] // NS
        self.tape = {t["window_start_ts_ns"] // NS: t for t in tape}
        self.rows: dict[int, dict[int, dict]] = {s: {} for s in range(self.start_s, self.end_s)}
        for r in rows:
            self.rows[r["window_start_ts_ns"] // NS][r["tick"]] = r
        self._books: dict[int, dict] = {}

    def book(self, second: int) -> dict[tuple[str, str, int], int]:
        """``(side, depth|orders, tick)`` -> value at the END of `second`, from the keyframe at or before it."""
        if second in self._books:
            return self._books[second]
        key = second
        while key > self.start_s and not any(r["keyframe"] for r in self.rows[key].values()):
            key -= 1
        book: dict[tuple[str, str, int], int] = {}
        for s in range(key, second + 1):
            for tick, r in self.rows[s].items():
                for side in ("bid", "ask"):
                    for what in STATES:
                        book[side, what, tick] = r[f"{side}_{what}"]
        self._books[second] = book
        return book

    def depth_end(self, side: str, tick: int, second: int) -> int:
        return self.book(second).get((side, "depth", tick), 0)

    def depth_start(self, side: str, tick: int, second: int) -> int:
        """Before `second`; before the session's first second by conservation, 0 if that second is not valid."""
        if second > self.start_s:
            return self.depth_end(side, tick, second - 1)
        r = self.rows[second].get(tick)
        if r is None or not self.tape[second]["book_valid"]:
            return 0
        return r[f"{side}_depth"] - r[f"{side}_add"] + r[f"{side}_pull"] + r[f"{side}_fill"]

    def flow(self, side: str, what: str, tick: int, first: int, seconds: int) -> int:
        return sum(self.rows[s][tick][f"{side}_{what}"] for s in range(first, first + seconds) if tick in self.rows[s])

    def cell(self, first: int, seconds: int, tick: int, ticks: int) -> dict[str, int]:
        """All cube variables of the window of `seconds` from `first` and the price row of `ticks` from `tick`."""
        out: dict[str, int] = {}
        price_row = range(tick, tick + ticks)
        for side in ("bid", "ask"):
            for what in STATES:
                out[f"{side}_{what}"] = sum(self.book(first + seconds - 1).get((side, what, k), 0) for k in price_row)
            for what in FLOWS:
                out[f"{side}_{what}"] = sum(self.flow(side, what, k, first, seconds) for k in price_row)
            out[f"{side}_depth_start"] = sum(self.depth_start(side, k, first) for k in price_row)
        return out

    def valid(self, first: int, seconds: int) -> bool:
        return all(self.tape[s]["book_valid"] for s in range(first, first + seconds))


def long_short(cell: dict[str, int]) -> tuple[int, int]:
    """Pressure of a cell (features.md section 7)."""
    return cell["bid_add"] + cell["ask_pull"] + cell["ask_fill"], cell["ask_add"] + cell["bid_pull"] + cell["bid_fill"]
