"""Command lines for error messages, with every parameter that differs from its default."""

from __future__ import annotations

import datetime as dt
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.lake.catalog import LADDER, TRIGGERS, datasets
from engine.params import Params, RunParams
from engine.vocab import root_of

if TYPE_CHECKING:
    from engine.lake.store import Lake

GROUPS: dict[str, type[Params]] = {name: type(default) for name, default in RunParams()}
"""Parameter groups of a ``--params`` file."""


def non_default(group: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a group that differ from their defaults; names unknown to the group (of another version) are dropped."""
    usual = GROUPS[group]().model_dump(mode="json")
    return {k: values[k] for k in usual if k in values and values[k] != usual[k]}


def params_option(groups: Mapping[str, Mapping[str, Any]]) -> str:
    """The option `` --params <(echo ...)`` (process substitution of bash and zsh); empty where no group has values."""
    given = {g: dict(v) for g, v in groups.items() if v}
    return f" --params <(echo '{json.dumps(given, sort_keys=True)}')" if given else ""


def retrieval_options(values: Mapping[str, Any], flags: Sequence[str]) -> str:
    """Command-line options for the retrieval parameters in `values`: those in `flags` by name, the rest as ``--params``."""
    other = non_default("retrieval", values)
    named = [(f, other.pop(f)) for f in flags if f in other]
    options = "".join(f" --{f} {','.join(v) if isinstance(v, list | tuple) else v}" for f, v in named)
    return options + params_option({"retrieval": other})


def non_default_params(lake: Lake, symbol: str, date: dt.date) -> dict[str, dict[str, Any]]:
    """Non-default parameters of a session's silver and gold, by group."""
    out: dict[str, dict[str, Any]] = {}
    for key, d in datasets().items():
        found = lake.find_manifest(key, symbol, date) if d.layer != "bronze" else None
        for group, values in (found.lineage.values if found is not None else {}).items():
            if group in GROUPS:
                out.setdefault(group, {}).update(non_default(group, values))
    return out


def brings_sessions(lake: Lake, symbol: str | None, before: dt.date | None = None) -> str:
    """What brings sessions with triggers, before a date where given, of a contract or root (of any where None), in the state of the lake:
    gold of silver that has none, all layers of raw files that have no silver, or else more raw files.
    """
    code = root_of(symbol).code if symbol else next(iter(lake.raw_roots()), "ES")
    silver = {(s, d) for s, d in lake.partitions(LADDER) if symbol in (None, s, root_of(s).code) and (before is None or d < before)}
    lacking = silver - set(lake.partitions(TRIGGERS))
    place, at = shlex.quote(str(lake.root)), f"before {before} " if before else ""
    if lacking:
        contracts, dates = {s for s, _ in lacking}, {d for _, d in lacking}
        of = contracts.pop() if len(contracts) == 1 else code
        return (
            f"`spymaster run --lake {place} --layer gold --symbol {of} --dates {min(dates)}:{max(dates)} --session "
            f"{lake.profile() or 'rth'}` makes triggers of what is there"
        )
    if not lake.partitions(LADDER) and code in lake.raw_roots():
        return f"`spymaster rebuild --lake {place} --symbol {code}` makes all layers of its raw files"
    return (
        f"there is no other session {at}in this lake: add and run {'earlier' if before else 'more'} dates, `spymaster add FILES --lake "
        f"{place}` and `spymaster run --lake {place} --symbol {symbol or code} --dates A:B --session {lake.profile() or 'rth'}`"
    )


def gold_command(lake: Lake, like: tuple[str, dt.date], dates: Sequence[dt.date], **over: Mapping[str, Any]) -> str:
    """The command that rebuilds gold of the dates with the parameters of the session `like`, overridden by `over` (by group)."""
    params = non_default_params(lake, *like)
    of = {s for s, d in lake.partitions(TRIGGERS) if d in set(dates) and root_of(s) == root_of(like[0])}
    # Name the contract where there is only one: a root needs the selection map.
    symbol = of.pop() if len(of) == 1 else root_of(like[0]).code
    params |= {group: non_default(group, params.get(group, {}) | dict(values)) for group, values in over.items()}
    return (
        f"spymaster run --lake {shlex.quote(str(lake.root))} --layer gold --symbol {symbol} --dates {min(dates)}:{max(dates)} "
        f"--session {lake.profile() or 'rth'}{params_option(params)}"
    )
