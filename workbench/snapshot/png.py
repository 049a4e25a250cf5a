"""PNG with the state inside, and back: what comes in is bounded before it is decoded, and validated before it is believed.

What is refused raises `BadPicture`, which names the file and says what to do.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from engine.errors import BadPicture
from engine.lake.writer import write_text_atomic
from workbench.snapshot.state import ForeignState, SetupState

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

    from workbench.snapshot.scene import Scene

KEY = "spymaster:setup"

MAX_BYTES, MAX_PIXELS, MAX_SIDE, MAX_STATE = 20_000_000, 24_000_000, 8_000, 8_192
"""Bytes of a picture, its pixels, its longer side, characters of its state: above any that this project draws."""

_MAGIC = b"\x89PNG\r\n\x1a\n"


def encode(figure: Figure, state: SetupState | None = None) -> bytes:
    """The figure as PNG, with `state` in a text chunk; the same bytes for the same figure (no date, no software name)."""
    from PIL import Image, PngImagePlugin

    from workbench.snapshot.panels import pixels

    info = PngImagePlugin.PngInfo()
    if state is not None:
        text = state.model_dump_json(exclude_defaults=False)
        if len(text) > MAX_STATE:
            raise BadPicture(f"state of the picture: expected at most {MAX_STATE} characters, found {len(text)}")
        info.add_text(KEY, text)
    out = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels(figure)[..., :3]))
    image.save(out, format="PNG", pnginfo=info, compress_level=6)
    return out.getvalue()


def picture(scene: Scene, profile: str) -> bytes:
    """The scene's picture as PNG that carries its state; `profile` is the session profile of the lake that it was read from."""
    from workbench.snapshot.draw import draw_scene

    return encode(draw_scene(scene), scene.state(profile))


def _size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height of the header, read before any decoder sees the file."""
    if len(data) > MAX_BYTES:
        raise BadPicture(f"{name}: expected a picture of at most {MAX_BYTES:,} bytes, found {len(data):,}; save it smaller")
    if not data.startswith(_MAGIC) or len(data) < 33 or data[12:16] != b"IHDR":
        raise BadPicture(f"{name}: expected a PNG picture, found another kind of file; save it as PNG")
    width, height = struct.unpack(">II", data[16:24])
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise BadPicture(
            f"{name}: expected at most {MAX_SIDE:,} px a side and {MAX_PIXELS:,} px in all, found {width:,} x {height:,}; save it smaller"
        )
    return width, height


def decode(data: bytes, name: str = "picture") -> Image.Image:
    """The PNG, decoded whole; what is too large, no PNG, truncated or harmed is refused."""
    from PIL import Image

    size = _size(data, name)
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG",))
        if image.size != size:
            raise BadPicture(f"{name}: expected one size in the file, found {size} and {image.size}")
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError) as e:
        why = _printable(str(e)) or type(e).__name__
        raise BadPicture(f"{name}: expected a whole PNG picture, it cannot be decoded ({why}); save or export it again") from e
    return image


def read_state(data: bytes, name: str = "picture") -> SetupState | None:
    """State that a picture carries; None of one that was not drawn here (`read_sidecar` knows it, if someone typed it in).

    A state that this version does not write is refused. `data` is the file's content, not trusted; `name` the file's in errors.
    """
    text = getattr(decode(data, name), "text", {}).get(KEY)
    if text is None:
        return None
    if len(text) > MAX_STATE:
        raise BadPicture(f"{name}: expected a state of at most {MAX_STATE} characters, found {len(text):,}; export the picture again")
    try:
        return SetupState.model_validate_json(text)
    except ValidationError as e:
        raise BadPicture(f"{name}: the state it carries is not one of this version: {faults(e)}; export the picture again") from e


def faults(error: ValidationError) -> str:
    """The first faults of a model in words, without the value found: it may be anything."""
    found = [f"{'.'.join(map(str, f['loc'][:4])) or 'state'}: {f['msg']}" for f in error.errors(include_input=False, include_url=False)[:3]]
    return "; ".join(_printable(f) for f in found)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:160]


# ----------------------------------------------------------------------------
# What a trader types in once for a picture from elsewhere, stored beside it in ``NAME.png.json``


RETYPE = "and type date, level and direction in again"


def sidecar_path(picture: Path) -> Path:
    """Path of the file that belongs to `picture`."""
    return picture.with_name(picture.name + ".json")


def _read(path: Path, most: int, expected: str, too_long: str) -> bytes:
    """Content of a file, and no more of it than it may have."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as e:
        raise BadPicture(f"{path}: expected {expected}, it cannot be read: {e.strerror or e}") from e
    if len(data) > most:
        raise BadPicture(f"{path}: expected {too_long}")
    return data


def picture_bytes(path: Path) -> bytes:
    """Content of the picture's file, at most `MAX_BYTES`."""
    return _read(path, MAX_BYTES, "a picture", f"a picture of at most {MAX_BYTES:,} bytes; save it smaller")


def write_sidecar(picture: Path, **fields: object) -> ForeignState:
    """Store what was typed in for `picture`, in one step, in place of what was there before.

    `fields` are those of `ForeignState` but `picture_sha256`, which is made here. Raises `LakeWriteFailed` where the folder
    cannot be written.
    """
    data = picture_bytes(picture)
    decode(data, picture.name)
    try:
        state = ForeignState.model_validate({**fields, "picture_sha256": hashlib.sha256(data).hexdigest()})
    except ValidationError as e:
        raise BadPicture(f"{picture.name}: what was typed in cannot be kept: {faults(e)}") from e
    write_text_atomic(sidecar_path(picture), state.model_dump_json(indent=1) + "\n")
    return state


def read_sidecar(picture: Path) -> ForeignState | None:
    """What was typed in for `picture`; None where nothing was.

    A file that `write_sidecar` does not write, or that was written for another picture of this name, is refused.
    """
    path = sidecar_path(picture)
    if not path.exists():
        return None
    too_long = f"at most {MAX_STATE} bytes; delete the file {RETYPE}"
    try:
        state = ForeignState.model_validate_json(_read(path, MAX_STATE, f"what was typed in for {picture.name}", too_long))
    except ValidationError as e:
        raise BadPicture(f"{path}: {faults(e)}; delete the file {RETYPE}") from e
    if state.picture_sha256 != hashlib.sha256(picture_bytes(picture)).hexdigest():
        raise BadPicture(f"{path}: was written for another picture of this name; delete it {RETYPE}")
    return state
