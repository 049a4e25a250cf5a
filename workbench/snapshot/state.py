"""What a setup's picture carries: the moment and how it was drawn, bounded field by field, so that a stranger's file cannot surprise."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from engine.errors import EngineError, NoData
from engine.params import FeatureParams, Params
from engine.sessions import clock_text, profile_named, session_windows
from engine.vocab import NS, root_of

Direction = Literal["approach_up", "approach_down", "approach_none"]


def _known(look_up: Callable[[str], object], name: str) -> str:
    """`name`, where `look_up` finds it."""
    try:
        look_up(name)
    except EngineError as e:
        raise ValueError(str(e)) from e
    return name


def _plausible(date: dt.date) -> dt.date:
    if not dt.date(1990, 1, 1) <= date <= dt.date(2100, 1, 1):
        raise ValueError(f"expected a date from 1990 to 2100, found {date}")
    return date


Contract = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{2,8}$"), AfterValidator(partial(_known, root_of))]
Profile = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}(@[0-9:,-]{1,64})?$"), AfterValidator(partial(_known, profile_named))
]
LevelId = Annotated[str, StringConstraints(pattern=r"^([a-z][a-z0-9_]{0,31}|price:-?[0-9]{1,7}(\.[0-9]{1,9})?)$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Day = Annotated[dt.date, AfterValidator(_plausible)]


class SetupState(BaseModel):
    """State of a picture that was drawn here, whatever the lake; a picture of another `format` is refused, never guessed at.

    The moment is the window ``[ts_ns, ts_ns + window)``; `price` is the level's price in that window. `drawn_sha256` hashes the
    numbers that were drawn (`Scene.digest`), whatever their colours: drawn again from another lake or another version,
    it says whether the picture still shows the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    session_date: Day
    profile: Profile
    symbol: Contract
    level_id: LevelId
    price: float = Field(gt=-1e7, lt=1e7, allow_inf_nan=False)
    ts_ns: int = Field(ge=0, le=4_200_000_000_000_000_000)
    direction: Direction
    simulated: bool
    features: FeatureParams
    picture: PictureParams
    drawn_sha256: Digest

    @property
    def clock_ns(self) -> int:
        """The time on the clock at the moment: the end of its window, of which all was known then."""
        return self.ts_ns + self.features.window_s * NS

    @model_validator(mode="after")
    def _inside_the_session(self) -> Self:
        try:
            w = session_windows(self.session_date, self.profile, root_of(self.symbol))
        except NoData as e:
            raise ValueError(str(e)) from e
        if not w.ladder_start_ns <= self.ts_ns < w.ladder_end_ns:
            raise ValueError(f"{clock_text(self.ts_ns)} New York lies outside the {self.profile} session of {self.session_date}")
        return self


class ForeignState(BaseModel):
    """What is typed in once for a picture that was not drawn here, and stored beside it.

    `picture_sha256` binds it to the very file, so that another picture of the same name is not taken for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    picture_sha256: Digest
    session_date: Day
    level_id: LevelId
    direction: Direction
    symbol: Contract | None = None
    clock: dt.time | None = Field(None, description="New York time of the moment, where the picture tells it")


# ----------------------------------------------------------------------------
# How a setup's picture is drawn: size, theme, layer, and how much time and price around the moment


class PictureParams(Params):
    """What of the moment is drawn, and in which size and colours."""

    width_px: int = Field(1920, ge=1440, le=3840, description="Width of the picture, px")
    height_px: int = Field(1080, ge=860, le=2400, description="Height of the picture, px")
    theme: Literal["dark", "light"] = Field("dark", description="Dark or light")
    layer: Literal["depth", "add", "pull", "fill", "long", "short", "net"] = Field("depth", description="What the heatmap shows")
    palette: Literal["perceptual", "cividis", "bookmap"] = Field("perceptual", description="Colours of resting size and one-signed flows")
    rows: int = Field(16, ge=8, le=30, description="Ticks shown above and below the level")
    before_min: int = Field(12, ge=2, le=60, description="Time that the heatmap shows before the moment, minutes")
    after_min: int = Field(8, ge=0, le=30, description="Time that the heatmap shows after the moment, minutes")
    bars_before: int = Field(22, ge=8, le=60, description="2-minute candles before the moment's own")
    bars_after: int = Field(11, ge=0, le=30, description="2-minute candles after the moment's own")
    half_life_s: float = Field(0.0, ge=0, le=600, description="Half-life of past flow, seconds; 0 shows each window alone")
    hindsight: bool = Field(True, description="Draw what came after the moment, veiled; else nothing of it is in the picture")
