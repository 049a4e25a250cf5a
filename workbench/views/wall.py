"""The wall of similar setups as the page draws it: cards with small replays, one scrubber for all of them, a click opens the moment."""

from __future__ import annotations

from typing import ClassVar

import param
from panel.custom import JSComponent

from workbench.assets import script, style


class Wall(JSComponent):
    """Cards and their scrubber.

    `shown` comes whole, so that no card is drawn on another's scale. A card has ``id``; the words of its head ``what, when, like, end``
    with ``ink``, which of the theme's colours `end` has, and ``known``, the seconds from zero from which its end is known; ``tip``;
    ``query``, whether it is the query; ``price, size, digits, up`` (price of the level and of a tick, digits of a price, -1 where it is
    upside down); ``marks``, pairs of seconds and a word; and the small replay as `workbench.plots.replay_wall.packed` has it, or ``said``
    in its place.
    """

    shown = param.Dict(
        default={}, doc="The cards, the query first; before, after (seconds), reach, barrier (ticks), zero, words; top, signed"
    )
    ink = param.Dict(default={}, doc="Colours of the theme, its fonts, and the palette of 256 colours")
    opened = param.Dict(default={}, doc="Card that was chosen: id, and a running number")
    pointed = param.String(default="", doc="Id of the card under the pointer or with the focus; empty for none")

    _stylesheets: ClassVar[list[str]] = [style("wall")]
    _esm = script("make", "wall")
