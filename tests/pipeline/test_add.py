"""``spymaster add`` reads files to their end, and replaces only what is proven damaged, without deleting it."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from engine.lake.catalog import BRONZE_MBO
from engine.lake.store import Lake
from tests.support.dbn_files import DAY_NS, metadata_bytes, utc_ns
from tests.support.lakes import ESZ5, MONDAY, RAW, ROOT, TUESDAY, report, spymaster

QUARANTINE = Path("raw/.quarantine") / Path(RAW).relative_to("raw")


def test_truncated_then_refused_then_fetched_again_then_added(raw_days: dict[dt.date, Path], tmp_lake: Path, tmp_path: Path):
    whole = raw_days[MONDAY].read_bytes()
    download = tmp_path / raw_days[MONDAY].name
    for cut in (whole[:-1], whole[: len(whole) // 2]):
        download.write_bytes(cut)
        done = spymaster("add", download, "--lake", tmp_lake, check=False)
        assert done.returncode == 1
        assert f"{download}: truncated: the file ends at byte {len(cut):,} inside a zstd frame; fetch the file again" in done.stderr
        assert not list((tmp_lake / "raw").rglob("*.dbn.zst"))
    download.write_bytes(whole)
    (added,) = report("add", download, "--lake", tmp_lake)["added"]
    assert (added["what"], added["date"], int(added["records"]) > 12_000) == ("added", "2025-11-03", True)
    spymaster("run", "--lake", tmp_lake, "--layer", "bronze", "--symbol", "ESZ5", "--dates", "2025-11-03")
    assert Lake(tmp_lake).manifest(BRONZE_MBO, "ESZ5", MONDAY).rows > 12_000


@pytest.mark.parametrize("name", ["glbx-mdp3-20251103.mbo.dbn.zst", "second-download.dbn.zst"], ids=["same name", "another name"])
def test_a_damaged_raw_file_gives_way_to_a_whole_one_and_is_not_deleted(
    raw_days: dict[dt.date, Path], tmp_lake: Path, tmp_path: Path, name: str
):
    whole = raw_days[MONDAY].read_bytes()
    damaged = tmp_lake / RAW / raw_days[MONDAY].name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(whole[: len(whole) // 2])
    run = ("run", "--lake", tmp_lake, "--layer", "bronze", "--symbol", "ESZ5", "--dates", "2025-11-03")
    assert "truncated" in spymaster(*run, check=False).stderr
    fetched = tmp_path / name
    fetched.write_bytes(whole)
    (added,) = report("add", fetched, "--lake", tmp_lake)["added"]
    assert added["what"] == "added"
    assert added["replaced"] == str(tmp_lake / QUARANTINE / damaged.name)
    assert Path(added["replaced"]).read_bytes() == whole[: len(whole) // 2]
    assert (tmp_lake / RAW / name).read_bytes() == whole
    spymaster(*run)
    # What lies in quarantine is no raw file.
    assert [Path(p).name for p, _ in report("lake", "--lake", tmp_lake)["raw"]["ES"]] == [name]


def test_two_damaged_files_of_one_name_both_stay(raw_days: dict[dt.date, Path], tmp_lake: Path, tmp_path: Path):
    whole = raw_days[MONDAY].read_bytes()
    place = tmp_lake / RAW / raw_days[MONDAY].name
    place.parent.mkdir(parents=True)
    for cut in (1_000, 2_000):
        place.unlink(missing_ok=True)
        place.write_bytes(whole[:-cut])
        source = tmp_path / str(cut) / place.name
        source.parent.mkdir()
        source.write_bytes(whole)
        report("add", source, "--lake", tmp_lake)
    assert sorted(len(p.read_bytes()) for p in (tmp_lake / QUARANTINE).iterdir()) == [len(whole) - 2_000, len(whole) - 1_000]


def test_the_same_day_under_another_name_is_refused(raw_days: dict[dt.date, Path], lake_with: Callable[..., Lake], tmp_path: Path):
    lake = lake_with(MONDAY)
    again = tmp_path / "again.dbn"
    again.write_bytes(zstandard.ZstdDecompressor().stream_reader(raw_days[MONDAY].open("rb"), read_across_frames=True).read())
    done = spymaster("add", again, raw_days[TUESDAY], "--lake", lake.root, check=False)
    assert done.returncode == 1
    assert f"{again}: not added: ESZ5 of 2025-11-03 is there already: {lake.root / RAW / raw_days[MONDAY].name}" in done.stderr
    assert sorted(p.name for p in (lake.root / RAW).iterdir()) == sorted(raw_days[d].name for d in (MONDAY, TUESDAY))


BOMBS = """
import resource, sys
from pathlib import Path
from engine.errors import BadDbn
from engine.mbo.dbn import count_records, read_header, stream_columns

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

read_header(sys.argv[1]), count_records(sys.argv[1]), list(stream_columns(sys.argv[1]))
before = peak()
for name in sys.argv[2:]:
    for read in (read_header, count_records, lambda p: list(stream_columns(p))):
        try:
            read(name)
        except BadDbn as e:
            print(str(e).split(":")[1][:60], file=sys.stderr)
        else:
            assert read is read_header, name
print(peak() - before)
"""


def zeros(n: int) -> bytes:
    """A zstd frame of `n` zero bytes, a few KB long."""
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(n >> 20)) + packer.flush()


def test_a_small_file_that_expands_to_gigabytes_takes_little_memory(raw_days: dict[dt.date, Path], tmp_path: Path):
    start = utc_ns(MONDAY)
    head = metadata_bytes(ESZ5, start, start + DAY_NS)
    pack = zstandard.ZstdCompressor().compress
    wide = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    stream = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    bombs = {
        "records.dbn.zst": pack(head) + zeros(1 << 30),
        "metadata.dbn.zst": pack(b"DBN\x03" + (0xFFFFFFFF).to_bytes(4, "little")) + zeros(1 << 30),
        "mappings.dbn.zst": pack(b"DBN\x03" + (1 << 26).to_bytes(4, "little") + head[8:]) + zeros(1 << 26),
        "window.dbn.zst": stream.compress(head + bytes(4096)) + stream.flush(),
        "empty-frames.dbn.zst": pack(b"") * 20_000,
    }
    for name, content in bombs.items():
        assert len(content) < 500_000, name
        (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", BOMBS, raw_days[MONDAY], *(tmp_path / n for n in bombs)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # Megabytes above what a plain file takes: the 64 MB that metadata may have, twice, and what decoding them needs.
    assert int(done.stdout) < 400, done.stderr
