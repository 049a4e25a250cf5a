"""Fits that are kept: models of the history up to a session, made by a run ahead of the question (``indexes/fit-{market}-{date}/``).

Everything is fitted again when history has grown by `engine.retrieval.model.GROWTH`; sessions that came since are placed by that fit as
queries are, and may be neighbours. So a session that is added costs a placing or one fit, and all fits of a lake together a small multiple
of the last one. A fit holds what was fitted and the log odds by which its history is placed; the history itself is kept once for all of a
market's fits (`engine.retrieval.history`), and placed again when a fit is opened, to the same bits.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import NoData, PartitionMissing, StaleIndex
from engine.lake.writer import recover
from engine.params import RetrievalParams, Target
from engine.retrieval.dataset import VECTORS, poolable_sessions
from engine.retrieval.embedding import embedding_from_json, normaliser_from_json, unit
from engine.retrieval.events import Events
from engine.retrieval.forecast import before_embargo, candidates, default_recipe
from engine.retrieval.history import history_of, read_history, write_history
from engine.retrieval.horizons import horizon_references, horizons_json
from engine.retrieval.index import (
    HORIZON_FITS,
    MODELS,
    TOUCH,
    check_file,
    check_index,
    compared,
    feature_lists,
    file_facts,
    fit_groups,
    index_folder,
    index_root,
    input_digests,
    inputs_up_to,
    model_json,
    read_index_manifest,
    swap_in_index,
    touch_json,
    write_json,
)
from engine.retrieval.model import Fits, Model, extended, fitted_sessions, target_labels
from engine.retrieval.reader import reader_from_json
from engine.retrieval.reference import physical_axes, reference_from_json
from engine.retrieval.search import make_pool
from engine.retrieval.tune import tuned_from_json

if TYPE_CHECKING:
    from engine.lake.store import Lake
    from engine.retrieval.dataset import Sessions


def kept_name(market: str, through: dt.date) -> str:
    """Name of the fit on a market's sessions up to `through`, as an index."""
    return f"fit-{market.lower()}-{through}"


def fit_days(days: Sequence[dt.date], least: int) -> list[dt.date]:
    """The last sessions of the histories that are fitted on, of a lake whose sessions are `days`, rising."""
    counts = dict.fromkeys(fitted_sessions(n, least) for n in range(least, len(days) + 1))
    return [days[n - 1] for n in counts]


@dataclass(frozen=True)
class FitTask:
    """One fit to make: of a market's sessions up to `through`, with parameters as JSON; picklable."""

    lake: str
    market: str
    through: dt.date
    params: str

    @property
    def name(self) -> str:
        """The fit's name."""
        return kept_name(self.market, self.through)


def fits_to_make(lake: Lake, market: str, params: RetrievalParams) -> list[FitTask]:
    """The fits of a market's gold that are missing, stale or harmed; those of no use any more are removed, and the history that they are of
    is brought up to date. The caller holds the lake's lock.

    Raises as `engine.retrieval.dataset.poolable_sessions`, and `LakeWriteFailed`.
    """
    sessions = poolable_sessions(lake, VECTORS, market)
    days, inputs = sorted({d for _, d in sessions}), input_digests(lake, market)
    wanted = {kept_name(market, day): day for day in fit_days(days, params.min_sessions)}
    if index_root(lake).is_dir():
        recover(index_root(lake))
        for name in kept_names(lake, market) - wanted.keys():
            shutil.rmtree(index_folder(lake, name))
    if wanted:
        write_history(lake, market, sessions, params.kinds, inputs)
    text = params.model_dump_json()
    return [FitTask(str(lake.root), market, day, text) for name, day in wanted.items() if not is_kept(lake, name, params, inputs)]


@dataclass(frozen=True)
class FitMade:
    """What came of a `FitTask`: no `error` where it was made, else the error's type and words; `short` where its history is too short."""

    error: str = ""
    message: str = ""
    short: bool = False


def make_fit(task: FitTask) -> FitMade:
    """Make a fit. An error is part of what is returned: other fits, and the signals, go on without this one."""
    from engine.lake.store import Lake

    lake, params = Lake(task.lake), RetrievalParams.model_validate_json(task.params)
    try:
        history = read_history(lake, task.market, params.kinds)
        if history is None or not history.reaches(task.through):
            # It ends before a session that cannot be read: reading that one says why.
            sessions = [(s, d) for s, d in poolable_sessions(lake, VECTORS, task.market) if d <= task.through]
            history = history_of(lake, task.market, params.kinds, sessions, input_digests(lake, task.market, task.through))
        inputs = inputs_up_to(history.inputs, task.through)
        events = {g: e for g, e in history.between(None, task.through).items() if len(e)}
        if not events:
            raise NoData(f"expected triggers of kind {', '.join(params.kinds)}, found none")

        def write(folder: Path) -> dict[str, Any]:
            return write_fit_files(folder, events, params)

        swap_in_index(lake, task.name, task.market, params, inputs, write, through=task.through)
    except Exception as e:  # also bugs: the run names the fit
        return FitMade(type(e).__name__, str(e), isinstance(e, NoData))
    return FitMade()


def kept_names(lake: Lake, market: str) -> set[str]:
    """Names of the fits of a market that are there, current or not."""
    form = re.compile(rf"fit-{re.escape(market.lower())}-\d{{4}}-\d\d-\d\d")
    root = index_root(lake)
    return {p.name for p in root.iterdir() if form.fullmatch(p.name)} if root.is_dir() else set()


def is_kept(lake: Lake, name: str, params: RetrievalParams, inputs: dict[str, str]) -> bool:
    """Whether a fit is there, of the lake's gold (`inputs`, of all of the market's sessions), and whole, to the last byte."""
    try:
        manifest = read_index_manifest(lake, name)
        check_index(lake, manifest, params, inputs=inputs)
        for file, facts in manifest["files"].items():
            check_file(index_folder(lake, name) / file, facts, "")
    except (PartitionMissing, StaleIndex, NoData):
        return False
    return True


def kept_fits(lake: Lake, market: str, group: str, sessions: Sessions, params: RetrievalParams) -> Fits | None:
    """Models of the classes and of the touch for queries after the `sessions` of a market's gold, by the fit that is kept of the first of
    them; None where none is, or it is not current, or of other parameters.
    """
    if len({d for _, d in sessions}) < params.min_sessions:
        return None
    name, last = name_for(market, sessions, params), max(d for _, d in sessions)
    through, inputs = dt.date.fromisoformat(name[-10:]), input_digests(lake, market, last)
    try:
        manifest = read_index_manifest(lake, name)
        check_index(lake, manifest, params, inputs=inputs)
        check_file(index_folder(lake, name) / HORIZON_FITS, manifest["files"][HORIZON_FITS], "")
        history = history_of(lake, market, params.kinds, sorted(sessions, key=lambda p: p[1]), inputs)
        first = history.between(None, through).get(group)
        model, touch = (None if first is None else open_fit(lake, manifest, first, group, target) for target in TARGETS)
    except (PartitionMissing, StaleIndex, NoData):
        return None
    if model is None:
        return None
    later = history.between(through, last)[group]
    if not len(later):
        return model, touch
    if any(not set(m.names) <= set(later.names) for m in (model, touch) if m is not None):
        return None  # sessions without wall features
    return extended((model, touch), candidates(later, params))


def name_for(market: str, sessions: Sessions, params: RetrievalParams) -> str:
    """Name of the fit for queries after the `sessions` of a market, of which there are as many as a forecast needs."""
    days = sorted({d for _, d in sessions})
    return kept_name(market, days[fitted_sessions(len(days), params.min_sessions) - 1])


def before_session(sessions: Sessions, date: dt.date, embargo: int) -> list[tuple[str, dt.date]]:
    """The sessions before `date`, and before the embargo of so many of them."""
    end = before_embargo(as_days(sessions), np.datetime64(date), embargo).astype(object)
    return sorted(((s, d) for s, d in sessions if d < end), key=lambda p: (p[1], p[0]))


def as_days(sessions: Sessions) -> np.ndarray:
    """The sessions' dates, rising, each once."""
    return np.array(sorted({d for _, d in sessions}), "datetime64[D]")


# ----------------------------------------------------------------------------
# Files of a fit: what was fitted, per group the log odds by which history is placed, and the fits of the other horizons

TARGETS: tuple[Target, Target] = ("class", "touch")


def _odds_file(group: str, target: Target) -> str:
    return f"{group}{TOUCH if target == 'touch' else ''}.odds.npy"


def write_fit_files(folder: Path, events: dict[str, Events], params: RetrievalParams) -> dict[str, Any]:
    """Fit every group, write its files, and return the manifest's part about them; raises `NoData` where no group is fitted."""
    representation = next(iter(events.values())).representation
    models, touch, left_out = fit_groups(events, params, default_recipe(representation))
    for target, fitted in zip(TARGETS, (models, touch)):
        for group, model in fitted.items():
            if model.embedding is not None:
                assert model.odds is not None
                np.save(folder / _odds_file(group, target), model.odds)
    told = {}
    for g, m in models.items():
        other = touch.get(g)
        of_touch = None if other is None else {**(touch_json(other) or {}), "tuned": other.tuned.to_json()}
        told[g] = model_json(m) | {"norm": m.normaliser.to_json(m.names), "tuned": m.tuned.to_json(), "touch": of_touch}
    write_json(folder / MODELS, told)
    write_json(folder / HORIZON_FITS, {g: horizons_json(horizon_references(m)) for g, m in models.items()})
    vectors = compared(next(iter(models.values())).recipe, representation)
    return {
        "representation": representation,
        "compared": vectors,
        "features": {g: v["hash"] for g, v in feature_lists(vectors).items()},
        "left_out": left_out,
        "files": {p.name: file_facts(p) for p in sorted(folder.iterdir())},
    }


def open_fit(lake: Lake, manifest: dict[str, Any], events: Events, group: str, target: Target) -> Model | None:
    """The model of a group of a fit, whose history are `events` again; None where the fit has none.

    Raises `StaleIndex` where a file, or the number of events, is not what it was.
    """
    folder = index_folder(lake, manifest["name"])
    check_file(folder / MODELS, manifest["files"][MODELS], "")
    fitted = json.loads((folder / MODELS).read_text(encoding="utf-8")).get(group)
    if fitted is not None and target == "touch":
        fitted = fitted["touch"]
    if fitted is None:
        return None
    params, names = RetrievalParams.model_validate(manifest["params"]), tuple(fitted["names"])
    if not set(names) <= set(events.names):
        raise StaleIndex(f"fit {folder}: of dimensions that its history has not")
    events = candidates(events, params).only(names)
    labels = target_labels(events, target, params.horizon)
    keep = (labels >= 0) & events.usable
    history, labels = events.take(keep), labels[keep]
    normaliser, reference = normaliser_from_json(fitted["norm"], names), reference_from_json(fitted["reference"])
    embedding = None if fitted["embedding"] is None else embedding_from_json(fitted["embedding"])
    scaled, codes = normaliser.scale(history.matrix), (history.session_codes, history.episode_codes)
    outline, odds, vectors = None, None, None
    if embedding is not None:
        place = folder / _odds_file(group, target)
        check_file(place, manifest["files"][place.name], "")
        odds = np.load(place)
        if len(odds) != len(history):
            raise StaleIndex(f"fit {folder}: expected a history of {len(odds)} events, found {len(history)}")
        vectors = embedding.place(scaled, odds, physical_axes(history, reference.fill))
        outline = make_pool(embedding.outline(scaled), *codes)
    return Model(
        target, fitted["recipe"], params, names, normaliser, embedding, reference, reader_from_json(fitted["reader"]),
        tuned_from_json(fitted["tuned"]), history, labels, make_pool(unit(scaled) if vectors is None else vectors, *codes), outline,
        odds=odds,
    )  # fmt: skip
