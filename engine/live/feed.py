"""The connection to Databento's live gateway, and the supervisor that makes another one whenever it breaks.

Databento's own client shakes hands, subscribes and starts; from then on the bytes are ours (its callbacks take seventy times as long), and
so is what it does not do: to notice that nothing comes, to try again for ever, and to prove that nothing was missed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from databento.common.error import BentoError
from databento.live.protocol import DatabentoLiveProtocol

from engine.errors import BadFeed, EngineError, FeedRefused, LakeWriteFailed, OverlapDiffers
from engine.live.journal import ERROR, REPLAY_COMPLETED, SYSTEM, TRADES, Recorder, Splitter, message_of

PORT = 13000
BUFFER = 1 << 20
FIRST_WAIT_S, LONGEST_WAIT_S, LIMIT_WAIT_S = 0.25, 30.0, 60.0
"""Seconds until a broken connection is made again: at first, at most, and where the account has too many of them."""

SILENT_BEATS = 2.5
"""Heartbeats without a byte after which a connection counts as broken."""

AUTH, DEACTIVATED, CONNECTION_LIMIT, INVALID, AGED_OUT = 1, 2, 3, 5, 8
REFUSED = {
    AUTH: "the key was refused; check DATABENTO_API_KEY at https://databento.com/portal/keys",
    DEACTIVATED: "the key was deactivated; https://databento.com/portal/keys has others",
    INVALID: "the subscription is not valid: the account may lack live data of this dataset; https://databento.com/portal",
}
"""Codes of error messages after which trying again is of no use, and what helps."""


def gateway_host(dataset: str) -> str:
    """Databento's gateway of a dataset."""
    return f"{dataset.lower().replace('.', '-')}.lsg.databento.com"


class Wire(DatabentoLiveProtocol):
    """Databento's own protocol until the key is accepted; from then on `received` gets the bytes, and its errors end the connection."""

    def __init__(self, key: str, dataset: str, heartbeat_s: float, received: Callable[[bytes], None]) -> None:
        super().__init__(key, dataset, heartbeat_interval_s=max(round(heartbeat_s), 1))
        self._mine = bytearray(BUFFER)
        self._received = received

    def __repr__(self) -> str:
        return "Wire()"

    def get_buffer(self, sizehint: int) -> bytearray:
        """The buffer that the next bytes are read into."""
        return self._mine

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on the bytes that came."""
        data = bytes(memoryview(self._mine)[:nbytes])
        if not self.authenticated.done():
            self._process_gateway(data)
            return
        try:
            self._received(data)
        except Exception as e:
            if not self.disconnected.done():
                self.disconnected.set_exception(e)
            self.transport.abort()


class _TryLater(Exception):
    """The gateway asks to wait."""


@dataclass
class Feed:
    """The live feed of a root's contracts into a recorder.

    recorder: takes the records, and says where each connection begins
    key: Databento's; it is never shown
    host, port: the gateway's; Databento's own where None
    since_ns: of a day that is joined late, from when on its trades are asked for, too
    """

    recorder: Recorder
    key: str = field(repr=False)
    host: str | None = None
    port: int = PORT
    since_ns: int | None = None

    def __post_init__(self) -> None:
        logging.getLogger("databento").setLevel(logging.WARNING)  # its messages of the level DEBUG hold parts of the key
        self.recorder.hide = self._hide
        self._splitter = Splitter()
        self._stop = asyncio.Event()
        self._got = 0

    def stop(self) -> None:
        """Let `run` return."""
        self._stop.set()

    async def run(self) -> None:
        """Record until `stop`, or until there is no use in going on: FeedRefused, LakeWriteFailed."""
        ticking = asyncio.create_task(self._tick())
        try:
            wait = FIRST_WAIT_S
            while not self._stop.is_set():
                self._got = 0
                session = asyncio.create_task(self._session())
                stopping = asyncio.create_task(self._stop.wait())
                await asyncio.wait((session, stopping, ticking), return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                if not session.done():
                    session.cancel()
                    with suppress(asyncio.CancelledError, Exception):
                        await session
                    if ticking.done():
                        ticking.result()
                    return
                wait = FIRST_WAIT_S if self._got else wait
                try:
                    session.result()
                    reason = "the gateway closed the connection"
                except (FeedRefused, LakeWriteFailed):
                    raise
                except OverlapDiffers as e:
                    reason = str(e)
                    self.recorder.must_join(reason)
                except _TryLater as e:
                    reason, wait = str(e), LIMIT_WAIT_S
                except Exception as e:
                    reason = f"{e}" if isinstance(e, EngineError) else f"{type(e).__name__}: {e}"
                pause = wait * random.uniform(0.5, 1.0)
                self.recorder.lost(self._hide(reason), pause)
                wait = min(2 * wait, LONGEST_WAIT_S)
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), pause)
        finally:
            ticking.cancel()

    async def _session(self) -> None:
        """One connection, until it ends; it raises what ended it."""
        recorder = self.recorder
        start = recorder.resume()
        joins_late = start is None and self.since_ns is not None
        self._splitter = Splitter()
        before: asyncio.Task[None] | None = None
        transport, wire = await self._connect(self._received)
        try:
            session = await self._authenticated(wire)
            wire.subscribe("mbo", f"{recorder.root}.FUT", "parent", start=start, snapshot=start is None)
            wire.start()
            recorder.connected(session, start)
            if joins_late:
                before = asyncio.create_task(self._trades_before())
            silent = SILENT_BEATS * recorder.heartbeat_s
            while not wire.disconnected.done():
                left = silent - recorder.silent_s
                if left <= 0:
                    raise BadFeed(f"nothing came for {silent:.1f} s, not even a heartbeat")
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(asyncio.shield(wire.disconnected), left)
            wire.disconnected.result()
        except Exception as e:
            raise self._named(e) from None
        finally:
            transport.abort()
            if before is not None:
                before.cancel()
            if wire.disconnected.done() and not wire.disconnected.cancelled():
                wire.disconnected.exception()

    async def _connect(self, received: Callable[[bytes], None]) -> tuple[Any, Wire]:
        loop = asyncio.get_running_loop()
        dataset, beat = self.recorder.dataset, self.recorder.heartbeat_s
        made = loop.create_connection(lambda: Wire(self.key, dataset, beat, received), self.host or gateway_host(dataset), self.port)
        return await asyncio.wait_for(made, 10)

    async def _authenticated(self, wire: Wire) -> str:
        """The session's id once the key is accepted."""
        await asyncio.wait((wire.authenticated, wire.disconnected), timeout=30, return_when=asyncio.FIRST_COMPLETED)
        if wire.authenticated.done():
            return str(wire.authenticated.result())
        if wire.disconnected.done():
            wire.disconnected.result()
            raise ConnectionError("the gateway closed the connection before it asked for the key")
        raise TimeoutError("the gateway did not answer within 30 s")

    def _named(self, error: Exception) -> Exception:
        """An error as it is to be taken: what Databento's client raises where the gateway refuses the key is FeedRefused."""
        if not isinstance(error, BentoError):
            return error
        text = self._hide(str(error))
        if "limit" in text.lower():
            return _TryLater(f"{text}; it is tried again every {LIMIT_WAIT_S:.0f} s")
        return FeedRefused(f"Databento's gateway says: {text}; {REFUSED[AUTH]}")

    def _received(self, data: bytes) -> None:
        recorder = self.recorder
        recorder.heard()
        records, others = self._splitter.take(data)
        for other in others:
            if other[1] != ERROR:
                continue
            text, code = message_of(other)
            if code in REFUSED or code in (AGED_OUT, CONNECTION_LIMIT):
                recorder.message(other)
                if code == AGED_OUT:
                    raise OverlapDiffers(f"the gateway has no records from so long ago ({text})")
                if code == CONNECTION_LIMIT:
                    raise _TryLater(f"{text}; it is tried again every {LIMIT_WAIT_S:.0f} s")
                raise FeedRefused(f"Databento's gateway says: {self._hide(text)}; {REFUSED[code]}")  # type: ignore[index]
        for other in others:
            if not self._completes(other):
                recorder.message(other)
        if records:
            recorder.take(records)
            self._got += 1
        for other in others:  # a replay's end follows its records
            if self._completes(other):
                recorder.message(other)

    @staticmethod
    def _completes(record: bytes) -> bool:
        return record[1] == SYSTEM and message_of(record)[1] in (REPLAY_COMPLETED, None)

    async def _trades_before(self) -> None:
        """The trades since `since_ns` of a day that is joined late, by a short session of its own; without them levels lack those hours."""
        parts: list[bytes] = []
        refused: list[str] = []
        done = asyncio.Event()
        splitter = Splitter()

        def received(data: bytes) -> None:
            _, others = splitter.take(data)
            parts.extend(o for o in others if o[1] == TRADES)
            refused.extend(str(message_of(o)[0]) for o in others if o[1] == ERROR)
            if any(o[1] == ERROR or (o[1] == SYSTEM and message_of(o)[1] == REPLAY_COMPLETED) for o in others):
                done.set()

        try:
            transport, wire = await self._connect(received)
            try:
                await self._authenticated(wire)
                wire.subscribe("trades", f"{self.recorder.root}.FUT", "parent", start=self.since_ns)
                wire.start()
                await asyncio.wait_for(done.wait(), 60)
            finally:
                transport.abort()
            if refused:
                raise BadFeed(f"the trades since the open: {refused[0]}")
            self.recorder.trades(b"".join(parts))
        except (OSError, TimeoutError, BadFeed, BentoError) as e:
            self.recorder.say("trades", n=0, reason=self._hide(f"{type(e).__name__}: {e}"))

    async def _tick(self) -> None:
        """Each second: the status, and the journal onto the disk."""
        while True:
            self.recorder.tick()
            fd = self.recorder.sync_fd()
            if fd >= 0:
                try:
                    await asyncio.to_thread(os.fsync, fd)
                finally:
                    os.close(fd)
            await asyncio.sleep(1.0)

    def _hide(self, text: str) -> str:
        """`text` without the key, should a message repeat it."""
        return text.replace(self.key, "[the key]").replace(self.key[-5:], "[...]") if len(self.key) > 5 else text
