"""The simulator's knobs."""

from __future__ import annotations

import datetime as dt

from pydantic import Field

from engine.params import Knobs


class SimParams(Knobs):
    """What a simulated market is made from; files are the same to the byte for the same values."""

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
