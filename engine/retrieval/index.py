"""Indexes on disk: FAISS vectors in time order, with everything needed to ask them and to refuse to be asked (lake.md, retrieval.md).

``indexes/{name}/`` holds ``feature_list.json``, ``norm_stats_seed.json``, ``norm_stats.json``, ``models.json``, ``manifest.json``,
the raw vectors ``{group}.vectors.npy``, and per pool ``{folder}/{stem}.index`` with ``{stem}.metadata.parquet`` and
``{stem}.manifest.json``, and ``{stem}.outline.index`` where vectors are embedded. Pools: ``all`` and ``kind={kind}``, whose stem is
the group (``mirrored``, or an approach), and one folder per level with a stem per approach; each again with the stem ``{stem}.touch``
for the probability of a touch.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import LakeWriteFailed, NoData, SessionError
from engine.lake.catalog import dataset
from engine.lake.manifest import SUCCESS, canonical, sha256_text
from engine.lake.writer import TMP_PREFIX, fsync_path, recover, swap_in
from engine.retrieval.alike import one_market
from engine.retrieval.choice import Choice
from engine.retrieval.gold import VECTORS, gold_events, sessions_in
from engine.retrieval.index_files import ALL, Progress, fill, index_codes, write_json
from engine.retrieval.mend import retrieval_options
from engine.retrieval.params import RetrievalParams
from engine.vocab import root_of

if TYPE_CHECKING:
    from engine.lake.store import Lake

FORMAT = 4
MANIFEST = "manifest.json"


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
    """The command that makes an index anew, with the knobs in `params`; those that stand there not are the usual ones."""
    of = f" --symbol {symbol}" if symbol else ""
    return f"spymaster index --lake {shlex.quote(str(lake.root))} --name {name}{of}{retrieval_options(params or {}, ('kinds', 'horizon'))}"


def input_digests(lake: Lake, symbol: str | None) -> dict[str, str]:
    """Digest of every gold partition that an index of `symbol` is made of."""
    from engine.lake.store import input_key

    sessions = sessions_in(lake, VECTORS, symbol)
    one_market(lake, sessions, symbol)
    return {input_key(VECTORS, s, d): lake.manifest(VECTORS, s, d).digest() for s, d in sessions}


def pool_folder(pool: str, *, kind: str | None = None, level_id: str | None = None) -> str:
    """Folder of a pool under the index: ``all``, ``kind={kind}``, or the level's id."""
    if pool == "kind":
        return f"kind={kind}"
    return str(level_id) if pool == "level" else ALL


def build_index(
    lake: Lake,
    *,
    name: str = "default",
    symbol: str | None = None,
    params: RetrievalParams | None = None,
    choice: Choice | None = None,
    progress: Progress | None = None,
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
    choice
        The representation that an audit chose (`engine.retrieval.choice.audited`). Where None history itself decides, and the manifest
        says that no audit did.

    Raises
    ------
    SessionError
        Where the name is no folder's, or the lake holds several markets and no symbol is given.
    ContractError
        Where gold was made with several sets of knobs.
    NoData
        Where gold has too few events; it says how many there are.
    LakeWriteFailed
        Where the folder cannot be written.
    """
    p = params or RetrievalParams()
    place = index_folder(lake, name)
    inputs = input_digests(lake, symbol)
    market = root_of(next(iter(inputs)).split("/")[1]).code
    events = {g: e for g, e in gold_events(lake, symbol, kinds=p.kinds).items() if len(e)}
    if not events:
        raise NoData(f"{VECTORS} in {lake.root}: expected triggers of kind {', '.join(p.kinds)}, found none; more dates make some")
    root = place.parent
    tmp = root / f"{TMP_PREFIX}{name}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        recover(root)
        tmp.mkdir(parents=True)
        manifest = fill(tmp, events, p, choice, progress)
        manifest |= {"name": name, "symbol": symbol, "market": market, "profile": lake.profile(), "inputs": inputs, "format": FORMAT}
        manifest |= {"contract": dataset(VECTORS).contract().fingerprint(), "code": index_codes()[0], "params": p.model_dump(mode="json")}
        manifest["digest"] = sha256_text(canonical(manifest))
        write_json(tmp / MANIFEST, manifest)
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
