"""Loading triggers of the lake as `Events`: from gold, or computed on the fly for an audit; of one market and one set of parameters."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from engine.errors import ContractError, NoData, SessionError
from engine.lake.catalog import BRONZE_MBO, LADDER, TRIGGERS, WALLS, dataset
from engine.lake.manifest import canonical
from engine.params import ApproachParams, FeatureParams, GoldParams, SetupParams
from engine.retrieval.events import DECIDED_UNTIL, MIRRORED_REPRESENTATIONS, Events, Progress, events_from_frame
from engine.retrieval.hints import brings_sessions, gold_command
from engine.vocab import NS, Approach, root_of

if TYPE_CHECKING:
    import polars as pl

    from engine.lake.store import Lake

VECTORS = TRIGGERS
APPROACHES = (Approach.UP.value, Approach.DOWN.value)

MIRROR = "mirrored"
"""Name of the one group of a mirrored representation, in which both approach directions share a pool."""


def groups_of(representation: str) -> tuple[str, ...]:
    """Names of the groups whose events are comparable: one for a mirrored representation, else one per approach direction."""
    return (MIRROR,) if representation in MIRRORED_REPRESENTATIONS else APPROACHES


def names_of(representation: str, group: str) -> tuple[str, ...]:
    """Names of a group's dimensions, without those of the wall, which triggers of any representation have beside them."""
    from engine.features.vector import vector_names

    return vector_names(representation, APPROACHES[0] if group == MIRROR else group)


@dataclass(frozen=True)
class TriggerParams:
    """Parameters of a session's triggers and their vectors."""

    setups: SetupParams
    approach: ApproachParams
    features: FeatureParams


def trigger_params_of(lake: Lake, symbol: str, date: dt.date) -> TriggerParams:
    """Parameters of the session's gold, for computing the same events on the fly; the defaults where there is no gold.

    Raises `ContractError` where gold's parameters are of another version.
    """
    found = lake.find_manifest(VECTORS, symbol, date)
    values = found.lineage.values if found is not None else {}
    try:
        return TriggerParams(
            SetupParams.model_validate(values.get("setups", {})),
            ApproachParams.model_validate(values.get("approach", {})),
            FeatureParams.model_validate(values.get("features", {})),
        )
    except ValidationError as e:
        raise ContractError(
            f"{VECTORS} of {symbol} {date}: made with parameters of another version ({e.errors()[0]['msg']}); "
            f"`{lake.repair_command(VECTORS, symbol, date)}` rebuilds it"
        ) from e


def sessions_in(lake: Lake, key: str, symbol: str | None) -> list[tuple[str, dt.date]]:
    """(contract, date) of a dataset's partitions, sorted by date; of the contract or root `symbol`, or all where None.

    Raises `NoData` where there is none; names the command that makes them.
    """
    found = lake.partitions(key)
    if symbol is not None:
        contracts = {s for s, _ in found}  # each looked up once: a look takes longer than the rest of a session's
        mine = {s for s in contracts if symbol in (s, root_of(s).code)}
        found = [(s, d) for s, d in found if s in mine]
    if not found:
        raise NoData(f"{key} of {symbol or 'any symbol'} in {lake.root}: expected partitions, found none; {brings_sessions(lake, symbol)}")
    return sorted(found, key=lambda p: (p[1], p[0]))


def poolable_sessions(lake: Lake, key: str, symbol: str | None) -> list[tuple[str, dt.date]]:
    """`sessions_in`, of one market and one set of parameters; raises as `require_one_market` and `require_same_params`, too."""
    sessions = sessions_in(lake, key, symbol)
    require_one_market(lake, sessions, symbol)
    require_same_params(lake, sessions)
    return sessions


def representation_of(lake: Lake, symbol: str | None = None) -> str:
    """Name of the representation of gold's vectors, ``means`` or ``blocks``; raises as `poolable_sessions`."""
    sessions = poolable_sessions(lake, VECTORS, symbol)
    return GoldParams.model_validate(lake.manifest(VECTORS, *sessions[0]).lineage.values.get("gold", {})).representation


def gold_events(
    lake: Lake, symbol: str | None = None, *, kinds: Sequence[str] | None = None, before: dt.date | None = None
) -> dict[str, Events]:
    """Events of the lake's gold by group (`groups_of`), of a contract or root, some trigger kinds and sessions before a date; all where
    None.

    Raises `NoData` where there is no gold, `SessionError` or `ContractError` where it is of several markets or sets of parameters.
    """
    sessions = [(s, d) for s, d in sessions_in(lake, VECTORS, symbol) if before is None or d < before]
    if not sessions:
        raise NoData(f"{VECTORS} in {lake.root}: expected sessions before {before}, found none; {brings_sessions(lake, symbol, before)}")
    require_one_market(lake, sessions, symbol)
    return events_by_group(read_triggers(lake, sessions, kinds))


def read_triggers(lake: Lake, sessions: Sessions, kinds: Sequence[str] | None = None) -> pl.DataFrame:
    """Rows of ``mbo_trigger_vectors`` of several sessions, with ``decided_until_ts_ns``; raises as `require_same_params`.

    Where every session has wall features of these very triggers (`walls_current`), they are further columns.
    """
    import polars as pl

    require_same_params(lake, sessions)
    where = None if kinds is None else pl.col("kind").is_in(list(kinds))
    found = [with_decided_until(lake, s, d, lake.read(VECTORS, s, d, where=where)) for s, d in sessions]
    if not without_walls(lake, sessions):
        found = [with_walls(rows, lake.read(WALLS, s, d)) for rows, (s, d) in zip(found, sessions)]
    return pl.concat(found)


def walls_current(lake: Lake, symbol: str, date: dt.date) -> bool:
    """Whether a session has the wall features of today, made of its triggers as they are now."""
    from engine.lake.store import input_key

    walls, triggers = (lake.find_manifest(key, symbol, date) for key in (WALLS, VECTORS))
    if walls is None or triggers is None or not dataset(WALLS).contract().accepts(walls.contract):
        return False
    return walls.lineage.inputs.get(input_key(VECTORS, symbol, date)) == triggers.digest()


def without_walls(lake: Lake, sessions: Sessions) -> list[tuple[str, dt.date]]:
    """Those of the sessions that have no wall features of their triggers as they are now (`walls_current`)."""
    return [(s, d) for s, d in sessions if not walls_current(lake, s, d)]


def with_walls(triggers: pl.DataFrame, walls: pl.DataFrame) -> pl.DataFrame:
    """Triggers with their rows of ``mbo_trigger_walls`` as further columns."""
    return triggers.join(walls, on="trigger_id", how="left", validate="1:1", maintain_order="left")


def with_decided_until(lake: Lake, symbol: str, date: dt.date, triggers: pl.DataFrame, params: TriggerParams | None = None) -> pl.DataFrame:
    """A session's triggers with the column ``decided_until_ts_ns`` (`decided_until_ns`)."""
    import polars as pl

    p = params or trigger_params_of(lake, symbol, date)
    end = decided_until_ns(lake, symbol, date, p.setups, p.features)
    return triggers.with_columns(pl.lit(end, pl.Int64).alias(DECIDED_UNTIL))


def events_by_group(frame: pl.DataFrame) -> dict[str, Events]:
    """Rows of ``mbo_trigger_vectors`` as `Events`, by group (`groups_of`)."""
    import polars as pl

    representation = frame["representation"][0] if frame.height else MIRRORED_REPRESENTATIONS[0]
    groups = groups_of(representation)
    parts = {g: frame if g == MIRROR else frame.filter(pl.col("approach") == g) for g in groups}
    return {g: events_from_frame(rows, names_of(representation, g)) for g, rows in parts.items()}


def audit_events(
    lake: Lake, symbol: str | None, *, blocks: bool = True, progress: Progress | None = None
) -> tuple[Events, list[Events], Events]:
    """The `arm` events of every session in `means`, in `blocks` per approach, and in `wall`, computed on the fly with gold's parameters.

    Raises `NoData` where the lake has no silver, or no session of it a trigger; `SessionError`, `ContractError` as `poolable_sessions`.
    """
    import polars as pl

    from engine.features.events import session_events

    wanted = ("means", "wall", "blocks") if blocks else ("means", "wall")
    parts: dict[str, list[pl.DataFrame]] = {r: [] for r in wanted}
    sessions = poolable_sessions(lake, LADDER, symbol)
    # Sessions without gold take the parameters of those that have it.
    like = next(((s, d) for s, d in sessions if lake.find_manifest(VECTORS, s, d) is not None), sessions[0])
    p = trigger_params_of(lake, *like)
    for i, (contract, date) in enumerate(sessions):
        made = session_events(lake, contract, date, ("arm",), wanted, setups=p.setups, approach=p.approach, features=p.features)
        for r in wanted:
            parts[r].append(with_decided_until(lake, contract, date, made[r], p))
        if progress is not None:
            progress(i + 1, len(sessions), str(date))
    means = pl.concat(parts["means"])
    if not means.height:
        raise NoData(f"{lake.root}: expected armed triggers in {len(sessions)} sessions, found none; add dates or levels")
    wall = events_by_group(pl.concat(parts["wall"]))[MIRROR]
    return events_by_group(means)[MIRROR], list(events_by_group(pl.concat(parts["blocks"])).values()) if blocks else [], wall


# ----------------------------------------------------------------------------
# What may be pooled (one market, equal parameters), and when a touch counts as decided

Sessions = Sequence[tuple[str, dt.date]]


def require_one_market(lake: Lake, sessions: Sessions, symbol: str | None) -> None:
    """Raise `SessionError` where `symbol` is None and the sessions are of several roots; contracts of one root may be pooled."""
    if symbol is None and len(roots := sorted({root_of(s).code for s in {s for s, _ in sessions}})) > 1:
        raise SessionError(
            f"{lake.root}: expected the sessions of one market, found {', '.join(roots)}: their ticks are not comparable; "
            f"`--symbol {roots[0]}` takes one"
        )


def require_one_market_ids(ids: pl.Series, what: str) -> None:
    """Raise `ContractError` where the ``{date}/{symbol}/...`` ids of the table `what` are of several markets."""
    roots = sorted({root_of(s).code for s in ids.str.extract(r"^\d{4}-\d{2}-\d{2}/([^/]+)/").drop_nulls().unique().to_list()})
    if len(roots) > 1:
        raise ContractError(
            f"{what}: expected rows of one market, found {', '.join(roots)}: their ticks are not comparable; read those of one, as "
            f"`gold_events(lake, {roots[0]!r})` or `--symbol {roots[0]}` does"
        )


def require_same_params(lake: Lake, sessions: Sessions) -> None:
    """Raise `ContractError` where gold of the sessions was made with several sets of parameters; sessions without gold are skipped.

    Names a session that differs from most, the parameter, both values, and the command that rebuilds them alike.
    """
    found = [(s, d, m.lineage.values) for s, d in sessions if (m := lake.find_manifest(TRIGGERS, s, d)) is not None]
    texts = [canonical(v) for _, _, v in found]
    if len(set(texts)) < 2:
        return
    usual = Counter(texts).most_common(1)[0][0]
    like = found[texts.index(usual)]
    odd = [f for f, text in zip(found, texts) if text != usual]
    symbol, date, values = odd[0]
    mine, others = _flat(values), _flat(like[2])
    name = next(k for k in sorted(mine.keys() | others.keys()) if mine.get(k) != others.get(k))
    more = f" and {len(odd) - 1} more sessions" if len(odd) > 1 else ""
    raise ContractError(
        f"{TRIGGERS} in {lake.root}: expected the same parameters in all {len(found)} sessions, found {name} = {mine.get(name)} in "
        f"{symbol} {date}{more} and {others.get(name)} in the others, so their outcomes are not comparable; "
        f"`{gold_command(lake, like[:2], [d for _, d, _ in found])}` rebuilds them as most are"
    )


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for k, v in values.items():
        out |= _flat(v, f"{before}{k}.") if isinstance(v, dict) else {f"{before}{k}": v}
    return out


def decided_until_ns(lake: Lake, symbol: str, date: dt.date, setups: SetupParams, features: FeatureParams) -> int:
    """End (ns) of the last window whose triggers count in touch statistics; later ones could only be labelled if they touched.

    A touch can come for `wait_windows` after an episode's last window. Near the end of the data "no touch" cannot be decided any more, so
    only the touched triggers would get a label, all of them positive. Where a session's bronze is gone, its data are taken to reach the
    session's end.

    The cut depends on the trigger's time alone, never on its outcome: a cut by the episode's end would select by outcome, since a touch
    ends the episode. What remains unlabelled are triggers whose episode runs into the last two minutes untouched: none of 2,526 armed ones
    in 20 simulated sessions, whose latest touch came 117 s after its trigger. It is no look-ahead: forecasts use sessions before the
    query's, less an embargo, whose data had all ended by then.
    """
    from engine.features.events import data_end_ns, file_span
    from engine.sessions import session_windows, utc_dates

    w = session_windows(date, lake.profile() or "rth", root_of(symbol))
    days = [d for d in utc_dates(w.ladder_start_ns, w.ladder_end_ns) if lake.find_manifest(BRONZE_MBO, symbol, d) is not None]
    spans = [file_span(lake.notes(BRONZE_MBO, symbol, d), d) for d in days]
    end = data_end_ns(spans, w.ladder_start_ns, w.ladder_end_ns) if spans else w.ladder_end_ns
    return end - max(setups.wait_windows, setups.gap_windows) * features.window_s * NS
