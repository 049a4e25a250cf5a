"""Cards of the wall: what an upside-down setup reads."""

import pytest

from workbench.plots.heatmap import LAYERS
from workbench.session_cache import Stretch
from workbench.views.neighbours import turned


@pytest.mark.parametrize("layer", list(LAYERS))
def test_an_upside_down_setup_reads_the_other_sides_flow(layer: str) -> None:
    stretch = Stretch(before_s=60, after_s=60, reach=16, layer=layer, half_life_s=0.0)
    other = {"long": "short", "short": "long"}.get(layer, layer)
    assert turned(stretch) == Stretch(before_s=60, after_s=60, reach=16, layer=other, half_life_s=0.0)
    assert turned(turned(stretch)) == stretch
