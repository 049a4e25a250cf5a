"""What a trader types in once for a picture from elsewhere, kept beside it in ``NAME.png.json``."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError

from engine.errors import BadPicture
from engine.lake.writer import write_whole
from workbench.snapshot.png import MAX_BYTES, MAX_STATE, decode, faults
from workbench.snapshot.state import ForeignState


def sidecar_path(picture: Path) -> Path:
    """Path of the file that belongs to `picture`."""
    return picture.with_name(picture.name + ".json")


def picture_bytes(path: Path) -> bytes:
    """Content of the picture's file, no more of it than a picture may have.

    Raises
    ------
    BadPicture
        Where it is not there, or larger than `MAX_BYTES`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as e:
        raise BadPicture(f"{path}: expected a picture, it cannot be read: {e.strerror or e}") from e
    if len(data) > MAX_BYTES:
        raise BadPicture(f"{path}: expected a picture of at most {MAX_BYTES:,} bytes; save it smaller")
    return data


def write_sidecar(picture: Path, **fields: object) -> ForeignState:
    """Keep what was typed in for `picture`, in one step; what stood there before is replaced.

    Parameters
    ----------
    fields
        Those of `ForeignState` but `picture_sha256`, which is made here.

    Raises
    ------
    BadPicture
        Where the picture cannot be read or a field is out of its bounds.
    LakeWriteFailed
        Where the folder cannot be written.
    """
    data = picture_bytes(picture)
    decode(data, picture.name)
    try:
        state = ForeignState.model_validate({**fields, "picture_sha256": hashlib.sha256(data).hexdigest()})
    except ValidationError as e:
        raise BadPicture(f"{picture.name}: what was typed in cannot be kept: {faults(e)}") from e
    write_whole(sidecar_path(picture), state.model_dump_json(indent=1) + "\n")
    return state


def read_sidecar(picture: Path) -> ForeignState | None:
    """What was typed in for `picture`; None where nothing was.

    Raises
    ------
    BadPicture
        Where the file beside it is not one that `write_sidecar` writes, or was written for another picture of this name.
    """
    path = sidecar_path(picture)
    if not path.exists():
        return None
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_STATE + 1)
    except OSError as e:
        raise BadPicture(f"{path}: expected what was typed in for {picture.name}, it cannot be read: {e.strerror or e}") from e
    if len(raw) > MAX_STATE:
        raise BadPicture(f"{path}: expected at most {MAX_STATE} bytes; delete the file and type date, level and direction in again")
    try:
        state = ForeignState.model_validate_json(raw)
    except ValidationError as e:
        raise BadPicture(f"{path}: {faults(e)}; delete the file and type date, level and direction in again") from e
    if state.picture_sha256 != hashlib.sha256(picture_bytes(picture)).hexdigest():
        raise BadPicture(f"{path}: was written for another picture of this name; delete it and type date, level and direction in again")
    return state
