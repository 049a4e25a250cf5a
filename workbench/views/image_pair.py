"""Two pictures beside or over each other, the same place of both enlarged, a place to drop one, and the way out of the page for one."""

from __future__ import annotations

from typing import ClassVar

import param
from panel.custom import JSComponent

from workbench.assets import script, style

MAX_UPLOAD = 12_000_000
"""Bytes of a dropped picture: what fits through the page's connection as text; pictures drawn here have a twentieth of it."""


class Pair(JSComponent):
    """A picture and the same moment drawn here.

    `first` and `second` have ``src`` (a data URL) and ``title``; or ``said``; or ``guide``, what can be done in the picture's place: a
    list of ``[heading, text, command, button]``, each empty where there is none.

    Two that stand beside each other are as large as the width lets them be; the height that is left has the same place of both, enlarged:
    the one under the pointer, or where the arrow keys have moved it.
    """

    first = param.Dict(default={}, doc="Picture that was chosen or dropped")
    second = param.Dict(default={}, doc="The same moment drawn here")
    swipe = param.Boolean(default=False, doc="Over each other, with a slider between them")
    limit = param.Integer(default=MAX_UPLOAD, doc="Bytes of a dropped picture")
    dropped = param.Dict(default={}, doc="What was dropped: name, base64 text or error, running number")
    saved = param.Dict(default={}, doc="Picture to hand out: name, src, running number")
    pushed = param.Dict(default={}, doc="Button of the guide: its words, running number")

    _stylesheets: ClassVar[list[str]] = [style("pair")]
    _esm = script("make", "pair")
