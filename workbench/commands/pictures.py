"""``spymaster snapshot`` and ``compare``: a setup's picture without a browser, and how alike two pictures are."""

from __future__ import annotations

import datetime as dt
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from engine.commands.common import JsonFlag, LakeDir, print_json
from engine.errors import EngineError, SessionError

if TYPE_CHECKING:
    from engine.lake.store import Lake
    from workbench.snapshot.scene import Scene

# ----------------------------------------------------------------------------
# ``spymaster compare``: how alike two pictures are, with an exit code for regression tests

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
    from workbench.snapshot.png import decode, picture_bytes

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


# ----------------------------------------------------------------------------
# ``spymaster snapshot``: a setup as a picture, without a browser


def snapshot(
    *,
    lake: LakeDir = Path("lake"),
    level: Annotated[str | None, Parameter(help="Level such as pm_high, or price:6800.25.")] = None,
    ts: Annotated[str | None, Parameter(help="New York time on the clock, such as '2025-10-07 09:41:35'.")] = None,
    out: Annotated[Path | None, Parameter(help="PNG to write; SETUP_<contract>_<date>_<time>_<level>.png where not given.")] = None,
    symbol: Annotated[str | None, Parameter(help="Contract, or a root; the day's only contract where not given.")] = None,
    window: Annotated[int, Parameter(help="Length of a window, seconds.")] = 5,
    zones: Annotated[str, Parameter(help="Outer bounds of the four zones, ticks.")] = "2,5,14,20",
    layer: Annotated[Literal["depth", "add", "pull", "fill", "long", "short", "net"], Parameter(help="What the heatmap shows.")] = "depth",
    rows: Annotated[int, Parameter(help="Ticks shown above and below the level.")] = 16,
    theme: Annotated[Literal["dark", "light"], Parameter(help="Colours.")] = "dark",
    palette: Annotated[Literal["perceptual", "cividis", "bookmap"], Parameter(help="Colours of sizes.")] = "perceptual",
    size: Annotated[str, Parameter(help="Width and height, px.")] = "1920x1080",
    hindsight: Annotated[bool, Parameter(help="Show what came after the moment, dimmed; else nothing of it is in the picture.")] = True,
    like: Annotated[Path | None, Parameter(help="Draw what this picture carries again, and say whether its numbers still hold.")] = None,
) -> None:
    """Draw a moment of a level: candles, heatmap, ladder, four conditions and the sentence, the same bytes every time.

    The picture carries its state: drop it on the screen, or give it to --like, and that very moment is drawn again.

    Examples
    --------
    ::

        spymaster snapshot --level pm_high --ts "2025-10-07 09:41:35" --out SETUP_1.png
        spymaster snapshot --level price:6800 --ts "2025-10-07 10:05" --theme light --size 2560x1440
        spymaster snapshot --like SETUP_1.png --out again.png
    """
    from engine.lake.store import Lake
    from engine.sessions import NEW_YORK
    from workbench.snapshot import picture
    from workbench.snapshot.scene import contract_of, profile_of, scene_of

    source = Lake(lake)
    if like is not None:
        scene, note = _again(source, like)
        default = like.with_name(f"{like.stem}_again.png")
    elif level is None or ts is None:
        raise SessionError("snapshot: expected --level and --ts, or --like PICTURE.png")
    else:
        date, ts_ns = _moment(ts)
        drawn: dict[str, object] = {"layer": layer, "rows": rows, "theme": theme, "palette": palette, "hindsight": hindsight}
        params = _params(window, zones, size, drawn)
        scene = scene_of(source, contract_of(source, symbol, date), date, level_id=level, clock_ns=ts_ns, **params)
        clock = dt.datetime.fromtimestamp(scene.end_ns // 10**9, NEW_YORK)
        default = Path(f"SETUP_{scene.symbol}_{scene.date}_{clock:%H%M%S}_{re.sub('[^a-z0-9.]+', '_', level)}.png")
        note = scene.sentence
    path = out or default
    data = picture(scene, profile_of(source))
    try:
        path.write_bytes(data)
    except OSError as e:
        raise EngineError(f"{path}: expected to write the picture there: {e.strerror or e}; choose another --out") from e
    print(f"{path}: {note}")


def _moment(text: str) -> tuple[dt.date, int]:
    """Session date and instant of ``YYYY-MM-DD HH:MM[:SS]``, New York."""
    from engine.sessions import to_ns

    try:
        when = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        when = None
    if when is None or when.tzinfo is not None:
        raise SessionError(f"--ts {text!r}: expected New York time as 'YYYY-MM-DD HH:MM:SS', without a zone")
    return when.date(), to_ns(when.date(), when.time())


def _params(window: int, zones: str, size: str, drawn: dict[str, object]) -> dict[str, Any]:
    """Parameters of features and picture, as `scene_of` takes them."""
    from pydantic import ValidationError

    from engine.params import FeatureParams, ZoneParams
    from workbench.snapshot import PictureParams
    from workbench.snapshot.png import faults

    bounds = re.fullmatch(r"\s*(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})\s*", zones)
    if bounds is None:
        raise EngineError(f"--zones {zones!r}: expected four rising numbers of ticks such as 2,5,14,20")
    px = re.fullmatch(r"(\d{3,4})x(\d{3,4})", size)
    if px is None:
        raise EngineError(f"--size {size!r}: expected WIDTHxHEIGHT in px such as 1920x1080")
    try:
        z = ZoneParams(**dict(zip(("at", "near", "mid", "far"), map(int, bounds.groups()))))
        picture = PictureParams.model_validate({"width_px": int(px[1]), "height_px": int(px[2]), **drawn})
        return {"features": FeatureParams(window_s=window, zones=z), "picture": picture}
    except ValidationError as e:
        raise EngineError(f"snapshot: {faults(e)}") from e


def _again(lake: Lake, path: Path) -> tuple[Scene, str]:
    """The scene that a picture carries, from this lake, and whether its numbers are still the same."""
    from workbench.snapshot import read_state
    from workbench.snapshot.png import picture_bytes
    from workbench.snapshot.scene import profile_of, scene_of

    state = read_state(picture_bytes(path), path.name)
    if state is None:
        raise EngineError(f"{path}: carries no state, it was not drawn here; give --level and --ts")
    profile = profile_of(lake)
    if profile != state.profile:
        raise SessionError(f"{path}: was drawn from a {state.profile} session, {lake.root} holds {profile}; give the lake it came from")
    params = {k: getattr(state, k) for k in ("level_id", "ts_ns", "features", "picture")}
    scene = scene_of(lake, state.symbol, state.session_date, **params)
    same = scene.digest() == state.drawn_sha256
    return scene, "the same numbers" if same else f"other numbers than {path.name} shows: the lake or the code has changed since"
