"""What a picture brings in is bounded, decoded safely and validated; what is typed in is kept beside it."""

from __future__ import annotations

import datetime as dt
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from pydantic import ValidationError

from engine.errors import BadPicture
from tests.support.scenes import scene
from workbench.snapshot import PictureParams, SetupState, picture, read_sidecar, read_state, sidecar_path, write_sidecar
from workbench.snapshot.png import KEY, MAX_BYTES, MAX_STATE, decode


@pytest.fixture(scope="module")
def made() -> bytes:
    return picture(scene(width_px=1440, height_px=900), "rth")


@pytest.fixture(scope="module")
def fields(made: bytes) -> dict[str, object]:
    state = read_state(made)
    assert state is not None
    return json.loads(state.model_dump_json())


def png(size: tuple[int, int] = (8, 8), key: str | None = None, text: str = "", **chunks: object) -> bytes:
    info = PngImagePlugin.PngInfo()
    if key is not None:
        info.add_text(key, text, zip=bool(chunks.get("zip")))
    out = io.BytesIO()
    Image.new("RGB", size, (20, 30, 40)).save(out, format="PNG", pnginfo=info)
    return out.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_a_foreign_picture_carries_nothing() -> None:
    assert read_state(png()) is None
    assert read_state(png(key="Comment", text="spymaster:setup")) is None


def test_a_picture_saved_by_another_program_with_the_chunk_kept_is_still_read(made: bytes) -> None:
    image = decode(made)
    info = PngImagePlugin.PngInfo()
    info.add_itxt(KEY, image.text[KEY])  # type: ignore[attr-defined]
    out = io.BytesIO()
    image.save(out, format="PNG", pnginfo=info, optimize=True)
    assert read_state(out.getvalue()) == read_state(made)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_picture_is_refused(made: bytes, share: float) -> None:
    with pytest.raises(BadPicture):
        read_state(made[: int(len(made) * share)])


def test_a_harmed_byte_of_the_state_is_found_by_its_checksum(made: bytes) -> None:
    at = made.index(b'"level_id":"pm_high"') + 12
    with pytest.raises(BadPicture, match="cannot be decoded"):
        read_state(made[:at] + b"q" + made[at + 1 :])


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_another_kind_of_file_is_never_given_to_a_decoder(kind: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, format=kind)
    with pytest.raises(BadPicture, match="expected a PNG picture"):
        read_state(out.getvalue())


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"<svg onload=alert(1)>", b"\x00" * 100])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(BadPicture, match="expected a PNG picture"):
        read_state(data)


def test_a_file_above_the_limit_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(BadPicture, match="at most 20,000,000 bytes"):
        read_state(b"\x89PNG\r\n\x1a\n" + b"\x00" * MAX_BYTES)


@pytest.mark.parametrize("size", [(60_000, 60_000), (8_001, 1), (6_000, 6_000), (0, 5), (2**31, 2**31)])
def test_a_decompression_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    # A header of billions of pixels over a few bytes: what a decoder would make room for.
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    with pytest.raises(BadPicture, match="px a side"):
        read_state(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\x00" * 1000)) + chunk(b"IEND", b""))


def test_a_bomb_in_a_compressed_text_is_refused(made: bytes) -> None:
    body = KEY.encode() + b"\x00\x00" + zlib.compress(b"0" * 30_000_000, 9)
    at = made.index(b"IDAT") - 4
    with pytest.raises(BadPicture, match="cannot be decoded"):
        read_state(made[:at] + chunk(b"zTXt", body) + made[at:])


def test_a_long_state_is_refused() -> None:
    with pytest.raises(BadPicture, match=f"at most {MAX_STATE} characters"):
        read_state(png(key=KEY, text="x" * (MAX_STATE + 1)))


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '"x"', "[" * 4_000, '{"format": 1}', "{}", "NaN", "\x00"])
def test_bad_json_is_refused(text: str) -> None:
    with pytest.raises(BadPicture, match="the state it carries is not one of this version"):
        read_state(png(key=KEY, text=text))


SCRIPT = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    "change",
    [
        {"level_id": SCRIPT}, {"level_id": "../../etc/passwd"}, {"level_id": "price:1e999"}, {"level_id": "pm_high\n"}, {"symbol": SCRIPT},
        {"symbol": "XXX9"}, {"symbol": "../../x"}, {"profile": SCRIPT}, {"profile": "nights"}, {"direction": SCRIPT}, {"format": 2},
        {"format": "1.0"}, {"price": float("inf")}, {"price": 1e300}, {"price": "nan"}, {"ts_ns": -1}, {"ts_ns": 10**30}, {"ts_ns": 0},
        {"session_date": "0001-01-01"}, {"session_date": "2026-01-06"}, {"session_date": SCRIPT}, {"drawn_sha256": "0" * 63},
        {"drawn_sha256": SCRIPT}, {"simulated": "perhaps"}, {"extra": SCRIPT}, {"picture": {"width_px": 10**6}},
        {"picture": {"theme": SCRIPT}}, {"picture": {"rows": 0}}, {"features": {"window_s": 0}},
        {"features": {"zones": {"at": 9, "near": 5, "mid": 14, "far": 20}}}, {SCRIPT: 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_field_out_of_its_bounds_is_refused_and_never_repeated(fields: dict[str, object], change: dict[str, object]) -> None:
    with pytest.raises(BadPicture) as caught:
        read_state(png(key=KEY, text=json.dumps({**fields, **change})))
    if SCRIPT not in change:
        assert SCRIPT not in str(caught.value)


def test_every_field_is_needed(fields: dict[str, object]) -> None:
    for name in set(fields) - {"format"}:
        with pytest.raises(ValidationError):
            SetupState.model_validate({k: v for k, v in fields.items() if k != name})


def test_the_moment_lies_inside_the_session(fields: dict[str, object]) -> None:
    state = SetupState.model_validate(fields)
    with pytest.raises(ValidationError, match="lies outside the rth session"):
        SetupState.model_validate({**fields, "ts_ns": state.ts_ns + 4 * 3600 * 10**9})


def test_the_state_fits_with_every_field_at_its_longest(fields: dict[str, object]) -> None:
    longest = {**fields, "level_id": "price:-1234567.123456789", "symbol": "MNQZ25", "picture": PictureParams().model_dump()}
    assert len(SetupState.model_validate(longest).model_dump_json()) < MAX_STATE // 4


# --- beside a foreign picture


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    path = tmp_path / "SETUP.png"
    path.write_bytes(png())
    return path


TYPED = {"session_date": "2025-10-07", "level_id": "pm_high", "direction": "approach_up"}


def test_what_is_typed_in_once_is_kept_beside_the_picture(foreign: Path) -> None:
    assert read_sidecar(foreign) is None
    written = write_sidecar(foreign, **TYPED, symbol="ESZ5", clock="09:41:35")
    assert sidecar_path(foreign).name == "SETUP.png.json"
    got = read_sidecar(foreign)
    assert got == written
    assert got.session_date == dt.date(2025, 10, 7)
    assert got.clock == dt.time(9, 41, 35)
    assert sorted(p.name for p in foreign.parent.iterdir()) == ["SETUP.png", "SETUP.png.json"]
    write_sidecar(foreign, **{**TYPED, "direction": "approach_down"})
    assert read_sidecar(foreign).direction == "approach_down"


@pytest.mark.parametrize(
    "change",
    [{"level_id": SCRIPT}, {"direction": "up"}, {"session_date": "yesterday"}, {"symbol": "?"}, {"clock": "25:00"}, {"more": 1}],
    ids=str,
)
def test_what_is_typed_in_is_bounded(foreign: Path, change: dict[str, object]) -> None:
    with pytest.raises(BadPicture, match="cannot be kept"):
        write_sidecar(foreign, **{**TYPED, **change})
    assert not sidecar_path(foreign).exists()


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", '{"format": 1, "picture_sha256": "x"}', "x" * (MAX_STATE + 1), "\xff"])
def test_a_harmed_sidecar_says_how_to_mend_it(foreign: Path, text: str) -> None:
    sidecar_path(foreign).write_bytes(text.encode("latin-1"))
    with pytest.raises(BadPicture, match="delete the file"):
        read_sidecar(foreign)


def test_a_sidecar_belongs_to_one_picture(foreign: Path) -> None:
    write_sidecar(foreign, **TYPED)
    foreign.write_bytes(png((9, 9)))
    with pytest.raises(BadPicture, match="another picture of this name"):
        read_sidecar(foreign)


def test_no_sidecar_for_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"GIF89a")
    with pytest.raises(BadPicture, match="expected a PNG picture"):
        write_sidecar(tmp_path / "a.png", **TYPED)
    with pytest.raises(BadPicture, match="cannot be read"):
        write_sidecar(tmp_path / "none.png", **TYPED)


def test_decode_gives_the_pixels_that_were_drawn(made: bytes) -> None:
    assert np.asarray(decode(made)).shape == (900, 1440, 3)
