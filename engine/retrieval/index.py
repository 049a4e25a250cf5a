"""Indexes on disk: FAISS vectors in time order, with everything needed to ask them and to refuse to be asked (lake.md, retrieval.md).

``indexes/{name}/`` holds ``feature_list.json``, ``norm_stats_seed.json``, ``norm_stats.json``, ``models.json``, ``manifest.json``,
the raw vectors ``{group}.vectors.npy``, and per pool ``{folder}/{stem}.index`` with ``{stem}.metadata.parquet`` and
``{stem}.manifest.json``. Pools: ``all`` and ``kind={kind}``, whose stem is the group (``mirrored``, or an approach), and one
folder per level with a stem per approach.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import LakeWriteFailed, NoData, SessionError
from engine.lake.catalog import dataset
from engine.lake.manifest import SUCCESS, canonical, sha256_file, sha256_text
from engine.lake.writer import TMP_PREFIX, fsync_path, recover, swap_in
from engine.retrieval.events import MIRRORED, Events
from engine.retrieval.forecast import default_recipe
from engine.retrieval.gold import APPROACHES, MIRROR, VECTORS, gold_events, groups_of, sessions_in
from engine.retrieval.model import Model, fit, retune
from engine.retrieval.normalise import fit_normaliser
from engine.retrieval.params import RetrievalParams
from engine.retrieval.search import make_pool

if TYPE_CHECKING:
    import polars as pl

    from engine.lake.store import Lake

FORMAT = 2
MANIFEST = "manifest.json"
FEATURES = "feature_list.json"
SEED_STATS = "norm_stats_seed.json"
STATS = "norm_stats.json"
MODELS = "models.json"
ALL = "all"
FLAT = {"type": "IndexFlatIP", "metric": "inner_product", "exact": True}

Progress = Callable[[int, int, str], None]


def index_root(lake: Lake) -> Path:
    """Folder of the lake's indexes; ``MBO_INDEX_DIR`` overrides it."""
    return Path(os.environ.get("MBO_INDEX_DIR") or lake.root / "indexes")


def index_folder(lake: Lake, name: str) -> Path:
    """Folder of an index.

    Raises
    ------
    SessionError
        Where the name is more than one folder's: a path would be replaced, whatever stands there.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise SessionError(f"index name {name!r}: expected letters, digits, '_', '-' and '.', the first a letter, a digit or '_'")
    return index_root(lake) / name


def rebuild_command(lake: Lake, name: str, symbol: str | None = None, params: dict[str, Any] | None = None) -> str:
    """The command that makes an index anew, of the kinds and the horizon in `params`."""
    usual = RetrievalParams()
    p = params or {}
    kinds, horizon = tuple(p.get("kinds", usual.kinds)), p.get("horizon", usual.horizon)
    options = [f" --symbol {symbol}" if symbol else "", f" --kinds {','.join(kinds)}" if kinds != usual.kinds else ""]
    options.append(f" --horizon {horizon}" if horizon != usual.horizon else "")
    return f"spymaster index --lake {lake.root} --name {name}{''.join(options)}"


def input_digests(lake: Lake, symbol: str | None) -> dict[str, str]:
    """Digest of every gold partition that an index of `symbol` is made of."""
    from engine.lake.store import input_key

    return {input_key(VECTORS, s, d): lake.manifest(VECTORS, s, d).digest() for s, d in sessions_in(lake, VECTORS, symbol)}


def feature_lists(representation: str) -> dict[str, Any]:
    """``feature_list.json``: per group every dimension by name, in order."""
    from engine.features.vector import feature_list

    return {g: feature_list(representation, APPROACHES[0] if g == MIRROR else g) for g in groups_of(representation)}


def pool_folder(pool: str, *, kind: str | None = None, level_id: str | None = None) -> str:
    """Folder of a pool under the index: ``all``, ``kind={kind}``, or the level's id."""
    if pool == "kind":
        return f"kind={kind}"
    return str(level_id) if pool == "level" else ALL


def build_index(
    lake: Lake, *, name: str = "default", symbol: str | None = None, params: RetrievalParams | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Make the index of the lake's gold, whole or not at all; the manifest.

    Parameters
    ----------
    name
        Folder under the lake's indexes.
    symbol
        A contract or a root; all of gold where None.
    params
        Knobs; ``kinds`` decides which triggers can be neighbours.

    Raises
    ------
    SessionError
        Where the name is no folder's.
    NoData
        Where gold has too few events; it says how many there are.
    LakeWriteFailed
        Where the folder cannot be written.
    """
    p = params or RetrievalParams()
    place = index_folder(lake, name)
    inputs = input_digests(lake, symbol)
    events = {g: e for g, e in gold_events(lake, symbol, kinds=p.kinds).items() if len(e)}
    if not events:
        raise NoData(f"{VECTORS} in {lake.root}: expected triggers of kind {', '.join(p.kinds)}, found none; more dates make some")
    root = place.parent
    tmp = root / f"{TMP_PREFIX}{name}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        recover(root)
        tmp.mkdir(parents=True)
        manifest = _fill(tmp, events, p, progress)
        manifest |= {"name": name, "symbol": symbol, "profile": lake.profile(), "inputs": inputs, "format": FORMAT}
        manifest |= {"contract": dataset(VECTORS).contract().fingerprint(), "params": p.model_dump(mode="json")}
        manifest["digest"] = sha256_text(canonical(manifest))
        _write(tmp / MANIFEST, manifest)
        (tmp / SUCCESS).write_text(manifest["digest"] + "\n", encoding="utf-8")
        for path in sorted(tmp.rglob("*"), reverse=True):
            fsync_path(path)
        fsync_path(tmp)
        swap_in(tmp, place)
        fsync_path(root)
    except OSError as e:
        raise LakeWriteFailed(f"index {place}: could not be written: {e}; free space or mend the folder's rights, then run again") from e
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    return manifest


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _fill(folder: Path, events: dict[str, Events], params: RetrievalParams, progress: Progress | None) -> dict[str, Any]:
    """Write every file but the manifest; returns what it says of them."""
    representation = next(iter(events.values())).representation
    models: dict[str, Model] = {}
    left_out: dict[str, str] = {}
    for g, e in events.items():
        try:
            models[g] = fit(e, params, recipe=default_recipe(representation))
        except NoData as error:
            left_out[g] = str(error)
    if not models:
        raise NoData(next(iter(left_out.values())))
    seed = {g: fit_normaliser(_first_sessions(m.history, params.min_sessions).matrix, params.clip) for g, m in models.items()}
    _write(folder / FEATURES, feature_lists(representation))
    _write(folder / SEED_STATS, {g: n.to_json(models[g].history.names) for g, n in seed.items()})
    _write(folder / STATS, {g: m.normaliser.to_json(m.history.names) for g, m in models.items()})
    _write(folder / MODELS, {g: _model_json(m) for g, m in models.items()})
    parts = [(g, f, rows) for g, m in models.items() for f, rows in _pools(g, m)]
    pools: dict[str, Any] = {}
    for i, (g, name, rows) in enumerate(parts):
        stem = g if g != MIRROR or name == ALL or name.startswith("kind=") else models[g].history.frame["approach"][int(rows[0])]
        pools[f"{name}/{stem}"] = _write_pool(folder / name, stem, g, models[g], rows)
        if progress is not None:
            progress(i + 1, len(parts), name)
    for g, m in models.items():
        np.save(folder / f"{g}.vectors.npy", m.history.matrix)
    tops = [FEATURES, SEED_STATS, STATS, MODELS, *(f"{g}.vectors.npy" for g in models)]
    return {
        "representation": representation,
        "recipe": {g: m.recipe for g, m in models.items()},
        "default_representation": "learned" if representation in MIRRORED else representation,
        "features": {g: v["hash"] for g, v in feature_lists(representation).items()},
        "groups": {g: {"events": len(m.history), "sessions": len(np.unique(m.history.sessions))} for g, m in models.items()},
        "left_out": left_out,
        "pools": pools,
        "files": {f: file_facts(folder / f) for f in tops},
    }


def _first_sessions(events: Events, sessions: int) -> Events:
    """Rows of the first sessions: the seed's statistics are known before anything else is, and never change."""
    days = np.unique(events.sessions)[:sessions]
    return events.take(events.sessions <= days[-1])


def _pools(group: str, model: Model) -> list[tuple[str, NDArray[np.int64]]]:
    """(folder, rows of the group's history) of every pool."""
    h = model.history
    levels, approaches = h.frame["level_id"].to_numpy().astype(object), h.frame["approach"].to_numpy().astype(object)
    out = [(ALL, np.arange(len(h)))]
    out += [(f"kind={k}", np.flatnonzero(h.level_kinds == k)) for k in sorted(set(h.level_kinds.tolist()))]
    for level in sorted(set(levels.tolist())):
        for approach in APPROACHES:
            rows = np.flatnonzero((levels == level) & (approaches == approach))
            if len(rows):
                out.append((level, rows))
    return out


def _model_json(model: Model) -> dict[str, Any]:
    e = model.embedding
    return {"recipe": model.recipe, "reference": model.reference.to_json(), "embedding": None if e is None else e.to_json()}


def file_facts(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file."""
    return {"size": path.stat().st_size, "sha256": sha256_file(path)}


def schema_hash(frame: pl.DataFrame) -> str:
    """Hash of a metadata table's columns and types."""
    return sha256_text(canonical([[n, str(t)] for n, t in frame.schema.items()]))


def _write_pool(folder: Path, stem: str, group: str, model: Model, rows: NDArray[np.int64]) -> dict[str, Any]:
    import faiss
    import polars as pl

    folder.mkdir(exist_ok=True)
    vectors = model.pool.index.reconstruct_n(0, len(model.pool))[rows]
    pool = make_pool(vectors, model.pool.sessions[rows], model.pool.episodes[rows])
    tuned = model.tuned if len(rows) == len(model.pool) else retune(model, pool, rows)
    faiss.write_index(pool.index, str(folder / f"{stem}.index"))
    codes = {"row": rows, "session_code": pool.sessions, "episode_code": pool.episodes, "label": model.labels[rows]}
    meta = model.history.frame[rows].with_columns(pl.Series(k, v) for k, v in codes.items())
    meta.write_parquet(folder / f"{stem}.metadata.parquet", compression="zstd", compression_level=1, statistics=False)
    body = {
        "group": group,
        "faiss": FLAT,
        "count": len(rows),
        "dims": int(vectors.shape[1]),
        "sessions": len(np.unique(pool.sessions)),
        "tuned": tuned.to_json(),
        "metadata_schema": schema_hash(meta),
        "files": {f"{stem}{end}": file_facts(folder / f"{stem}{end}") for end in (".index", ".metadata.parquet")},
    }
    _write(folder / f"{stem}.manifest.json", body)
    return {**body, "manifest": file_facts(folder / f"{stem}.manifest.json")}
