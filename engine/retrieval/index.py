"""Building, checking and opening indexes on disk: FAISS vectors in time order with models, metadata and manifests (retrieval.md).

``indexes/{name}/`` holds ``feature_list.json``, ``norm_stats_seed.json``, ``norm_stats.json``, ``models.json``, ``manifest.json``,
the raw vectors ``{group}.vectors.npy``, and per pool ``{folder}/{stem}.index`` with ``{stem}.metadata.parquet`` and
``{stem}.manifest.json``, and ``{stem}.outline.index`` where vectors are embedded. Pools: ``all`` and ``kind={kind}``, whose stem is
the group (``mirrored``, or an approach), and one folder per level with a stem per approach; each again with the stem ``{stem}.touch``
for the probability of a touch.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from engine.errors import LakeWriteFailed, NoData, PartitionCorrupt, PartitionMissing, SessionError, StaleIndex
from engine.lake.catalog import WALLS, dataset
from engine.lake.manifest import NOT_JSON, SUCCESS, canonical, sha256_file, sha256_text, small_text
from engine.lake.writer import fsync_path, recover, swap_in, temporary
from engine.params import RetrievalParams, Target
from engine.provenance import accepted, code_of
from engine.retrieval.audit_store import REPRESENTATION_NAMES, Choice
from engine.retrieval.dataset import APPROACHES, MIRROR, VECTORS, gold_events, groups_of, require_one_market, sessions_in
from engine.retrieval.embedding import embedding_from_json, fit_normaliser, normaliser_from_json
from engine.retrieval.events import Events, Progress
from engine.retrieval.forecast import default_recipe
from engine.retrieval.hints import retrieval_options
from engine.retrieval.horizons import HorizonForecast, horizon_references, horizons_from_json, horizons_json
from engine.retrieval.model import Model, Recipe, fit, retune
from engine.retrieval.reader import reader_from_json
from engine.retrieval.reference import reference_from_json
from engine.retrieval.search import Pool, make_pool
from engine.retrieval.stack import stack_from_json
from engine.retrieval.tune import tuned_from_json
from engine.vocab import root_of

if TYPE_CHECKING:
    import polars as pl

    from engine.lake.store import Lake

FORMAT = 10
MANIFEST = "manifest.json"


def index_root(lake: Lake) -> Path:
    """Folder of the lake's indexes; ``MBO_INDEX_DIR`` overrides it."""
    return Path(os.environ.get("MBO_INDEX_DIR") or lake.root / "indexes")


def index_folder(lake: Lake, name: str) -> Path:
    """Folder of an index.

    Raises `SessionError` where the name is not that of a single folder: a path could replace any folder.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise SessionError(f"index name {name!r}: expected letters, digits, '_', '-' and '.', the first a letter, a digit or '_'")
    return index_root(lake) / name


def rebuild_command(lake: Lake, name: str, symbol: str | None = None, params: dict[str, Any] | None = None) -> str:
    """The command that rebuilds an index with `params`; parameters missing there have their defaults."""
    of = f" --symbol {symbol}" if symbol else ""
    return f"spymaster index --lake {shlex.quote(str(lake.root))} --name {name}{of}{retrieval_options(params or {}, ('kinds', 'horizon'))}"


def input_digests(lake: Lake, symbol: str | None, through: dt.date | None = None) -> dict[str, str]:
    """Manifest digest of every gold partition that is an input of an index of `symbol`, of sessions up to the date `through`."""
    from engine.lake.store import input_key

    sessions = [(s, d) for s, d in sessions_in(lake, VECTORS, symbol) if through is None or d <= through]
    require_one_market(lake, sessions, symbol)
    walls = {input_key(WALLS, s, d): m.digest() for s, d in sessions if (m := lake.find_manifest(WALLS, s, d)) is not None}
    return {input_key(VECTORS, s, d): lake.manifest(VECTORS, s, d).digest() for s, d in sessions} | walls


def inputs_up_to(inputs: dict[str, str], through: dt.date | None) -> dict[str, str]:
    """Those of `input_digests` that are of sessions up to a date; all where None."""
    return {k: v for k, v in inputs.items() if through is None or k.rpartition("/")[2] <= str(through)}


def build_index(
    lake: Lake,
    *,
    name: str = "default",
    symbol: str | None = None,
    params: RetrievalParams | None = None,
    choice: Choice | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Build the index `name` of the lake's gold atomically, and return its manifest.

    `symbol` is a contract or a root; all of gold where None. The ``kinds`` of `params` decide which triggers can be neighbours. `choice` is
    the representation chosen by an audit (`engine.retrieval.audit_store.audit_choice`); where None, the loss on the index's own history
    decides, and the manifest records that.

    Raises `SessionError` where the name is not that of a folder, or the lake holds several markets and no symbol is given; `NoData` or
    `ContractError` where gold has too few events, or several sets of parameters; `LakeWriteFailed` where the folder cannot be written.
    """
    p = params or RetrievalParams()
    place = index_folder(lake, name)
    inputs = input_digests(lake, symbol)
    events = {g: e for g, e in gold_events(lake, symbol, kinds=p.kinds).items() if len(e)}
    if not events:
        raise NoData(f"{VECTORS} in {lake.root}: expected triggers of kind {', '.join(p.kinds)}, found none; add dates")
    recover(place.parent)
    return swap_in_index(lake, name, symbol, p, inputs, lambda folder: write_index_files(folder, events, p, choice, progress))


def swap_in_index(
    lake: Lake, name: str, symbol: str | None, params: RetrievalParams, inputs: dict[str, str], write: Callable[[Path], dict[str, Any]],
    *, through: dt.date | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Replace the index `name` atomically by the files that `write` writes into a folder, whose part of the manifest it returns.

    Returns the manifest. Raises as `build_index`, and what `write` raises.
    """
    place = index_folder(lake, name)
    market = root_of(next(iter(inputs)).split("/")[1]).code
    tmp = temporary(place)
    try:
        tmp.mkdir(parents=True)
        manifest = write(tmp)
        manifest |= {
            "through": None if through is None else str(through),
            "name": name,
            "symbol": symbol,
            "market": market,
            "profile": lake.profile(),
            "inputs": inputs,
            "format": FORMAT,
        }
        manifest |= {"contract": dataset(VECTORS).contract().fingerprint(), "code": index_codes()[0]}
        manifest |= {"params": params.model_dump(mode="json")}
        seal_index(tmp, manifest)
        swap_in(tmp, place)
        fsync_path(place.parent)
    except OSError as e:
        raise LakeWriteFailed(
            f"index {place}: could not be written: {e}; free space or fix the folder's permissions, then run again"
        ) from e
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    return manifest


def seal_index(folder: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest with its digest, which ``_SUCCESS`` repeats, and bring all of the folder to the disk."""
    manifest["digest"] = sha256_text(canonical(manifest))
    write_json(folder / MANIFEST, manifest)
    (folder / SUCCESS).write_text(manifest["digest"] + "\n", encoding="utf-8")
    for path in sorted(folder.rglob("*"), reverse=True):
        fsync_path(path)
    fsync_path(folder)


# ----------------------------------------------------------------------------
# The files of an index: statistics, models, and per pool the vectors with their metadata and manifest

FEATURES, SEED_STATS, STATS, MODELS = "feature_list.json", "norm_stats_seed.json", "norm_stats.json", "models.json"
HORIZON_FITS = "horizons.json"
ALL = "all"
FLAT = {"type": "IndexFlatIP", "metric": "inner_product", "exact": True}

INDEX, OUTLINE, METADATA, POOL = ".index", ".outline.index", ".metadata.parquet", ".manifest.json"
"""Suffixes of a pool's files: FAISS vectors, outlines of an embedding (`Embedding.outline`), metadata, manifest."""

TOUCH = ".touch"
"""Suffix of the stem of a pool for the probability of a touch, which includes events that never touched."""

CODES = ("row", "session_code", "episode_code", "label")
"""Columns that a pool's metadata have beside those of its events."""

ODDS = "odds_"
"""Prefix of further ones: the reader's cross-fitted log odds, by number of the class."""


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file with sorted keys."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def index_codes() -> tuple[str, ...]:
    """Code versions that build the same index from the same gold, the current one first; features are checked by `feature_lists`."""
    return accepted(
        code_of(gold_events, write_index_files), {"_FEATURES.family": (), "ROOTS.code": (), "PROFILES.name": (), "MARKETS.name": ()}
    )


def compared(recipe: Recipe, representation: str) -> str:
    """What a recipe compares over gold of `representation`: the wall features, or gold's own vectors."""
    return "wall" if recipe == "wall" else representation


def feature_lists(representation: str) -> dict[str, Any]:
    """Content of ``feature_list.json``: per group every dimension by name, in order."""
    from engine.features.vector import feature_list

    return {g: feature_list(representation, APPROACHES[0] if g == MIRROR else g) for g in groups_of(representation)}


def fit_groups(
    events: dict[str, Events], params: RetrievalParams, recipe: Recipe
) -> tuple[dict[str, Model], dict[str, Model], dict[str, str]]:
    """By group the models of the classes and of the touch, and why a group, or its ``.touch``, has none.

    Raises `NoData` where no group has a model.
    """
    models, touch = dict[str, Model](), dict[str, Model]()
    left_out: dict[str, str] = {}
    for g, e in events.items():
        try:
            models[g] = fit(e, params, recipe=recipe)
            touch[g] = fit(e, params, recipe=default_recipe(e.representation), target="touch")
        except NoData as error:
            left_out[g if g not in models else f"{g}{TOUCH}"] = str(error)
    if not models:
        raise NoData(next(iter(left_out.values())))
    return models, touch, left_out


def write_index_files(
    folder: Path,
    events: dict[str, Events],
    params: RetrievalParams,
    choice: Choice | None,
    progress: Progress | None,
) -> dict[str, Any]:
    """Write an index's files but its manifest, and return the manifest's part about them; raises `NoData` where no group is fitted."""
    representation = next(iter(events.values())).representation
    models, touch, left_out = fit_groups(events, params, default_recipe(representation) if choice is None else choice.recipe)
    seed = {g: fit_normaliser(_first_sessions(m.history, params.min_sessions).matrix, params.clip) for g, m in models.items()}
    vectors = compared(next(iter(models.values())).recipe, representation)
    write_json(folder / FEATURES, feature_lists(vectors))
    write_json(folder / SEED_STATS, {g: n.to_json(models[g].history.names) for g, n in seed.items()})
    write_json(folder / STATS, {g: m.normaliser.to_json(m.history.names) for g, m in models.items()})
    write_json(folder / MODELS, {g: model_json(m) | {"touch": touch_json(touch.get(g))} for g, m in models.items()})
    write_json(folder / HORIZON_FITS, {g: horizons_json(horizon_references(m)) for g, m in models.items()})
    parts = [(g, end, m, *pool) for end, fitted in (("", models), (TOUCH, touch)) for g, m in fitted.items() for pool in _pools(m)]
    pools: dict[str, dict[str, Any]] = {"": {}, TOUCH: {}}
    for i, (g, end, model, name, rows) in enumerate(parts):
        stem = g if g != MIRROR or name == ALL or name.startswith("kind=") else str(model.history.frame["approach"][int(rows[0])])
        pools[end][f"{name}/{stem}"] = _write_pool(folder / name, stem + end, g, model, rows)
        if progress is not None:
            progress(i + 1, len(parts), name)
    for g, m in models.items():
        np.save(folder / f"{g}.vectors.npy", m.history.matrix)
    tops = [FEATURES, SEED_STATS, STATS, MODELS, HORIZON_FITS, *(f"{g}.vectors.npy" for g in models)]
    chosen = choice or _by_history(models, representation)
    return {
        "representation": representation,
        "compared": vectors,
        "recipe": {g: m.recipe for g, m in models.items()},
        "default_representation": chosen.representation,
        "chosen": chosen.to_json(),
        "features": {g: v["hash"] for g, v in feature_lists(vectors).items()},
        "groups": {g: {"events": len(m.history), "sessions": len(np.unique(m.history.sessions))} for g, m in models.items()},
        "left_out": left_out,
        "pools": pools[""],
        "touch_pools": pools[TOUCH],
        "files": {f: file_facts(folder / f) for f in tops},
    }


def _by_history(models: dict[str, Model], representation: str) -> Choice:
    model = next(iter(models.values()))
    name = REPRESENTATION_NAMES[representation, model.recipe]
    return Choice(name, "history", None, {"log_loss_of_history": model.tuned.loss, "events": len(model.history)})


def _first_sessions(events: Events, sessions: int) -> Events:
    """Rows of the first `sessions` sessions, for the seed statistics, which never change as sessions are added."""
    return events.take(events.sessions <= np.unique(events.sessions)[:sessions][-1])


def _pools(model: Model) -> list[tuple[str, NDArray[np.int64]]]:
    """(folder, rows of the group's history) of every pool of a model."""
    h = model.history
    levels, approaches = h.frame["level_id"].to_numpy().astype(object), h.frame["approach"].to_numpy().astype(object)
    out = [(ALL, np.arange(len(h)))]
    out += [(f"kind={k}", np.flatnonzero(h.level_kinds == k)) for k in sorted(set(h.level_kinds.tolist()))]
    by_level = ((v, np.flatnonzero((levels == v) & (approaches == a))) for v in sorted(set(levels.tolist())) for a in APPROACHES)
    return out + [(level, rows) for level, rows in by_level if len(rows)]


def model_json(model: Model) -> dict[str, Any]:
    """What is fitted in a model but its normalisation and its tuning."""
    embedding = None if model.embedding is None else model.embedding.to_json()
    reader = None if model.reader is None else model.reader.to_json()
    stack = None if model.stack is None else model.stack.to_json()
    fitted = {"reference": model.reference.to_json(), "embedding": embedding, "reader": reader, "stack": stack}
    return {"recipe": model.recipe, "names": list(model.names)} | fitted


def touch_json(model: Model | None) -> dict[str, Any] | None:
    """`model_json` of the touch's model, with its normalisation."""
    return None if model is None else model_json(model) | {"norm": model.normaliser.to_json(model.history.names)}


def file_facts(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file."""
    return {"size": path.stat().st_size, "sha256": sha256_file(path)}


def schema_hash(frame: pl.DataFrame) -> str:
    """Hash of a table's column names and types."""
    return sha256_text(canonical([[n, str(t)] for n, t in frame.schema.items()]))


def _write_pool(folder: Path, stem: str, group: str, model: Model, rows: NDArray[np.int64]) -> dict[str, Any]:
    import faiss
    import polars as pl

    def part(of: Pool) -> Pool:
        return make_pool(of.index.reconstruct_n(0, len(of))[rows], of.sessions[rows], of.episodes[rows])

    folder.mkdir(exist_ok=True)
    pool, outline = part(model.pool), None if model.outline is None else part(model.outline)
    tuned = model.tuned if len(rows) == len(model.pool) else retune(model, pool, rows, outline)
    faiss.write_index(pool.index, str(folder / f"{stem}{INDEX}"))
    if outline is not None:
        faiss.write_index(outline.index, str(folder / f"{stem}{OUTLINE}"))
    codes = zip(CODES, (rows, pool.sessions, pool.episodes, model.labels[rows]))
    assert model.odds is not None
    odds = (pl.Series(f"{ODDS}{i}", v) for i, v in enumerate(model.odds[rows].T))
    meta = model.history.frame[rows].with_columns(*(pl.Series(k, v) for k, v in codes), *odds)
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


# ----------------------------------------------------------------------------
# Opening an index: refused, with the command that rebuilds it, unless it matches the lake, the code and the parameters


def read_index_manifest(lake: Lake, name: str = "default") -> dict[str, Any]:
    """The manifest of an index, checked against ``_SUCCESS`` and its own digest.
    Raises `PartitionMissing` where there is no such index, `StaleIndex` where it was changed since; either names the command that makes it.
    """
    folder = index_folder(lake, name)
    command = rebuild_command(lake, name)
    if not folder.is_dir():
        raise PartitionMissing(f"index {folder}: no such index; `{command}` makes it")
    try:
        manifest = json.loads(small_text(folder / MANIFEST, str(folder)))
        claimed, success = manifest.pop("digest"), small_text(folder / SUCCESS, str(folder)).strip()
        same = manifest["format"] == FORMAT and claimed == success == sha256_text(canonical(manifest))
    except (*NOT_JSON, PartitionCorrupt) as e:
        raise StaleIndex(f"index {folder}: expected {MANIFEST} and {SUCCESS}, found {e!r}; `{command}` rebuilds it") from e
    if not same:
        raise StaleIndex(f"index {folder}: {MANIFEST} does not match its own digest, or is of another format; `{command}` rebuilds it")
    return dict(manifest)


def check_index(
    lake: Lake, manifest: dict[str, Any], params: RetrievalParams | None = None, *, inputs: dict[str, str] | None = None
) -> None:
    """Raise `StaleIndex` where an index does not match the lake's current gold, the features, the code, or `params`.

    Names what was expected, what was found, and the command that rebuilds the index. `inputs` are `input_digests` of the index's symbol
    where they are known already, of at least its sessions.
    """
    wanted = manifest["params"] if params is None else params.model_dump(mode="json")

    def refuse(why: str) -> NoReturn:
        raise StaleIndex(f"index {index_folder(lake, manifest['name'])}: {why}; {_rebuild_hint(lake, manifest, wanted)}")

    now = {g: v["hash"] for g, v in feature_lists(manifest["compared"]).items()}
    for group, found in manifest["features"].items():
        if now.get(group) != found:
            refuse(f"built with other features ({group}: {found[:12]}) than there are now ({str(now.get(group))[:12]})")
    was, contract = manifest["contract"], dataset(VECTORS).contract().fingerprint()
    if was != contract:
        refuse(f"built under another contract of {VECTORS} ({was[:12]}) than now ({contract[:12]})")
    code, codes = manifest["code"], index_codes()
    if code not in codes:
        refuse(f"built with other code ({code[:12]}) than there is now ({codes[0][:12]})")
    profile = lake.profile()
    if manifest["profile"] != profile:
        refuse(f"built from the session profile {manifest['profile']!r}, the lake holds {profile!r}")
    if wanted != manifest["params"]:
        refuse(f"built with other parameters ({', '.join(k for k, v in wanted.items() if v != manifest['params'].get(k))})")
    through = None if manifest["through"] is None else dt.date.fromisoformat(manifest["through"])
    inputs = inputs_up_to(inputs, through) if inputs is not None else input_digests(lake, manifest["symbol"], through)
    changed = sorted(k for k in inputs.keys() | manifest["inputs"].keys() if inputs.get(k) != manifest["inputs"].get(k))
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        refuse(f"built from inputs that are {'older than' if changed[0] in inputs else 'not in'} the lake's: {changed[0]}{more}")


def _rebuild_hint(lake: Lake, manifest: dict[str, Any], params: dict[str, Any]) -> str:
    return f"`{rebuild_command(lake, manifest['name'], manifest['symbol'], params)}` rebuilds it"


def open_index(
    lake: Lake,
    name: str = "default",
    *,
    folder: str = "all",
    stem: str = "mirrored",
    params: RetrievalParams | None = None,
    check: bool = True,
) -> Model:
    """The model of a pool of an index: `folder` is ``all`` or ``kind={kind}`` with a group as `stem`, or a level's id with an approach.

    With `check` the index is checked by `check_index`, against `params` where given; files are compared with the manifest either way.

    Raises `StaleIndex` or `PartitionMissing` as `check_index` and `read_index_manifest`, and where a file differs from the one that was
    written; `NoData` where the index has no such pool, and names those it has.
    """
    manifest = read_index_manifest(lake, name)
    if check:
        check_index(lake, manifest, params)
    found = _open(lake, name, manifest, folder, stem, "class")
    if found is None:
        have, hint = ", ".join(sorted(manifest["pools"])), _rebuild_hint(lake, manifest, manifest["params"])
        raise NoData(
            f"index {index_folder(lake, name)}: too few events: expected a pool {folder}/{stem}, found {have}; use another, or add dates: "
            f"{hint}"
        )
    return found


def open_touch(lake: Lake, name: str = "default", *, folder: str = "all", stem: str = "mirrored") -> Model | None:
    """The model of an index's pool for the probability of a touch; None where it has too few events.

    Raises as `open_index`, but the index is not compared with the lake, since callers run `open_index` first. The model's history has no
    raw vectors.
    """
    return _open(lake, name, read_index_manifest(lake, name), folder, stem, "touch")


def open_horizons(lake: Lake, name: str, stem: str) -> dict[str, HorizonForecast]:
    """What was fitted at every horizon with the pool of all levels; `stem` is a group. Raises as `open_touch`."""
    manifest = read_index_manifest(lake, name)
    path = index_folder(lake, name) / HORIZON_FITS
    check_file(path, manifest["files"][path.name], _rebuild_hint(lake, manifest, manifest["params"]))
    return horizons_from_json(json.loads(path.read_text(encoding="utf-8"))[stem])


def _open(lake: Lake, name: str, manifest: dict[str, Any], folder: str, stem: str, target: Target) -> Model | None:
    """The model of a pool from its files, each compared with the manifest first; None where there is no such pool."""
    import faiss
    import polars as pl

    base, hint = index_folder(lake, name), _rebuild_hint(lake, manifest, manifest["params"])
    found = manifest["pools" if target == "class" else "touch_pools"].get(f"{folder}/{stem}")
    if found is None:
        return None
    group, place = found["group"], base / folder

    def read(file: str) -> Any:
        check_file(base / file, manifest["files"][file], hint)
        return json.loads((base / file).read_text(encoding="utf-8"))[group]

    fitted = read(MODELS) if target == "class" else read(MODELS)["touch"]
    names = tuple(fitted["names"])
    if target == "class":
        raw = base / f"{group}.vectors.npy"
        # By size alone: the file is memory-mapped and a few rows of it are read, hashing it would take longer than everything else.
        check_file(raw, {**manifest["files"][raw.name], "sha256": None}, hint)
        normaliser = normaliser_from_json(read(STATS), names)
    else:
        stem = f"{stem}{TOUCH}"
        normaliser = normaliser_from_json(fitted["norm"], names)
    check_file(place / f"{stem}{POOL}", found["manifest"], hint)
    for f, facts in found["files"].items():
        check_file(place / f, facts, hint)
    try:
        meta = pl.read_parquet(place / f"{stem}{METADATA}", glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as e:
        raise StaleIndex(f"index {place}: {stem}{METADATA} cannot be read: {e}; {hint}") from e
    if schema_hash(meta) != found["metadata_schema"]:
        raise StaleIndex(f"index {place}: {stem}: the metadata have another schema than the manifest says; {hint}")
    rows, sessions, episodes, labels = (meta[c].to_numpy().astype(np.int64) for c in CODES)
    odds_columns = [c for c in meta.columns if c.startswith(ODDS)]
    if target == "class":
        try:
            matrix = np.load(raw, mmap_mode="r")
        except ValueError as e:
            raise StaleIndex(f"index {place}: {raw.name} cannot be read: {e}; {hint}") from e
        matrix = matrix if len(matrix) == len(meta) else matrix[rows]
    else:
        matrix = np.zeros((len(meta), 0), np.float32)
    index, outline = (
        Pool(faiss.read_index(str(place / f"{stem}{end}")), sessions, episodes) if f"{stem}{end}" in found["files"] else None
        for end in (INDEX, OUTLINE)
    )
    assert index is not None
    return Model(
        target=target,
        recipe=fitted["recipe"],
        params=RetrievalParams.model_validate(manifest["params"]),
        names=names,
        normaliser=normaliser,
        embedding=None if fitted["embedding"] is None else embedding_from_json(fitted["embedding"]),
        reference=reference_from_json(fitted["reference"]),
        reader=None if fitted["reader"] is None else reader_from_json(fitted["reader"]),
        tuned=tuned_from_json(found["tuned"]),
        history=Events(matrix, names if target == "class" else (), manifest["representation"], meta.drop(*CODES, *odds_columns)),
        labels=labels,
        pool=index,
        outline=outline,
        odds=meta.select(odds_columns).to_numpy(),
        stack=None if fitted["stack"] is None else stack_from_json(fitted["stack"], names),
    )


def check_file(path: Path, facts: dict[str, Any], hint: str) -> None:
    """Raise `StaleIndex` where a file is not as `file_facts` had it; by size alone where its hash is None."""
    try:
        size = path.stat().st_size
        same = size == facts["size"] and (facts["sha256"] is None or sha256_file(path) == facts["sha256"])
    except FileNotFoundError:
        raise StaleIndex(f"index file {path}: listed in the manifest, found none; {hint}") from None
    if not same:
        raise StaleIndex(f"index file {path}: does not match its size or hash in the manifest; {hint}")


def check_market(lake: Lake, name: str, market: str) -> None:
    """Raise `SessionError` where the index `name` is of another market, which building it would replace."""
    try:
        found = read_index_manifest(lake, name)["market"]
    except (PartitionMissing, StaleIndex):
        return
    if found != market:
        raise SessionError(f"index {name}: is of {found}; `--name {market.lower()}` gives {market} one of its own")
