"""The audit on simulated mornings: what each forecaster takes of what an oracle gets that is told the regime."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import NoData
from engine.params import AuditParams, RetrievalParams
from engine.retrieval.events import Events, Progress, permute_days
from engine.retrieval.scores import Floats, Labels, ece, finite, log_loss_each, session_weights, skill
from engine.retrieval.walk_forward import AuditData, Block, Mask, WalkForwardResult, counting, schedule, scored_labels, serve, walk_all
from engine.simulate.mornings import LIVE, OTHER_WAY, TOUCHED, MarketEvents, regimes_at
from engine.simulate.regimes import REGIMES
from engine.vocab import root_of

FORECASTERS = ("pi", "means", "learned", "wall", "lightgbm")
"""Forecasters of a market's audit by default."""

STRENGTHS = (0.01, 0.1, 1.0)
"""Inverse regularisations of the oracle's regression to choose from."""

MIN_ORACLE = 0.005
"""Skill of the oracle below which no share of it is told: noise over noise."""


@dataclass(frozen=True)
class MarketRow:
    """Scores of one forecaster in one pool: `pool` is ``all`` events, ``live`` those of them at which a regime lived, or ``live alone``,
    where nothing else is in the history either. `skill` is of the log loss against pi, with its 95% interval of whole mornings; `share` is
    the part of the oracle's skill, None where that is hardly any.
    """

    pool: str
    forecaster: str
    events: int
    abstained: int
    skill: float
    low: float
    high: float
    share: float | None
    ece: float


@dataclass(frozen=True)
class MarketReport:
    """The audit of a market: its rows, and how many mornings, armed events and labelled touches it has."""

    rows: list[MarketRow]
    mornings: int
    events: int
    labelled: int
    live: int

    def row(self, forecaster: str, pool: str = "all") -> MarketRow:
        """The result of one forecaster."""
        return next(r for r in self.rows if r.forecaster == forecaster and r.pool == pool)

    def to_json(self) -> dict[str, Any]:
        """Fields for ``--json``; NaN as null."""
        rows = [{k: finite(v) if isinstance(v, float) else v for k, v in asdict(r).items()} for r in self.rows]
        return {**{k: v for k, v in asdict(self).items() if k != "rows"}, "rows": rows}


def market_params(mornings: int, retrieval: RetrievalParams | None = None) -> AuditParams:
    """Parameters of the walk over mornings: from the second quarter on, refitted when history has doubled."""
    own = retrieval or RetrievalParams()
    first = max(own.min_sessions, mornings // 4)
    return AuditParams(retrieval=own.model_copy(update={"min_sessions": first}), refit_growth=1.0)


def audit_market(
    market: MarketEvents, params: AuditParams, *, only: Sequence[str] = FORECASTERS, permute_seed: int | None = None,
    progress: Progress | None = None, executor: Executor | None = None,
) -> MarketReport:  # fmt: skip
    """Walk over mornings; with `permute_seed` outcomes are dealt to other mornings, so that there is nothing to find.

    Raises NoData where too few mornings have touches.
    """
    if permute_seed is not None:
        means, wall = permute_days([market.means, market.wall], permute_seed)
        market = MarketEvents(means, wall, market.regime, market.regime_is)
    wanted = ["pi", *(f for f in only if f != "pi")]
    pools = [("all", market), ("live alone", market.take(market.live))]
    plans = [_plan(events, params) for _, events in pools]
    if not plans[0]:
        raise NoData(
            f"too few mornings: expected touches in more than {params.retrieval.min_sessions} of them before the first that is scored, "
            f"found {len(np.unique(market.means.sessions))} mornings; make more"
        )
    total = sum(len(blocks) * (len(wanted) - 1) for blocks in plans)
    step = counting(progress, total)
    rows = []
    for (pool, events), blocks in zip(pools, plans):
        if not blocks:  # without regimes, or with hardly any, there is no such pool
            continue
        walked = walk_all(wanted, AuditData(events.means, wall=events.wall), {"class": blocks}, params, step, executor)["class"]
        if (served := serve(walked, wall=True)) is not None:
            walked["served"] = served
        walked["oracle"] = WalkForwardResult(oracle(events, blocks, params), *np.zeros((2, len(events.means)), bool))
        rows += _rows(pool, events, walked, params, np.ones(len(events.means), bool))
        if pool == "all":
            rows += _rows("live", events, walked, params, events.live)
    labels = scored_labels(market.means, "class", params)
    return MarketReport(
        rows, len(np.unique(market.means.sessions)), len(labels), int((labels >= 0).sum()), int(((labels >= 0) & market.live).sum())
    )


def _plan(events: MarketEvents, params: AuditParams) -> list[Block]:
    return schedule(events.means.sessions, scored_labels(events.means, "class", params), params)


def _rows(pool: str, events: MarketEvents, walked: dict[str, WalkForwardResult], params: AuditParams, among: Mask) -> list[MarketRow]:
    labels = scored_labels(events.means, "class", params)
    pi, best = walked["pi"].probability, walked["oracle"].probability
    rows = []
    for name, found in walked.items():
        use = np.isfinite(found.probability).all(axis=1) & ~found.abstained & among
        if not use.any():
            continue
        rng = np.random.default_rng(params.seed)
        codes, counts = session_weights(events.means.sessions[use], params.draws, rng)
        loss, usual = log_loss_each(found.probability[use], labels[use]), log_loss_each(pi[use], labels[use])
        got = skill(loss, usual, codes, counts)
        attainable = float(1 - log_loss_each(best[use], labels[use]).sum() / usual.sum())
        rows.append(
            MarketRow(
                pool=pool,
                forecaster=name,
                events=int(use.sum()),
                abstained=int((np.isfinite(found.probability).all(axis=1) & found.abstained & among).sum()),
                skill=got.value,
                low=got.low,
                high=got.high,
                share=got.value / attainable if attainable >= MIN_ORACLE else None,
                ece=ece(found.probability[use], labels[use], params.bins),
            )
        )
    return rows


# ----------------------------------------------------------------------------
# A simulated lake: what the oracle gets there, beside the forecasters' skill


def told(root: Path, data: AuditData, params: AuditParams) -> AuditData:
    """The data with what the oracle says of each event, where the lake in folder `root` has the regimes of all its sessions (``truth/``).

    As they are where it has not: of a real market nobody knows them.
    """
    import polars as pl

    if data.wall is None:
        return data
    symbols = data.means.frame["trigger_id"].str.split("/").list.get(1).alias("symbol")
    frame, found = data.means.frame.with_columns(symbols).with_row_index("row"), []
    for (session, symbol), rows in frame.group_by("session_date", "symbol", maintain_order=True):
        path = root / "truth" / f"symbol={root_of(str(symbol)).code}" / f"{session}.parquet"
        if not path.is_file():
            return data
        truth = pl.read_parquet(path).filter(pl.col("symbol") == symbol)
        found.append(rows.select("row").with_columns(*regimes_at(rows, truth)))
    regimes = pl.concat(found).sort("row")
    market = MarketEvents(data.means, data.wall, *(np.array(regimes[c].to_list(), dtype=object) for c in ("regime", "regime_is")))
    return replace(data, truth=oracle(market, _plan(market, params), params))


# ----------------------------------------------------------------------------
# The oracle: it knows the regime at a level and learns from history what each regime does


def oracle(events: MarketEvents, blocks: Sequence[Block], params: AuditParams) -> Floats:
    """Class probabilities ``(n, 3)`` of a multinomial logistic regression on the covariates of pi and on the true regime, walking forward;
    NaN where an event is not scored. Its regularisation is chosen on a quarter of history's mornings.
    """
    labels = scored_labels(events.means, "class", params)
    known = [(events.regime_is == what) & (events.regime == r) for what in (LIVE, TOUCHED, OTHER_WAY) for r in REGIMES]
    x = np.column_stack([np.nan_to_num(events.means.covariates), *known]).astype(float)
    out = np.full((len(labels), 3), np.nan)
    for b in blocks:
        past = (labels >= 0) & (events.means.sessions < b.before)
        now = (labels >= 0) & np.isin(events.means.sessions, b.sessions)
        if now.any():
            out[now] = regression(x[past], labels[past], events.means.take(past), x[now])
    return out


def regression(x: Floats, labels: Labels, history: Events, queries: Floats) -> Floats:
    """Class probabilities of queries by a multinomial logistic regression, its regularisation chosen on a quarter of history's sessions."""
    from sklearn.linear_model import LogisticRegression

    centre, spread = x.mean(axis=0), x.std(axis=0) + 1e-9
    x, queries = (np.clip((v - centre) / spread, -6, 6) for v in (x, queries))
    rest = history.session_codes % 4 != 0

    def loss(strength: float) -> float:
        fitted = LogisticRegression(C=strength, max_iter=300).fit(x[rest], labels[rest])
        return float(log_loss_each(fitted.predict_proba(x[~rest]), labels[~rest]).mean())

    best = min(STRENGTHS, key=loss)
    return np.asarray(LogisticRegression(C=best, max_iter=500).fit(x, labels).predict_proba(queries))
