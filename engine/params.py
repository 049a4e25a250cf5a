"""All parameters, as frozen models with bounds, units and descriptions, used for CLI flags, widgets and manifest hashes."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Params(BaseModel):
    """A frozen group of parameters with a stable hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def digest(self) -> str:
        """SHA-256 of the values in canonical JSON, as recorded in manifests."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class ReplayParams(Params):
    """Parameters of the replay, from order stream to ladder (features.md section 1)."""

    rest_ns: int = Field(500_000_000, ge=0, le=60_000_000_000, description="An order has rested after this long at its price, ns")
    span_ticks: int = Field(400, ge=21, le=5000, description="A keyframe keeps resting depth this far from the mid, ticks")
    keyframe_s: int = Field(60, ge=1, le=3600, description="Seconds between keyframes")


class TrustParams(Params):
    """When a book is trusted, as a whole or near the touch (mbo.md rules 12 and 20)."""

    near_share: float = Field(
        0.01, gt=0, le=0.5, description="The book is known near the touch where fewer cancels and modifies than this are of unknown orders"
    )
    near_s: int = Field(300, ge=60, le=3600, description="Over the last seconds of so many")
    gap_s: int = Field(5, ge=2, le=600, description="Records are missing after a silence this long that unknown orders follow, seconds")
    crossed_ns: int = Field(2_000_000_000, ge=0, le=60_000_000_000, description="A book crossed or locked for longer is not valid, ns")


class OrderParams(Params):
    """Which single orders are told of, and when (docs/ORDERS.md)."""

    least_size: int = Field(20, ge=1, le=4095, description="No order is large below this size, contracts")
    large_share: float = Field(0.005, gt=0, le=0.5, description="A large order's size is one that at most this share of orders exceeds")
    absorbed_times: int = Field(10, ge=1, le=1000, description="A price that holds has absorbed from so many times a large order's size on")
    pull_ns: int = Field(2_000_000_000, ge=0, le=60_000_000_000, description="A pull comes before a touch where it is no older, ns")


class ZoneParams(Params):
    """Outer bounds of the zones around a level, in ticks from it (features.md section 2)."""

    at: int = Field(2, ge=0, le=50, description="Outer bound of the zone at the level, ticks")
    near: int = Field(5, ge=1, le=100, description="Outer bound of the near zone, ticks")
    mid: int = Field(14, ge=2, le=200, description="Outer bound of the middle zone, ticks")
    far: int = Field(20, ge=3, le=400, description="Outer bound of the far zone, ticks")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not self.at < self.near < self.mid < self.far:
            raise ValueError(f"zone bounds must rise: at < near < mid < far, got {self.at}, {self.near}, {self.mid}, {self.far}")
        return self


class FeatureParams(Params):
    """How windows of the ladder become features (features.md sections 2-4, 6)."""

    window_s: int = Field(5, ge=1, le=30, description="Length of a feature window, seconds")
    zones: ZoneParams = ZoneParams()
    touch_ticks: int = Field(20, ge=1, le=200, description="Ticks from a side's own best price in the book-framed centre of mass")


class ApproachParams(Params):
    """When price approaches a level (features.md section 8)."""

    max_distance_ticks: int = Field(20, ge=1, le=400, description="An approach starts no further from the level than this, ticks")
    lookback_windows: int = Field(3, ge=1, le=60, description="The last trade moved toward the level over this many windows")


class SetupParams(Params):
    """Episodes, triggers, touches and outcomes (features.md section 8)."""

    arm_ticks: int = Field(4, ge=1, le=100, description="An episode arms this near the level; a touched level re-arms beyond, ticks")
    gap_windows: int = Field(3, ge=1, le=60, description="An episode ends with this many windows in a row without the approach")
    wait_windows: int = Field(24, ge=0, le=720, description="A touch still belongs to an episode this many windows after it")
    confluence_ticks: int = Field(4, ge=0, le=100, description="Levels this close to each other are confluent, ticks")
    barrier: int | Literal["auto"] = Field(8, description="Ticks beyond the level (break) or back (reject); auto: from volatility")
    horizons_s: tuple[int, ...] = Field((60, 120, 240, 360, 480, 600, 720), description="Horizons h0, h1, ... after the touch, seconds")
    shown_horizon: int = Field(1, ge=0, le=6, description="The horizon that is shown, and whose barrier the hits have where it is auto")
    sigma_s: int = Field(1800, ge=60, le=14_400, description="Span over which volatility is measured, seconds")
    sigma_least_s: int = Field(300, ge=20, le=14_400, description="Volatility is unknown with less than this of the span, seconds")
    candle_bars: int = Field(3, ge=1, le=6, description="The outcome clock of a candle trigger runs this many two-minute bars")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.barrier != "auto" and not 1 <= self.barrier <= 400:
            raise ValueError(f"barrier: expected 1 to 400 ticks or 'auto', got {self.barrier}")
        if len(self.horizons_s) != 7 or any(b <= a for a, b in zip((0, *self.horizons_s), self.horizons_s)):
            raise ValueError(f"horizons_s: expected seven rising numbers of seconds, got {self.horizons_s}")
        if self.sigma_least_s > self.sigma_s:
            raise ValueError(f"sigma_least_s must not exceed sigma_s, got {self.sigma_least_s} > {self.sigma_s}")
        return self


class GoldParams(Params):
    """What the table of trigger vectors holds (features.md section 5)."""

    representation: Literal["means", "blocks"] = Field("means", description="Representation of the vectors; learned is fitted on means")
    kinds: tuple[Literal["window", "arm", "touch", "candle"], ...] = Field(
        ("window", "arm", "touch", "candle"), min_length=1, description="Kinds of triggers to keep"
    )


class FlowLeadParams(Params):
    """When long or short is named as the side that outpaces the other near a level, from flow that ended by a moment."""

    flow_s: int = Field(30, ge=5, le=600, description="Flow of the last so many seconds is compared, whole windows of 5 s")
    share: float = Field(0.17, ge=0, le=10, description="A side is named from this lead on, as a share of the other side's flow")
    usual_times: float = Field(2.0, ge=0, le=100, description="At a price also from so many times the lead that is usual there")
    usual_s: int = Field(600, ge=60, le=7200, description="What is usual is the median over the last so many seconds")
    usual_least_s: int = Field(120, ge=30, le=7200, description="No side is named before so many seconds tell what is usual")
    memory_s: int = Field(300, ge=5, le=7200, description="Names of more than so many seconds ago do not matter")


class WallParams(Params):
    """When resting size at a price is a wall, and how its end is told."""

    reach_ticks: int = Field(20, ge=1, le=400, description="Walls are looked for, and sizes compared, so far from the level, ticks")
    times: float = Field(3.0, ge=1, le=100, description="A wall begins at this multiple of the median size of its side's prices")
    kept_times: float = Field(2.0, ge=1, le=100, description="And is named while it is at least this multiple")
    gone_share: float = Field(0.5, gt=0, lt=1, description="A wall has ended when less than this share of its largest size is left")
    whole_share: float = Field(0.8, gt=0, le=1, description="Its end began when it last had this share of its largest size")
    settle_s: int = Field(5, ge=0, le=60, description="An end is followed so many seconds, to the least size that it comes to")
    named_s: int = Field(20, ge=0, le=600, description="A wall is named from this age on, seconds")
    told_s: int = Field(30, ge=1, le=600, description="How a wall ended is told for so many seconds")
    change_s: int = Field(30, ge=1, le=600, description="It grows or shrinks against what it was so many seconds ago")
    change_share: float = Field(0.15, ge=0, le=10, description="By at least this share of what it was then")
    refill_share: float = Field(0.2, gt=0, le=1, description="It was refilled when trades had taken this share and it is back")
    memory_s: int = Field(600, ge=30, le=7200, description="Walls are followed from so many seconds ago on")
    most: int = Field(3, ge=1, le=10, description="At most so many are named at once")


class StreamParams(Params):
    """States of the pressure stream (features.md section 9)."""

    armed_score: float = Field(0.70, ge=0, le=1, description="ARMED from this vacuum score on, with the margin")
    armed_margin: float = Field(0.20, ge=0, le=1, description="ARMED from this margin of the forecast on, with the score")
    watch_score: float = Field(0.60, ge=0, le=1, description="WATCH from this vacuum score on")


class PressureParams(Params):
    """Pressure at a price (features.md section 7)."""

    half_life_s: float = Field(0.0, ge=0, le=600, description="Half-life of past flow, seconds; 0 shows each window alone")
    step_ticks: int = Field(1, ge=1, le=40, description="Ticks summed into one price row (4 ticks are $1 of ES)")


class LevelParams(Params):
    """Which levels are made, and how (lake.md, Levels)."""

    level_ids: tuple[str, ...] = Field(
        (
            "pm_high", "pm_low", "or_high", "or_low", "pd_high", "pd_low", "pd_close", "on_high", "on_low",
            "sma_200", "sma_400", "vwap",
        ),
        description="Levels to make; price:6800.25 adds a fixed price",
    )  # fmt: skip
    sessions_back: int = Field(1, ge=1, le=10, description="Which previous RTH session pd_* looks at")


class OptionParams(Params):
    """How options are marked, and what is made of their open interest."""

    rate: float = Field(0.04, ge=-0.05, le=0.5, description="Interest rate a year; 0.01 of it moves gamma by less than 0.3% at 90 days")
    quote_age_s: int = Field(900, ge=60, le=7200, description="A quote counts for so many seconds")
    least_price: float = Field(0.05, gt=0, le=5, description="An option worth less, in points, has the volatility of its neighbour")
    profile_rows: int = Field(161, ge=21, le=401, description="Price rows of a profile, a point apart, around the future")
    zero_band: float = Field(0.08, gt=0, le=0.2, description="Zero gamma is looked for within this share of the future's price")
    wall_lead: float = Field(0.10, ge=0, le=2, description="A wall moves when another strike leads it by this share")
    wall_minutes: int = Field(3, ge=1, le=60, description="And has led for so many minutes in a row")


class OptionLeadParams(Params):
    """When hedgers are said to buy or sell at a price, and trades of options to push up or down."""

    share: float = Field(0.10, ge=0, le=1, description="Hedgers' side is named from this share of net in gross gamma on")
    flow_s: int = Field(300, ge=5, le=3600, description="Trades of the last so many seconds are compared, whole windows of 5 s")
    reach_points: float = Field(25.0, gt=0, le=200, description="At strikes so far from the price, points")
    lead: float = Field(0.17, ge=0, le=10, description="A way is named from this lead on, as a share of what pushes the other way")
    least: float = Field(20.0, ge=0, description="And from so many contracts of the future on")
    strike_share: float = Field(0.4, gt=0, le=1, description="A strike is named from this share of that lead on")
    memory_s: int = Field(600, ge=60, le=7200, description="Names of more than so many seconds ago do not matter")


class SelectionParams(Params):
    """Which contract-days are used (lake.md, Contract-day selection)."""

    dominance: float = Field(0.80, ge=0, le=1, description="Least share of all trades the chosen contract must have")
    trim_days: int = Field(2, ge=0, le=10, description="Days dropped at both ends of a contract's run")
    trim_longer_than: int = Field(4, ge=0, le=60, description="Only runs longer than this are trimmed, days")
    liquidity_floor: float = Field(0.50, ge=0, le=1, description="Least share of the run's median trade count")


# ----------------------------------------------------------------------------
# Parameters of retrieval and of its audit (retrieval.md)

HORIZONS = ("h0", "h1", "h2", "h3", "h4", "h5", "h6")
"""Outcome horizons: 1, 2, 4, 6, 8, 10, 12 minutes after the touch (features.md section 8)."""

Target = Literal["class", "touch"]
PoolName = Literal["all", "kind", "level"]
KindName = Literal["window", "arm", "touch", "candle"]
Size = Annotated[int, Field(ge=1, le=100_000)]
Weight = Annotated[float, Field(gt=0, le=1e6)]


class SignalRuleParams(Params):
    """When a signal fires (retrieval.md, Neighbours and their outcomes)."""

    min_probability: float = Field(0.70, ge=0, le=1, description="Least probability of the top class")
    min_margin: float = Field(0.20, ge=0, le=1, description="Least margin of the top class over the second")
    max_chop: float = Field(0.35, ge=0, le=1, description="Largest probability of chop")
    max_risk_ticks: float = Field(6.0, ge=0, le=200, description="Largest 80% quantile of the adverse excursion, ticks")
    min_resolve: float = Field(0.60, ge=0, le=1, description="Least share of neighbours resolved by h1")
    max_whipsaw: float = Field(0.25, ge=0, le=1, description="Largest share of neighbours that whipsawed")
    cool_down_windows: int = Field(6, ge=0, le=1000, description="No fire at a level for this many windows after one")
    gap_windows: int = Field(3, ge=0, le=1000, description="A run of ready windows that was held back ends after this many without one")


class RetrievalParams(Params):
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


class AuditParams(Params):
    """Parameters of the walk-forward audit."""

    retrieval: RetrievalParams = RetrievalParams()
    refit_growth: float = Field(
        0.15, ge=0, le=2, description="Everything is refitted when the history of sessions has grown by this share; 0 refits every session"
    )
    draws: int = Field(2000, ge=2000, le=100_000, description="Session-block bootstrap draws")
    bins: int = Field(10, ge=2, le=100, description="Equal-count bins of ECE and of the reliability diagram")
    seed: int = Field(0, ge=0, description="Seed of the bootstrap and of the comparison's trees")


# ----------------------------------------------------------------------------
# The simulator's parameters


WallTick = Annotated[int, Field(ge=0, lt=16)]


class SimParams(Params):
    """Parameters of a simulated market; equal values give byte-identical files."""

    root: str = Field("ES", description="Root of the contracts")
    seed: int = Field(7, ge=0, lt=2**63, description="Seed of everything random")
    rate: float = Field(0.10, ge=0.02, le=2.0, description="Message rate; 1 is a busy day of several million messages in three hours")
    kappa: float = Field(1.0, ge=0, le=10, description="Strength of the regimes at levels; 0 is a market without levels")
    gamma: float = Field(
        0.5, ge=0, le=5, description="How far a regime moves price after the touch; 0 leaves footprints without consequence"
    )
    round_ticks: int = Field(
        0, ge=0, le=4000, description="Every so many ticks a round price is a level too (ES: 100 is 25 points); 0 for none"
    )
    thin_after: dt.time | None = Field(
        None, description="New York time from which, and until 04:00, the day goes on thinly, to keep a demo small"
    )
    wall: tuple[WallTick, ...] = Field(
        (0, 1, 2), min_length=1, description="Ticks beyond the level, it included, at which regimes add, keep and pull orders"
    )
    rearm_ticks: int = Field(14, ge=2, le=100, description="So far from a level price must have been before it is approached again")
    moving: bool = Field(False, description="Whether VWAP and the 200-bar average have regimes, too")

    def digest(self) -> str:
        """As of any parameters; what came later counts only where it is not as by default, so that files of before stay as they are."""
        later = {n for n in ("wall", "rearm_ticks", "moving") if getattr(self, n) == type(self).model_fields[n].default}
        text = json.dumps(self.model_dump(mode="json", exclude=later), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class RunParams(Params):
    """All parameters of silver and gold, by group; a stage's lineage has only the groups it reads."""

    replay: ReplayParams = ReplayParams()
    trust: TrustParams = TrustParams()
    orders: OrderParams = OrderParams()
    levels: LevelParams = LevelParams()
    features: FeatureParams = FeatureParams()
    approach: ApproachParams = ApproachParams()
    setups: SetupParams = SetupParams()
    gold: GoldParams = GoldParams()
    retrieval: RetrievalParams = RetrievalParams()
    fire: SignalRuleParams = SignalRuleParams()
    stream: StreamParams = StreamParams()
    options: OptionParams = OptionParams()
