"""``spymaster index``, ``audit``, ``hypothesis`` and ``neighbours``: similar setups, and how well they forecast."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from engine.commands.common import JsonFlag, LakeDir, parse_dates, print_json, print_line, processes, require, text_table, wide_console
from engine.errors import LakeBusy, RunFailed, SessionError
from engine.vocab import NS

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from engine.lake.store import Lake
    from engine.params import AuditParams, RetrievalParams
    from engine.retrieval.audit import Report
    from engine.retrieval.events import Events
    from engine.retrieval.neighbours import Neighbours
    from engine.retrieval.walk_forward import AuditData
    from engine.simulate.oracle import Sample


# ----------------------------------------------------------------------------
# ``spymaster index``: build or check the index of similar setups

KINDS = ("arm", "window", "touch", "candle")

Horizon = Literal["h0", "h1", "h2", "h3", "h4", "h5", "h6"]
LawName = Literal["linear", "burst", "and", "xor", "mix"]


def index(
    *,
    lake: LakeDir = Path("lake"),
    name: Annotated[str, Parameter(help="The index's folder under indexes/ (MBO_INDEX_DIR overrides that).")] = "default",
    symbol: Annotated[str | None, Parameter(help="A root or a contract; all of gold where not given.")] = None,
    kinds: Annotated[
        str | None, Parameter(help="Trigger kinds that can be neighbours, comma separated: arm (the usual), window, touch, candle.")
    ] = None,
    horizon: Annotated[Horizon | None, Parameter(help="Outcome horizon; usually h1.")] = None,
    params: Annotated[Path | None, Parameter(help="JSON of parameters by group, as for `spymaster run`; `retrieval` is read.")] = None,
    check: Annotated[bool, Parameter(negative=(), help="Make nothing: say whether the index can be used as it is.")] = False,
    json: JsonFlag = False,
) -> None:
    """Build the index of the lake's gold: vectors, statistics, embedding, reference, and all pools.

    Examples
    --------
    ::

        spymaster index
        spymaster index --symbol ES --kinds arm,window --name windows
        spymaster index --params <(echo '{"retrieval": {"cap": 5}}')
        spymaster index --check --json
    """
    from engine.commands.run import read_params
    from engine.lake.store import Lake
    from engine.retrieval.audit_store import audit_choice
    from engine.retrieval.dataset import VECTORS, representation_of, sessions_in
    from engine.retrieval.index import build_index, check_index, check_market, read_index_manifest
    from engine.vocab import root_of

    place = Lake(lake)
    why = ""
    if check:
        manifest = read_index_manifest(place, name)
        check_index(place, manifest)
    else:
        given: dict[str, Any] = {} if horizon is None else {"horizon": horizon}
        if kinds is not None:
            given["kinds"] = tuple(dict.fromkeys(k.strip() for k in kinds.split(",") if k.strip()))
            require(bool(given["kinds"]) and set(given["kinds"]) <= set(KINDS), f"--kinds {kinds!r}: expected some of {', '.join(KINDS)}")
        values = read_params(params, None).retrieval.model_copy(update=given)
        with progress_bars() as bars, place.lock():
            place.clean()
            check_market(place, name, root_of(sessions_in(place, VECTORS, symbol)[0][0]).code)
            choice, why = audit_choice(place, symbol, representation_of(place, symbol), values)
            manifest = build_index(place, name=name, symbol=symbol, params=values, choice=choice, progress=progress_step(bars, "index"))
    if json:
        print_json(manifest | ({"about_the_choice": why} if why else {}))
    else:
        _print_index(manifest, "current" if check else "made", why)


def _print_index(manifest: dict[str, Any], word: str, why: str) -> None:
    from rich.console import Console

    table = text_table(("pool", "events", "sessions", "dims", "K", "power", "alpha"), ("pool",), f"index {manifest['name']}: {word}")
    for pool, facts in sorted(manifest["pools"].items()):
        chosen = [f"{facts['tuned'][k]:g}" for k in ("k", "power", "alpha")]
        table.add_row(pool, f"{facts['count']:,}", f"{facts['sessions']:,}", str(facts["dims"]), *chosen)
    console = Console()
    console.print(table)
    for group, reason in manifest["left_out"].items():
        print_line(f"left out {group}: {reason}", console)
    console.print(f"{len(manifest['inputs'])} sessions of gold", highlight=False)
    print_line(f"representation: {manifest['chosen']['said']}", console)
    if why and why != manifest["chosen"]["said"]:
        print_line(why, console)


# ----------------------------------------------------------------------------
# ``spymaster audit``: walk-forward scores of forecasts from similar setups

PARALLEL_FROM = 1000
"""Events from which an audit uses several processes by default; fewer are done before a process has started."""


def audit(
    *,
    lake: LakeDir = Path("lake"),
    symbol: Annotated[str | None, Parameter(help="A root or a contract; all where not given.")] = None,
    synthetic: Annotated[int | None, Parameter(help="Instead of a lake: so many events of a known law.")] = None,
    law: Annotated[LawName, Parameter(help="With --synthetic: which law; what of the paths tells the outcome.")] = "linear",
    strength: Annotated[float, Parameter(help="With --synthetic: how much the paths know of the labels; 0 is nothing.")] = 1.0,
    market: Annotated[int | None, Parameter(help="Instead of a lake: so many simulated mornings, with an oracle beside.")] = None,
    kappa: Annotated[float, Parameter(help="With --market: strength of the regimes at levels; 0 for none.")] = 1.0,
    gamma: Annotated[float, Parameter(help="With --market: how far regimes move price after the touch; 0 leaves their footprints.")] = 0.5,
    walls: Annotated[str, Parameter(help="With --market: ticks beyond the level at which regimes show.")] = "0,1,2",
    seed: Annotated[int, Parameter(help="With --synthetic, --market: seed of what is simulated.")] = 0,
    permute: Annotated[bool, Parameter(negative=(), help="Deal each day's outcomes out to another day: there must be no edge.")] = False,
    horizon: Annotated[Horizon | None, Parameter(help="Outcome horizon; usually h1, two minutes after the touch.")] = None,
    params: Annotated[Path | None, Parameter(help="JSON of parameters by group, as for `spymaster run`; `retrieval` is read.")] = None,
    only: Annotated[
        str | None,
        Parameter(help="Only these, comma separated: blocks_original, blocks, means, learned, attention, stack, wall, lightgbm."),
    ] = None,
    growth: Annotated[float, Parameter(help="Refit when history has grown by this share; 0 refits every session, slowly.")] = 0.15,
    keep: Annotated[bool, Parameter(help="Keep the result as a table in the lake, for the Research view.")] = True,
    diagram: Annotated[bool, Parameter(negative=(), help="Print the reliability diagram of the learned neighbours, too.")] = False,
    workers: Annotated[int | None, Parameter(help="Processes; by default one per core, or one for few events.")] = None,
    json: JsonFlag = False,
) -> None:
    """Score forecasts from similar setups, walking forward by session, against what setups at this distance, hour and volatility do.

    Everything is fitted on sessions before the day before the scored one; only armed episodes count, one event each. `no edge found` is a
    result, and comes with the number of episodes that an edge of the size found would need.

    The result is stored in the lake. A partial one (--only some representations, or another --growth) is printed, and not stored where
    there is a full one: it chooses no representation.

    Examples
    --------
    A lake, and a market of known laws::

        spymaster audit --lake lake
        spymaster audit --synthetic 2000 --strength 1.0 --seed 3
        spymaster audit --synthetic 2000 --law burst --only learned,attention,stack

    Simulated mornings of an order stream with regimes of known strength; the second time they are read from the user's cache::

        spymaster audit --market 240 --kappa 1 --seed 900 --only learned,wall
        spymaster audit --market 240 --seed 900 --walls 0 --only wall

    Null hypotheses, in which no edge may be found::

        spymaster audit --synthetic 2000 --strength 0
        spymaster audit --synthetic 2000 --permute --only learned --json | jq .verdict
        spymaster audit --market 60 --kappa 0 --only wall
    """
    from pydantic import ValidationError

    from engine.commands.run import read_params
    from engine.lake.store import Lake
    from engine.params import AuditParams
    from engine.retrieval.audit import audit as run_audit
    from engine.retrieval.audit_store import audit_inputs, store_audit
    from engine.retrieval.events import permute_days
    from engine.retrieval.walk_forward import REPRESENTATIONS, AuditData
    from engine.simulate.market_audit import told

    names = [n.strip() for n in only.split(",")] if only else list(REPRESENTATIONS)
    unknown = [n for n in names if n not in REPRESENTATIONS]
    require(not unknown, f"--only {','.join(unknown)}: expected some of {', '.join(REPRESENTATIONS)}")
    require(synthetic is None or synthetic >= 1, f"--synthetic {synthetic}: expected at least 1 event")
    cores = processes(workers)
    require(seed >= 0, f"--seed {seed}: expected 0 or more")
    require(0 <= strength < float("inf"), f"--strength {strength}: expected a finite number from 0 on")
    retrieval = read_params(params, None).retrieval.model_copy(update={} if horizon is None else {"horizon": horizon})
    only_h1 = f"--horizon {retrieval.horizon}: the known law has one horizon, h1; expected no other with --synthetic"
    require(synthetic is None or retrieval.horizon == "h1", only_h1)
    try:
        values = AuditParams(retrieval=retrieval, refit_growth=growth)
    except ValidationError as e:
        raise SessionError(f"--growth {growth}: {e.errors()[0]['msg'].lower()}") from e
    if market is not None:
        require(market >= 1 and synthetic is None, "--market: expected at least 1 morning, and no --synthetic beside it")
        named = None if only is None else names
        return audit_mornings(market, retrieval, named, cores, json, kappa=kappa, gamma=gamma, walls=walls, seed=seed, permute=permute)
    made: dict[str, Any] = {}
    with progress_bars() as bars:
        if synthetic is not None:
            data = synthetic_events(synthetic, strength, seed, law=law, permute=permute).data
        else:
            # Taken before the audit reads, so that a change during the audit makes it stale.
            made = audit_inputs(Lake(lake), symbol)
            data = audit_data(lake, symbol, names, bars)
            if not permute:
                data = told(lake, data, values)
            else:
                parts = permute_days([data.means, *data.blocks, *([] if data.wall is None else [data.wall])], seed)
                many = 1 + len(data.blocks)
                data = AuditData(parts[0], parts[1:many], wall=parts[many] if data.wall is not None else None)
        with audit_processes(cores if workers is not None or len(data.means) >= PARALLEL_FROM else 1) as executor:
            report = run_audit(data, values, only=names, progress=progress_step(bars, "audit"), executor=executor)
    table, why, busy = None, "", None
    if synthetic is None and keep and not permute:
        try:
            with Lake(lake).lock():
                Lake(lake).clean()
                table, why = store_audit(lake, report, made)
        except LakeBusy as e:
            # Print the result of minutes of work before raising that it could not be stored.
            busy, why = e, f"printed, not stored: {e}"
    if json:
        source: dict[str, Any] = (
            {"lake": str(lake)} if synthetic is None else {"synthetic": synthetic, "law": law, "strength": strength, "seed": seed}
        )
        print_json({**source, "permuted": permute, **report.to_json(), "table": str(table) if table else None, "not_kept": why})
    else:
        _print_audit(report, values, diagram)
    if busy is not None:
        raise LakeBusy(f"the audit is {why}; then run it again") from busy
    if not json and (table or why):
        print_line(f"kept in {table}" if table else why)


def audit_mornings(
    mornings: int, retrieval: RetrievalParams, only: list[str] | None, cores: int, json: bool, *, kappa: float, gamma: float, walls: str,
    seed: int, permute: bool,
) -> None:  # fmt: skip
    """Audit simulated mornings and print the result; those that are not in the user's cache are made first."""
    from pydantic import ValidationError

    from engine.simulate.market_audit import FORECASTERS, audit_market, market_params
    from engine.simulate.mornings import cache_folder, market_events, morning_params

    try:
        ticks = tuple(int(k) for k in walls.split(","))
        params = morning_params(seed=seed, kappa=kappa, gamma=gamma, wall=ticks)
    except (ValidationError, ValueError) as e:
        raise SessionError(f"market settings: {e}") from e
    names = list(FORECASTERS) if only is None else only
    unknown = [n for n in names if n.startswith("blocks")]
    require(not unknown, f"--only {','.join(unknown)}: simulated mornings have no {unknown[0] if unknown else ''}")
    values, folder = market_params(mornings, retrieval), cache_folder(params)
    with progress_bars() as bars, audit_processes(cores) as executor:
        events = market_events(mornings, params, folder, executor=executor, progress=progress_step(bars, "simulating"))
        report = audit_market(
            events, values, only=names, permute_seed=seed if permute else None, progress=progress_step(bars, "audit"), executor=executor
        )
    if json:
        print_json({"market": params.model_dump(mode="json"), "permuted": permute, "cache": str(folder), **report.to_json()})
        return
    console = wide_console()
    names = ["pool", "forecaster", "events", "skill", "95% interval", "of the oracle", "ECE", "abstained"]
    table = text_table(names, ("pool", "forecaster"), f"{report.mornings} simulated mornings, planted strength {kappa:g}")
    for r in report.rows:
        share = "" if r.share is None else f"{r.share:.2f}"
        cells = f"{r.events:,}", f"{r.skill:+.4f}", f"{r.low:+.4f} to {r.high:+.4f}", share, f"{r.ece:.3f}", f"{r.abstained:,}"
        table.add_row(r.pool, r.forecaster, *cells)
    console.print(table)
    print_line(
        f"{report.events:,} armed events, {report.labelled:,} with an outcome, a regime live at {report.live:,} of these; skill is 1 - log "
        "loss / log loss of pi on the events it answered, intervals from draws of whole mornings; the oracle is told the regime; live "
        "alone: nothing else in the history either",
        console,
    )


@contextmanager
def audit_processes(workers: int) -> Iterator[Executor | None]:
    """Context manager with a pool of processes for an audit, None for a single worker; raises `RunFailed` where one of them died."""
    from engine.runner import spawned_pool, stop

    if workers == 1:
        yield None
        return
    pool = spawned_pool(workers)
    try:
        yield pool
    except BaseException as e:
        stop(pool)  # without this, leaving the pool would wait for all queued jobs
        if isinstance(e, BrokenExecutor):
            raise RunFailed("a process of the audit died, perhaps out of memory (`dmesg | tail`); try --workers 1") from e
        raise
    pool.shutdown(wait=True)


def audit_data(lake: Path, symbol: str | None, names: Sequence[str], bars: Any) -> AuditData:
    """The lake's armed events, in the representations needed for the forecasters `names`."""
    from engine.lake.store import Lake
    from engine.retrieval.dataset import audit_events
    from engine.retrieval.walk_forward import AuditData

    wanted = any(n.startswith("blocks") for n in names)
    means, blocks, wall = audit_events(Lake(lake), symbol, blocks=wanted, progress=progress_step(bars, "triggers"))
    return AuditData(means, blocks, wall=wall)


def progress_bars() -> Any:
    """Progress bars on standard error as a context manager; yields None where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        return nullcontext()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def progress_step(bars: Any, what: str) -> Any:
    """A progress callback ``(done, total, name)`` that moves a bar named `what`; None without `bars`."""
    if bars is None:
        return None
    task = None

    def step(done: int, total: int, name: str) -> None:
        nonlocal task
        if task is None:
            task = bars.add_task(what, total=total)
        bars.update(task, completed=done, description=f"{what} {name}")

    return step


def _print_audit(report: Report, params: AuditParams, diagram: bool) -> None:
    console = wide_console()
    for target, title in (("class", f"break, reject or chop within {report.horizon} of a touch"), ("touch", "touch or none")):
        rows = [r for r in report.rows if r.target == target]
        if not rows:
            continue
        known = any(r.attainable is not None for r in rows)
        extra = ("of attainable",) if known else ()
        names = ("", "log loss", "skill", "95% interval", *extra, "Brier", "RPS", "ECE", "perfect 95%", "events", "abstained")
        table = text_table(names, ("",), title)
        for r in rows:
            between = "" if r.representation == "pi" else f"{r.skill_low:+.3f} to {r.skill_high:+.3f}"
            share = "" if r.share_of_attainable is None else f"{r.share_of_attainable:.2f}"
            cells = *(f"{x:.3f}" for x in (r.brier, r.rps, r.ece, r.ece_perfect_95)), f"{r.events:,}", f"{r.abstained:,}"
            table.add_row(r.representation, f"{r.log_loss:.4f}", f"{r.skill:+.3f}", between, *[share][: len(extra)], *cells)
        console.print(table)
    print_line(
        f"{report.scored_sessions} of {report.sessions} sessions scored, from {report.first_scored} on; refitted {report.refits} times, "
        f"when history had grown by {params.refit_growth:.0%}; skill is 1 - log loss / log loss of pi on the events it answered; "
        f"intervals from {params.draws:,} draws of whole sessions, each by itself: {report.comparisons} comparisons were made",
        console,
    )
    print_line(report.verdict, console, style="bold")
    if report.choices:
        chosen = report.choices["any"]
        tie = f", with which {chosen['best']} ties: the simpler serves" if chosen["tie"] else ""
        print_line(f"serves by default: {chosen['representation']}{tie}", console)
    for name, points in report.diagrams.items():
        if diagram and name in ("class/learned", "touch/learned"):
            table = text_table(("events", "forecast", "observed"), title=f"reliability of {name}")
            for p in points:
                table.add_row(f"{p['events']:.0f}", f"{p['forecast']:.3f}", f"{p['observed']:.3f}")
            console.print(table)


# ----------------------------------------------------------------------------
# ``spymaster hypothesis``: outcomes by the number of open conditions


def hypothesis(
    *,
    lake: LakeDir = Path("lake"),
    symbol: Annotated[str | None, Parameter(help="A root or a contract; all where not given.")] = None,
    horizon: Annotated[Horizon, Parameter(help="Outcome horizon; h1 is 2 minutes.")] = "h1",
    stratum: Annotated[
        Literal["against", "still", "with", "all"] | None, Parameter(help="Only this stratum of price's own move in the window.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Count outcomes of armed episodes by the number of conditions open in the direction of travel.

    First one estimate per direction: by how much the odds of a break rise with each further open condition, how large that would have to
    be to be seen in this lake, and what comes of it where the days' outcomes are dealt out to other days.

    Conditions 1 and 3 follow price mechanically, so the counts are also split by price's own move in the window: against the
    travel, still, or with it. Beside each share stand its interval (whole sessions resampled) and what the reference forecast said.

    Examples
    --------
    ::

        spymaster hypothesis --lake lake
        spymaster hypothesis --stratum still
        spymaster hypothesis --json | jq '.rows[] | select(.direction == "up" and .stratum == "all")'
    """
    from engine.lake.store import Lake
    from engine.params import AuditParams, RetrievalParams
    from engine.retrieval.statistics import condition_events, condition_table
    from engine.retrieval.trend import condition_trend

    with progress_bars() as bars:
        events, conditions = condition_events(Lake(lake), symbol, progress=progress_step(bars, "conditions"))
    params = AuditParams(retrieval=RetrievalParams(horizon=horizon))
    trend, table = condition_trend(events, conditions, params).to_dicts(), condition_table(events, conditions, params)
    rows = [r for r in table.to_dicts() if stratum in (None, r["stratum"])]
    if json:
        print_json({"lake": str(lake), "horizon": horizon, "trend": trend, "rows": rows})
    else:
        _print_trend(trend)
        _print_hypothesis(rows, horizon)


def _print_trend(rows: list[dict[str, Any]]) -> None:
    console = wide_console()
    names = ("direction", "events", "days", "breaks", "slope", "95% interval", "would be seen", "days dealt out", "as far from 0")
    table = text_table(names, ("direction",), "log odds of a break per further open condition, within price's own move")
    for r in rows:
        told = ["too few"] + [""] * 4
        if r["slope"] is not None:
            told = [f"{r['slope']:+.3f}", f"{r['low']:+.3f} to {r['high']:+.3f}", f"{r['smallest']:.3f}", "", ""]
        if r["placebo_low"] is not None:
            told[3:] = [f"{r['placebo_low']:+.3f} to {r['placebo_high']:+.3f}", f"{r['placebo_share']:.0%}"]
        table.add_row(r["direction"], f"{r['events']:,}", str(r["sessions"]), f"{r['breaks']:,}", *told)
    console.print(table)


def _print_hypothesis(rows: list[dict[str, Any]], horizon: str) -> None:
    console = wide_console()
    table = text_table(
        ("direction", "price's own move", "open", "events", "days", "break", "reject", "chop", "t10", "t11"),
        ("direction", "price's own move"),
        f"what followed within {horizon} of the touch, by open conditions (reference in brackets)",
    )
    for r in rows:
        if r["events"]:
            shares = [_share(r, c) for c in ("break", "reject", "chop")]
            book = ["" if r[t] is None else f"{r[t]:+.3f}" for t in ("t10", "t11")]
            table.add_row(r["direction"], r["stratum"], str(r["open"]), f"{r['events']:,}", str(r["sessions"]), *shares, *book)
    console.print(table)
    if rows:
        print_line(
            f"95% intervals, whole sessions resampled, each by itself: {rows[0]['comparisons']} rows were looked at; t10, t11: the "
            "retreat of asks and bids in the book's own frame, free of price's motion",
            console,
        )


def _share(row: dict[str, Any], name: str) -> str:
    between = "" if row[f"low_{name}"] is None else f" {row[f'low_{name}']:.0%}-{row[f'high_{name}']:.0%}"
    usual = "" if row[f"pi_{name}"] is None else f" ({row[f'pi_{name}']:.0%})"
    return f"{row[f'share_{name}']:.0%}{between}{usual}"


# ----------------------------------------------------------------------------
# Synthetic triggers from a known law (`--synthetic`), for which the attainable skill is known

FIRST = dt.date(2020, 1, 1)
BINS = 8
SPANS = (3, 9, 24)

OUTCOMES = ("BREAK_UP", "REJECT_DOWN", "CHOP")
"""Outcome of a label of tier A, at a level approached from below."""

TO_CLASSES = (1, 2, 0)
"""Tier A's columns (break, reject, chop) in retrieval's order (reject, chop, break)."""


class Synthetic(NamedTuple):
    """Synthetic triggers, and the sample they were made from."""

    data: AuditData
    sample: Sample


def synthetic_events(n: int, strength: float, seed: int, *, law: str = "linear", per_session: int = 20, permute: bool = False) -> Synthetic:
    """`n` synthetic triggers of a law of the laboratory (tier A where ``linear``) in all representations.

    `strength` scales what the paths know of the labels (``linear``: the standard deviation of the scores behind them); with 0 the labels
    are independent of the paths, and permuted by day (`permute`) they are, too.
    """
    from engine.retrieval.events import Events, permute_days
    from engine.retrieval.walk_forward import AuditData
    from engine.simulate.laws import law_sample

    sample = law_sample(law, n, seed, strength=strength, per_session=per_session)
    frame = _synthetic_frame(sample.labels, sample.sessions, seed)
    windows = sample.paths.shape[1]
    vectors = {"means": _synthetic_bins(sample.paths, BINS), "blocks": synthetic_blocks(sample.paths)}
    parts = [Events(matrix, names, representation, frame) for representation, (matrix, names) in vectors.items()]
    parts.append(Events(*_synthetic_bins(sample.paths, windows), "means", frame))
    if permute:
        # The exact probabilities of the sample do not hold for permuted labels.
        parts = permute_days(parts, seed)
    truth = None if permute else sample.posterior[:, TO_CLASSES]
    return Synthetic(AuditData(parts[0], parts[1:2], truth, windows=parts[2]), sample)


def _synthetic_bins(paths: NDArray[np.float64], bins: int) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Means of paths over so many bins, and names of the dimensions."""
    import numpy as np

    n, windows, features = paths.shape
    means = paths.reshape(n, bins, windows // bins, features).mean(axis=2)
    names = tuple(f"b{b}_x{f}" for b in range(bins) for f in range(features))
    return means.reshape(n, -1).astype(np.float32), names


def synthetic_blocks(paths: NDArray[np.float64]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Original schema of a path (features.md section 5): seven blocks of each feature and its three differences, and names."""
    import numpy as np

    steps = [paths]
    for _ in range(3):
        # A difference that reaches before the first window is 0.
        steps.append(np.diff(steps[-1], axis=1, prepend=steps[-1][:, :1]))
    x = np.stack(steps, axis=-1)
    last = x[:, -1]
    parts = {"w0": last} | {f"w{k}_mean": x[:, -k:].mean(axis=1) for k in SPANS}
    parts |= {f"w{k}_delta": (last - x[:, -k]) / (k - 1) for k in SPANS}
    names = tuple(f"{b}_{d}x{f}" for b in parts for f in range(paths.shape[2]) for d in ("", "d1_", "d2_", "d3_"))
    return np.stack(list(parts.values()), axis=1).reshape(len(paths), -1).astype(np.float32), names


def _synthetic_frame(labels: NDArray[np.int64], sessions: NDArray[np.int64], seed: int) -> pl.DataFrame:
    """Columns of synthetic triggers; covariates are independent of paths and labels, so the reference has no skill."""
    import numpy as np
    import polars as pl

    n = len(labels)
    outcomes = [OUTCOMES[i] for i in labels.tolist()]
    rng = np.random.default_rng([seed, 2])
    reach = rng.integers(1, 12, (2, n))
    rates = np.random.default_rng([seed, 3]).lognormal([4.0, 1.0], 0.4, (n, 2))
    ids = [f"synthetic/{i}" for i in range(n)]
    return pl.DataFrame({
        "trigger_id": ids, "episode_id": ids, "session_date": [FIRST + dt.timedelta(days=int(s)) for s in sessions],
        "level_id": rng.choice(["pm_high", "or_high", "vwap"], n), "approach": ["approach_up"] * n, "kind": ["arm"] * n,
        "window_end_ts_ns": np.arange(n, dtype=np.int64) * NS, "distance_ticks": -rng.integers(1, 5, n).astype(np.int32),
        "sigma": np.exp(rng.normal(-0.2, 0.3, n)), "seconds_into_session": rng.integers(0, 10_800, n).astype(np.int32),
        "touch_number": rng.integers(1, 6, n).astype(np.int16), "confluent_levels": rng.integers(0, 3, n).astype(np.int16),
        "message_rate": rates[:, 0], "trade_rate": rates[:, 1], "touched": np.ones(n, bool), "outcome_h1": outcomes,
        "seconds_to_touch": rng.exponential(20, n), "seconds_to_resolve": rng.exponential(40, n), "whipsaw_flag": rng.random(n) < 0.2,
        "excursion_up_ticks": reach[0].astype(np.int32), "excursion_down_ticks": reach[1].astype(np.int32),
        "adverse_before_hit_ticks": (reach[1] // 2).astype(np.int32),
    })  # fmt: skip


# ----------------------------------------------------------------------------
# ``spymaster neighbours``: similar setups of a trigger or moment

Mode = Literal["walk_forward", "all"]
Pool = Literal["all", "kind", "level"]

SHOWN = ("session_date", "level_id", "approach", "similarity", "weight", "outcome_class")


def neighbours(
    *,
    lake: LakeDir = Path("lake"),
    trigger: Annotated[str | None, Parameter(help="A trigger_id of gold; or else a moment:")] = None,
    symbol: Annotated[str | None, Parameter(help="Contract (ESZ5) of the moment.")] = None,
    date: Annotated[str | None, Parameter(help="Session date of the moment, YYYY-MM-DD.")] = None,
    time: Annotated[str | None, Parameter(help="New York time of the moment, HH:MM or HH:MM:SS.")] = None,
    level: Annotated[str | None, Parameter(help="Level of the moment, such as pm_high.")] = None,
    price: Annotated[float | None, Parameter(help="A price of your own instead of a level.")] = None,
    approach: Annotated[Literal["up", "down"] | None, Parameter(help="From below or from above; by default where price stands.")] = None,
    set: Annotated[list[str] | None, Parameter(name="--set", negative=(), help="Make a setup up: dimension=value, raw; repeat.")] = None,
    mode: Annotated[Mode, Parameter(help="Sessions before the query's, or all others (from the index).")] = "walk_forward",
    pool: Annotated[Pool | None, Parameter(help="Candidates: all levels, the level's kind, or itself alone.")] = None,
    horizon: Annotated[Horizon | None, Parameter(help="Outcome horizon; h1 is 2 minutes.")] = None,
    name: Annotated[str, Parameter(help="The index, in mode all.")] = "default",
    show: Annotated[int, Parameter(help="Neighbours to list.")] = 10,
    json: JsonFlag = False,
) -> None:
    """Find the setups of other sessions most like one, and what they did, beside what setups at that distance and hour usually do.

    Examples
    --------
    A trigger, a moment, and a price of your own::

        spymaster neighbours --trigger 2025-11-04/ESZ5/pm_high/approach_up/arm/1762268405000000000
        spymaster neighbours --symbol ESZ5 --date 2025-11-04 --time 10:31:05 --level pm_high
        spymaster neighbours --symbol ESZ5 --date 2025-11-04 --time 10:31:05 --price 6800.25 --mode all

    The same moment with another order flow ahead::

        spymaster neighbours --symbol ESZ5 --date 2025-11-04 --time 10:31:05 --level pm_high --set b7_ahead_pull_add_log=1.5
    """
    from engine.lake.store import Lake
    from engine.params import RetrievalParams
    from engine.retrieval.audit_store import REPRESENTATION_NAMES
    from engine.retrieval.dataset import trigger_params_of
    from engine.retrieval.neighbours import UNCHANGED_COVARIATES, edited, trigger_query
    from engine.retrieval.neighbours import neighbours as find

    require(show >= 0, f"--show {show}: expected 0 or more")
    require(price is None or 0 < price < float("inf"), f"--price {price}: expected a finite price above 0")
    place = Lake(lake)
    query = _moment(place, symbol, date, time, level, price, approach) if trigger is None else trigger_query(place, trigger)
    values = _set_values(set or [])
    if values:
        # Distances are relative to the far bound in the parameters of the session's gold.
        session, contract = query.frame["session_date"][0], query.frame["trigger_id"][0].split("/")[1]
        query = edited(query, values, trigger_params_of(place, contract, session).features)
    params = RetrievalParams(horizon=horizon) if horizon else None
    found = find(place, query, mode=mode, params=params, pool=pool, name=name, made_up=tuple(values))
    by, same = REPRESENTATION_NAMES[found.query.representation, found.recipe], ", ".join(UNCHANGED_COVARIATES)
    made_up = f"made up: {', '.join(set)}; compared by {by}; as it was for the reference: {same}" if set else None
    if json:
        rows = found.found.head(show).select(*SHOWN, "trigger_id", "window_end_ts_ns").to_dicts()
        facts = {"counts": found.counts, "sessions": found.sessions, "mode": mode, "made_up": made_up}
        print_json({"forecast": found.forecast.to_dicts()[0], **facts, "neighbours": rows})
        return
    if made_up:
        print_line(made_up)
    _print_neighbours(found, show)


def _moment(
    lake: Lake, symbol: str | None, date: str | None, time: str | None, level: str | None, price: float | None, approach: str | None
) -> Events:
    from engine.retrieval.dataset import representation_of
    from engine.retrieval.neighbours import moment_events
    from engine.sessions import to_ns
    from engine.vocab import root_of

    if symbol is None or date is None or time is None or (level is None) == (price is None):
        raise SessionError("expected --trigger, or --symbol, --date, --time and one of --level and --price")
    day = parse_dates(date, None, None)[0][0]
    try:
        clock = dt.time.fromisoformat(time).replace(microsecond=0)
    except ValueError:
        raise SessionError(f"--time {time!r}: expected HH:MM or HH:MM:SS, New York time") from None
    level_id = level if level is not None else f"price:{price:g}"
    side = None if approach is None else f"approach_{approach}"
    made = representation_of(lake, root_of(symbol).code)
    return moment_events(lake, symbol, day, level_id, to_ns(day, clock), price=price, approach=side, representation=made)


def _set_values(items: list[str]) -> dict[str, float]:
    out = {}
    for item in items:
        name, _, value = item.partition("=")
        try:
            out[name.strip()] = float(value)
        except ValueError:
            raise SessionError(f"--set {item!r}: expected dimension=value, such as b7_ahead_pull_add_log=1.5") from None
    return out


def _print_neighbours(found: Neighbours, show: int) -> None:
    from rich.console import Console

    from engine.retrieval.forecast import lean

    console = Console()
    say = partial(print_line, console=console)
    f: dict[str, Any] = found.forecast.to_dicts()[0]
    if f["nothing_comparable"]:
        # No histogram of too few or too different setups: it would look meaningful.
        say(f"nothing comparable: {f['reason']} (n_eff {f['n_eff']:.0f}, best similarity {f['best_similarity'] or 0:.2f})")
        say(f"setups at this distance and hour: break {f['pi_break']:.0%}, reject {f['pi_reject']:.0%}, chop {f['pi_chop']:.0%}")
        return
    counts = ", ".join(f"{v} {k}" for k, v in found.counts.items())
    say(f"{f['neighbours']} neighbours ({counts}) of {f['distinct_days']} days, n_eff {f['n_eff']:.0f}, of {found.sessions} sessions")
    table = text_table(("", "forecast", "usually"), ("",))
    for c in ("break", "reject", "chop"):
        table.add_row(c, f"{f[f'p_{c}']:.1%}", f"{f[f'pi_{c}']:.1%}")
    if f["p_touch"] is not None:
        table.add_row("touch", f"{f['p_touch']:.1%}", f"{f['pi_touch']:.1%}")
    console.print(table)
    say(f"{f['c_top1']}: 80% interval {f['interval_low']:.1%} to {f['interval_high']:.1%}; {lean(f).text}")
    listed = text_table(SHOWN, SHOWN)
    for r in found.found.head(show).iter_rows(named=True):
        listed.add_row(*(f"{r[c]:.3f}" if isinstance(r[c], float) else str(r[c]) for c in SHOWN))
    console.print(listed)
