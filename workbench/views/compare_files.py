"""Pictures of setups on disk and on their way to the browser: what is listed, what is kept, how a moment is drawn."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import BadPicture, LakeWriteFailed
from engine.params import FeatureParams
from engine.sessions import NEW_YORK
from workbench import data
from workbench.snapshot import PictureParams, Scene, picture
from workbench.snapshot.lake import profile_of, scene_of

PICTURES = "pictures"
"""Folder of the lake that keeps what was dropped and carries no state of its own."""


def folders(root: str) -> list[Path]:
    """Where pictures are looked for: ``SPYMASTER_ASSETS`` (else ``assets``), and the lake's own folder."""
    return [Path(os.environ.get("SPYMASTER_ASSETS", "assets")), Path(root) / PICTURES]


def pictures(root: str) -> list[Path]:
    """``SETUP*.png`` of both folders, newest first; what points out of its folder is left out."""
    found = []
    for folder in folders(root):
        if folder.is_dir():
            found += [p for p in sorted(folder.glob("SETUP*.png")) if p.is_file() and not p.is_symlink()]
    return sorted(found, key=lambda p: -p.stat().st_mtime_ns)[:60]


def keep(root: str, raw: bytes, name: str | None = None) -> Path:
    """Keep a picture in the lake's folder of them.

    Parameters
    ----------
    name : str or None
        As `name_of` makes it. One that was dropped has none: it is kept under the hash of its bytes, so that what is typed in for it
        has a place beside it.

    Raises
    ------
    LakeWriteFailed
        Where the folder cannot be written.
    """
    path = Path(root) / PICTURES / (name or f"SETUP_{hashlib.sha256(raw).hexdigest()[:16]}.png")
    part = path.with_name(f".part-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if name is not None or not path.exists():
            part.write_bytes(raw)
            part.replace(path)
    except OSError as e:
        raise LakeWriteFailed(f"{path}: could not be written: {e}; free space or mend the folder's rights, then drop it again") from e
    return path


def clean_name(name: str) -> str:
    """A file's name as the browser told it, fit to be shown: its last part, printable, not long."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c if c.isprintable() else "?" for c in last)[:80] or "picture"


def dropped_bytes(dropped: Mapping[str, Any], most: int) -> tuple[bytes, str]:
    """A dropped picture's bytes and name, as the browser told them.

    Parameters
    ----------
    dropped
        Its ``name``, and its ``data`` as base64 text.
    most
        Bytes that it may have.

    Raises
    ------
    BadPicture
        Where it is larger, or did not arrive whole.
    """
    name = clean_name(str(dropped.get("name", "")))
    text = dropped.get("data")
    if not isinstance(text, str) or len(text) > most * 4 // 3 + 4:
        raise BadPicture(f"{name}: expected a picture of at most {most // 1_000_000} MB; save it smaller")
    try:
        return base64.b64decode(text, validate=True), name
    except (binascii.Error, ValueError) as e:
        raise BadPicture(f"{name}: did not arrive whole; drop it again") from e


def name_of(scene: Scene) -> str:
    """File name of a moment's picture, as `spymaster snapshot` gives it."""
    clock = dt.datetime.fromtimestamp(scene.now_ns // 10**9, NEW_YORK)
    return f"SETUP_{scene.symbol}_{scene.date}_{clock:%H%M%S}_{re.sub('[^a-z0-9.]+', '_', scene.level_id)}.png"


def data_url(raw: bytes) -> str:
    """The PNG as a URL that asks nobody."""
    return "data:image/png;base64," + base64.b64encode(raw).decode()


def draw_moment(root: str, moment: dict[str, Any], features: FeatureParams | None, params: PictureParams) -> tuple[bytes, Scene]:
    """The moment's picture as PNG that carries its state, and what it was drawn from."""
    lake = data.open_lake(root)
    scene = scene_of(
        lake, moment["contract"], dt.date.fromisoformat(moment["session"]), level_id=moment["level"], ts_ns=moment["cursor_ts_ns"],
        features=features, picture=params,
    )  # fmt: skip
    return picture(scene, profile_of(lake)), scene
