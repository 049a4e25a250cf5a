"""The ends of the heatmap's colour scales: of a whole session, so that colours mean the same wherever one looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine.errors import EngineError
from engine.features import pressure_cube
from engine.ladder import NO_TICK
from engine.params import FeatureParams
from engine.vocab import NS
from workbench.data import Session
from workbench.kept import kept_with_session
from workbench.plots import coding
from workbench.plots.coding import Layer

if TYPE_CHECKING:
    import xarray as xr


@kept_with_session(32)
def scale_top(session: Session, layer: Layer, window_s: int, step: int, half_life_s: float) -> float | None:
    """End of the layer's colour scale for the whole session; None where the session has nothing to sample."""
    if layer.kind == "signed":
        return 1.0
    # Resting size is that of a window's end, however long the window: one set of samples serves them all.
    faded = half_life_s if layer.kind in ("long", "short") else 0.0
    parts = samples(session, FeatureParams().window_s if layer.key == "depth" else window_s, step, faded)
    return coding.scale_top(np.concatenate([coding.values(c, layer).ravel() for c in parts]), layer) if parts else None


@kept_with_session(4)
def samples(session: Session, window_s: int, step: int, half_life_s: float) -> tuple[xr.Dataset, ...]:
    """Six short slices around the last trade, spread over the session: what a colour scale is set by, whatever is on screen."""
    lad = session.ladder
    traded = np.flatnonzero((lad.last_tick != NO_TICK) & lad.valid)
    if traded.size == 0:
        traded = np.arange(lad.seconds)
    out = []
    for s in traded[(np.linspace(0.05, 0.95, 6) * (traded.size - 1)).astype(int)].tolist():
        mid = int(lad.last_tick[s])
        begin = lad.start_ns + s * NS
        if mid == NO_TICK:
            continue
        try:
            out.append(
                pressure_cube(
                    lad, begin - 60 * NS, begin + 60 * NS, mid - 20, mid + 20, window_s=window_s, step_ticks=step, half_life_s=half_life_s
                )
            )
        except EngineError:
            continue  # a sample that falls off the session's end; the others set the scale
    return tuple(out)
