"""Names of a file's instruments: by its own metadata, a recording's messages, ``symbology.json``, or a definition file."""

from __future__ import annotations

import datetime as dt
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import BadDbn
from engine.stages.deliveries import Found
from engine.vocab import NS, OWN_ROOT_EXAMPLE, known_roots, own_roots_path, split_contract

if TYPE_CHECKING:
    from engine.mbo.dbn import DbnMetadata, Survey

_CONTINUOUS = re.compile(r"[^.]+\.[cnv]\.[0-9]+", re.IGNORECASE)
_PARENT = re.compile(r"[^.]+\.(FUT|OPT|SPOT)", re.IGNORECASE)
_OUTRIGHT = re.compile(r"[A-Z0-9]{1,3}?[FGHJKMNQUVXZ][0-9]{1,2}")


def _stands_for_others(key: str) -> bool:
    """Whether a key of a request is no instrument's symbol, but stands for one (``ES.c.0``) or for many (``ES.FUT``)."""
    return bool(_CONTINUOUS.fullmatch(key) or _PARENT.fullmatch(key))


@dataclass
class Names:
    """Symbols of instruments as files beside the data give them: ``symbology.json``, and definition files.

    by_id: (instrument id, symbol, first date, date after the last)
    by_alias: key of a request (``ES.c.0``) to (symbol, first date, date after the last)
    """

    label: str
    folder: str
    by_id: dict[int, list[tuple[str, dt.date, dt.date]]] = field(default_factory=dict)
    by_alias: dict[str, list[tuple[str, dt.date, dt.date]]] = field(default_factory=dict)

    def of_id(self, instrument: int, date: dt.date) -> str | None:
        """The symbol of an instrument on a date."""
        return _on(self.by_id.get(instrument, []), date)

    def of_alias(self, alias: str, date: dt.date) -> str | None:
        """The symbol that a request's key stands for on a date."""
        return _on(self.by_alias.get(alias, []), date)


def _on(spans: list[tuple[str, dt.date, dt.date]], date: dt.date) -> str | None:
    """The symbol of a date; a span that ends on its first date is that date's, where no other is."""
    within = (s for s, a, b in spans if a <= date < b)
    return next(within, None) or next((s for s, a, b in spans if a == b == date), None)


def symbology_names(label: str, folder: str, text: dict[str, Any]) -> Names:
    """What a ``symbology.json`` (or the answer of ``symbology.resolve``) says, in whichever direction it was asked."""
    names = Names(label, folder)
    for key, intervals in text["result"].items():
        for i in intervals:
            value, first = str(i["s"]), dt.date.fromisoformat(i["d0"])
            span = (first, dt.date.fromisoformat(i["d1"]) if i.get("d1") else first + dt.timedelta(days=1))
            if not value:
                continue
            if value.isdecimal() and not key.isdecimal() and not _stands_for_others(key):
                names.by_id.setdefault(int(value), []).append((key, *span))
            elif key.isdecimal() and not value.isdecimal():
                names.by_id.setdefault(int(key), []).append((value, *span))
            elif _CONTINUOUS.fullmatch(key) and not value.isdecimal():
                names.by_alias.setdefault(key, []).append((value, *span))
    return names


DEFINITION_BYTES = 1 << 22


def definition_names(found: Found) -> tuple[Names, list[dt.date]]:
    """The futures that a definition file defines, each from the date of its record on to its expiration; and the file's dates.
    Raises BadDbn where it is truncated or corrupt.
    """
    from databento_dbn import DBNDecoder, DBNError, VersionUpgradePolicy

    names, dates = Names(found.label, found.folder), set()
    with found.source() as source:
        decoder = DBNDecoder(upgrade_policy=VersionUpgradePolicy.UPGRADE_TO_V3)  # type: ignore[arg-type]
        try:
            while block := source.read(DEFINITION_BYTES):
                record: Any
                for record in decoder.write_and_decode(block):
                    symbol = getattr(record, "raw_symbol", None)
                    if not symbol or not hasattr(record, "expiration") or split_contract(symbol) is None:
                        continue
                    date = dt.datetime.fromtimestamp(record.ts_recv // NS, dt.UTC).date()
                    end = max(dt.datetime.fromtimestamp(min(record.expiration, 1 << 62) // NS, dt.UTC).date(), date) + dt.timedelta(days=1)
                    names.by_id.setdefault(record.instrument_id, []).append((symbol, date, end))
                    dates.add(date)
            left = len(decoder.buffer())
        except (DBNError, ValueError) as e:
            raise BadDbn(f"{found.label}: cannot be decoded as a definition file: {e}; fetch it again") from e
    if left:
        raise BadDbn(f"{found.label}: truncated: {left} bytes are left after its last record; fetch it again")
    return names, sorted(dates)


@dataclass
class Named:
    """The symbols of a file's instruments by date: those that are known, from where, and how many records have none."""

    symbols: dict[dt.date, dict[int, str]]
    by: str
    unmapped: dict[int, int]


def name_instruments(survey: Survey, folder: str, known: list[Names]) -> Named:
    """Name the instruments of a file: by its own metadata, by a recording's messages, else by `known`, its own folder's first."""
    metadata = survey.metadata
    symbols: dict[dt.date, dict[int, str]] = {}
    unmapped: dict[int, int] = {}
    used: list[str] = []
    beside = sorted(known, key=lambda n: n.folder != folder)
    for date in survey.dates:
        mapped = {**metadata.symbols(date.date), **survey.mapped}
        of_date = symbols.setdefault(date.date, {})
        for instrument, seen in date.instruments.items():
            symbol = mapped.get(instrument)
            by = "messages" if instrument in survey.mapped else "metadata"
            if symbol is None or symbol.isdecimal() or _stands_for_others(symbol):
                alias, symbol = symbol or "", None
                for names in beside:
                    symbol = names.of_alias(alias, date.date) or names.of_id(instrument, date.date)
                    if symbol:
                        by = names.label
                        break
            if symbol is None:
                unmapped[instrument] = unmapped.get(instrument, 0) + seen.records
            else:
                of_date[instrument] = symbol
                if by not in used:
                    used.append(by)
    others = [u for u in used if u not in ("metadata", "messages")]
    return Named(symbols, others[0] if others else used[0] if used else "metadata", unmapped)


def why_unnamed(metadata: DbnMetadata, label: str, lake: Path) -> str:
    """Why no instrument of a file has a name, and the two ways out."""
    keys = ", ".join(sorted(metadata.mappings)[:5])
    if any(_CONTINUOUS.fullmatch(k) for k in metadata.mappings):
        what = f"was requested by a continuous symbol ({keys}), and names no contract: which one it was is not in the file"
    elif any(_PARENT.fullmatch(k) for k in metadata.mappings):
        what = f"was requested by a parent symbol ({keys}), and does not say which of its instruments is which contract"
    elif metadata.mappings:
        what = f"was requested by instrument ids ({keys}), and names no contract"
    else:
        what = "maps no instrument to a symbol: its metadata hold no mappings"
    return (
        f"{label}: {what}. Two ways out: give, together with it, the definition file of its dates, or the symbology.json that maps its "
        f"instrument ids to raw symbols (symbology.resolve answers free of charge): "
        f"`spymaster add {shlex.quote(label)} DEFINITION.dbn.zst --lake {shlex.quote(str(lake))}`; "
        f"or download it with stype_in='parent' (ES.FUT) or 'raw_symbol' (ESZ5)"
    )


def why_no_root(symbols: set[str], label: str) -> str:
    """Why a file whose symbols are known holds nothing of a known root."""
    unknown = sorted(s for s in symbols if _OUTRIGHT.fullmatch(s))
    found = ", ".join(unknown[:5] or sorted(symbols)[:5])
    return (
        f"{label}: expected an outright contract of a known root ({', '.join(known_roots())}), found {found}; a root is added "
        f"to {own_roots_path()} with three numbers, its tick size, its multiplier, and the months in which it has contracts: "
        f"`{OWN_ROOT_EXAMPLE}`"
    )
