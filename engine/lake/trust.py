"""The trust record of a session, as the replay wrote it into the ladder's manifest, and its words (`engine.mbo.trust` makes it)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.lake.catalog import LADDER
from engine.sessions import clock_text, span_text
from engine.vocab import NS

if TYPE_CHECKING:
    from engine.lake.manifest import Manifest
    from engine.lake.store import Lake

REASON_WORDS = {
    "outside": "before the raw file's start",
    "closed": "the market is closed: a holiday or a half-day",
    "after_end": "after the raw file's end",
    "gap": "records are missing",
    "cold_start": "cold start: the raw file starts without a snapshot",
    "after_gap": "orders are unknown since records were missing",
    "bad_book": "the venue flagged a bad book",
    "rebuilt": "the book was cleared or built from a snapshot",
    "crossed": "crossed or locked for more than 2 s, which no book is",
}
"""Why a second has no valid book, in words; the keys are `engine.mbo.trust.REASONS`."""

SNAPSHOT_ADVICE = (
    "download the whole UTC date, from 00:00 UTC on, where the venue's snapshot stands, or put that file beside this one; "
    "until then the book is known near the touch only, once few unknown orders are left there"
)
"""What to do about a file that starts without a snapshot."""

NO_FAULTS = ("rebuilt", "closed")
"""Reasons that are told without a complaint: nobody's data are worse for them."""

UNKNOWN = "unknown: it was made before its trust was recorded"

SPANS_TOLD = 3

KEYS = {
    "session", "seconds", "valid", "near", "why_not", "spans", "unknown", "crossed_seconds", "locked_seconds", "off_grid_trades",
    "unplaced_fills", "records_end_ns", "files",
}  # fmt: skip
"""What a record has that is put into words."""


@dataclass(frozen=True)
class TrustWords:
    """A record in words.

    chip: a few words for every view; empty where there is nothing to say
    level: ``good``, ``part`` or ``unknown``
    lines: sentences, the worst first; empty where every second but those of a snapshot or a closed market is valid and nothing is amiss
    advice: what helps; empty where nothing does
    facts: sentences on what was counted and is no fault
    """

    chip: str
    level: str
    lines: tuple[str, ...]
    advice: str = ""
    facts: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Everything in one line."""
        return "; ".join((*self.lines, *self.facts, *filter(None, (self.advice,))))


def trust_record(lake: Lake, symbol: str, date: dt.date) -> dict[str, Any] | None:
    """The session's trust record; None where its ladder was made before there was one. Raises as `Lake.manifest`."""
    return record_in(lake.manifest(LADDER, symbol, date))


def record_in(manifest: Manifest) -> dict[str, Any] | None:
    """The trust record in a manifest of a ladder."""
    found = manifest.notes.get("trust")
    return found if isinstance(found, dict) and found.keys() >= KEYS else None


def record_until(record: dict[str, Any], until_ns: int) -> dict[str, Any]:
    """The record of the seconds before an instant of the session: what is counted over the session alone is left out."""
    begin, end = record["session"]
    until = min(max(until_ns, begin), end)
    # Of a record that was cut, having too many spans, no more is known than up to the last of them.
    for of, kept in ((record["seconds"] - record["valid"], record["spans"]), (record["near"], record.get("near_spans", []))):
        if sum(span[-1] - span[-2] for span in kept) // NS < of:
            until = min(until, max(kept[-1][-1], begin) if kept else begin)

    def before(spans: list[Any]) -> list[Any]:
        return [[*why, a, min(b, until)] for *why, a, b in spans if a < until]

    spans, near = before(record["spans"]), before(record.get("near_spans", []))
    why: dict[str, int] = {}
    for reason, a, b in spans:
        why[reason] = why.get(reason, 0) + (b - a) // NS
    seconds = (until - begin) // NS
    counts = dict.fromkeys(("crossed_seconds", "locked_seconds", "off_grid_trades", "unplaced_fills"), 0)
    return {
        **record, **counts, "session": [begin, until], "seconds": seconds, "valid": seconds - sum(why.values()), "why_not": why,
        "near": sum(b - a for a, b in near) // NS, "spans": spans, "near_spans": near, "unknown": {},
    }  # fmt: skip


def trust_words(record: dict[str, Any] | None, date: dt.date, *, until_ns: int | None = None) -> TrustWords:
    """A session's record in words, times in New York's clock; of None that it is unknown. With an instant that of the session so far."""
    if record is None:
        return TrustWords("book: trust unknown", "unknown", (f"whether the book is known is {UNKNOWN}",))
    of = "the session"
    if until_ns is not None:
        record, of = record_until(record, until_ns), "the session so far"
    seconds, valid, near, why = record["seconds"], record["valid"], record["near"], record["why_not"]
    lines = [_why_line(record, name, date) for name in sorted(why, key=lambda k: -why[k]) if name not in NO_FAULTS]
    if lines:
        known = f"{valid:,} of {seconds:,} s have a valid book"
        lines.insert(0, known + (f", {near:,} s one that is known near the touch" if near else ""))
    lines += _counts(record)
    conditions = [f"{f['condition']} on {f['date']}" for f in record["files"] if f.get("condition", "available") != "available"]
    lines += [f"the venue's data are {', '.join(conditions)}"] if conditions else []
    lost = seconds - valid - sum(why.get(name, 0) for name in NO_FAULTS)
    open_s = seconds - why.get("closed", 0)
    chip = f"book known in {_share(valid, open_s)} of {of}" if lost else ("" if not lines else "book known, see data quality")
    if open_s > 0 and not valid:
        chip = f"book known near the touch in {_share(near, open_s)} of {of}" if near else "book not known"
    # A hidden order's fill can name one that was never added: that happens on the best of days.
    facts = [f"{record['unplaced_fills']:,} fills of orders never seen"] if record["unplaced_fills"] else []
    facts += [_why_line(record, "closed", date)] if "closed" in why else []
    return TrustWords(chip, "part" if lines else "good", tuple(lines), SNAPSHOT_ADVICE if "cold_start" in why else "", tuple(facts))


def _share(part: int, whole: int) -> str:
    """A share of the seconds in whole percent, rounded down: 100% is all of them, and 0% none."""
    return f"{100 * part // whole}%" if 100 * part >= whole else "less than 1%"


def _why_line(record: dict[str, Any], name: str, date: dt.date) -> str:
    """Seconds lost for one reason, when, and why."""
    spans = [span_text(a, b, date).removesuffix(" New York") for reason, a, b in record["spans"] if reason == name]
    told = ", ".join(spans[:SPANS_TOLD]) + (f" and {len(spans) - SPANS_TOLD} more times" if len(spans) > SPANS_TOLD else "")
    words = REASON_WORDS.get(name, name)
    if name in ("outside", "after_end", "gap"):
        words += _coverage(record, name, date)
    return f"{record['why_not'][name]:,} s are not valid ({told} New York): {words}"


def _coverage(record: dict[str, Any], name: str, date: dt.date) -> str:
    """Which file starts or ends where, as far as it explains seconds that no file covers."""
    if name == "outside":
        return f", {clock_text(record['files'][0]['span'][0], date)} New York" if record["files"] else ""
    last = record["files"][-1] if record["files"] else {}
    if name == "after_end" and "limit" in last:
        return f": the request's limit of {last['limit']:,} records was reached at {clock_text(last['span'][1], date)} New York"
    if name == "after_end" and record["records_end_ns"] is not None:
        return f": its last record is of {clock_text(record['records_end_ns'] - NS, date)} New York, though it says it covers more"
    return ""


def _counts(record: dict[str, Any]) -> list[str]:
    """Sentences on what was counted, where it is not nothing."""
    out = []
    for what, by in record["unknown"].items():
        if sum(by.values()):
            near = ", ".join(f"{n:,} {name}" if name == "beyond" else f"{n:,} at {name}" for name, n in by.items() if n)
            out.append(f"{sum(by.values()):,} {what} of unknown orders (ticks from the touch: {near})")
    texts = {
        "crossed_seconds": "seconds with a crossed book after the open",
        "locked_seconds": "seconds with a locked book after the open",
        "off_grid_trades": "trades off the tick grid",
    }
    return out + [f"{record[key]:,} {text}" for key, text in texts.items() if record[key]]
