"""What a kept audit was made of, so that one that is not of the lake as it is now is not taken for one that is."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.lake.catalog import LADDER, LEVELS, TAPE, TRIGGERS
from engine.provenance import accepted, code_of
from engine.retrieval.audit import audit
from engine.retrieval.choice import CHOICES
from engine.retrieval.gold import VECTORS, audit_events, sessions_in
from engine.retrieval.mend import retrieval_options
from engine.retrieval.params import AuditParams, RetrievalParams
from engine.retrieval.walk_all import REPRESENTATIONS
from engine.vocab import root_of

if TYPE_CHECKING:
    from engine.lake.store import Lake

READ = (LADDER, TAPE, LEVELS, TRIGGERS)
"""What an audit reads of a session: silver, and gold for its knobs. A bronze day is told by the digest of the ladder made of it."""

NOT_COMPARED = ("kinds", "horizon")
"""Knobs of retrieval in which an index may differ from its audit: armed events are scored whatever can be a neighbour; the horizon is
compared by itself."""


def audit_codes(market: str, profile: str | None) -> tuple[str, ...]:
    """Hashes of code that gives the same audit of the same lake of one market and session profile, today's first."""
    selection = {
        "ROOTS.code": {market},
        "PROFILES.name": {str(profile)},
        "_FEATURES.name": None,
        "_FEATURES.family": ("vacuum_down", "vacuum_up", "tape"),
        "LEVELS.level_id": (),
    }
    return accepted(code_of(audit_events, audit), selection)


def made_of(lake: Lake, symbol: str | None) -> dict[str, Any]:
    """What an audit of the lake is made of as the lake is now: symbol, market, profile, code, and the digest of every partition it reads.

    Raises
    ------
    NoData
        Where the lake has no silver.
    """
    from engine.lake.store import input_key

    sessions = sessions_in(lake, LADDER, symbol)
    found = {input_key(key, s, d): lake.find_manifest(key, s, d) for s, d in sessions for key in READ}
    market, profile = root_of(sessions[0][0]).code, lake.profile()
    return {
        "symbol": symbol,
        "market": market,
        "profile": profile,
        "code": audit_codes(market, profile)[0],
        "inputs": {k: m.digest() for k, m in found.items() if m is not None},
    }


def why_stale(lake: Lake, report: dict[str, Any]) -> str:
    """Why a kept report is not of the lake as it is now; empty where it is."""
    from engine.errors import NoData

    was = report.get("made_of")
    if not was:
        return "the kept audit does not say what it was made of"
    try:
        now = made_of(lake, was["symbol"])
    except NoData as e:
        return f"the kept audit was made of sessions that are gone: {e}"
    for what in ("market", "profile", "code"):
        if was[what] != now[what] and not (what == "code" and was[what] in audit_codes(now["market"], now["profile"])):
            return f"the kept audit was made with another {what} ({str(was[what])[:12]}) than there is now ({str(now[what])[:12]})"
    old, new = was["inputs"], now["inputs"]
    changed = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k))
    if changed:
        key = changed[0]
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        with_it = "made without" if key not in old else "made of"
        state = "is new" if key not in old else "is gone" if key not in new else "was made anew"
        return f"the kept audit was {with_it} {key}, which {state}{more}"
    return ""


def why_not_of(report: dict[str, Any], lake: Lake, symbol: str | None, representation: str, params: RetrievalParams) -> str:
    """Why a kept report, current as it may be, chooses nothing for an index of `symbol` with `params`; empty where it does.

    Parameters
    ----------
    symbol
        What the index is of: a contract, a root, or all of gold where None.
    representation
        Of its gold; every candidate that such gold can serve must have been audited, or the one that was has won against nobody.

    Raises
    ------
    NoData
        Where there is no gold of `symbol`.
    """
    from engine.lake.store import input_key

    was = report["made_of"]
    sessions = sessions_in(lake, VECTORS, symbol)
    markets = sorted({root_of(s).code for s, _ in sessions})
    if markets != [was["market"]]:
        return f"the kept audit is of {was['market']}, not of {', '.join(markets)}"
    unseen = [key for s, d in sessions if (key := input_key(VECTORS, s, d)) not in was["inputs"]]
    if unseen:
        more = f" and {len(unseen) - 1} more" if len(unseen) > 1 else ""
        return f"the kept audit has not seen {unseen[0]}{more}"
    if report["horizon"] != params.horizon:
        return f"the kept audit is of horizon {report['horizon']}, not of {params.horizon}"
    wanted, had = params.model_dump(mode="json"), report["params"]["retrieval"]
    other = [k for k in wanted if k not in NOT_COMPARED and wanted[k] != had.get(k)]
    if other:
        return f"the kept audit was made with other knobs ({', '.join(other)})"
    partial = why_partial(report, CHOICES[representation])
    return f"the kept audit {partial}" if partial else ""


def why_partial(report: dict[str, Any], needed: Sequence[str] = REPRESENTATIONS) -> str:
    """Why a report is not the audit, but a look at some of it: it lacks some of `needed`, or refitted at another pace; else empty."""
    lacking = [n for n in needed if n not in report["representations"]]
    if lacking:
        return f"has nothing of {', '.join(lacking)}"
    had, usual = report["params"]["refit_growth"], AuditParams().refit_growth
    return f"was refitted when history had grown by {had:.0%}, not by {usual:.0%}" if had != usual else ""


def audit_command(lake: Lake, symbol: str | None, params: RetrievalParams | None = None) -> str:
    """The command that makes the kept audit anew, with the knobs in `params`; an audit scores armed events whatever the kinds."""
    values = {k: v for k, v in (params or RetrievalParams()).model_dump(mode="json").items() if k != "kinds"}
    of = f" --symbol {symbol}" if symbol else ""
    return f"spymaster audit --lake {shlex.quote(str(lake.root))}{of}{retrieval_options(values, ('horizon',))}"
