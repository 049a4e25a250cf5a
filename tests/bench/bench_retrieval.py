"""Benchmarks of retrieval: searching, opening an index, fitting, forecasting."""

from __future__ import annotations

import atexit
import shutil
import statistics
import tempfile
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from engine.lake.store import Lake
from engine.params import RetrievalParams
from engine.retrieval.dataset import events_by_group
from engine.retrieval.embedding import unit
from engine.retrieval.events import Events
from engine.retrieval.index import build_index, index_root, open_index, read_index_manifest
from engine.retrieval.model import fit, forecast
from engine.retrieval.search import Pool, make_pool, raw_search, search
from tests.bench.harness import Measure, bench, median_seconds
from tests.support.retrieval import gold_frame, write_gold

N, DIMS, K = 100_000, 64, 200
SESSIONS = 250


@lru_cache(maxsize=1)
def pool() -> tuple[Pool, np.ndarray]:
    """A pool of 100k vectors over 250 sessions, 40 to an episode, and 50 queries."""
    import faiss

    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(N, DIMS)).astype(np.float32))
    at = np.arange(N)
    return make_pool(vectors, at * SESSIONS // N, at // 40), unit(rng.normal(size=(50, DIMS)).astype(np.float32))


def per_query(ask: object) -> float:
    """Median milliseconds of CPU of a query; one thread."""
    _, queries = pool()
    seconds = []
    for q in queries:
        start = time.process_time()
        ask(q[None])  # type: ignore[operator]
        seconds.append(time.process_time() - start)
    return statistics.median(seconds) * 1e3


@bench("search of 100k x 64, k=200, without a session", bar="<= 10 ms")
def search_filtered() -> Measure:
    """One query at a time, one thread, all sessions but one."""
    p, _ = pool()
    start, end = p.span(120)
    return Measure(per_query(lambda q: raw_search(p, q, K, start, end, without=True)), "ms", 50, "exact, IDSelectorNot(IDSelectorRange)")


@bench("search of 100k x 64, k=200, sessions before", bar="<= 10 ms")
def search_before() -> Measure:
    """One query at a time, one thread, the sessions before the 200th."""
    p, _ = pool()
    return Measure(per_query(lambda q: raw_search(p, q, K, 0, p.before(200))), "ms", 50, "exact, IDSelectorRange, 80k of 100k rows")


@bench("neighbours of 100k x 64, k=200, caps kept", bar="")
def search_capped() -> Measure:
    """The same with one neighbour an episode and three a session."""
    p, _ = pool()
    start, end = p.span(120)
    return Measure(per_query(lambda q: search(p, q, K, start, end, cap=3, without=True)), "ms", 50, "one an episode, three a session")


@lru_cache(maxsize=1)
def wide_index() -> Lake:
    """An index whose pool of everything has 100k vectors of 64 dimensions, made of a small one's files."""
    import faiss

    from engine.lake.manifest import canonical, sha256_text
    from engine.retrieval.embedding import OUTLINE as DIRECTIONS
    from engine.retrieval.index import OUTLINE, file_facts, schema_hash, write_json

    root = Path(tempfile.mkdtemp(prefix="spymaster-bench-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    lake = write_gold(root / "lake", gold_frame(400))
    build_index(lake, params=RetrievalParams(tune_queries=200))
    base = index_root(lake) / "default"
    manifest = read_index_manifest(lake)
    meta = pl.read_parquet(base / "all/mirrored.metadata.parquet")
    many = pl.concat([meta] * (N // meta.height + 1)).head(N)
    # Names as long and as different as those of a real year.
    many = many.with_columns(pl.format("{}/{}", c, pl.int_range(pl.len())).alias(c) for c in ("trigger_id", "episode_id"))
    codes = pl.int_range(pl.len(), dtype=pl.Int64)
    many = many.with_columns(codes.alias("row"), codes.alias("episode_code"), (codes * SESSIONS // N).alias("session_code"))
    many.write_parquet(base / "all/mirrored.metadata.parquet", compression="zstd", compression_level=1, statistics=False)
    faiss.write_index(pool()[0].index, str(base / "all/mirrored.index"))
    outline = base / f"all/mirrored{OUTLINE}"
    if outline.is_file():
        flat = faiss.IndexFlatIP(DIRECTIONS)
        flat.add(unit(np.random.default_rng(1).normal(size=(N, DIRECTIONS)).astype(np.float32)))
        faiss.write_index(flat, str(outline))
    raw = np.lib.format.open_memmap(base / "mirrored.vectors.npy", "w+", np.float32, (N, 300))
    raw.flush()
    found = manifest["pools"]["all/mirrored"] | {"count": N, "metadata_schema": schema_hash(many)}
    found["files"] = {f: file_facts(base / "all" / f) for f in found["files"]}
    del found["manifest"]
    write_json(base / "all/mirrored.manifest.json", found)
    manifest["pools"]["all/mirrored"] = {**found, "manifest": file_facts(base / "all/mirrored.manifest.json")}
    manifest["files"]["mirrored.vectors.npy"] = file_facts(base / "mirrored.vectors.npy")
    manifest["digest"] = sha256_text(canonical(manifest))
    write_json(base / "manifest.json", manifest)
    (base / "_SUCCESS").write_text(manifest["digest"])
    return lake


@bench("open an index of 100k x 64", bar="<= 300 ms")
def opening() -> Measure:
    """CPU time: manifest, comparison with gold, hashes, vectors, metadata, models."""
    lake = wide_index()
    seconds = median_seconds(lambda: open_index(lake), runs=9)
    assert len(open_index(lake).pool) == N
    return Measure(seconds * 1e3, "ms", 9, "CPU; every file hashed but the mapped raw vectors")


@lru_cache(maxsize=1)
def history() -> Events:
    """Two thousand events of a hundred sessions."""
    return events_by_group(gold_frame(2000))["mirrored"]


@bench("fit on 2,000 events x 300", bar="")
def fitting() -> Measure:
    """Normalisation, reference, cross-fitted embedding, and the tuned grid."""
    return Measure(median_seconds(lambda: fit(history(), RetrievalParams()), runs=5), "s", 5, "CPU, one thread")


@bench("forecast of 1,000 triggers from 1,600 events", bar="")
def forecasting() -> Measure:
    """Neighbours and posterior of a session's windows."""
    model = fit(history(), RetrievalParams())
    queries = history().take(np.arange(1000) % len(history()))
    return Measure(median_seconds(lambda: forecast(model, queries), runs=5), "s", 5, "CPU, one thread")
