"""Cards of the wall: what an upside-down setup reads; and what a defect in a thread leaves behind."""

import pytest

from engine.errors import EngineError, RunFailed
from workbench.clips import Stretch
from workbench.plots.coding import LAYERS
from workbench.views.later import _defect
from workbench.views.neighbours_cards import turned


@pytest.mark.parametrize("layer", list(LAYERS))
def test_an_upside_down_setup_reads_the_other_sides_flow(layer: str) -> None:
    stretch = Stretch(before_s=60, after_s=60, reach=16, layer=layer, half_life_s=0.0)
    other = {"long": "short", "short": "long"}.get(layer, layer)
    assert turned(stretch) == Stretch(before_s=60, after_s=60, reach=16, layer=other, half_life_s=0.0)
    assert turned(turned(stretch)) == stretch


def test_a_defect_in_a_thread_is_told_and_raised_again() -> None:
    told: list[EngineError] = []
    with pytest.raises(ZeroDivisionError):
        _defect(ZeroDivisionError("of nothing"), told.append)()
    assert [type(e) for e in told] == [RunFailed]
    assert "ZeroDivisionError: of nothing" in str(told[0])
