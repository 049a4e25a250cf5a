"""``spymaster demo``: from a folder of DBN files to the screen, in one command."""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlencode

from cyclopts import Parameter

from engine.commands.common import LakeDir, require
from engine.errors import RunFailed
from engine.sessions import NEW_YORK, profile_text
from engine.vocab import NS

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from engine.lake.store import Lake

SIMULATED, WITH_OPTIONS = "2025-10-01:2025-10-21", "2025-10-22:2025-10-28"
"""UTC dates that are simulated where there are no files, twenty sessions; the last five, of which one is opened, have options."""

RATE, THIN_AFTER = 0.10, "12:35"
AUDITED = ("means", "learned", "wall")
"""What the audit of a simulated demo compares, so that Research has its answer; a whole one takes a minute (`spymaster audit`)."""

KAPPA, GAMMA, REARM_TICKS = 8.0, 1.0, 6
"""Strength of the demo's regimes and of what price does after them: at VWAP and the 200-bar average, too, and again whenever price has been
this far away, since gold arms an approach from 5 ticks on. Twenty sessions leave half of them to learn from: at strength 4 no edge is seen
in the other half, at 6 and 8 there is one."""


def demo(
    *,
    dbn: Annotated[Path | None, Parameter(help="DBN file, or folder of them; what the lake has already where none is given.")] = None,
    lake: LakeDir = Path("lake"),
    session: Annotated[str, Parameter(help="Session profile as for run; auto: rth or globex_open, the one with more trades.")] = "auto",
    kappa: Annotated[float, Parameter(help="Without files: strength of the planted regimes; 0: none, no edge.")] = KAPPA,
    port: Annotated[int, Parameter(help="Port on this machine.")] = 5006,
    serve: Annotated[bool, Parameter(help="Serve the screen at the end.")] = True,
) -> None:
    """Add DBN files to the lake, run the whole pipeline for every root in it, and serve the screen.

    Without files, given or in the lake, twenty sessions of a simulated market stand in. The page opens on a setup worth a look.

    Examples
    --------
    ::

        spymaster demo --dbn ~/databento/GLBX-20231225/
        spymaster demo --lake /data/lake --no-serve
        spymaster demo --lake null --kappa 0
    """
    from engine.commands.retrieval import audit
    from engine.commands.serve import serve as serve_screen
    from engine.lake.store import Lake
    from engine.runner import reuse_workers

    place = Lake(lake)
    with reuse_workers():
        made_up = dbn is None and not place.raw_roots()
        faults = _fill(place, dbn, session, kappa)
        if made_up:
            audit(lake=lake, only=",".join(AUDITED))
    query = demo_query(place) or {}
    if query:
        sys.stderr.write(f"opens on {' '.join(query.values())} New York\n")
    if faults is not None and not serve:
        raise faults
    if serve:
        sys.stderr.write(f"{faults}\n" if faults is not None else "")
        serve_screen(lake=lake, port=port, query=urlencode(query, safe=":"))


def _fill(place: Lake, dbn: Path | None, session: str, kappa: float) -> RunFailed | None:
    """Add the given files (simulate some where the lake has none), and run the whole pipeline; returns what was not added."""
    from engine.commands.add import failure, take, tell
    from engine.commands.run import run
    from engine.params import SelectionParams
    from engine.selection import make_selection
    from engine.stages.raw import raw_index

    lake, faults = place.root, None
    made_up = dbn is None and not place.raw_roots()
    if dbn is not None:
        intake = take(place, [dbn])
        tell(intake)
        faults = failure(intake)
        if faults is not None and not any(line.contracts for line in intake.lines):
            raise faults
    elif made_up:
        _simulate(lake, kappa)
    roots = place.raw_roots()
    spans = {}
    for root in roots:
        dates = raw_index(place, root).dates(root)
        if dates:
            spans[root] = (dates[0] - dt.timedelta(days=1), dates[-1])
            run(symbol=root, dates=f"{dates[0]}:{dates[-1]}", layer="bronze", lake=lake)
    for root in roots if made_up else ():  # days are not trimmed, since the ends of a simulated month are no rolls
        with place.lock():
            make_selection(place, root, "rth", SelectionParams(trim_days=0))
    profile = profile_text(session) if session != "auto" else place.profile() or _busiest_profile(place, roots)
    for root, (first, last) in spans.items():
        run(symbol=root, dates=f"{first}:{last}", layer="all", session=profile, lake=lake)
    return faults


def _simulate(lake: Path, kappa: float) -> None:
    """Simulate twenty sessions, after compiling the kernels of simulator and pipeline in parallel."""
    from engine.commands.simulate import simulate
    from engine.runner import run_tasks

    what = f"simulating {SIMULATED} and, with options, {WITH_OPTIONS}"
    sys.stderr.write(f"no raw files in {lake}: {what}; `--dbn FOLDER` takes your own files\n")
    trouble: list[str] = []
    run_tasks(
        compile_kernels,
        [Kernels("simulator"), Kernels("pipeline")],
        workers=2,
        on_result=lambda spec, said: trouble.append(said),
        on_poison=lambda spec, deaths: trouble.append(f"compiling the {spec.name}: its process died {deaths} times"),
    )
    for line in filter(None, trouble):  # only a warning: a real problem fails again in the run
        sys.stderr.write(f"compiling kernels: {line}\n")
    for dates in (SIMULATED, WITH_OPTIONS):
        simulate(
            dates=dates, rate=RATE, thin_after=THIN_AFTER, kappa=kappa, gamma=GAMMA, rearm_ticks=REARM_TICKS, moving=True,
            options=dates == WITH_OPTIONS, lake=lake,
        )  # fmt: skip


def _busiest_profile(lake: Lake, roots: list[str]) -> str:
    """The session profile with the most trades in the lake's bronze; `rth` where they are equal."""
    from engine.selection import count_days

    trades = {p: sum(sum(d.trades.values()) for root in roots for d in count_days(lake, root, p)) for p in ("rth", "globex_open")}
    best = max(trades, key=lambda p: trades[p])
    require(trades[best] > 0, f"lake {lake.root}: expected trades in a session ({', '.join(trades)}), found none in its bronze")
    counts = ", ".join(f"{p} {n:,}" for p, n in trades.items())
    sys.stderr.write(f"session profile {best} (trades: {counts})\n")
    return best


# ----------------------------------------------------------------------------
# Compiling the kernels of a fresh clone, before many processes need them and each compiles its own

DATE, SUNDAY = dt.date(2025, 10, 7), dt.date(2025, 10, 5)
SYMBOL, NUMBER, MID, DEPTH = "ESZ5", 1, 27_000, 30


@dataclass(frozen=True)
class Kernels:
    """Task: the set of kernels to compile."""

    name: Literal["simulator", "pipeline"]


def compile_kernels(which: Kernels) -> str:
    """Run the smallest input that calls all kernels of a set; returns error text, empty where all ran."""
    from engine.params import SimParams
    from engine.simulate.day import Day

    if which.name == "simulator":
        for _ in Day(SUNDAY, SimParams(rate=0.02)).chunks():
            pass
        _price_options()
        return ""
    with tempfile.TemporaryDirectory() as folder:
        return _smallest_run(Path(folder))


def _price_options() -> None:
    """Call every kernel of options once."""
    import numpy as np

    from engine.options import black76

    one, strike = np.ones(3), np.array([6790.0, 6800.0, 6810.0])
    of = (strike, 0.1 * one, 0.04)
    black76.greeks(6800 * one, *of, 0.2 * one, one)
    black76.implied(100 * one, 6800 * one, *of, one)
    black76.gamma_at(strike, *of, 0.2 * one, np.ones((3, 4)))
    black76.gamma_on_grid(8.8, 0.001, 3, *of, 0.2 * one, np.ones((3, 4)))


def _smallest_run(folder: Path) -> str:
    """Run the pipeline on one contract and one morning of `compile_day`; returns error text."""
    from engine.lake.store import Lake
    from engine.simulate.dbn import file_name, metadata_bytes, write_file
    from engine.stages.raw import raw_index
    from engine.stages.task import GROUPS, TaskSpec, run_partition

    lake = Lake(folder)
    rows = compile_day()
    metadata = metadata_bytes(DATE, "ES", {NUMBER: SYMBOL}, int(rows[0, 5]), int(rows[0, 5]) + 86_400 * NS)
    write_file(lake.raw_folder("ES") / file_name("ES", DATE), metadata, [rows])
    ((raw, symbols),) = raw_index(lake, "ES").of(SYMBOL, DATE)
    receipts = [run_partition(TaskSpec(str(lake.root), DATE, symbols, raw=raw))]
    groups = (group for group in GROUPS if group != "signals")  # a forecast needs earlier sessions, and here is one
    receipts += [run_partition(TaskSpec(str(lake.root), DATE, (SYMBOL,), profile="rth", group=group)) for group in groups]
    return "; ".join(f"{r.name}: {r.error}: {r.message}" for r in receipts if r.status != "made")


def compile_day() -> NDArray[np.int64]:
    """Synthetic records of a UTC day (seven int64 each): a small book whose price oscillates, with a trade every few seconds."""
    import numpy as np

    from engine.sessions import to_ns
    from engine.simulate import orders as o
    from engine.simulate.calendar import utc_midnight
    from engine.vocab import UNDEF_PRICE, root_of

    start, first, last = utc_midnight(DATE), to_ns(DATE, dt.time(9)), to_ns(DATE, dt.time(12, 30))
    tick = root_of(SYMBOL).tick_fixed
    rows: list[tuple[int, ...]] = []
    ids: dict[int, int] = {}  # resting order by tick: bids at and below `mid`, asks above

    def put(ts: int, action: int, side: int, price: int, qty: int, order: int, flags: int) -> None:
        word = qty | flags << 32 | action << 48 | side << 56
        rows.append((14 | 160 << 8 | 1 << 16 | NUMBER << 32, ts, order, price, word, max(ts, start), len(rows) + 1 << 32))

    def add(ts: int, k: int, mid: int, flags: int) -> None:
        ids[k] = len(rows) + 1
        put(ts, o.A_, o.B_CHAR if k <= mid else o.A_CHAR, k * tick, 5, ids[k], flags)

    put(start - NS, o.R_, o.N_CHAR, UNDEF_PRICE, 0, 0, 40)
    for k in range(MID - DEPTH, MID + DEPTH):
        add(start - NS, k, MID - 1, 168 if k == MID + DEPTH - 1 else 40)
    mid = MID - 1  # the best bid; the best ask is one tick above
    for n, ts in enumerate(range(first - 5 * 3600 * NS, last, 5 * NS)):
        up = (n // 20) % 2 == 0
        k = mid + 1 if up else mid
        aggressor, rests = (o.B_CHAR, o.A_CHAR) if up else (o.A_CHAR, o.B_CHAR)
        put(ts, o.T_, aggressor, k * tick, 5, 10_000_000 + n, 0)
        put(ts, o.F_, rests, k * tick, 5, ids[k], 0)
        put(ts, o.C_, rests, k * tick, 5, ids.pop(k), o.LAST_FLAGS)
        mid = mid + 1 if up else mid - 1
        add(ts + NS, k, mid, o.LAST_FLAGS)
    return np.array(rows, np.int64)


# ----------------------------------------------------------------------------
# The setup that the demo opens on: the most unusual forecast, or without one the touch of a key level with the largest reaction

LEVELS_SHOWN = ("pm_high", "pm_low", "or_high", "or_low")
SESSIONS_LOOKED_AT = 5

AWAY_TICKS, BEFORE_S, AFTER_S, HISTORY_S = 8, 90, 180, 1800
"""Distance from which, and time within which, price must come; time for the reaction; history needed before the touch."""

WINDOW_NS = 5 * NS
QUIET_S = 900


def demo_query(lake: Lake) -> dict[str, str] | None:
    """URL parameters (contract, session, level, time) of the most unusual forecast in the newest sessions; without one, of the largest
    reaction; None without either.
    """
    return unusual_forecast(lake) or _reaction(lake)


def unusual_forecast(lake: Lake) -> dict[str, str] | None:
    """URL parameters of the armed approach whose forecast is farthest from the usual, of those whose interval excludes the usual.

    Chosen by the forecast alone: what price did then is not looked at. Only approaches from a quarter of an hour after the trading start on
    count, with a morning before them to see. None where no forecast of the newest sessions is so.
    """
    import polars as pl

    from engine.lake.catalog import SIGNALS
    from engine.sessions import session_windows
    from engine.vocab import root_of

    usual = pl.coalesce(pl.when(pl.col("c_top1") == c).then(f"pi_{c}") for c in ("break", "reject", "chop"))
    away = (pl.col("p_top1") - usual).abs()
    sure = (usual < pl.col("interval_low")) | (usual > pl.col("interval_high"))
    found: list[tuple[float, dict[str, str]]] = []
    for symbol, date in sorted(lake.partitions(SIGNALS), key=lambda p: p[1])[-SESSIONS_LOOKED_AT:]:
        begin = session_windows(date, lake.profile() or "rth", root_of(symbol)).trading_start_ns + QUIET_S * NS
        shown = (pl.col("kind") == "arm") & (pl.col("window_end_ts_ns") >= begin)
        rows = lake.read(SIGNALS, symbol, date, where=shown).with_columns(away.alias("away"))
        best = rows.filter(sure & ~pl.col("nothing_comparable")).sort("away", descending=True, maintain_order=True).head(1)
        for row in best.iter_rows(named=True):
            clock = dt.datetime.fromtimestamp(row["window_end_ts_ns"] // NS, NEW_YORK).strftime("%H:%M:%S")
            found.append((row["away"], {"contract": symbol, "session": date.isoformat(), "level": row["level_id"], "t": clock}))
    return max(found, key=lambda f: f[0])[1] if found else None


def _reaction(lake: Lake) -> dict[str, str] | None:
    """URL parameters of the largest reaction in the newest sessions; None without one."""
    from engine.lake.catalog import LEVELS, TAPE

    found: list[tuple[float, dict[str, str]]] = []
    sessions = sorted(lake.partitions(TAPE), key=lambda p: p[1])[-SESSIONS_LOOKED_AT:]
    for symbol, date in sessions:
        if not (lake.has(TAPE, symbol, date) and lake.has(LEVELS, symbol, date)):
            continue
        tape = lake.read(TAPE, symbol, date, ("window_start_ts_ns", "last_tick"))
        levels = lake.read(LEVELS, symbol, date)
        for level_id in LEVELS_SHOWN:
            for row in levels.filter(levels["level_id"] == level_id).iter_rows(named=True):
                answer, at = largest_reaction(tape, row["level_tick"], row["start_ts_ns"])
                if at is not None:
                    clock = dt.datetime.fromtimestamp(at // NS, NEW_YORK).strftime("%H:%M:%S")
                    found.append((answer, {"contract": symbol, "session": date.isoformat(), "level": level_id, "t": clock}))
    return max(found, key=lambda f: f[0])[1] if found else None


def largest_reaction(tape: pl.DataFrame, level_tick: int, known_ts_ns: int) -> tuple[float, int | None]:
    """(ticks, window start) of the arrival after which price went farthest from the level within `AFTER_S`; ``(0, None)`` without one.

    Only arrivals of the last trade that came from at least `AWAY_TICKS` away within `BEFORE_S`, with `HISTORY_S` before them, count.
    """
    import numpy as np

    seconds = tape["window_start_ts_ns"].to_numpy()
    distance = tape["last_tick"].fill_null(strategy="forward").fill_null(level_tick).to_numpy() - level_tick
    best: tuple[float, int | None] = (0.0, None)
    for i in np.flatnonzero((distance == 0) & (seconds >= known_ts_ns)).tolist():
        if i < HISTORY_S or i + AFTER_S >= len(distance):
            continue
        before = distance[i - BEFORE_S : i]
        came = np.abs(before).max() >= AWAY_TICKS and not (before[-20:] == 0).any() and ((before > 0).all() or (before < 0).all())
        way = float(np.abs(distance[i : i + AFTER_S]).max())
        if came and way > best[0]:
            best = (way, int(seconds[i] // WINDOW_NS * WINDOW_NS))
    return best
