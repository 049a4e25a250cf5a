"""A gateway on loopback that speaks as Databento's live one does and sends a recorded file at a chosen speed.
`spymaster live --from` and the tests connect to it with Databento's own client.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import databento_dbn
import numpy as np
from numpy.typing import NDArray

from engine.errors import BadDbn
from engine.live.journal import DAY_NS, MBO, TRADE
from engine.mbo.dbn import ByteSource, mapped_symbol, mbo_words, metadata_of, require_mbo
from engine.vocab import F_LAST, F_SNAPSHOT, NS, UNDEF_PRICE

dbn: Any = databento_dbn  # its stubs are wrong about its own enums

KEY = "db-replayed-file-no-key-is-needed"
"""The key that this gateway takes: it is none of Databento's."""

_A, _C, _M, _R, _T = b"ACMRT"
F_BAD_TS_RECV = 8
SENT_AT_ONCE = 20_000


@dataclass
class Recording:
    """A recorded stream: instrument id to symbol, and its records in a mapped temporary file; the name of its dataset."""

    symbols: dict[int, str]
    records: NDArray[np.void]
    dataset: str

    @classmethod
    def read(cls, paths: Sequence[Path]) -> Recording:
        """The files of consecutive dates as one stream; BadDbn where one is no such file."""
        symbols: dict[int, str] = {}
        dataset = ""
        with tempfile.TemporaryFile() as whole:
            for path in paths:
                with path.open("rb") as raw:
                    source = ByteSource(raw, path)
                    metadata = require_mbo(metadata_of(path, source))
                    if metadata.record_bytes != MBO.itemsize:
                        raise BadDbn(f"{path}: expected records of {MBO.itemsize} bytes, found {metadata.record_bytes} (with ts_out)")
                    others: list[bytes] = []
                    last = 0
                    for words in mbo_words(metadata, source, other=others.append):
                        whole.write(words.tobytes())
                        last = int(words[-1, 5])
                dataset = metadata.dataset
                date = np.datetime64(metadata.start_ns or last, "ns").astype("datetime64[D]").item()
                symbols |= metadata.symbols(date)
                symbols |= {m[0]: m[1] for m in map(mapped_symbol, others) if m is not None}
            whole.flush()
            size = whole.tell()
            records = np.memmap(whole, MBO, "r") if size else np.zeros(0, MBO)
        return cls(symbols, records, dataset)


class RestingOrders:
    """The resting orders of a recording, moved on to any of its records."""

    def __init__(self, records: NDArray[np.void]) -> None:
        self._records, self._at = records, 0
        self._orders: dict[tuple[int, int], list[int]] = {}  # (instrument, order) -> [record that placed it, size left]

    def advance(self, end: int) -> None:
        """Take in the records before `end`."""
        orders = self._orders
        while self._at < end:
            part = self._records[self._at : min(end, self._at + (1 << 17))]
            columns = (part[n].tolist() for n in ("action", "instrument_id", "order_id", "size", "price"))
            for i, (action, instrument, order, size, price) in enumerate(zip(*columns), self._at):
                if action in (_T, ord("F"), ord("N")):
                    continue
                key = (instrument, order)
                if action == _R:
                    for gone in [k for k in orders if k[0] == instrument]:
                        del orders[gone]
                    continue
                held = orders.get(key)
                if action == _C:
                    if held is not None:
                        held[1] -= size
                        if held[1] <= 0:
                            del orders[key]
                    continue
                if action == _M and held is not None and size <= held[1] and self._records[held[0]]["price"] == price:
                    held[1] = size  # keeps its priority
                    continue
                orders.pop(key, None)
                if size > 0 and price != UNDEF_PRICE:
                    orders[key] = [i, size]
            self._at += len(part)

    def snapshot(self, ts_ns: int, instruments: Sequence[int]) -> bytes:
        """The book as records of a snapshot received at `ts_ns`: per instrument a clear, then its orders by priority."""
        parts = []
        for instrument in instruments:
            held = [v for k, v in self._orders.items() if k[0] == instrument]
            rows = np.zeros(1 + len(held), MBO)
            rows["length"], rows["rtype"], rows["publisher_id"], rows["instrument_id"] = MBO.itemsize // 4, 0xA0, 1, instrument
            if held:
                rows[1:] = self._records[[i for i, _ in held]]
                rows["size"][1:] = [size for _, size in held]
            rows["action"], rows["flags"], rows["ts_recv"] = _A, F_SNAPSHOT | F_BAD_TS_RECV, ts_ns
            rows["price"][0], rows["action"][0], rows["side"][0], rows["ts_event"][0] = UNDEF_PRICE, _R, ord("N"), ts_ns
            rows["flags"][-1] |= F_LAST
            parts.append(rows.tobytes())
        return b"".join(parts)


@dataclass
class Fault:
    """Something that goes wrong once the feed's time reaches `at_ns`.

    do: ``reset`` or ``close`` the connection, ``half`` a record and a reset, ``garbage`` bytes, ``stall`` for `value` seconds, ``skip``
        `value` records, an ``error`` message of the code `value`, a ``slow`` reader's warning, or ``refuse`` the next `value` connections
    """

    at_ns: int
    do: str
    value: float = 0


FAULTS = (("reset", 0.0), ("stall", 4.0), ("garbage", 0.0), ("half", 0.0), ("refuse", 3.0), ("slow", 0.0), ("close", 0.0), ("skip", 60.0))
"""What goes wrong now and then, one after the other: the last one loses records, and is a gap."""

FAULTS_EVERY_S = 90


def now_and_then(begin_ns: int, end_ns: int, speed: float) -> list[Fault]:
    """`FAULTS` over and over, one every `FAULTS_EVERY_S` seconds of the one who watches."""
    step = int(FAULTS_EVERY_S * speed) * NS
    times = range(begin_ns + step, end_ns, step)
    return [Fault(at, *FAULTS[i % len(FAULTS)]) for i, at in enumerate(times)]


@dataclass
class Gateway:
    """The gateway of one recording. Its clock starts with the first session, at `begin_ns`, and runs `speed` times as fast.

    symbol: what was subscribed to, for the mappings
    refuse: so many connections are reset before they are greeted
    oldest_ns: nothing is replayed from before it
    """

    recording: Recording
    speed: float = 1.0
    begin_ns: int | None = None
    faults: list[Fault] = field(default_factory=list)
    key: str = KEY
    refuse: int = 0
    oldest_ns: int = 0
    pause_s: float = 0.005

    def __post_init__(self) -> None:
        received = self.recording.records["ts_recv"]
        flags = self.recording.records["flags"]
        # A file's first records are the book at its start, which no live feed sends: a snapshot has them.
        live = np.flatnonzero((flags & F_SNAPSHOT) == 0)
        first = int(live[0]) if len(live) else len(received)
        self.begin_ns = int(received[min(first, len(received) - 1)]) if self.begin_ns is None else self.begin_ns
        self.received, self.flags, self.first = received, flags, first
        self._orders = RestingOrders(self.recording.records)
        self._wall: float | None = None
        self.wall_ns = 0
        self.sessions = 0
        self.lines: list[str] = []
        self.log: list[str] = []

    def now_ns(self) -> int:
        """The feed's own time."""
        if self._wall is None:
            self._wall, self.wall_ns = time.monotonic(), time.time_ns()
        return int(self.begin_ns or 0) + int((time.monotonic() - self._wall) * self.speed * NS)

    @contextmanager
    def serving(self, port: int = 0) -> Iterator[int]:
        """Context manager in which the gateway listens on loopback, in a thread of its own; yields the port."""
        ready: list[int] = []
        up = threading.Event()
        loop = asyncio.new_event_loop()

        async def serve() -> None:
            server = await asyncio.start_server(self._client, "127.0.0.1", port)
            ready.append(server.sockets[0].getsockname()[1])
            self._ended = asyncio.Event()
            up.set()
            await self._ended.wait()
            server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        def run() -> None:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(serve())
            loop.run_until_complete(loop.shutdown_asyncgens())

        thread = threading.Thread(target=run, name="gateway", daemon=True)
        thread.start()
        up.wait()
        try:
            yield ready[0]
        finally:
            loop.call_soon_threadsafe(self._ended.set)
            thread.join(10)
            loop.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError) as e:
            self.log.append(f"client gone: {e!r}")
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuse > 0:
            self.refuse -= 1
            self.log.append("refused")
            reset(writer)
            return
        self.sessions += 1
        challenge = secrets.token_hex(16)
        writer.write(f"lsg_version=0.9.4\ncram={challenge}\n".encode())
        asked = fields_of(await self._line(reader))
        answer = hashlib.sha256(f"{challenge}|{self.key}".encode()).hexdigest()
        if asked.get("auth") != f"{answer}-{self.key[-5:]}":
            writer.write(b"success=0|error=User authentication failed\n")
            await writer.drain()
            return
        writer.write(f"success=1|session_id={self.sessions}\n".encode())
        beat = float(asked.get("heartbeat_interval_s") or 30)
        subscriptions: list[dict[str, str]] = []
        while True:
            line = await self._line(reader)
            if not line:
                return
            if "start_session" in fields_of(line):
                break
            subscriptions.append(fields_of(line))
        now = self.now_ns()
        metadata: Any = dbn.Metadata(
            dataset=self.recording.dataset, start=now, stype_in=None, stype_out=dbn.SType.INSTRUMENT_ID, schema=None, symbols=[],
            partial=[], not_found=[], mappings=[], ts_out=False, version=3,
        )  # fmt: skip
        writer.write(bytes(metadata.encode()))
        day = now // DAY_NS * DAY_NS
        first = subscriptions[0]
        for instrument, symbol in sorted(self.recording.symbols.items()):
            mapping = dbn.SymbolMappingMsg(
                publisher_id=1, instrument_id=instrument, ts_event=now, stype_in=dbn.SType.PARENT, stype_in_symbol=first["symbols"],
                stype_out=dbn.SType.RAW_SYMBOL, stype_out_symbol=symbol, start_ts=day, end_ts=day + DAY_NS,
            )  # fmt: skip
            writer.write(bytes(mapping))
        for each in subscriptions:
            text = f"Subscription request {each.get('id')} for {each['schema']} data succeeded"
            writer.write(bytes(dbn.SystemMsg(ts_event=now, msg=text, code=dbn.SystemCode.SUBSCRIPTION_ACK)))
        if first["schema"] == "trades":
            await self._send_trades(writer, first, now)
        else:
            await self._send_orders(writer, first, now, beat)

    async def _line(self, reader: asyncio.StreamReader) -> str:
        line = (await reader.readline()).decode().strip()
        self.lines.append(line)
        return line

    async def _send_trades(self, writer: asyncio.StreamWriter, subscription: dict[str, str], now: int) -> None:
        records = self.recording.records[: int(np.searchsorted(self.received, now))]
        wanted = (records["action"] == _T) & (records["ts_event"] >= int(subscription.get("start") or now))
        found = records[wanted]
        trades = np.zeros(len(found), TRADE)
        for name in ("publisher_id", "instrument_id", "ts_event", "price", "size", "action", "side", "flags", "ts_recv", "sequence"):
            trades[name] = found[name]
        trades["length"] = TRADE.itemsize // 4
        writer.write(trades.tobytes())
        writer.write(bytes(dbn.SystemMsg(ts_event=now, msg="Finished trades replay", code=dbn.SystemCode.REPLAY_COMPLETED)))
        await writer.drain()
        await asyncio.sleep(3600)

    async def _send_orders(self, writer: asyncio.StreamWriter, subscription: dict[str, str], now: int, beat: float) -> None:
        at = max(int(np.searchsorted(self.received, now, side="right")), self.first)
        if subscription.get("snapshot") == "1":
            self._orders.advance(at)
            writer.write(self._orders.snapshot(now, sorted(self.recording.symbols)))
        elif subscription.get("start"):
            start = int(subscription["start"])
            if start < self.oldest_ns:
                code = dbn.ErrorCode.REPLAY_DATA_AGED_OUT
                writer.write(bytes(dbn.ErrorMsg(ts_event=now, err="the data are too old", is_last=True, code=code)))
                await writer.drain()
                return
            past = self.recording.records[self.first : at]
            for k in range(0, len(past), SENT_AT_ONCE):
                part = past[k : k + SENT_AT_ONCE]
                writer.write(part[(part["ts_event"] >= start) & ((part["flags"] & F_SNAPSHOT) == 0)].tobytes())
                await writer.drain()
            end = int(np.searchsorted(self.received, self.now_ns()))
            at = await self._send(writer, at, end)
            writer.write(bytes(dbn.SystemMsg(ts_event=now, msg="Finished mbo replay", code=dbn.SystemCode.REPLAY_COMPLETED)))
        await writer.drain()
        last = time.monotonic()
        while True:
            await asyncio.sleep(self.pause_s)
            for fault in [f for f in self.faults if self.now_ns() >= f.at_ns]:
                self.faults.remove(fault)
                self.log.append(fault.do)
                if not await self._go_wrong(writer, fault, at):
                    return
                at += int(fault.value) if fault.do == "skip" else 0
            end = int(np.searchsorted(self.received, self.now_ns()))
            if end > at:
                at, last = await self._send(writer, at, end), time.monotonic()
            elif time.monotonic() - last > beat:
                writer.write(bytes(dbn.SystemMsg(ts_event=self.now_ns(), msg="Heartbeat", code=dbn.SystemCode.HEARTBEAT)))
                last = time.monotonic()
                await writer.drain()

    async def _send(self, writer: asyncio.StreamWriter, at: int, end: int) -> int:
        while at < end:
            part = self.recording.records[at : min(end, at + SENT_AT_ONCE)]
            writer.write(part[(part["flags"] & F_SNAPSHOT) == 0].tobytes())
            await writer.drain()
            at += len(part)
        return max(at, end)

    async def _go_wrong(self, writer: asyncio.StreamWriter, fault: Fault, at: int) -> bool:
        """Do what the fault says; whether the session goes on."""
        match fault.do:
            case "reset":
                reset(writer)
            case "close":
                await writer.drain()
                writer.close()
            case "half":
                writer.write(self.recording.records[at : at + 1].tobytes()[:23])
                await writer.drain()
                reset(writer)
            case "garbage":
                writer.write(secrets.token_bytes(333))
                await writer.drain()
                return True
            case "stall":
                await asyncio.sleep(fault.value)
                return True
            case "skip":
                return True
            case "error":
                code = dbn.ErrorCode.from_int(int(fault.value))
                writer.write(bytes(dbn.ErrorMsg(ts_event=self.now_ns(), err="made on purpose", is_last=True, code=code)))
                await writer.drain()
                return True
            case "slow":
                writer.write(bytes(dbn.SystemMsg(ts_event=self.now_ns(), msg="slow reader", code=dbn.SystemCode.SLOW_READER_WARNING)))
                return True
            case "refuse":
                self.refuse = int(fault.value)
                reset(writer)
            case other:
                raise ValueError(f"expected a fault of the gateway, found {other!r}")
        return False


def fields_of(line: str) -> dict[str, str]:
    """The fields of a line of the gateway's text protocol."""
    return dict(token.partition("=")[::2] for token in line.split("|"))


def reset(writer: asyncio.StreamWriter) -> None:
    """Reset a connection, as a network that breaks does."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
