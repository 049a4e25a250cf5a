"""Knobs of retrieval and of its audit (retrieval.md)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from engine.params import Knobs

HORIZONS = ("h0", "h1", "h2", "h3", "h4", "h5", "h6")
"""Outcome horizons: 1, 2, 4, 6, 8, 10, 12 minutes after the touch (features.md section 8)."""

Target = Literal["class", "touch"]
PoolName = Literal["all", "kind", "level"]
KindName = Literal["window", "arm", "touch", "candle"]
Size = Annotated[int, Field(ge=1, le=100_000)]
Weight = Annotated[float, Field(gt=0, le=1e6)]


class FireParams(Knobs):
    """When a signal fires (retrieval.md, Neighbours and their outcomes)."""

    min_probability: float = Field(0.70, ge=0, le=1, description="Least probability of the top class")
    min_margin: float = Field(0.20, ge=0, le=1, description="Least margin of the top class over the second")
    max_chop: float = Field(0.35, ge=0, le=1, description="Largest probability of chop")
    max_risk_ticks: float = Field(6.0, ge=0, le=200, description="Largest 80% quantile of the adverse excursion, ticks")
    min_resolve: float = Field(0.60, ge=0, le=1, description="Least share of neighbours resolved by h1")
    max_whipsaw: float = Field(0.25, ge=0, le=1, description="Largest share of neighbours that whipsawed")
    cool_down_windows: int = Field(6, ge=0, le=1000, description="No fire at a level for this many windows after one")
    gap_windows: int = Field(3, ge=0, le=1000, description="A run of ready windows that was held back ends after this many without one")


class RetrievalParams(Knobs):
    """How neighbours are chosen and made into a forecast."""

    horizon: Literal["h0", "h1", "h2", "h3", "h4", "h5", "h6"] = Field("h1", description="Outcome horizon")
    kinds: tuple[KindName, ...] = Field(
        ("arm",), min_length=1, description="Trigger kinds that are candidates; arm is the one that is audited"
    )
    pool: PoolName = Field("all", description="Candidates: all levels, those of the level's kind, or the level and direction alone")
    cap: int = Field(3, ge=1, le=100, description="Most neighbours of one session")
    embargo_sessions: int = Field(1, ge=0, le=20, description="Sessions left out before the query's own")
    clip: float = Field(8.0, gt=0, le=100, description="Normalised dimensions are clipped to this many robust deviations")
    dims: int = Field(8, ge=4, le=64, description="Dimensions of the learned embedding")
    folds: int = Field(5, ge=2, le=20, description="Groups of sessions over which the embedding of history is cross-fitted")
    min_n_eff: float = Field(20.0, ge=1, le=1000, description="Effective neighbours below which nothing is comparable")
    abstain_quantile: float = Field(0.01, ge=0, le=0.5, description="Nothing is comparable below this quantile of history's best likeness")
    interval: float = Field(0.80, gt=0, lt=1, description="Mass of the posterior's interval")
    k_grid: tuple[Size, ...] = Field((50, 100, 200, 400), min_length=1, description="Numbers of neighbours tried, up to a third of history")
    power_grid: tuple[Weight, ...] = Field((1.0, 8.0, 32.0, 128.0), min_length=1, description="Powers of the similarity tried in the fold")
    alpha_grid: tuple[Weight, ...] = Field(
        (2.0, 8.0, 32.0, 128.0, 1024.0), min_length=1, description="Weights of the reference tried inside the fold"
    )
    residual_grid: tuple[Weight, ...] = Field(
        (0.1, 0.3), min_length=1, description="Weights of what the classes do not explain, tried inside the fold"
    )
    tune_queries: int = Field(1000, ge=50, le=100_000, description="Most events of history on which the grid is tried")
    min_sessions: int = Field(10, ge=3, le=1000, description="Sessions of history without which no forecast is made")
    min_events: int = Field(150, ge=30, le=100_000, description="Labelled events of history without which no forecast is made")


class AuditParams(Knobs):
    """How the audit walks forward."""

    retrieval: RetrievalParams = RetrievalParams()
    refit_growth: float = Field(
        0.15, ge=0, le=2, description="Everything is refitted when the history of sessions has grown by this share; 0 refits every session"
    )
    draws: int = Field(2000, ge=2000, le=100_000, description="Session-block bootstrap draws")
    bins: int = Field(10, ge=2, le=100, description="Equal-count bins of ECE and of the reliability diagram")
    seed: int = Field(0, ge=0, description="Seed of the bootstrap and of the comparison's trees")
