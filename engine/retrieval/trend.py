"""Do more open conditions go with more breaks? One estimate per direction, with its interval, its power and a placebo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine.errors import ContractError
from engine.params import AuditParams
from engine.retrieval.dataset import require_one_market_ids
from engine.retrieval.events import CLASSES, Events, deal_days
from engine.retrieval.scores import Floats, Labels
from engine.retrieval.walk_forward import Mask, scored_labels
from engine.vocab import Approach

if TYPE_CHECKING:
    import polars as pl

BREAK = CLASSES.index("break")
LEAST_SESSIONS = 3
LEAST_EVENTS = 30
LEAST_OF_EACH = 10
"""Breaks, and events that are none: with fewer the middle of a logistic regression's estimates is far off, and its error is too small."""
PLACEBOS = 200
"""Times that the days' outcomes are dealt out to other days."""

TREND_COLUMNS = (
    "direction", "events", "sessions", "breaks", "slope", "low", "high", "smallest", "placebo_low", "placebo_high", "placebo_share",
)  # fmt: skip


def condition_trend(
    events: Events, conditions: pl.DataFrame, params: AuditParams | None = None, *, placebos: int = PLACEBOS
) -> pl.DataFrame:
    """How the log odds of a break rise with each further open condition, for approaches from below (``up``) and from above (``down``).

    One logistic regression per direction: an intercept for each stratum of price's own move in the window (against the travel, still, with
    it), since conditions 1 and 3 follow that mechanically, and one slope on the number of open conditions. Only `arm` events with an
    outcome count, one per episode; `conditions` are those of `engine.retrieval.statistics.condition_events`, row for row.

    Returns `TREND_COLUMNS`: the slope with its 95% interval (standard error clustered by session, t with sessions less one); ``smallest``,
    the slope that would be seen four times in five (of the same t); and of `placebos` deals of the days' outcomes to other days, in which
    nothing can follow from the conditions, the middle 95% of slopes and the share that is as far from zero as the one found. Null where the
    strata that tell something, whose events, sessions and breaks are counted, have under `LEAST_SESSIONS` sessions, `LEAST_EVENTS` events,
    or `LEAST_OF_EACH` breaks or others. Raises `ContractError` where the two differ in length, or the events are of several markets.
    """
    import polars as pl

    if conditions.height != len(events):
        raise ContractError(f"conditions: expected {len(events)} rows, found {conditions.height}")
    require_one_market_ids(events.frame["trigger_id"], "conditions")
    p = params or AuditParams()
    n_open, move = (conditions[c].cast(float).to_numpy() for c in ("open", "move_ticks"))
    known = np.isfinite(n_open) & np.isfinite(move)
    rising = (events.frame["approach"] == Approach.UP.value).to_numpy()
    labels, codes = scored_labels(events, "class", p), events.session_codes
    dealt = [labels[deal_days(codes, p.seed + k)] for k in range(placebos)]
    rows = []
    for direction, mine in (("up", rising), ("down", ~rising)):
        found = _trend(n_open, move, labels, codes, known & mine)
        null = (_trend(n_open, move, other, codes, known & mine)["slope"] for other in dealt)
        slopes = np.array([s for s in null if s is not None])
        if found["slope"] is not None and len(slopes):
            low, high = np.quantile(slopes, [0.025, 0.975])
            share = (1 + (np.abs(slopes) >= abs(found["slope"])).sum()) / (1 + len(slopes))
            found |= {"placebo_low": float(low), "placebo_high": float(high), "placebo_share": float(share)}
        rows.append({"direction": direction, **found})
    whole = dict.fromkeys(("events", "sessions", "breaks"), pl.Int64)
    schema = {c: pl.String if c == "direction" else whole.get(c, pl.Float64) for c in TREND_COLUMNS}
    return pl.DataFrame(rows, schema=schema)


def _trend(n_open: Floats, move: Floats, labels: Labels, sessions: Labels, use: Mask) -> dict[str, float | None]:
    from scipy.stats import t

    use = use & (labels >= 0)
    y = (labels[use] == BREAK).astype(float)
    strata = np.column_stack([f(move[use], 0) for f in (np.less, np.equal, np.greater)]).astype(float)
    # A stratum without a break, or with nothing else, tells nothing of a slope, and its intercept would be infinite.
    both = [s for s in strata.T if 0 < s @ y < s.sum()]
    inside = np.sum(both, axis=0) > 0 if both else np.zeros(len(y), bool)
    y, codes = y[inside], np.unique(sessions[use][inside], return_inverse=True)[1]
    many = int(codes.max()) + 1 if len(codes) else 0
    out: dict[str, float | None] = {"events": len(y), "sessions": many, "breaks": int(y.sum())}
    out |= dict.fromkeys(("slope", "low", "high", "smallest"))
    if many < LEAST_SESSIONS or len(y) < LEAST_EVENTS or min(y.sum(), len(y) - y.sum()) < LEAST_OF_EACH:
        return out
    x = np.column_stack([n_open[use], *both])[inside]
    centred = x[:, 0] - (x[:, 1:] @ (x[:, 1:].T @ x[:, 0] / x[:, 1:].sum(axis=0)))
    if not (np.abs(centred) > 1e-9).any():
        return out
    beta, information = _logistic(x, y)
    scores = x * (y - 1 / (1 + np.exp(-x @ beta)))[:, None]
    of_session = np.zeros((many, x.shape[1]))
    np.add.at(of_session, codes, scores)
    inverse = np.linalg.inv(information)
    error = float(np.sqrt(many / (many - 1) * (inverse @ of_session.T @ of_session @ inverse)[0, 0]))
    sure, seen = (float(t.ppf(q, many - 1)) * error for q in (0.975, 0.8))
    slope = float(beta[0])
    return out | {"slope": slope, "low": slope - sure, "high": slope + sure, "smallest": sure + seen}


def _logistic(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Coefficients of most likelihood (Newton's method, with a whisper of a prior for separated data), and the information there."""
    prior = 1e-3 * np.eye(x.shape[1])
    beta = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        information = (x * (p * (1 - p))[:, None]).T @ x + prior
        step = np.linalg.solve(information, x.T @ (y - p) - prior @ beta)
        beta = beta + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-8:
            break
    return beta, information
