"""The store: partitions whole or not at all, trusted only with manifest and `_SUCCESS`."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import polars as pl
import pytest

from engine.errors import ContractError, LakeBusy, LakeWriteFailed, PartitionChanged, PartitionCorrupt, PartitionMissing, UnknownProfile
from engine.lake import writer
from engine.lake.catalog import BARS, BRONZE_MBO, LEVELS, dataset
from engine.lake.manifest import MANIFEST, SUCCESS, Lineage
from engine.lake.store import PROFILE_FILE, Lake, read_part
from engine.lake.writer import recover, swap_in
from tests.support.lake_fuzz import sign_manifest

DATE = dt.date(2024, 1, 2)
LINEAGE = Lineage("levels", "params", "code", {"bronze.future_mbo.mbo/ESH4/2024-01-02": "abc"}, "rth")


def levels(price: float = 4800.25, rows: int = 3) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "level_id": ["pm_high"] * rows,
            "start_ts_ns": list(range(rows)),
            "end_ts_ns": list(range(1, rows + 1)),
            "price": [price] * rows,
            "level_tick": pl.Series([round(price * 4)] * rows, dtype=pl.Int32),
        }
    )


@pytest.fixture
def lake(tmp_lake: Path) -> Lake:
    return Lake(tmp_lake)


@pytest.fixture
def written(lake: Lake) -> Path:
    lake.write(LEVELS, "ESH4", DATE, levels(), LINEAGE, {"absent": {"on_high": "no file"}})
    return lake.path(LEVELS, "ESH4", DATE)


def test_what_is_written_is_read(lake: Lake, written: Path):
    assert lake.read(LEVELS, "ESH4", DATE).equals(levels())
    assert lake.read(LEVELS, "ESH4", DATE, ["price", "level_id"]).columns == ["price", "level_id"]
    assert lake.read(LEVELS, "ESH4", DATE, ["end_ts_ns"], pl.col("start_ts_ns") > 1)["end_ts_ns"].to_list() == [3]
    assert lake.notes(LEVELS, "ESH4", DATE) == {"absent": {"on_high": "no file"}}
    assert lake.partitions(LEVELS) == [("ESH4", DATE)]
    assert sorted(os.listdir(written.parent)) == ["dt=2024-01-02"]


def test_a_lake_from_before_the_mark_is_judged_by_the_raw_file(lake: Lake):
    """Silver of a simulated day as it was written before any layer said so: only the raw file's name tells."""
    raw = "raw/source=databento/product_type=future/symbol=ES/table=market_by_order_dbn"
    for symbol, file in (("ESH4", "es-simulated-glbx-mdp3-20240102.mbo.dbn.zst"), ("ESM4", "glbx-mdp3-20240102.mbo.dbn.zst")):
        with lake.writer(BRONZE_MBO, symbol, DATE, Lineage("bronze", "params", "code", {f"{raw}/{file}": "abc"})) as writer:
            writer.notes = {"dbn_start_ns": 0, "dbn_end_ns": 1, "trades_by_slot": {}}
        lineage = Lineage("levels", "params", "code", {f"{BRONZE_MBO}/{symbol}/{DATE}": "abc", f"{BARS}/{symbol}/{DATE}": None}, "rth")
        lake.write(LEVELS, symbol, DATE, levels(), lineage)
    assert lake.is_simulated(LEVELS, "ESH4", DATE)
    assert not lake.is_simulated(LEVELS, "ESM4", DATE)
    assert lake.is_simulated(BRONZE_MBO, "ESH4", DATE)
    lake.write(LEVELS, "ESM4", DATE, levels(), LINEAGE, {"simulated": True})
    assert lake.is_simulated(LEVELS, "ESM4", DATE), "a mark stands above all names"


def test_inputs_that_lead_to_each_other_are_followed_once(lake: Lake):
    """As no run makes them: each of eight partitions is made of all."""
    dates = [DATE + dt.timedelta(days=i) for i in range(8)]
    inputs = {f"{LEVELS}/ESH4/{d}": "abc" for d in dates}
    for date in dates:
        lake.write(LEVELS, "ESH4", date, levels(), Lineage("levels", "params", "code", inputs, "rth"))
    assert not lake.is_simulated(LEVELS, "ESH4", DATE)
    lake.write(LEVELS, "ESH4", dates[-1], levels(), LINEAGE, {"simulated": True})
    assert lake.is_simulated(LEVELS, "ESH4", DATE)


def test_parts_stream_in_order(lake: Lake):
    with lake.writer(LEVELS, "ESH4", DATE, LINEAGE) as w:
        for price in (1.0, 2.0, 3.0):
            w.add(levels(price))
    assert [p["price"][0] for p in lake.read_parts(LEVELS, "ESH4", DATE)] == [1.0, 2.0, 3.0]
    assert lake.manifest(LEVELS, "ESH4", DATE).rows == 9


def test_an_empty_partition_has_its_columns(lake: Lake):
    with lake.writer(BARS, "ESH4", DATE, LINEAGE):
        pass
    assert lake.read(BARS, "ESH4", DATE).schema == pl.Schema(dataset(BARS).contract().schema())


def test_the_same_rows_and_lineage_have_the_same_digest(lake: Lake, tmp_path: Path):
    other = Lake(tmp_path / "other")
    digests = {x.write(LEVELS, "ESH4", DATE, levels(), LINEAGE).digest() for x in (lake, other)}
    assert len(digests) == 1
    assert other.write(LEVELS, "ESH4", DATE, levels(1.0), LINEAGE).digest() not in digests


def test_writing_again_replaces_and_leaves_nothing_else(lake: Lake, written: Path):
    lake.write(LEVELS, "ESH4", DATE, levels(2.0, 1), LINEAGE)
    assert lake.read(LEVELS, "ESH4", DATE)["price"].to_list() == [2.0]
    assert os.listdir(written.parent) == ["dt=2024-01-02"]


def test_a_write_that_fails_keeps_what_was_there(lake: Lake, written: Path):
    def write_half() -> None:
        with lake.writer(LEVELS, "ESH4", DATE, LINEAGE) as w:
            w.add(levels(2.0))
            w.add(levels(2.0).drop("price"))

    with pytest.raises(ContractError, match="missing: price"):
        write_half()
    assert lake.read(LEVELS, "ESH4", DATE).equals(levels())
    assert os.listdir(written.parent) == ["dt=2024-01-02"]


def test_a_missing_partition_names_the_command_that_makes_it(lake: Lake):
    with pytest.raises(PartitionMissing, match=r"spymaster run --lake .* --layer silver --symbol ESH4 --dates 2024-01-02 --session rth"):
        lake.read(LEVELS, "ESH4", DATE)


def break_success(p: Path) -> None:
    (p / SUCCESS).unlink()


def break_manifest(p: Path) -> None:
    (p / MANIFEST).unlink()


def edit_manifest(p: Path) -> None:
    raw = json.loads((p / MANIFEST).read_text())
    raw["rows"] = 99
    (p / MANIFEST).write_text(json.dumps(raw))


def other_success(p: Path) -> None:
    (p / SUCCESS).write_text("0" * 64)


def drop_part(p: Path) -> None:
    (p / "part-00000.parquet").unlink()


def shorten_part(p: Path) -> None:
    part = p / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-10])


def garble_manifest(p: Path) -> None:
    (p / MANIFEST).write_text("{")


def signed(p: Path, **changed: object) -> None:
    """Put other values into the manifest, which matches its digest and ``_SUCCESS`` as before."""
    sign_manifest(p, {**json.loads((p / MANIFEST).read_text()), **changed})


def no_files(p: Path) -> None:
    signed(p, files=[])


def other_rows(p: Path) -> None:
    signed(p, rows=99)


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (no_files, "rows together, found no file"),
        (other_rows, "expected files that hold its 99 rows together"),
        (break_success, "expected _SUCCESS, found none"),
        (break_manifest, "expected _MANIFEST.json"),
        (edit_manifest, "does not match its own digest"),
        (other_success, "_SUCCESS does not match"),
        (drop_part, "part-00000.parquet"),
        (shorten_part, "part-00000.parquet: expected"),
        (garble_manifest, "expected a manifest"),
    ],
)
def test_a_partition_that_was_harmed_is_not_trusted(lake: Lake, written: Path, harm, named: str):
    harm(written)
    assert not lake.has(LEVELS, "ESH4", DATE)
    with pytest.raises(PartitionCorrupt, match=named) as e:
        lake.read(LEVELS, "ESH4", DATE)
    assert "spymaster run" in str(e.value)


def test_a_changed_byte_is_found_by_verify(lake: Lake, written: Path):
    part = written / "part-00000.parquet"
    data = bytearray(part.read_bytes())
    data[20] ^= 0xFF
    part.write_bytes(bytes(data))
    with pytest.raises(PartitionCorrupt, match="expected SHA-256"):
        lake.verify(LEVELS, "ESH4", DATE)


def test_a_partition_that_is_rebuilt_while_it_is_read_is_never_mixed(lake: Lake):
    def two_parts(price: float) -> None:
        with lake.writer(LEVELS, "ESH4", DATE, LINEAGE) as w:
            w.add(levels(price))
            w.add(levels(price))

    for read_first in (1, 2):
        two_parts(1.0)
        parts = lake.read_parts(LEVELS, "ESH4", DATE)
        for _ in range(read_first):
            next(parts)
        two_parts(2.0)
        with pytest.raises(PartitionChanged, match="was rebuilt while it was read"):
            list(parts)
    # One part fewer: the reader's next file is gone, which is no corruption either.
    parts = lake.read_parts(LEVELS, "ESH4", DATE)
    next(parts)
    lake.write(LEVELS, "ESH4", DATE, levels(3.0), LINEAGE)
    with pytest.raises(PartitionChanged, match="read it again"):
        list(parts)


def test_a_whole_read_of_a_partition_that_is_rebuilt_meanwhile_gives_the_new_one(lake: Lake, written: Path):
    class Rebuilt(Lake):
        rebuilt = False

        def read_parts(self, *args, **kwargs):
            for part in super().read_parts(*args, **kwargs):
                if not self.rebuilt:
                    self.rebuilt = True
                    self.write(LEVELS, "ESH4", DATE, levels(2.0), LINEAGE)
                yield part

    assert Rebuilt(lake.root).read(LEVELS, "ESH4", DATE).equals(levels(2.0))


def test_a_part_with_other_rows_than_the_manifest_says_is_refused(written: Path):
    with pytest.raises(PartitionCorrupt, match="expected 4 rows as its manifest says, found 3"):
        read_part(written / "part-00000.parquet", 4, dataset(LEVELS).contract(), "here")


def test_a_commit_is_no_failure_where_only_the_old_copy_cannot_be_removed(lake: Lake, written: Path, monkeypatch: pytest.MonkeyPatch):
    real = shutil.rmtree

    def stuck(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise PermissionError(f"{path}: busy")

    monkeypatch.setattr(writer.shutil, "rmtree", stuck)
    assert lake.write(LEVELS, "ESH4", DATE, levels(2.0), LINEAGE).rows == 3
    monkeypatch.setattr(writer.shutil, "rmtree", real)
    assert lake.read(LEVELS, "ESH4", DATE)["price"][0] == 2.0
    recover(written.parent)
    assert os.listdir(written.parent) == ["dt=2024-01-02"]


def test_without_an_exchange_of_folders_a_failed_swap_puts_the_old_one_back(lake: Lake, written: Path, monkeypatch: pytest.MonkeyPatch):
    class NoExchange:
        def __init__(self, *args: object, **kwargs: object) -> None:
            pass

    real = Path.rename

    def full(self: Path, target: Path) -> Path:
        if self.name.startswith(writer.TMP_PREFIX):
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(writer.ctypes, "CDLL", NoExchange)
    assert lake.write(LEVELS, "ESH4", DATE, levels(2.0), LINEAGE).rows == 3
    assert lake.read(LEVELS, "ESH4", DATE)["price"][0] == 2.0
    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(LakeWriteFailed, match="the partition is unchanged"):
        lake.write(LEVELS, "ESH4", DATE, levels(3.0), LINEAGE)
    assert os.listdir(written.parent) == ["dt=2024-01-02"]
    assert lake.read(LEVELS, "ESH4", DATE)["price"][0] == 2.0


def test_small_files_that_cannot_be_written_are_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LakeWriteFailed, match="could not be written"):
        writer.write_parquet_atomic(tmp_path / "file" / "map.parquet", levels())
    with pytest.raises(LakeWriteFailed, match="could not be written"):
        writer.write_text_atomic(tmp_path / "file" / "map.json", "{}")


def test_a_harmed_profile_is_mended_by_the_printed_command(lake: Lake, written: Path):
    (lake.root / PROFILE_FILE).write_text("{")
    with pytest.raises(PartitionCorrupt, match=r'expected ."profile": name') as e:
        lake.profile()
    subprocess.run(str(e.value).split("`")[-2], shell=True, check=True)
    assert lake.profile() == "rth"


def test_another_contract_than_it_was_written_under_is_refused(lake: Lake, written: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from engine.lake import contract as module

    source = Path(dataset(LEVELS).contract().path)
    edited = tmp_path / "silver" / "levels.avsc"
    edited.parent.mkdir()
    edited.write_text(source.read_text().replace('"unit": "price"', '"unit": "cents"'))
    monkeypatch.setattr(module, "CONTRACTS_DIR", tmp_path)
    module.load_contract.cache_clear()
    try:
        with pytest.raises(ContractError, match="another contract"):
            lake.read(LEVELS, "ESH4", DATE)
    finally:
        module.load_contract.cache_clear()


def test_one_profile_a_lake(lake: Lake, written: Path):
    assert lake.profile() == "rth"
    with pytest.raises(UnknownProfile, match="found silver of 'rth'"):
        lake.write(LEVELS, "ESH4", DATE, levels(), Lineage("levels", "p", "c", {}, "globex_open"))
    assert lake.read(LEVELS, "ESH4", DATE).equals(levels())


def test_silver_without_a_profile_is_refused(lake: Lake):
    with pytest.raises(ContractError, match="expected a session profile"):
        lake.write(LEVELS, "ESH4", DATE, levels(), Lineage("levels", "p", "c", {}))


def test_the_lock_is_exclusive_and_names_its_holder(lake: Lake):
    code = f"from engine.lake.store import Lake\nwith Lake({str(lake.root)!r}).lock(): print('got it')"
    with lake.lock():
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert found.returncode == 1
        assert f"process {os.getpid()} is writing it" in found.stderr
        with pytest.raises(LakeBusy), lake.lock():
            pass
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "got it\n"


def test_recover_puts_back_what_stepped_aside_and_drops_the_rest(lake: Lake, written: Path):
    table = written.parent
    written.rename(table / ".old-dt=2024-01-02-beef")
    (table / ".tmp-dt=2024-01-03-1-dead").mkdir()
    (table / ".tmp-dt=2024-01-03-1-dead" / "part-00000.parquet").write_text("half")
    assert len(recover(table)) == 2
    assert os.listdir(table) == ["dt=2024-01-02"]
    assert lake.read(LEVELS, "ESH4", DATE).equals(levels())


def test_a_full_disk_keeps_the_old_partition_and_nothing_half_written(lake: Lake, written: Path):
    # RLIMIT_FSIZE makes the real write fail as a full disk does: with an OSError in the middle of the file.
    code = f"""
import resource, datetime as dt, polars as pl
from engine.lake.store import Lake
from tests.unit.test_store import levels, LINEAGE, LEVELS, DATE
frame = pl.concat([levels(float(i)) for i in range(20000)])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
Lake({str(lake.root)!r}).write(LEVELS, "ESH4", DATE, frame, LINEAGE)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert found.returncode == 1
    assert "LakeWriteFailed" in found.stderr
    assert "the partition is unchanged" in found.stderr
    assert os.listdir(written.parent) == ["dt=2024-01-02"]
    assert lake.read(LEVELS, "ESH4", DATE).equals(levels())


def test_a_lake_that_cannot_be_a_folder_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LakeWriteFailed, match="--lake"), Lake(tmp_path / "file").lock():
        pass


def test_reading_manifests_imports_no_polars(lake: Lake, written: Path):
    code = (
        "import sys, datetime as dt\nfrom engine.lake.store import Lake\n"
        f"Lake({str(lake.root)!r}).manifest('silver.future_mbo.levels', 'ESH4', dt.date(2024, 1, 2))\n"
        "assert 'polars' not in sys.modules and 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_of_several_writers_of_a_folder_the_last_stays_and_none_fails(tmp_path: Path):
    """On a cluster a task may run twice at once."""
    for n in range(60):
        place = tmp_path / f"p{n}"
        if n % 2:
            place.mkdir()
            (place / "by").write_text("an earlier run")
        together = Barrier(3)

        def put(name: str, place: Path = place, together: Barrier = together) -> None:
            new = place.with_name(f".tmp-{place.name}-{name}")
            new.mkdir()
            (new / "by").write_text(name)
            together.wait()
            swap_in(new, place)

        with ThreadPoolExecutor(3) as writers:
            list(writers.map(put, "abc"))
        assert (place / "by").read_text() in "abc"
    assert list(tmp_path.glob(".*")) == []
