"""How a setup's picture is drawn: size, theme, layer, and how much time and price around the moment."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from engine.params import Knobs

LayerKey = Literal["depth", "add", "pull", "fill", "long", "short", "net"]


class PictureParams(Knobs):
    """What of the moment is drawn, and in which size and colours."""

    width_px: int = Field(1920, ge=1440, le=3840, description="Width of the picture, px")
    height_px: int = Field(1080, ge=860, le=2400, description="Height of the picture, px")
    theme: Literal["dark", "light"] = Field("dark", description="Dark or light")
    layer: LayerKey = Field("depth", description="What the heatmap shows")
    palette: Literal["perceptual", "cividis", "bookmap"] = Field("perceptual", description="Colours of resting size and one-signed flows")
    rows: int = Field(16, ge=8, le=30, description="Ticks shown above and below the level")
    before_min: int = Field(12, ge=2, le=60, description="Time that the heatmap shows before the moment, minutes")
    after_min: int = Field(8, ge=0, le=30, description="Time that the heatmap shows after the moment, minutes")
    bars_before: int = Field(22, ge=8, le=60, description="2-minute candles before the moment's own")
    bars_after: int = Field(11, ge=0, le=30, description="2-minute candles after the moment's own")
    half_life_s: float = Field(0.0, ge=0, le=600, description="Half-life of past flow, seconds; 0 shows each window alone")
    hindsight: bool = Field(True, description="Draw what came after the moment, veiled; else nothing of it is in the picture")
