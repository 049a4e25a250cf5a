"""A slow order book that checks a venue's own rules on raw records: price and time priority, sizes, events. Shares no code with the engine.

Records are rows of seven 64-bit words as DBN writes them: header, ts_event, order id, price, size/flags/action/side,
ts_recv, ts_in_delta/sequence.
"""

from collections import OrderedDict


class Broken(Exception):
    """A record that no venue would publish."""


def _need(condition, text, *values):
    if not condition:
        raise Broken(f"{text}: {values}")


class Venue:
    """The book of one instrument, fed with its records in file order."""

    def __init__(self):
        self.orders = {}  # id -> [side, price, size]
        self.queues = {"B": {}, "A": {}}  # price -> ordered ids
        self.event = []
        self.trades = self.events = self.icebergs = 0

    def feed(self, rows):
        for r in rows:
            word = int(r[4])
            size, flags = word & 0xFFFFFFFF, (word >> 32) & 0xFF
            action, side = chr((word >> 48) & 0xFF), chr((word >> 56) & 0xFF)
            self.event.append((int(r[1]), int(r[2]), int(r[3]), size, action, side))
            if flags & 0x80:
                self._close(self.event)
                self.event = []
            elif flags & 0x20:
                self._apply(self.event.pop())

    def best(self):
        bid = max(self.queues["B"], default=None)
        ask = min(self.queues["A"], default=None)
        return bid, ask

    def _drop(self, order):
        side, price, _ = self.orders[order]
        queue = self.queues[side][price]
        del queue[order]
        if not queue:
            del self.queues[side][price]

    def _join(self, order, side, price, size):
        self.orders[order] = [side, price, size]
        self.queues[side].setdefault(price, OrderedDict())[order] = True

    def _apply(self, record):
        _, order, price, size, action, side = record
        if action == "R":
            self.__init__()
        elif action == "A":
            _need(order not in self.orders and size > 0, "an add of a known order or of nothing", record)
            self._join(order, side, price, size)
        elif action == "C":
            _need(order in self.orders, "a cancel of an unknown order", record)
            had = self.orders[order]
            _need(had[0] == side and had[1] == price and 0 < size <= had[2], "a cancel that does not fit", record, had)
            had[2] -= size
            if had[2] == 0:
                self._drop(order)
                del self.orders[order]
        elif action == "M":
            _need(order in self.orders and size > 0, "a modify of an unknown order", record)
            had = self.orders[order]
            _need(had[0] == side, "a modify that changes sides", record, had)
            if had[1] != price or size > had[2]:
                self._drop(order)
                self._join(order, side, price, size)
            else:
                had[2] = size

    def _close(self, event):
        self.events += 1
        self.turned = []
        _need(len({e[0] for e in event}) == 1, "an event of several times", event)
        kinds = "".join(e[4] for e in event)
        if "T" in kinds:
            self._trade(event)
        else:
            _need(len(event) == 1, "several records without a trade in one event", event)
        for record in event:
            if record[4] in "ACMR":
                self._apply(record)
        for order in self.turned:  # what an iceberg shows again stands behind what was there, also where it is less than before
            if order in self.orders:
                side, price, _ = self.orders[order]
                self.queues[side][price].move_to_end(order)
        bid, ask = self.best()
        if bid is not None and ask is not None:
            _need(bid < ask, "a crossed or locked book", bid, ask, event)

    def _turn(self, queue, again, rest):
        """The order at the head is used up: an iceberg that the rest of the event still knows shows its next part at the tail."""
        order = queue.pop(0)
        if any(e[1] == order and e[4] in "FM" for e in rest):
            self.icebergs += 1
            self.turned = [o for o in self.turned if o != order] + [order]
            queue.append(order)
            again.add(order)

    def _trade(self, event):
        """Fills come at the best price, in the queue's order, and add up to the trade; then the book-keeping, nothing else."""
        queue, shown, filled, again = [], {}, {}, set()
        at = traded = None
        for k, (_, order, price, size, action, side) in enumerate(event):
            if action == "T":
                self.trades += 1
                _need(not traded, "a trade larger than its fills", event)
                resting = "A" if side == "B" else "B"
                prices = sorted(self.queues[resting])
                best = prices if resting == "A" else prices[::-1]
                at = best[best.index(at) + 1] if at is not None else best[0]
                _need(price == at, "a trade away from the best price", event)
                queue, again = list(self.queues[resting][price]), set()
                traded, taker = size, order
                _need(taker not in self.orders, "a resting aggressor", event)
            elif action == "F":
                # How much an iceberg showed again is not published before it traded: the next order's turn says that it was all of it.
                while queue and queue[0] != order and queue[0] in again:
                    self._turn(queue, again, event[k:])
                _need(queue and queue[0] == order, "a fill out of turn", event, queue[:3])
                _need(size <= traded, "a fill larger than its trade", event)
                traded -= size
                filled[order] = filled.get(order, 0) + size
                if order not in again:
                    left = shown.get(order, self.orders[order][2])
                    _need(size <= left, "a fill larger than what is shown", event)
                    shown[order] = left - size
                    if shown[order] == 0:
                        self._turn(queue, again, event[k + 1 :])
            elif action in "CM":
                _need(order in filled, "book-keeping of an order that was not filled", event)
        _need(not traded, "a trade larger than its fills", event)
        kept = [e[1] for e in event if e[4] in "CM"]
        _need(sorted(kept) == sorted(filled), "book-keeping that does not match the fills", event)
