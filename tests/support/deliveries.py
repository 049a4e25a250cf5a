"""Deliveries as Databento makes them, and as users break them: each in a folder of its own, with what must become of it."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import io
import itertools
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace as Namespace

import databento_dbn as dbn
import numpy as np
import zstandard

from tests.support.dbn_files import DAY_NS, MBO, NS, make_records, utc_ns

HOUR_NS = 3600 * NS
ESZ5, ESH6, SPREAD, STRANGER = 1, 2, 3, 777
NAMES = {ESZ5: "ESZ5", ESH6: "ESH6", SPREAD: "ESZ5-ESH6"}
SYMBOL_LENGTH = {1: 22, 2: 71, 3: 71}


@dataclass
class Delivery:
    """A delivery in a folder: what `add` must say of it, and the rows that bronze must have.

    folder: where it is
    outcome: ``taken``, ``refused``, ``passed over``
    words: what must stand in what is said
    rows: (contract, date) to the records that bronze has of it, in order
    """

    folder: Path
    outcome: str = "taken"
    words: tuple[str, ...] = ()
    rows: dict[tuple[str, dt.date], np.ndarray] = field(default_factory=dict)


def orders(start: int, end: int, ids: Mapping[int, int] | None = None, every: int = HOUR_NS // 4) -> np.ndarray:
    """Adds and trades, one each `every` ns, of instruments in turn (`ids`: instrument to its tick), in the order of reception."""
    ids = ids or {ESZ5: NS // 4, ESH6: NS // 4, SPREAD: NS // 20}
    rows = []
    for n, at in enumerate(range(start, end, every)):
        instrument = list(ids)[n % len(ids)]
        rows.append(
            {
                "ts_event": at, "ts_recv": at + 500, "order_id": at // NS, "price": 27_000 * ids[instrument], "size": 1 + n % 7,
                "action": "AT"[n % 2], "side": "BA"[n % 2], "flags": 128, "instrument_id": instrument,
            }
        )  # fmt: skip
    return make_records(rows)


def head(
    start: int, end: int | None, mappings: Mapping[str, list[tuple[dt.date, dt.date, str]]], *, version: int = 3,
    stype_in: dbn.SType | None = dbn.SType.RAW_SYMBOL, schema: dbn.Schema | None = dbn.Schema.MBO, limit: int | None = None,
    dataset: str = "GLBX.MDP3", ts_out: bool = False,
) -> bytes:  # fmt: skip
    """Encoded metadata; `mappings`: key to (first date, date after the last, symbol)."""
    of = [
        Namespace(raw_symbol=key, intervals=[Namespace(start_date=a, end_date=b, symbol=s) for a, b, s in spans])
        for key, spans in mappings.items()
    ]
    return bytes(
        dbn.Metadata(
            dataset=dataset, start=start, end=end, stype_in=stype_in, stype_out=dbn.SType.INSTRUMENT_ID, schema=schema,
            symbols=list(mappings), mappings=of, version=version, limit=limit, ts_out=ts_out,
        )
    )  # fmt: skip


def mapped(date: dt.date, names: Mapping[int, str] = NAMES, days: int = 1) -> dict[str, list[tuple[dt.date, dt.date, str]]]:
    """Mappings of instrument ids to names on `days` dates from `date` on."""
    return {name: [(date, date + dt.timedelta(days=days), str(i))] for i, name in names.items()}


def put(path: Path, metadata: bytes, records: np.ndarray | bytes, *, compress: bool = True) -> Path:
    """Write a DBN file; metadata and records are zstd frames of their own, as Databento's are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = records if isinstance(records, bytes) else records.tobytes()
    pack = zstandard.ZstdCompressor(write_checksum=True).compress if compress else bytes
    path.write_bytes(pack(metadata) + pack(body))
    return path


def mapping_message(instrument: int, symbol: str, ts: int, version: int, wanted: str = "ES.FUT") -> bytes:
    """A symbol mapping message as the live feed sends it, by the layouts of the dbn sources."""
    names = [s.encode().ljust(SYMBOL_LENGTH[version], b"\0") for s in (wanted, symbol)]
    body = b"".join(names) + bytes(4) if version == 1 else b"\x02" + names[0] + b"\x01" + names[1]
    body += ts.to_bytes(8, "little") + (2**64 - 1).to_bytes(8, "little")
    return (
        bytes([(16 + len(body)) // 4, 0x16])
        + (1).to_bytes(2, "little")
        + instrument.to_bytes(4, "little")
        + ts.to_bytes(8, "little")
        + body
    )


def system_message(text: str, ts: int, version: int) -> bytes:
    """A heartbeat or a note of the live feed."""
    length = 80 if version == 1 else 320
    return (bytes([length // 4, 0x17]) + bytes(6) + ts.to_bytes(8, "little") + text.encode()).ljust(length, b"\0")


def definition_file(path: Path, date: dt.date, names: Mapping[int, str] = NAMES) -> Path:
    """A file of schema definition: one record for each instrument, at the start of `date`."""
    records = b"".join(
        bytes(
            dbn.InstrumentDefMsg(
                publisher_id=1, instrument_id=i, ts_event=utc_ns(date), ts_recv=utc_ns(date), min_price_increment=NS // 4,
                display_factor=NS, raw_symbol=name, group="ES", exchange="XCME", instrument_class=dbn.InstrumentClass.FUTURE,
                match_algorithm=dbn.MatchAlgorithm.FIFO, security_update_action=dbn.SecurityUpdateAction.ADD,
                expiration=utc_ns(date + dt.timedelta(days=45)), asset="ES", security_type="FUT",
            )
        )
        for i, name in names.items()
    )  # fmt: skip
    metadata = head(utc_ns(date), utc_ns(date) + DAY_NS, mapped(date, names), schema=dbn.Schema.DEFINITION, stype_in=dbn.SType.PARENT)
    return put(path, metadata, records)


def rows_of(records: np.ndarray, names: Mapping[int, str]) -> dict[tuple[str, dt.date], np.ndarray]:
    """Records by contract and UTC date of reception: what bronze must have."""
    found = {}
    days = records["ts_recv"] // DAY_NS
    for instrument, name in names.items():
        if "-" in name:
            continue
        for day in np.unique(days):
            date = dt.datetime.fromtimestamp(int(day) * 86_400, dt.UTC).date()
            found[name, date] = records[(days == day) & (records["instrument_id"] == instrument)]
    return found


# ----------------------------------------------------------------------------
# The deliveries: each is made by a function of a folder and the dates that are its own

Maker = Callable[[Path, dt.date], Delivery]
MAKERS: dict[str, Maker] = {}


def delivery(name: str) -> Callable[[Maker], Maker]:
    """Register a maker."""

    def register(maker: Maker) -> Maker:
        MAKERS[name] = maker
        return maker

    return register


def make_all(folder: Path, first: dt.date) -> dict[str, Delivery]:
    """All deliveries under `folder`, each with ten dates of its own from `first` on."""
    return {
        name: maker(folder / f"{n:02d} {name}", first + dt.timedelta(days=10 * n)) for n, (name, maker) in enumerate(sorted(MAKERS.items()))
    }


def one_day(date: dt.date) -> tuple[int, int, np.ndarray]:
    """Start, end and records of a whole date."""
    start = utc_ns(date)
    return start, start + DAY_NS, orders(start, start + DAY_NS)


def _whole_day(version: int, compress: bool, name: str) -> Maker:
    def make(folder: Path, date: dt.date) -> Delivery:
        start, end, records = one_day(date)
        put(folder / name, head(start, end, mapped(date), version=version), records, compress=compress)
        return Delivery(folder, rows=rows_of(records, NAMES))

    return make


for _version in (1, 2, 3):
    delivery(f"day, version {_version}, zstd")(_whole_day(_version, True, f"glbx-v{_version}.mbo.dbn.zst"))
    delivery(f"day, version {_version}, raw")(_whole_day(_version, False, f"glbx-v{_version}.mbo.dbn"))
delivery("name without an ending")(_whole_day(3, True, "the day of the crash"))
delivery("name of another kind")(_whole_day(3, False, "export.csv"))


@delivery("week in one file")
def _week(folder: Path, date: dt.date) -> Delivery:
    start = utc_ns(date)
    records = np.concatenate([orders(start + k * DAY_NS, start + (k + 1) * DAY_NS) for k in (1, 2, 4)])
    put(folder / "week.mbo.dbn.zst", head(start, start + 7 * DAY_NS, mapped(date, days=7)), records)
    return Delivery(folder, rows=rows_of(records, NAMES))


@delivery("two dates, ids that change at midnight")
def _changing(folder: Path, date: dt.date) -> Delivery:
    start, next_date = utc_ns(date), date + dt.timedelta(days=1)
    records = orders(start + 20 * HOUR_NS, start + 44 * HOUR_NS, {ESZ5: NS // 4, ESH6: NS // 4})
    after = next_date + dt.timedelta(days=1)
    mappings = {"ESZ5": [(date, next_date, "1"), (next_date, after, "2")], "ESH6": [(date, next_date, "2"), (next_date, after, "1")]}
    put(folder / "globex.dbn.zst", head(start + 20 * HOUR_NS, start + 44 * HOUR_NS, mappings), records)
    early = records["ts_recv"] < utc_ns(next_date)
    return Delivery(folder, rows=rows_of(records[early], NAMES) | rows_of(records[~early], {1: "ESH6", 2: "ESZ5"}))


@delivery("hours, in folders, of one name")
def _hours(folder: Path, date: dt.date) -> Delivery:
    start, _, records = one_day(date)
    # Folders in another order than their hours.
    for where, (a, b) in {"a": (12, 24), "b": (0, 7), "c": (7, 12)}.items():
        part = records[(records["ts_recv"] >= start + a * HOUR_NS) & (records["ts_recv"] < start + b * HOUR_NS)]
        put(folder / where / "es.dbn.zst", head(start + a * HOUR_NS, start + b * HOUR_NS, mapped(date)), part)
    return Delivery(folder, words=("stored as 2-es.dbn.zst", "stored as 3-es.dbn.zst"), rows=rows_of(records, NAMES))


@delivery("hours with a hole")
def _hole(folder: Path, date: dt.date) -> Delivery:
    start, _, records = one_day(date)
    kept = []
    for a, b in ((0, 7), (9, 24)):
        part = records[(records["ts_recv"] >= start + a * HOUR_NS) & (records["ts_recv"] < start + b * HOUR_NS)]
        put(folder / f"{a:02d}.dbn.zst", head(start + a * HOUR_NS, start + b * HOUR_NS, mapped(date)), part)
        kept.append(part)
    return Delivery(folder, rows=rows_of(np.concatenate(kept), NAMES))


@delivery("split by size")
def _sizes(folder: Path, date: dt.date) -> Delivery:
    start, end, records = one_day(date)
    records["ts_recv"][38:42] = records["ts_recv"][38]  # a cut amid one instant
    for k, part in enumerate(np.split(records, [40, 61])):
        put(folder / f"day_{k:04d}.mbo.dbn.zst", head(start, end, mapped(date)), part)
    return Delivery(folder, rows=rows_of(records, NAMES))


@delivery("split by symbol")
def _symbols(folder: Path, date: dt.date) -> Delivery:
    start, end, records = one_day(date)
    for instrument, name in NAMES.items():
        if instrument != SPREAD:
            metadata = head(start, end, mapped(date, {instrument: name}))
            put(folder / f"day.mbo.{name}.dbn.zst", metadata, records[records["instrument_id"] == instrument])
    return Delivery(folder, rows=rows_of(records, NAMES))


@delivery("two roots in one file")
def _two_roots(folder: Path, date: dt.date) -> Delivery:
    start, end = utc_ns(date), utc_ns(date) + DAY_NS
    names = {ESZ5: "ESZ5", 9: "NQZ5", 8: "XYZ5"}
    records = orders(start, end, {ESZ5: NS // 4, 9: NS // 4, 8: 15_625_000})
    put(folder / "all.dbn.zst", head(start, end, mapped(date, names), stype_in=dbn.SType.PARENT), records)
    return Delivery(folder, rows=rows_of(records, {ESZ5: "ESZ5", 9: "NQZ5"}))


@delivery("an instrument that nothing maps")
def _stranger(folder: Path, date: dt.date) -> Delivery:
    start, end, records = one_day(date)
    records["instrument_id"][[17, 40]] = STRANGER
    put(folder / "a.dbn.zst", head(start, end, mapped(date), stype_in=dbn.SType.PARENT), records)
    return Delivery(folder, words=("2 of 96 records are left out: no symbol is known of instrument 777",), rows=rows_of(records, NAMES))


def _unnamed(folder: Path, date: dt.date, stype: dbn.SType | None, keys: Mapping[str, str]) -> dict[tuple[str, dt.date], np.ndarray]:
    start, end = utc_ns(date), utc_ns(date) + DAY_NS
    records = orders(start, end, {ESZ5: NS // 4})
    mappings = {key: [(date, date + dt.timedelta(days=1), symbol)] for key, symbol in keys.items()}
    put(folder / "a.dbn.zst", head(start, end, mappings, stype_in=stype), records)
    return rows_of(records, {ESZ5: "ESZ5"})


def symbology(path: Path, date: dt.date, result: Mapping[str, str]) -> None:
    """The answer of ``symbology.resolve``, or a batch job's symbology.json."""
    text = {key: [{"d0": str(date), "d1": str(date + dt.timedelta(days=1)), "s": s}] for key, s in result.items()}
    path.write_text(json.dumps({"result": text, "symbols": list(result), "partial": [], "not_found": [], "message": "OK", "status": 0}))


@delivery("continuous symbol, with its symbology")
def _continuous(folder: Path, date: dt.date) -> Delivery:
    rows = _unnamed(folder, date, dbn.SType.CONTINUOUS, {"ES.c.0": "1"})
    symbology(folder / "symbology.json", date, {"ES.c.0": "ESZ5"})
    return Delivery(folder, words=("named by", "symbology.json"), rows=rows)


@delivery("continuous symbol, with a definition file")
def _defined(folder: Path, date: dt.date) -> Delivery:
    rows = _unnamed(folder, date, dbn.SType.CONTINUOUS, {"ES.c.0": "1"})
    definition_file(folder / "glbx.definition.dbn.zst", date)
    return Delivery(folder, words=("named by", "definition"), rows=rows)


@delivery("instrument ids, with their symbology")
def _ids(folder: Path, date: dt.date) -> Delivery:
    rows = _unnamed(folder, date, dbn.SType.INSTRUMENT_ID, {"1": "1"})
    symbology(folder / "resolved.json", date, {"1": "ESZ5"})
    return Delivery(folder, words=("named by", "resolved.json"), rows=rows)


@delivery("no mappings, with the symbology of a parent")
def _unmapped(folder: Path, date: dt.date) -> Delivery:
    rows = _unnamed(folder, date, dbn.SType.RAW_SYMBOL, {})
    symbology(folder / "symbology.json", date, {"ESZ5": "1", "ESH6": "2"})
    return Delivery(folder, words=("named by",), rows=rows)


@delivery("continuous symbol alone")
def _continuous_alone(folder: Path, date: dt.date) -> Delivery:
    _unnamed(folder, date, dbn.SType.CONTINUOUS, {"ES.v.1": "1"})
    return Delivery(folder, "refused", ("continuous symbol (ES.v.1)", "definition file", "stype_in='parent'", "or 'raw_symbol'"))


@delivery("instrument ids alone")
def _ids_alone(folder: Path, date: dt.date) -> Delivery:
    _unnamed(folder, date, dbn.SType.INSTRUMENT_ID, {"1": "1"})
    return Delivery(folder, "refused", ("requested by instrument ids (1)", "symbology.json", "stype_in='parent'"))


@delivery("no mappings alone")
def _unmapped_alone(folder: Path, date: dt.date) -> Delivery:
    _unnamed(folder, date, dbn.SType.RAW_SYMBOL, {})
    return Delivery(folder, "refused", ("hold no mappings", "symbology.json", "stype_in='parent'"))


def _recording(version: int, ts_out: bool, hours: tuple[int, int]) -> Maker:
    def make(folder: Path, date: dt.date) -> Delivery:
        start, end = (utc_ns(date) + h * HOUR_NS for h in hours)
        records = orders(start, end)
        body = b"".join(mapping_message(i, name, start, version) + (bytes(8) if ts_out else b"") for i, name in NAMES.items())
        if ts_out:  # every record has a time of sending at its end, and a length that says so
            records["length"] += 2
            words = bytearray(body)
            at = 0
            while at < len(words):
                words[at] += 2
                at += words[at] * 4
            body = bytes(words)
        for n, record in enumerate(records):
            if n % 5 == 0 and not ts_out:
                body += system_message("Heartbeat", int(record["ts_recv"]), version)
            body += record.tobytes() + (bytes(8) if ts_out else b"")
        metadata = head(0, None, {}, version=version, schema=None, stype_in=None, ts_out=ts_out)
        put(folder / "recorded.dbn", metadata, body, compress=False)
        if ts_out:
            records["length"] -= 2
        return Delivery(folder, words=("a recording of the live feed",), rows=rows_of(records, NAMES))

    return make


delivery("recording, version 3")(_recording(3, False, (13, 20)))
delivery("recording, version 1, over midnight")(_recording(1, False, (20, 28)))
delivery("recording with times of sending")(_recording(3, True, (13, 20)))


@delivery("request with a limit")
def _limit(folder: Path, date: dt.date) -> Delivery:
    start, end, records = one_day(date)
    put(folder / "a.dbn.zst", head(start, end, mapped(date), limit=50), records[:50])
    return Delivery(folder, rows=rows_of(records[:50], NAMES))


def _job(folder: Path, date: dt.date) -> tuple[dict[str, bytes], np.ndarray]:
    """The files of a batch job, of a degraded day."""
    start, end, records = one_day(date)
    pack = zstandard.ZstdCompressor().compress
    name = f"glbx-mdp3-{date:%Y%m%d}.mbo.dbn.zst"
    content = pack(head(start, end, mapped(date), stype_in=dbn.SType.PARENT)) + pack(records.tobytes())
    manifest = {
        "job_id": "GLBX-20251105-AAAA",
        "files": [{"filename": name, "size": len(content), "hash": f"sha256:{hashlib.sha256(content).hexdigest()}", "urls": {}}],
    }
    condition = [{"date": str(date), "condition": "degraded", "last_modified_date": str(date)}]
    files = {name: content, "manifest.json": manifest, "condition.json": condition, "metadata.json": {"query": {}}, "symbology.json": {}}
    return {n: c if isinstance(c, bytes) else json.dumps(c).encode() for n, c in files.items()}, records


@delivery("batch job in folders, degraded")
def _nested(folder: Path, date: dt.date) -> Delivery:
    files, records = _job(folder, date)
    where = folder / "downloads" / "GLBX-20251105-AAAA"
    where.mkdir(parents=True)
    for name, content in files.items():
        (where / name).write_bytes(content)
    (where / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    return Delivery(folder, words=(f"{date}: Databento calls the data of this UTC date degraded",), rows=rows_of(records, NAMES))


@delivery("batch job as a zip archive, degraded")
def _zipped(folder: Path, date: dt.date) -> Delivery:
    files, records = _job(folder, date)
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "GLBX-20251105-AAAA.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"GLBX-20251105-AAAA/{name}", content)
    return Delivery(folder, words=(f"{date}: Databento calls the data of this UTC date degraded",), rows=rows_of(records, NAMES))


@delivery("batch job, not as it was made")
def _changed(folder: Path, date: dt.date) -> Delivery:
    files, _ = _job(folder, date)
    folder.mkdir(parents=True, exist_ok=True)
    files["manifest.json"] = files["manifest.json"].replace(b"sha256:", b"sha256:00")
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return Delivery(folder, "refused", ("expected SHA-256", "manifest.json", "download it again"))


@delivery("batch job, a file missing")
def _missing(folder: Path, date: dt.date) -> Delivery:
    files, records = _job(folder, date)
    folder.mkdir(parents=True, exist_ok=True)
    listed = json.loads(files["manifest.json"])
    listed["files"].append({"filename": "glbx-mdp3-20300101.mbo.dbn.zst", "size": 1, "hash": "sha256:00", "urls": {}})
    files["manifest.json"] = json.dumps(listed).encode()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return Delivery(folder, words=("manifest.json also lists glbx-mdp3-20300101.mbo.dbn.zst: not given",), rows=rows_of(records, NAMES))


@delivery("a root that is not known")
def _unknown(folder: Path, date: dt.date) -> Delivery:
    start, end = utc_ns(date), utc_ns(date) + DAY_NS
    put(folder / "a.dbn.zst", head(start, end, mapped(date, {8: "XYZ5"})), orders(start, end, {8: 15_625_000}))
    return Delivery(folder, "refused", ("XYZ5", "ES, MES, NQ", "tick size", "multiplier", "months"))


@delivery("another venue")
def _venue(folder: Path, date: dt.date) -> Delivery:
    start, end, records = one_day(date)
    put(folder / "a.dbn.zst", head(start, end, mapped(date, {1: "AAPL"}), dataset="XNAS.ITCH"), records)
    return Delivery(folder, "refused", ("expected a file of GLBX.MDP3", "XNAS.ITCH"))


@delivery("another schema, in company")
def _schema(folder: Path, date: dt.date) -> Delivery:
    start, end, records = one_day(date)
    put(folder / "a.mbo.dbn.zst", head(start, end, mapped(date)), records)
    put(folder / "a.trades.dbn.zst", head(start, end, mapped(date), schema=dbn.Schema.TRADES), bytes(48))
    return Delivery(folder, words=("expected schema mbo, found trades", "passed over"), rows=rows_of(records, NAMES))


def _joined(compress: bool) -> Maker:
    def make(folder: Path, date: dt.date) -> Delivery:
        parts = []
        for k in range(2):
            start, end, records = one_day(date + dt.timedelta(days=k))
            parts.append(put(folder / "a", head(start, end, mapped(date, days=2)), records, compress=compress).read_bytes())
        (folder / "a").unlink()
        (folder / "joined.dbn").write_bytes(b"".join(parts))
        return Delivery(folder, "refused", ("a second Databento file begins here", "cat a b", "record 96 "))

    return make


delivery("two files joined by cat, raw")(_joined(False))
delivery("two files joined by cat, zstd")(_joined(True))


def _truncated(compress: bool) -> Maker:
    def make(folder: Path, date: dt.date) -> Delivery:
        start, end, records = one_day(date)
        path = put(folder / "a.dbn", head(start, end, mapped(date)), records, compress=compress)
        path.write_bytes(path.read_bytes()[:-17])
        return Delivery(folder, "refused", ("truncated", "fetch the file again"))

    return make


delivery("truncated, raw")(_truncated(False))
delivery("truncated, zstd")(_truncated(True))


@delivery("an empty file")
def _empty(folder: Path, date: dt.date) -> Delivery:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.dbn.zst").write_bytes(b"")
    return Delivery(folder, "refused", ("is empty", "fetch the file again"))


@delivery("CSV, zstd")
def _csv(folder: Path, date: dt.date) -> Delivery:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.mbo.csv.zst").write_bytes(zstandard.compress(b"ts_recv,ts_event,rtype,publisher_id\n1,1,160,1\n"))
    return Delivery(folder, "passed over", ("a CSV file of Databento", "encoding='dbn'"))


@delivery("gzip")
def _gzip(folder: Path, date: dt.date) -> Delivery:
    start, end, records = one_day(date)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.dbn.gz").write_bytes(gzip.compress(head(start, end, mapped(date)) + records.tobytes()))
    return Delivery(folder, "refused", ("an archive of another kind than zip: unpack it",))


@delivery("records without metadata")
def _fragment(folder: Path, date: dt.date) -> Delivery:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.dbn.frag").write_bytes(one_day(date)[2].tobytes())
    return Delivery(folder, "refused", ("without its metadata", "give the whole file"))


@delivery("dates in the wrong order")
def _disordered(folder: Path, date: dt.date) -> Delivery:
    start = utc_ns(date)
    records = np.concatenate([orders(start + DAY_NS, start + 2 * DAY_NS), orders(start, start + DAY_NS)])
    put(folder / "a.dbn.zst", head(start, start + 2 * DAY_NS, mapped(date, days=2)), records)
    return Delivery(folder, "refused", ("was received on", "expected the order of reception"))


@delivery("the same day again, raw, version 1")
def _again(folder: Path, date: dt.date) -> Delivery:
    start, end, records = one_day(date)
    put(folder / "a.dbn.zst", head(start, end, mapped(date)), records)
    put(folder / "b.dbn", head(start, end, mapped(date), version=1), records, compress=False)
    words = ("b.dbn: not added: ESH6, ESZ5 of", "is there already:", "a.dbn.zst, with the same records")
    return Delivery(folder, "refused", words, rows_of(records, NAMES))


@delivery("hours that overlap")
def _overlapping(folder: Path, date: dt.date) -> Delivery:
    start, _, records = one_day(date)
    for name, a, b in (("a", 0, 10), ("b", 9, 24)):
        part = records[(records["ts_recv"] >= start + a * HOUR_NS) & (records["ts_recv"] < start + b * HOUR_NS)]
        put(folder / f"{name}.dbn.zst", head(start + a * HOUR_NS, start + b * HOUR_NS, mapped(date)), part)
    first = records[records["ts_recv"] < start + 10 * HOUR_NS]
    return Delivery(folder, "refused", ("b.dbn.zst: not added: ESH6, ESZ5 of", "is there already", "--replace"), rows_of(first, NAMES))


@delivery("the same bytes again")
def _copied(folder: Path, date: dt.date) -> Delivery:
    start, end, records = one_day(date)
    path = put(folder / "a.dbn.zst", head(start, end, mapped(date)), records)
    (folder / "b.dbn.zst").write_bytes(path.read_bytes())
    return Delivery(folder, words=("there already",), rows=rows_of(records, NAMES))


@delivery("an archive that is damaged")
def _damaged_zip(folder: Path, date: dt.date) -> Delivery:
    files, _ = _job(folder, date)
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    content = bytearray(buffer.getvalue())
    content[400] ^= 0xFF
    (folder / "job.zip").write_bytes(content)
    return Delivery(folder, "refused", ("job.zip",))


@delivery("an archive within an archive")
def _nested_zip(folder: Path, date: dt.date) -> Delivery:
    files, _ = _job(folder, date)
    folder.mkdir(parents=True, exist_ok=True)
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with zipfile.ZipFile(folder / "all jobs.zip", "w") as archive:
        archive.writestr("jobs/GLBX-20251105-AAAA.zip", inner.getvalue())
    return Delivery(folder, "refused", ("all jobs.zip:jobs/GLBX-20251105-AAAA.zip", "a zip archive inside another: unpack it"))


@delivery("an archive with nothing in it")
def _empty_zip(folder: Path, date: dt.date) -> Delivery:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "job.zip", "w"):
        pass
    return Delivery(folder, "refused", ("job.zip: a zip archive with nothing in it",))


@delivery("names in capitals, with spaces, and of another alphabet")
def _names(folder: Path, date: dt.date) -> Delivery:
    start, end, records = one_day(date)
    half = records["ts_recv"] < start + 12 * HOUR_NS
    put(folder / "Загрузки 下载" / "ES MORNING.MBO.DBN.ZST", head(start, start + 12 * HOUR_NS, mapped(date)), records[half])
    put(folder / "it's $HOME" / "день `x`.dbn", head(start + 12 * HOUR_NS, end, mapped(date)), records[~half], compress=False)
    return Delivery(folder, words=("stored as ES MORNING.MBO.dbn.zst",), rows=rows_of(records, NAMES))


@delivery("links to files, to folders, and in a circle")
def _links(folder: Path, date: dt.date) -> Delivery:
    start, end, records = one_day(date)
    store = folder / ".store"
    put(store / "inner" / "a.dbn.zst", head(start, end, mapped(date, {ESZ5: "ESZ5"})), records[records["instrument_id"] == ESZ5])
    put(store / "SHA256E-s1", head(start, end, mapped(date, {ESH6: "ESH6"})), records[records["instrument_id"] == ESH6])
    (folder / "linked").symlink_to(store / "inner")
    (folder / "b.dbn.zst").symlink_to(store / "SHA256E-s1")
    (store / "inner" / "up").symlink_to(folder)
    return Delivery(folder, rows=rows_of(records, NAMES))


@delivery("a link that leads nowhere")
def _lost_link(folder: Path, date: dt.date) -> Delivery:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.dbn.zst").symlink_to("../annex/gone")
    return Delivery(folder, "refused", ("found a link to ../annex/gone, where nothing is",))


@delivery("zstd in many frames, one of them empty, one to be skipped")
def _frames(folder: Path, date: dt.date) -> Delivery:
    start, end, records = one_day(date)
    folder.mkdir(parents=True, exist_ok=True)
    content = head(start, end, mapped(date)) + records.tobytes()
    pack, cuts = zstandard.ZstdCompressor().compress, (0, 5, 700, 701, 3_333, len(content))
    frames = [pack(content[a:b]) for a, b in itertools.pairwise(cuts)]
    skipped = (0x184D2A50).to_bytes(4, "little") + (4).to_bytes(4, "little") + b"pzst"
    (folder / "a.dbn.zst").write_bytes(skipped + frames[0] + pack(b"") + b"".join(frames[1:]))
    return Delivery(folder, rows=rows_of(records, NAMES))


@delivery("records as JSON")
def _json_records(folder: Path, date: dt.date) -> Delivery:
    folder.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"hd": {"ts_event": "1", "rtype": 160, "publisher_id": 1, "instrument_id": 1}, "action": "A", "price": "1"}) + "\n"
    (folder / "a.mbo.json.zst").write_bytes(zstandard.compress((line * 1000).encode()))
    return Delivery(folder, "passed over", ("a JSON file of Databento's records", "encoding='dbn'"))


@delivery("a name that promises JSON")
def _lying(folder: Path, date: dt.date) -> Delivery:
    start, end, records = one_day(date)
    put(folder / "condition.json", head(start, end, mapped(date)), records)
    (folder / "a.dbn.zst").write_text(json.dumps([{"date": str(date), "condition": "missing"}]))
    return Delivery(
        folder,
        words=("stored as condition.json.dbn", f"{date}: Databento calls the data of this UTC date missing"),
        rows=rows_of(records, NAMES),
    )


@delivery("conditions without a date, without a word, and of other dates")
def _conditions(folder: Path, date: dt.date) -> Delivery:
    start, end, records = one_day(date)
    put(folder / "a.dbn.zst", head(start, end, mapped(date)), records)
    said = [(None, "missing"), (str(date), None), (str(date), "pending"), (str(date + dt.timedelta(days=1)), "missing")]
    (folder / "condition.json").write_text(json.dumps([{"date": d, "condition": c, "last_modified_date": None} for d, c in said]))
    return Delivery(folder, words=(f"{date}: Databento calls the data of this UTC date pending",), rows=rows_of(records, NAMES))


@delivery("a continuous symbol that rolls, with its symbology")
def _rolling(folder: Path, date: dt.date) -> Delivery:
    start, next_date = utc_ns(date), date + dt.timedelta(days=1)
    records = np.concatenate([orders(start, start + DAY_NS, {ESZ5: NS // 4}), orders(start + DAY_NS, start + 2 * DAY_NS, {ESH6: NS // 4})])
    after = next_date + dt.timedelta(days=1)
    mappings = {"ES.v.0": [(date, next_date, str(ESZ5)), (next_date, after, str(ESH6))]}
    put(folder / "a.dbn.zst", head(start, start + 2 * DAY_NS, mappings, stype_in=dbn.SType.CONTINUOUS), records)
    spans = [(date, next_date, "ESZ5"), (next_date, after, "ESH6")]
    text = {"result": {"ES.v.0": [{"d0": str(a), "d1": str(b), "s": s} for a, b, s in spans]}, "status": 0}
    (folder / "symbology.json").write_text(json.dumps(text))
    early = records["ts_recv"] < utc_ns(next_date)
    return Delivery(folder, words=("named by",), rows=rows_of(records[early], {ESZ5: "ESZ5"}) | rows_of(records[~early], {ESH6: "ESH6"}))


@delivery("mappings and symbology that end on the date they begin")
def _empty_spans(folder: Path, date: dt.date) -> Delivery:
    start, end, records = one_day(date)
    records = records[records["instrument_id"] != SPREAD]
    mappings = {"ESZ5": [(date, date, str(ESZ5))]}
    put(folder / "a.dbn.zst", head(start, end, mappings), records)
    text = {"result": {"ESH6": [{"d0": str(date), "d1": str(date), "s": str(ESH6)}]}, "status": 0}
    (folder / "symbology.json").write_text(json.dumps(text))
    return Delivery(folder, words=("named by",), rows=rows_of(records, NAMES))


@delivery("a parent that its mappings do not resolve")
def _parent(folder: Path, date: dt.date) -> Delivery:
    """Which of the parent's instruments is which contract is not said: none of them may be taken for another."""
    start, end, records = one_day(date)
    day = (date, date + dt.timedelta(days=1))
    put(folder / "a.dbn.zst", head(start, end, {"ES.FUT": [(*day, "1"), (*day, "2")]}, stype_in=dbn.SType.PARENT), records)
    text = {"result": {"ES.FUT": [{"d0": str(day[0]), "d1": str(day[1]), "s": s} for s in ("ESZ5", "ESH6")]}, "status": 0}
    (folder / "symbology.json").write_text(json.dumps(text))
    return Delivery(folder, "refused", ("requested by a parent symbol (ES.FUT)", "definition file"))


assert MBO.itemsize == 56
