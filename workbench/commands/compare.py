"""``spymaster compare``: how alike two pictures are, with an exit code for regression tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engine.commands.common import JsonFlag, print_json
from engine.errors import EngineError

DIFFERENT = 2
"""Exit code where the pictures differ; 1 is an error, as everywhere."""


def compare(
    first: Annotated[Path, Parameter(help="PNG picture.")],
    second: Annotated[Path, Parameter(help="PNG picture of the same size.")],
    /,
    *,
    diff: Annotated[Path | None, Parameter(help="Write a picture of what differs to this PNG.")] = None,
    threshold: Annotated[float, Parameter(help="Least similarity of the worst 64 px tile that still passes, up to 1.")] = 0.99,
    json: JsonFlag = False,
) -> None:
    """Compare two pictures by structural similarity; the exit code is 0 where they are alike, 2 where they differ, 1 on an error.

    What decides is the least similar tile of 64 px: one changed number spoils a tile, and would vanish in the mean.

    Examples
    --------
    ::

        spymaster compare SETUP_1.png again.png
        spymaster compare SETUP_1.png again.png --diff what_changed.png --threshold 0.9
    """
    import numpy as np

    from workbench.snapshot.compare import compare as compare_pixels
    from workbench.snapshot.png import decode
    from workbench.snapshot.sidecar import picture_bytes

    if not -1 <= threshold <= 1:
        raise EngineError(f"--threshold {threshold}: expected -1 to 1, the range of structural similarity")
    a, b = (np.asarray(decode(picture_bytes(p), str(p)).convert("RGB")) for p in (first, second))
    found = compare_pixels(a, b)
    alike = found.worst_tile >= threshold
    if diff is not None:
        from PIL import Image

        try:
            Image.fromarray(found.difference).save(diff, format="PNG")
        except OSError as e:
            raise EngineError(f"--diff {diff}: expected to write the picture there: {e}; choose another path") from e
    if json:
        facts = {k: getattr(found, k) for k in ("ssim", "worst_tile", "worst_at", "changed_share", "largest", "box")}
        print_json({"alike": alike, "threshold": threshold, **facts})
    else:
        where = "" if found.box is None else f", inside {found.box[0]},{found.box[1]} to {found.box[2]},{found.box[3]} px"
        print(
            f"{'alike' if alike else 'different'}: similarity {found.ssim:.4f}, worst tile {found.worst_tile:.4f} at "
            f"{found.worst_at[0]},{found.worst_at[1]} px, {found.changed_share:.3%} of the pixels changed{where}"
        )
    sys.exit(0 if alike else DIFFERENT)
