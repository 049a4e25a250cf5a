"""Opening an index: it is refused, with the command that mends it, unless it is exactly what was asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import NoData, PartitionMissing, SessionError, StaleIndex
from engine.lake.catalog import dataset
from engine.lake.manifest import SUCCESS, canonical, sha256_file, sha256_text
from engine.retrieval.events import Events
from engine.retrieval.gold import VECTORS
from engine.retrieval.index import FORMAT, MANIFEST, index_folder, input_digests, rebuild_command
from engine.retrieval.index_files import INDEX, METADATA, MODELS, OUTLINE, POOL, STATS, TOUCH, feature_lists, index_codes, schema_hash
from engine.retrieval.learned import embedding_from_json
from engine.retrieval.model import Model
from engine.retrieval.normalise import Normaliser, normaliser_from_json
from engine.retrieval.params import RetrievalParams, Target
from engine.retrieval.reference import reference_from_json
from engine.retrieval.search import Pool
from engine.retrieval.tune import tuned_from_json

if TYPE_CHECKING:
    from engine.lake.store import Lake


def read_index_manifest(lake: Lake, name: str = "default") -> dict[str, Any]:
    """The manifest of an index, trusted only with its ``_SUCCESS`` and its own digest.

    Raises
    ------
    PartitionMissing
        Where there is no such index, with the command that makes it.
    StaleIndex
        Where it was changed after it was written.
    """
    folder = index_folder(lake, name)
    make = rebuild_command(lake, name)
    if not folder.is_dir():
        raise PartitionMissing(f"index {folder}: no such index; `{make}` makes it")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        claimed, success = manifest.pop("digest"), (folder / SUCCESS).read_text(encoding="utf-8").strip()
    except (OSError, ValueError, KeyError, AttributeError) as e:
        raise StaleIndex(f"index {folder}: expected {MANIFEST} and {SUCCESS}, found {e!r}; `{make}` makes it anew") from e
    if manifest.get("format") != FORMAT or claimed != success or sha256_text(canonical(manifest)) != claimed:
        raise StaleIndex(f"index {folder}: {MANIFEST} does not match its own digest, or is of another format; `{make}` makes it anew")
    return dict(manifest)


def check_index(lake: Lake, manifest: dict[str, Any], params: RetrievalParams | None = None) -> None:
    """Refuse an index that is not of this lake as it is now, of these features, of this code, or of these knobs.

    Raises
    ------
    StaleIndex
        Naming what was expected, what was found, and the command that makes the index anew.
    """
    wanted = manifest["params"] if params is None else params.model_dump(mode="json")
    make = f"`{rebuild_command(lake, manifest['name'], manifest['symbol'], wanted)}` makes it anew"
    where = f"index {index_folder(lake, manifest['name'])}"
    now = {g: v["hash"] for g, v in feature_lists(manifest["representation"]).items()}
    for group, found in manifest["features"].items():
        if now.get(group) != found:
            have = str(now.get(group))[:12]
            raise StaleIndex(f"{where}: built with other features ({group}: {found[:12]}) than there are now ({have}); {make}")
    contract = dataset(VECTORS).contract().fingerprint()
    if manifest["contract"] != contract:
        was = manifest["contract"][:12]
        raise StaleIndex(f"{where}: built under another contract of {VECTORS} ({was}) than now ({contract[:12]}); {make}")
    codes = index_codes()
    if manifest["code"] not in codes:
        raise StaleIndex(f"{where}: built with other code ({manifest['code'][:12]}) than there is now ({codes[0][:12]}); {make}")
    profile = lake.profile()
    if manifest["profile"] != profile:
        raise StaleIndex(f"{where}: built from the session profile {manifest['profile']!r}, the lake holds {profile!r}; {make}")
    if params is not None and params.model_dump(mode="json") != manifest["params"]:
        other = [k for k, v in params.model_dump(mode="json").items() if v != manifest["params"].get(k)]
        raise StaleIndex(f"{where}: built with other knobs ({', '.join(other)}); {make}")
    inputs = input_digests(lake, manifest["symbol"])
    changed = sorted(k for k in inputs.keys() | manifest["inputs"].keys() if inputs.get(k) != manifest["inputs"].get(k))
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        state = "older than" if changed[0] in inputs else "not in"
        raise StaleIndex(f"{where}: built from inputs that are {state} the lake's: {changed[0]}{more}; {make}")


def open_index(
    lake: Lake,
    name: str = "default",
    *,
    folder: str = "all",
    stem: str = "mirrored",
    params: RetrievalParams | None = None,
    check: bool = True,
) -> Model:
    """A pool of an index, ready to be asked.

    Parameters
    ----------
    name
        The index.
    folder, stem
        The pool: ``all`` or ``kind={kind}`` with a group, or a level's id with an approach.
    params
        Refuse an index of other knobs; those it was made with where None.
    check
        Compare with the lake as it is now; files are compared with the manifest either way.

    Raises
    ------
    StaleIndex, PartitionMissing
        As `check_index` and `read_index_manifest`; and where a file is not the one that was written.
    NoData
        Where the index has no such pool; it names those it has.
    """
    manifest = read_index_manifest(lake, name)
    if check:
        check_index(lake, manifest, params)
    base, make = index_folder(lake, name), _make(lake, manifest)
    found = manifest["pools"].get(f"{folder}/{stem}")
    if found is None:
        have = ", ".join(sorted(manifest["pools"]))
        raise NoData(f"index {base}: too few events: expected a pool {folder}/{stem}, found {have}; use another, or more dates and {make}")
    group = found["group"]
    raw = base / f"{group}.vectors.npy"
    # Its size alone: hashing what is only mapped, and read for a handful of neighbours, would cost more than all the rest.
    _same(raw, {**manifest["files"][raw.name], "sha256": None}, make)
    _same(base / STATS, manifest["files"][STATS], make)
    names = tuple(d["name"] for d in feature_lists(manifest["representation"])[group]["dimensions"])
    stats = json.loads((base / STATS).read_text(encoding="utf-8"))[group]
    models = _models(base, manifest, make)[group]
    return _model(
        "class", manifest, found, base / folder, stem, models, normaliser_from_json(stats, names), names, np.load(raw, mmap_mode="r"), make
    )


def open_touch(lake: Lake, name: str = "default", *, folder: str = "all", stem: str = "mirrored") -> Model | None:
    """The pool of an index that answers for the probability of a touch; None where the index has too few events for one.

    The index is not compared with the lake: `open_index` is what is asked first. Its history has no raw vectors.

    Raises
    ------
    StaleIndex, PartitionMissing
        As `read_index_manifest`, and where a file is not the one that was written.
    """
    manifest = read_index_manifest(lake, name)
    base, make = index_folder(lake, name), _make(lake, manifest)
    found = manifest["touch_pools"].get(f"{folder}/{stem}")
    if found is None:
        return None
    group = found["group"]
    names = tuple(d["name"] for d in feature_lists(manifest["representation"])[group]["dimensions"])
    models = _models(base, manifest, make)[group]["touch"]
    return _model(
        "touch", manifest, found, base / folder, f"{stem}{TOUCH}", models, normaliser_from_json(models["norm"], names), (), None, make
    )


def _make(lake: Lake, manifest: dict[str, Any]) -> str:
    return f"`{rebuild_command(lake, manifest['name'], manifest['symbol'], manifest['params'])}` makes it anew"


def _models(base: Path, manifest: dict[str, Any], make: str) -> dict[str, Any]:
    _same(base / MODELS, manifest["files"][MODELS], make)
    return dict(json.loads((base / MODELS).read_text(encoding="utf-8")))


def _model(
    target: Target,
    manifest: dict[str, Any],
    found: dict[str, Any],
    folder: Path,
    stem: str,
    models: dict[str, Any],
    normaliser: Normaliser,
    names: tuple[str, ...],
    matrix: NDArray[np.float32] | None,
    make: str,
) -> Model:
    """A pool's model; every file of it is compared with the manifest first."""
    import faiss
    import polars as pl

    _same(folder / f"{stem}{POOL}", found["manifest"], make)
    for f, facts in found["files"].items():
        _same(folder / f, facts, make)
    meta = pl.read_parquet(folder / f"{stem}{METADATA}")
    if schema_hash(meta) != found["metadata_schema"]:
        raise StaleIndex(f"index {folder}: {stem}: the metadata have another schema than the manifest says; {make}")
    codes = {c: meta[c].to_numpy() for c in ("row", "session_code", "episode_code", "label")}
    if matrix is None:
        matrix = np.zeros((len(meta), 0), np.float32)
    rows = matrix if len(matrix) == len(meta) else matrix[codes["row"]]
    sessions, episodes = codes["session_code"].astype(np.int64), codes["episode_code"].astype(np.int64)
    outline = f"{stem}{OUTLINE}"
    return Model(
        target=target,
        recipe=models["recipe"],
        params=RetrievalParams.model_validate(manifest["params"]),
        normaliser=normaliser,
        embedding=None if models["embedding"] is None else embedding_from_json(models["embedding"]),
        reference=reference_from_json(models["reference"]),
        tuned=tuned_from_json(found["tuned"]),
        history=Events(rows, names, manifest["representation"], meta.drop(list(codes))),
        labels=codes["label"].astype(np.int64),
        pool=Pool(faiss.read_index(str(folder / f"{stem}{INDEX}")), sessions, episodes),
        outline=Pool(faiss.read_index(str(folder / outline)), sessions, episodes) if outline in found["files"] else None,
    )


def _same(path: Path, facts: dict[str, Any], make: str) -> None:
    try:
        size = path.stat().st_size
        same = size == facts["size"] and (facts["sha256"] is None or sha256_file(path) == facts["sha256"])
    except FileNotFoundError:
        raise StaleIndex(f"index file {path}: expected it as the manifest says, found none; {make}") from None
    if not same:
        raise StaleIndex(f"index file {path}: is not the one the manifest speaks of; {make}")


def check_market(lake: Lake, name: str, market: str) -> None:
    """Refuse to put one market's index in the place of another's.

    Raises
    ------
    SessionError
    """
    try:
        held = read_index_manifest(lake, name)["market"]
    except (PartitionMissing, StaleIndex):
        return
    if held != market:
        raise SessionError(f"index {name}: is of {held}; `--name {market.lower()}` gives {market} one of its own")
