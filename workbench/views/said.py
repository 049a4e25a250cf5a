"""Text of the page that changes often."""

from __future__ import annotations

from typing import ClassVar

import param
from panel.custom import JSComponent

from workbench.assets import script
from workbench.views.components import PANE_CSS


class Said(JSComponent):
    """Text that changes often. A pane of Panel's has the page laid out again for each change (20 ms)."""

    html = param.String(default="", doc="What is said; whoever sets it has escaped what comes from elsewhere")

    _stylesheets: ClassVar[list[str]] = [PANE_CSS]
    _esm = script("said")
