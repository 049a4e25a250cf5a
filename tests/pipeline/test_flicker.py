"""Before touches of the simulated market the sentence names a side where there is one, steadily, and never the lighter one."""

from __future__ import annotations

import pytest

from engine.lake.store import Lake
from tests.bench.flicker import flicker
from tests.support.built import copy_of_built
from tests.support.lakes import spymaster


def make_market(folder):
    """``lake`` in `folder`: four sessions of the demo's market, with levels and touches."""
    lake = folder / "lake"
    spymaster("simulate", "--dates", "2025-10-01:2025-10-06", "--lake", lake, "--rate", "0.1", "--thin-after", "12:35")
    spymaster("run", "--symbol", "ESZ5", "--dates", "2025-10-01:2025-10-06", "--layer", "all", "--lake", lake)


@pytest.mark.long
def test_the_named_side_is_steady_and_never_the_lighter_one(tmp_path_factory, say) -> None:
    found = flicker(Lake(copy_of_built("market-4", make_market, tmp_path_factory.mktemp("market")) / "lake"))
    say("side named before touches", str(found))
    assert found.touches >= 40
    assert found.lighter == 0
    assert found.changes <= 0.10 * found.steps
    assert found.named >= 0.15 * found.moments
