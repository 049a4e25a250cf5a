"""A setup as one picture without a browser: drawn to the byte, carrying its state, read back safely, compared.

`draw` makes the figure, `picture` the PNG with its state; `read_state` and the sidecar functions take it back;
`compare` says how alike two pictures are.
"""

from workbench.snapshot.compare import Comparison, compare
from workbench.snapshot.draw import draw, draw_scene
from workbench.snapshot.png import picture, read_sidecar, read_state, sidecar_path, write_sidecar
from workbench.snapshot.scene import Scene, SetupBars, make_scene, setup_bars
from workbench.snapshot.state import ForeignState, PictureParams, SetupState

__all__ = [
    "Comparison", "ForeignState", "PictureParams", "Scene", "SetupBars", "SetupState", "compare", "draw", "draw_scene",
    "make_scene", "picture", "read_sidecar", "read_state", "setup_bars", "sidecar_path", "write_sidecar",
]  # fmt: skip
