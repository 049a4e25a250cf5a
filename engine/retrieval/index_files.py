"""The files of an index: statistics, models, and per pool the vectors with their metadata and manifest (`engine.retrieval.index`)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import NoData
from engine.lake.manifest import canonical, sha256_file, sha256_text
from engine.provenance import accepted, code_of
from engine.retrieval.choice import NAMES, Choice
from engine.retrieval.events import Events
from engine.retrieval.forecast import default_recipe
from engine.retrieval.gold import APPROACHES, MIRROR, gold_events, groups_of
from engine.retrieval.model import Model, fit, retune
from engine.retrieval.normalise import fit_normaliser
from engine.retrieval.params import RetrievalParams
from engine.retrieval.search import Pool, make_pool

if TYPE_CHECKING:
    import polars as pl

FEATURES = "feature_list.json"
SEED_STATS = "norm_stats_seed.json"
STATS = "norm_stats.json"
MODELS = "models.json"
ALL = "all"
FLAT = {"type": "IndexFlatIP", "metric": "inner_product", "exact": True}
INDEX, OUTLINE, METADATA, POOL = ".index", ".outline.index", ".metadata.parquet", ".manifest.json"
"""Ends of a pool's files: FAISS vectors, outlines of an embedding, who they are, and what is said of all that."""

TOUCH = ".touch"
"""End of the stem of a pool for the probability of a touch, whose events are also those that never touched."""

Progress = Callable[[int, int, str], None]


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file with sorted keys."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def index_codes() -> tuple[str, ...]:
    """Hashes of code that makes the same indexes of the same gold, today's first; features are checked by their own list."""
    return accepted(code_of(gold_events, fill), {"_FEATURES.family": (), "ROOTS.code": (), "PROFILES.name": ()})


def feature_lists(representation: str) -> dict[str, Any]:
    """``feature_list.json``: per group every dimension by name, in order."""
    from engine.features.vector import feature_list

    return {g: feature_list(representation, APPROACHES[0] if g == MIRROR else g) for g in groups_of(representation)}


def fill(
    folder: Path, events: dict[str, Events], params: RetrievalParams, choice: Choice | None, progress: Progress | None
) -> dict[str, Any]:
    """Write every file but the manifest; returns what it says of them.

    Raises
    ------
    NoData
        Where no group has events enough.
    """
    representation = next(iter(events.values())).representation
    recipe = default_recipe(representation) if choice is None else choice.recipe
    models: dict[str, Model] = {}
    touch: dict[str, Model] = {}
    left_out: dict[str, str] = {}
    for g, e in events.items():
        try:
            models[g] = fit(e, params, recipe=recipe)
            touch[g] = fit(e, params, recipe=models[g].recipe, target="touch")
        except NoData as error:
            left_out[g if g not in models else f"{g}{TOUCH}"] = str(error)
    if not models:
        raise NoData(next(iter(left_out.values())))
    seed = {g: fit_normaliser(_first_sessions(m.history, params.min_sessions).matrix, params.clip) for g, m in models.items()}
    write_json(folder / FEATURES, feature_lists(representation))
    write_json(folder / SEED_STATS, {g: n.to_json(models[g].history.names) for g, n in seed.items()})
    write_json(folder / STATS, {g: m.normaliser.to_json(m.history.names) for g, m in models.items()})
    write_json(folder / MODELS, {g: _model_json(m) | {"touch": _touch_json(touch.get(g))} for g, m in models.items()})
    parts = [(g, m, f, rows) for g, m in models.items() for f, rows in _pools(m)]
    parts += [(f"{g}{TOUCH}", m, f, rows) for g, m in touch.items() for f, rows in _pools(m)]
    pools: dict[str, Any] = {}
    touch_pools: dict[str, Any] = {}
    for i, (key, model, name, rows) in enumerate(parts):
        g = key.removesuffix(TOUCH)
        stem = g if g != MIRROR or name == ALL or name.startswith("kind=") else str(model.history.frame["approach"][int(rows[0])])
        made = touch_pools if key.endswith(TOUCH) else pools
        made[f"{name}/{stem}"] = _write_pool(folder / name, stem + key.removeprefix(g), g, model, rows)
        if progress is not None:
            progress(i + 1, len(parts), name)
    for g, m in models.items():
        np.save(folder / f"{g}.vectors.npy", m.history.matrix)
    tops = [FEATURES, SEED_STATS, STATS, MODELS, *(f"{g}.vectors.npy" for g in models)]
    chosen = choice or _by_history(models, representation)
    return {
        "representation": representation,
        "recipe": {g: m.recipe for g, m in models.items()},
        "default_representation": chosen.representation,
        "chosen": chosen.to_json(),
        "features": {g: v["hash"] for g, v in feature_lists(representation).items()},
        "groups": {g: {"events": len(m.history), "sessions": len(np.unique(m.history.sessions))} for g, m in models.items()},
        "left_out": left_out,
        "pools": pools,
        "touch_pools": touch_pools,
        "files": {f: file_facts(folder / f) for f in tops},
    }


def _by_history(models: dict[str, Model], representation: str) -> Choice:
    model = next(iter(models.values()))
    name = NAMES[representation, model.recipe]
    return Choice(name, "history", None, {"log_loss_of_history": model.tuned.loss, "events": len(model.history)})


def _first_sessions(events: Events, sessions: int) -> Events:
    """Rows of the first sessions: the seed's statistics are known before anything else is, and never change."""
    days = np.unique(events.sessions)[:sessions]
    return events.take(events.sessions <= days[-1])


def _pools(model: Model) -> list[tuple[str, NDArray[np.int64]]]:
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


def _touch_json(model: Model | None) -> dict[str, Any] | None:
    return None if model is None else _model_json(model) | {"norm": model.normaliser.to_json(model.history.names)}


def file_facts(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file."""
    return {"size": path.stat().st_size, "sha256": sha256_file(path)}


def schema_hash(frame: pl.DataFrame) -> str:
    """Hash of a metadata table's columns and types."""
    return sha256_text(canonical([[n, str(t)] for n, t in frame.schema.items()]))


def _write_pool(folder: Path, stem: str, group: str, model: Model, rows: NDArray[np.int64]) -> dict[str, Any]:
    import faiss
    import polars as pl

    def part(of: Pool) -> Pool:
        vectors = of.index.reconstruct_n(0, len(of))[rows]
        return make_pool(vectors, of.sessions[rows], of.episodes[rows])

    folder.mkdir(exist_ok=True)
    pool, outline = part(model.pool), None if model.outline is None else part(model.outline)
    tuned = model.tuned if len(rows) == len(model.pool) else retune(model, pool, rows, outline)
    faiss.write_index(pool.index, str(folder / f"{stem}{INDEX}"))
    if outline is not None:
        faiss.write_index(outline.index, str(folder / f"{stem}{OUTLINE}"))
    codes = {"row": rows, "session_code": pool.sessions, "episode_code": pool.episodes, "label": model.labels[rows]}
    meta = model.history.frame[rows].with_columns(pl.Series(k, v) for k, v in codes.items())
    meta.write_parquet(folder / f"{stem}{METADATA}", compression="zstd", compression_level=1, statistics=False)
    ends = (INDEX, METADATA) if outline is None else (INDEX, OUTLINE, METADATA)
    body = {
        "group": group,
        "faiss": FLAT,
        "count": len(rows),
        "dims": int(pool.index.d),
        "sessions": len(np.unique(pool.sessions)),
        "tuned": tuned.to_json(),
        "metadata_schema": schema_hash(meta),
        "files": {f"{stem}{end}": file_facts(folder / f"{stem}{end}") for end in ends},
    }
    write_json(folder / f"{stem}{POOL}", body)
    return {**body, "manifest": file_facts(folder / f"{stem}{POOL}")}
