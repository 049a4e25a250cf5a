"""The replay's transport: badge and clock, play and step, speed, the session's path so far as a scrubber, and the keyboard.

It acknowledges every frame once it is painted; the server sends the next one only then.
"""

from __future__ import annotations

from typing import ClassVar

import param
from panel.custom import JSComponent

from workbench.assets import script, style
from workbench.views.replay_data import FRAME_S


class Deck(JSComponent):
    """Transport of a replay.

    `acted` is what the trader did: ``name`` (``play, step, seek, speed, touch, open, level, call``), ``value`` and a running number.
    """

    now = param.Dict(
        default={}, doc="Frame n, position in seconds, clock, whether it plays, index of the speed, last act answered, what `Live` paints"
    )
    track = param.Dict(default={}, doc="What was known of the session: its seconds, points and touches so far, hours")
    speeds = param.List(default=[], doc="Speeds in words")
    acted = param.Dict(default={}, doc="What the trader last did")
    painted = param.Integer(default=0, doc="The last frame that was painted")

    _stylesheets: ClassVar[list[str]] = [style("transport")]
    _esm = script("make", "one_at_a_time", "transport", LEAST_MS=FRAME_S * 1000)
