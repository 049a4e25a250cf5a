"""Commands that errors name, with every parameter that is not at its default."""

from __future__ import annotations

import datetime as dt
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.lake.catalog import TRIGGERS, datasets
from engine.params import (
    ApproachParams,
    FeatureParams,
    GoldParams,
    LevelParams,
    Params,
    ReplayParams,
    RetrievalParams,
    SetupParams,
    SignalRuleParams,
    StreamParams,
)
from engine.vocab import root_of

if TYPE_CHECKING:
    from engine.lake.store import Lake

GROUPS: dict[str, type[Params]] = {
    "replay": ReplayParams, "levels": LevelParams, "features": FeatureParams, "approach": ApproachParams, "setups": SetupParams,
    "gold": GoldParams, "retrieval": RetrievalParams, "fire": SignalRuleParams, "stream": StreamParams,
}  # fmt: skip
"""Groups of a file of knobs (``--params``)."""


def unusual(group: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a group's knobs that are not the usual ones; names that the group does not have are of another version and left out."""
    usual = GROUPS[group]().model_dump(mode="json")
    return {k: values[k] for k in usual if k in values and values[k] != usual[k]}


def params_option(groups: Mapping[str, Mapping[str, Any]]) -> str:
    """`` --params <(echo ...)``, a file that bash and zsh make on the spot; empty where there is nothing to say."""
    said = {g: dict(v) for g, v in groups.items() if v}
    return f" --params <(echo '{json.dumps(said, sort_keys=True)}')" if said else ""


def retrieval_options(values: Mapping[str, Any], flags: Sequence[str]) -> str:
    """Options that give a command the knobs of retrieval in `values`: those of `flags` by name, the rest as a file."""
    other = unusual("retrieval", values)
    named = [(f, other.pop(f)) for f in flags if f in other]
    options = "".join(f" --{f} {','.join(v) if isinstance(v, list | tuple) else v}" for f, v in named)
    return options + params_option({"retrieval": other})


def made_with(lake: Lake, symbol: str, date: dt.date) -> dict[str, dict[str, Any]]:
    """By group the unusual knobs that a session's silver and gold were made with."""
    out: dict[str, dict[str, Any]] = {}
    for key, d in datasets().items():
        found = lake.find_manifest(key, symbol, date) if d.layer != "bronze" else None
        for group, values in (found.lineage.values if found is not None else {}).items():
            if group in GROUPS:
                out.setdefault(group, {}).update(unusual(group, values))
    return out


def gold_command(lake: Lake, like: tuple[str, dt.date], dates: Sequence[dt.date], **over: Mapping[str, Any]) -> str:
    """The command that makes gold of the dates again as that of the session `like` was made, but for the knobs in `over` by group."""
    knobs = made_with(lake, *like)
    of = {s for s, d in lake.partitions(TRIGGERS) if d in set(dates) and root_of(s) == root_of(like[0])}
    # A root needs the selection map, which a lake of one contract has no need of.
    symbol = of.pop() if len(of) == 1 else root_of(like[0]).code
    for group, values in over.items():
        knobs[group] = unusual(group, knobs.get(group, {}) | dict(values))
    return (
        f"spymaster run --lake {shlex.quote(str(lake.root))} --layer gold --symbol {symbol} --dates {min(dates)}:{max(dates)} "
        f"--session {lake.profile() or 'rth'}{params_option(knobs)}"
    )
