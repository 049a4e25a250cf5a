"""Two pictures compared: structural similarity against its definition, and what a changed number does to it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from engine.errors import BadPicture
from tests.reference.ssim_twin import ssim_at
from workbench.snapshot import compare
from workbench.snapshot.compare import TILE, ssim_map


def page(seed: int = 1, height: int = 200, width: int = 300) -> np.ndarray:
    """Something like a picture: areas, lines, noise."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 30, (height, width, 3), dtype=np.uint8))
    draw = ImageDraw.Draw(image)
    for i in range(12):
        draw.rectangle((i * 24, 20 + 9 * i, i * 24 + 14, 60 + 9 * i), fill=tuple(int(c) for c in rng.integers(0, 255, 3)))
    draw.text((40, 160), "6800.25 PM High", fill=(255, 255, 255))
    return np.asarray(image)


def test_similarity_is_that_of_its_definition() -> None:
    a, b = page(1), page(2)
    got = ssim_map(a, b)
    rng = np.random.default_rng(0)
    places = [(0, 0), (199, 299), (0, 150), *zip(rng.integers(0, 200, 40), rng.integers(0, 300, 40))]
    for y, x in places:
        expected = np.mean([ssim_at(a[..., c], b[..., c], int(y), int(x)) for c in range(3)])
        assert got[y, x] == pytest.approx(expected, abs=1e-9)


def test_equal_pictures_are_exactly_alike() -> None:
    found = compare(page(), page())
    assert (found.ssim, found.worst_tile, found.changed_share, found.largest, found.box) == (1.0, 1.0, 0.0, 0, None)


def test_one_changed_number_spoils_its_tile_and_hardly_the_mean() -> None:
    a = page(height=1080, width=1920)
    image = Image.fromarray(a)
    ImageDraw.Draw(image).text((1000, 500), "6800.50", fill=(255, 255, 255))
    found = compare(a, np.asarray(image))
    assert found.ssim > 0.999
    assert found.worst_tile < 0.95
    x, y = found.worst_at
    assert abs(x - 1000) <= TILE
    assert abs(y - 500) <= TILE
    left, top, right, bottom = found.box
    assert 998 <= left < right <= 1060
    assert 495 <= top < bottom <= 520


def test_one_digit_is_enough_for_the_default_threshold() -> None:
    flat = Image.new("RGB", (640, 480), (10, 14, 19))
    one, other = flat.copy(), flat.copy()
    for image, text in ((one, "6800.25"), (other, "6800.75")):
        ImageDraw.Draw(image).text((300, 200), text, fill=(169, 184, 199))
    assert compare(np.asarray(one), np.asarray(other)).worst_tile < 0.99


def test_similarity_falls_as_the_difference_grows() -> None:
    a = page()
    noise = np.random.default_rng(3).normal(0, 1, a.shape)
    alike = [compare(a, np.clip(a + s * noise, 0, 255).astype(np.uint8)).ssim for s in (2, 8, 32)]
    assert 1 > alike[0] > alike[1] > alike[2]


def test_a_change_of_hue_alone_is_seen() -> None:
    a = np.full((70, 70, 3), (200, 100, 50), np.uint8)
    assert compare(a, a[..., ::-1].copy()).worst_tile < 0.95


def test_the_difference_is_marked_where_it_is() -> None:
    a = page()
    b = a.copy()
    b[100:110, 50:60] = 255 - b[100:110, 50:60]
    d = compare(a, b).difference
    assert d.dtype == np.uint8
    magenta = (d[..., 0].astype(int) - d[..., 1]) > 20
    assert magenta[100:110, 50:60].all()
    magenta[100:110, 50:60] = False
    assert not magenta.any()


def test_pictures_of_two_sizes_are_not_compared() -> None:
    with pytest.raises(BadPicture, match="expected one size, found 300 x 200 and 300 x 100 px"):
        compare(page(), page(height=100))
