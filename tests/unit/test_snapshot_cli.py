"""``spymaster snapshot`` and ``spymaster compare`` as a user runs them, on a lake made by the pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.cli import main
from engine.lake.store import Lake
from tests.support.built import copy_of_built
from tests.support.lakes import MONDAY, TUESDAY, day_file, make_bronze, make_silver, make_whole_lake, spymaster
from workbench.snapshot import read_state

WHEN = f"{TUESDAY} 09:41:35"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Monday's and Tuesday's bronze, Tuesday's silver."""
    return copy_of_built("whole-lake", make_whole_lake, tmp_path_factory.mktemp("pictures")) / "lake"


@pytest.fixture(scope="module")
def shot(lake: Path) -> Path:
    path = lake.parent / "SETUP_1.png"
    done = spymaster("snapshot", "--lake", lake, "--level", "pm_high", "--ts", WHEN, "--out", path)
    assert done.stdout.startswith(f"{path}: PM High ")
    return path


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The command line in this process; it ends with exit code 1 and one message, which is returned."""

    def run(*args: object) -> str:
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in args])
        assert ended.value.code == 1
        return capsys.readouterr().err

    return run


def test_a_picture_carries_what_was_asked_for(shot: Path) -> None:
    state = read_state(shot.read_bytes())
    assert (state.symbol, state.session_date, state.profile, state.level_id) == ("ESZ5", TUESDAY, "rth", "pm_high")
    assert not state.simulated  # the files have names of real ones
    assert Image.open(shot).size == (1920, 1080)


def test_drawn_again_from_what_it_carries_it_is_the_same_to_the_byte(lake: Path, shot: Path) -> None:
    again = shot.with_name("again.png")
    done = spymaster("snapshot", "--lake", lake, "--like", shot, "--out", again)
    assert done.stdout == f"{again}: the same numbers\n"
    assert again.read_bytes() == shot.read_bytes()


def test_compare_says_alike_and_different_by_its_exit_code(lake: Path, shot: Path) -> None:
    alike = spymaster("compare", shot, shot, check=False)
    assert alike.returncode == 0
    assert alike.stdout.startswith("alike: similarity 1.0000")
    other = shot.with_name("other.png")
    spymaster("snapshot", "--lake", lake, "--level", "pm_high", "--ts", f"{TUESDAY} 09:41:40", "--symbol", "ES", "--out", other)
    diff = shot.with_name("diff.png")
    done = spymaster("compare", shot, other, "--diff", diff, "--json", check=False)
    assert done.returncode == 2
    report = json.loads(done.stdout)
    assert not report["alike"]
    assert report["worst_tile"] < 0.99
    assert 0 < report["changed_share"] < 1
    assert np.asarray(Image.open(diff)).shape == (1080, 1920, 3)


def test_theme_size_and_zones_reach_the_picture(lake: Path) -> None:
    path = lake.parent / "light.png"
    spymaster(
        "snapshot", "--lake", lake, "--level", "price:6800", "--ts", WHEN, "--out", path, "--theme", "light", "--size", "1440x900",
        "--zones", "1,4,10,18", "--window", 10, "--layer", "net", "--rows", 20, "--no-hindsight", "--symbol", "ESZ5",
    )  # fmt: skip
    state = read_state(path.read_bytes())
    assert state.features.zones.model_dump() == {"at": 1, "near": 4, "mid": 10, "far": 18}
    assert (state.features.window_s, state.picture.theme, state.picture.layer, state.picture.rows) == (10, "light", "net", 20)
    assert not state.picture.hindsight
    assert np.asarray(Image.open(path))[2, 2].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--level", "pm_high"), "expected --level and --ts"),
        (("--level", "pm_high", "--ts", "yesterday"), "expected New York time as"),
        (("--level", "pm_high", "--ts", "2025-11-04T09:41:35+00:00"), "without a zone"),
        (("--level", "pm_high", "--ts", "2025-11-04 03:00"), "expected a moment from 09:00:00 to 12:30:00 New York, found 03:00:00"),
        (("--level", "pm_hihg", "--ts", WHEN), "UnknownLevel: level 'pm_hihg': expected one of"),
        (("--level", "pm_high", "--ts", "2025-11-05 09:41:35"), "a ladder of any contract on 2025-11-05, found sessions 2025-11-04"),
        (("--level", "pm_high", "--ts", WHEN, "--symbol", "NQ"), "expected a ladder of NQ on 2025-11-04"),
        (("--level", "pm_high", "--ts", WHEN, "--size", "9x9"), "--size '9x9': expected WIDTHxHEIGHT"),
        (("--level", "pm_high", "--ts", WHEN, "--size", "800x600"), "width_px: Input should be greater than or equal to 1440"),
        (("--level", "pm_high", "--ts", WHEN, "--zones", "5,2,14,20"), "zone bounds must rise"),
        (("--level", "pm_high", "--ts", WHEN, "--window", "31"), "window_s: Input should be less than or equal to 30"),
        (("--level", "pm_high", "--ts", WHEN, "--out", "/no/such/folder/x.png"), "expected to write the picture there"),
        (("--like", "/no/such.png"), "expected a picture, it cannot be read"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_cannot_be_drawn_is_said_in_one_line(lake: Path, fails: Callable[..., str], args: tuple[str, ...], said: str) -> None:
    assert said in fails("snapshot", "--lake", lake, *args)


def test_an_empty_lake_names_the_command(tmp_path: Path, fails: Callable[..., str]) -> None:
    assert "spymaster run --lake" in fails("snapshot", "--lake", tmp_path, "--level", "pm_high", "--ts", WHEN)


def test_compare_refuses_what_is_no_picture_or_of_another_size(shot: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    assert "expected one size, found 1920 x 1080 and 8 x 8 px" in fails("compare", shot, tmp_path / "small.png")
    (tmp_path / "text.png").write_text("<html>")
    assert "expected a PNG picture" in fails("compare", shot, tmp_path / "text.png")
    assert "--threshold 2.0: expected -1 to 1" in fails("compare", shot, shot, "--threshold", "2")


def test_simulated_files_mark_the_picture(lake: Path, tmp_path: Path) -> None:
    place = Lake(tmp_path / "lake")
    for date in (MONDAY, TUESDAY):
        day_file(place.raw_folder("ES"), date, dataset="GLBX.MDP3.SIM")
        assert make_bronze(place, date).status == "made"
    assert make_silver(place, TUESDAY).status == "made"
    path = tmp_path / "sim.png"
    spymaster("snapshot", "--lake", place.root, "--level", "pm_high", "--ts", WHEN, "--out", path)
    assert read_state(path.read_bytes()).simulated
