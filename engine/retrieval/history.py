"""The triggers of a market's gold in two files per group (``indexes/history-{market}/``): what every kept fit is of, once.

Kept fits (`engine.retrieval.kept`) hold what was fitted; the setups themselves, which are their neighbours, are here. It is a copy that is
faster to read than a partition per session: each answer compares the digests of the partitions it was made of with the lake's, and reads
these themselves where one differs.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import EngineError, LakeWriteFailed, NoData, PartitionCorrupt, StaleIndex
from engine.lake.catalog import WALLS, dataset
from engine.lake.manifest import NOT_JSON, SUCCESS, canonical, sha256_text, small_text
from engine.lake.store import input_key
from engine.lake.writer import fsync_path, swap_in, temporary
from engine.retrieval.dataset import VECTORS, Sessions, events_by_group, read_triggers, walls_current
from engine.retrieval.events import Events, concat_events
from engine.retrieval.index import FORMAT, MANIFEST, check_file, file_facts, index_folder, inputs_up_to, seal_index

if TYPE_CHECKING:
    from engine.lake.store import Lake


def history_name(market: str) -> str:
    """Name of the folder of a market's history, beside the indexes."""
    return f"history-{market.lower()}"


@dataclass(frozen=True, eq=False)
class History:
    """Events of a market's sessions by group, with NaN as wall features where a session has none of its triggers (`without_walls`), and
    the digests of the partitions that they are of."""

    events: dict[str, Events]
    without_walls: frozenset[dt.date]
    inputs: dict[str, str]

    def reaches(self, day: dt.date) -> bool:
        """Whether it has the session of a date; it has all before that, then."""
        return any(k.endswith(f"/{day}") for k in self.inputs)

    def between(self, after: dt.date | None, through: dt.date) -> dict[str, Events]:
        """Events of the sessions after a date (all where None) up to another; without wall features where one of them has none."""
        from engine.features.vector import WALL

        bare = any(d <= through and (after is None or d > after) for d in self.without_walls)
        found = {}
        for group, events in self.events.items():
            part = events.take(_span(events, None if after is None else after + dt.timedelta(days=1), through))
            found[group] = part.only(tuple(n for n in part.names if n not in WALL)) if bare else part
        return found


def _span(events: Events, first: dt.date | None, last: dt.date) -> slice:
    """Rows of the sessions from `first` to `last`; of all up to that where `first` is None."""
    start = 0 if first is None else int(np.searchsorted(events.sessions, np.datetime64(first)))
    return slice(start, int(np.searchsorted(events.sessions, np.datetime64(last), side="right")))


def _facts(kinds: tuple[str, ...]) -> dict[str, Any]:
    contracts = [dataset(key).contract().fingerprint() for key in (VECTORS, WALLS)]
    return {"format": FORMAT, "kinds": list(kinds), "contracts": contracts}


def read_history(lake: Lake, market: str, kinds: tuple[str, ...]) -> History | None:
    """The history that is there, every byte of it compared with its manifest; None where there is none of these trigger kinds, of today's
    contracts, or whole. Whether it is the lake's, its `inputs` say.
    """
    import polars as pl

    folder = index_folder(lake, history_name(market))
    try:
        manifest = json.loads(small_text(folder / MANIFEST, str(folder)))
        digest = manifest.pop("digest")
        if not digest == small_text(folder / SUCCESS, str(folder)).strip() == sha256_text(canonical(manifest)):
            return None
        if any(manifest[k] != v for k, v in _facts(kinds).items()):
            return None
        for name, facts in manifest["files"].items():
            check_file(folder / name, facts, "")
        events = {}
        for group, (representation, names) in manifest["groups"].items():
            matrix, frame = np.load(folder / f"{group}.npy"), pl.read_parquet(folder / f"{group}.parquet", glob=False)
            events[group] = Events(matrix, tuple(names), representation, frame)
    except (*NOT_JSON, PartitionCorrupt, StaleIndex, KeyError, OSError):
        return None
    return History(events, frozenset(map(dt.date.fromisoformat, manifest["without_walls"])), manifest["inputs"])


def write_history(lake: Lake, market: str, sessions: Sessions, kinds: tuple[str, ...], inputs: dict[str, str]) -> None:
    """Bring the history of a market up to date: what has changed since, and what came, is read from gold.

    `sessions` are those of the market's gold, rising, and `inputs` their digests. It ends before the first session that cannot be read:
    fits of histories with that one fail by its name, those before it are made.
    """
    was = read_history(lake, market, kinds)
    if was is not None and was.inputs == inputs:
        return
    by_day: dict[dt.date, list[tuple[str, dt.date]]] = {}
    for s, d in sessions:
        by_day.setdefault(d, []).append((s, d))
    was_of: dict[str, dict[str, str]] = {}
    for k, v in () if was is None else was.inputs.items():
        was_of.setdefault(k.rpartition("/")[2], {})[k] = v
    parts: dict[str, list[Events]] = {}
    bare, known = set[dt.date](), dict[str, str]()
    for day, of_day in sorted(by_day.items()):
        mine = {k: inputs[k] for s, d in of_day for key in (VECTORS, WALLS) if (k := input_key(key, s, d)) in inputs}
        try:
            if was is not None and mine == was_of.get(str(day)):
                found = {g: e.take(_span(e, day, day)) for g, e in was.events.items()}
            else:
                found = {g: _with_walls(e) for g, e in events_by_group(read_triggers(lake, of_day, kinds)).items()}
            if not all(walls_current(lake, s, d) for s, d in of_day):
                bare.add(day)
        except EngineError:
            break
        known |= mine
        for g, e in found.items():
            parts.setdefault(g, []).append(e)
    place = index_folder(lake, history_name(market))
    if not parts:
        shutil.rmtree(place, ignore_errors=True)
        return
    whole = {g: concat_events([e for e in events if len(e)] or events[:1]) for g, events in parts.items()}
    _write(place, whole, bare, {**_facts(kinds), "inputs": known})


def _with_walls(events: Events) -> Events:
    """The events with wall features, NaN where they have none."""
    from engine.features.vector import WALL

    if set(WALL) <= set(events.names):
        return events
    nothing = np.full((len(events), len(WALL)), np.nan, np.float32)
    return Events(np.column_stack([events.matrix, nothing]), (*events.names, *WALL), events.representation, events.frame)


def _write(place: Path, events: dict[str, Events], bare: set[dt.date], facts: dict[str, Any]) -> None:
    tmp = temporary(place)
    try:
        tmp.mkdir(parents=True)
        for group, e in events.items():
            np.save(tmp / f"{group}.npy", e.matrix)
            e.frame.write_parquet(tmp / f"{group}.parquet", compression="zstd", compression_level=1, statistics=False)
        files = {p.name: file_facts(p) for p in sorted(tmp.iterdir())}
        groups = {g: [e.representation, list(e.names)] for g, e in events.items()}
        seal_index(tmp, {**facts, "groups": groups, "without_walls": sorted(map(str, bare)), "files": files})
        swap_in(tmp, place)
        fsync_path(place.parent)
    except OSError as e:
        raise LakeWriteFailed(f"{place}: could not be written: {e}; free space or fix the folder's permissions, then run again") from e
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def history_of(lake: Lake, market: str, kinds: tuple[str, ...], sessions: Sessions, inputs: dict[str, str]) -> History:
    """The history of these sessions of a market: as it is kept, where that is what the lake has of them (`inputs`, of these sessions),
    else read from gold.

    Raises `NoData` where there are none, else as `read_triggers`.
    """
    if not sessions:
        raise NoData(f"{VECTORS} in {lake.root}: expected sessions, found none")
    through = sessions[-1][1]
    kept = read_history(lake, market, kinds)
    if kept is not None and inputs_up_to(kept.inputs, through) == inputs:
        return kept
    frame = read_triggers(lake, sessions, kinds)
    return History(events_by_group(frame), frozenset(), inputs)
