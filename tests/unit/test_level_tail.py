"""What a playing clock tells the browser between two whole pictures, put together, is what the whole picture says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from engine.params import FeatureParams
from engine.session import Session
from engine.vocab import NS
from workbench import session_cache
from workbench.plots.heatmap import LAYERS
from workbench.views import known as past
from workbench.views.known import Frame
from workbench.views.level_figures import WHOLE_EVERY_FRAMES, WHOLE_EVERY_S, Tail
from workbench.views.viewport import Viewport


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A small generated session."""
    from tests.ui.conftest import DATE, generated_lake

    return session_cache.load(str(generated_lake(tmp_path_factory.mktemp("tail"), 20_000)), "ESZ5", DATE)


def frames(s: Session, seconds: list[int]) -> list[Frame]:
    """Frames of one slab at VWAP."""
    params, mid = FeatureParams(), int(s.ladder.last_tick[seconds[0]])
    slab = past.Slab(s, 1800, 4500, mid - 20, mid + 20, 1, LAYERS["depth"], 0.0, 1800)
    level = s.level("vwap")
    out = []
    for t in seconds:
        look = Viewport(
            s, "vwap", "VWAP", level, s.windows("vwap", params), params, s.ladder.start_ns + t * NS, mid, True, 1, 16
        )  # fmt: skip
        out.append(Frame(look, t, 2000, 3800, mid, slab, t))
    return out


def told(tail: Tail, frame: Frame) -> dict[str, Any]:
    return json.loads(tail.frame(frame, {}, {k: [] for k in ("x", "y", "size", "colour")}))


def test_additions_make_the_whole(session: Session) -> None:
    shown = frames(session, [3001, 3002, 3005, 3006, 3021, 3077])
    tail, first = Tail(), shown[0]
    tail.painted(first, 0.0, goes_on=False)
    told(tail, first)
    slab = first.slab
    image = slab.image(first.t)[0]
    strip = past.strip(session, "vwap", first.look.params)
    path, windows = [], []
    for f in shown[1:]:
        assert tail.goes_on(f, 0.1)
        new = told(tail, f)
        codes = np.array(new["codes"], dtype=np.uint8).reshape(slab.ticks.size, -1)
        image[:, new["first"] : new["first"] + codes.shape[1]] = codes
        path += new["quotes"]["last"]
        windows += new["windows"]
        assert new["x"] == f.x(f.t)
        # Nothing of what comes later.
        assert all(x < new["x"] for x in new["quotes"]["x"])
    last = shown[-1]
    np.testing.assert_array_equal(image, slab.image(last.t)[0])
    assert path == past.quotes(session).between(first.t, last.t, 1)["last"]
    assert len(windows) == strip.done(last.look.now_ns) - strip.done(first.look.now_ns) > 10
    cells, _ = strip.until(last.look.now_ns, first.x(2000))
    end = [np.asarray(m)[:, -len(windows) :].T.tolist() for m in cells["image"]]
    assert [w[2] for w in windows] == [list(pair) for pair in zip(*end, strict=True)]


def test_figures_are_painted_now_and_then_and_when_time_goes_back(session: Session) -> None:
    early, late = frames(session, [3001, 3050])
    tail = Tail()
    assert not tail.goes_on(late, 0.0)
    tail.painted(late, 0.0, goes_on=False)
    told(tail, late)
    assert tail.goes_on(late, WHOLE_EVERY_S + 1)
    for _ in range(WHOLE_EVERY_FRAMES):
        told(tail, late)
    assert tail.goes_on(late, WHOLE_EVERY_S - 1)
    assert not tail.goes_on(late, WHOLE_EVERY_S)
    assert not tail.goes_on(early, 0.0)
    tail.stop()
    assert not tail.goes_on(late, 0.0)
