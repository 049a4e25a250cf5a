"""``spymaster index``: make or look at the index of similar setups."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from engine.commands.common import JsonFlag, LakeDir, print_json
from engine.errors import SessionError

KINDS = ("arm", "window", "touch", "candle")


def index(
    *,
    lake: LakeDir = Path("lake"),
    name: Annotated[str, Parameter(help="The index's folder under indexes/ (MBO_INDEX_DIR overrides that).")] = "default",
    symbol: Annotated[str | None, Parameter(help="A root or a contract; all of gold where not given.")] = None,
    kinds: Annotated[
        str | None, Parameter(help="Trigger kinds that can be neighbours, comma separated: arm (the usual), window, touch, candle.")
    ] = None,
    horizon: Annotated[Literal["h0", "h1", "h2", "h3", "h4", "h5", "h6"] | None, Parameter(help="Outcome horizon; usually h1.")] = None,
    params: Annotated[Path | None, Parameter(help="JSON of knobs by group, as for `spymaster run`; `retrieval` is read.")] = None,
    check: Annotated[bool, Parameter(negative=(), help="Make nothing: say whether the index can be used as it is.")] = False,
    json: JsonFlag = False,
) -> None:
    """Make the index of the lake's gold, whole or not at all: vectors, statistics, embedding, reference, and all pools.

    Examples
    --------
    ::

        spymaster index
        spymaster index --symbol ES --kinds arm,window --name windows
        spymaster index --params <(echo '{"retrieval": {"cap": 5}}')
        spymaster index --check --json
    """
    from engine.commands.audit import _bars, _step
    from engine.commands.run import read_params
    from engine.lake.store import Lake
    from engine.retrieval.choice import audited
    from engine.retrieval.gold import VECTORS, representation_of, sessions_in
    from engine.retrieval.index import build_index
    from engine.retrieval.open import check_index, check_market, read_index_manifest
    from engine.vocab import root_of

    place = Lake(lake)
    why = ""
    if check:
        manifest = read_index_manifest(place, name)
        check_index(place, manifest)
    else:
        asked: dict[str, Any] = {} if horizon is None else {"horizon": horizon}
        if kinds is not None:
            asked["kinds"] = tuple(dict.fromkeys(k.strip() for k in kinds.split(",") if k.strip()))
            if not asked["kinds"] or any(k not in KINDS for k in asked["kinds"]):
                raise SessionError(f"--kinds {kinds!r}: expected some of {', '.join(KINDS)}")
        knobs = read_params(params, None).retrieval.model_copy(update=asked)
        with _bars() as bars, place.lock():
            check_market(place, name, root_of(sessions_in(place, VECTORS, symbol)[0][0]).code)
            choice, why = audited(place, symbol, representation_of(place, symbol), knobs)
            manifest = build_index(place, name=name, symbol=symbol, params=knobs, choice=choice, progress=_step(bars, "index"))
    if json:
        print_json(manifest | ({"about_the_choice": why} if why else {}))
        return
    _print(manifest, "current" if check else "made", why)


def _print(manifest: dict[str, Any], word: str, why: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"index {manifest['name']}: {word}", box=None)
    for head in ("pool", "events", "sessions", "dims", "K", "power", "alpha"):
        table.add_column(head, justify="left" if head == "pool" else "right")
    for pool, facts in sorted(manifest["pools"].items()):
        t = facts["tuned"]
        chosen = (str(t["k"]), f"{t['power']:g}", f"{t['alpha']:g}")
        table.add_row(pool, f"{facts['count']:,}", f"{facts['sessions']:,}", str(facts["dims"]), *chosen)
    console = Console()
    console.print(table)
    for group, why in manifest["left_out"].items():
        console.print(f"left out {group}: {why}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{len(manifest['inputs'])} sessions of gold", highlight=False)
    console.print(f"representation: {manifest['chosen']['said']}", markup=False, highlight=False, soft_wrap=True)
    if why and why != manifest["chosen"]["said"]:
        console.print(why, markup=False, highlight=False, soft_wrap=True)
