"""``spymaster add`` reads files to their end, and replaces only what is proven damaged, without deleting it."""

from __future__ import annotations

import datetime as dt
import errno
import os
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard

from engine.errors import NameTaken, RawUnreadable
from engine.lake.catalog import BRONZE_MBO
from engine.lake.store import Lake
from engine.lake.writer import put_raw
from engine.mbo.dbn import count_records
from engine.stages.raw import raw_index
from tests.support.dbn_files import DAY_NS, metadata_bytes, utc_ns
from tests.support.lakes import ESZ5, MONDAY, RAW, ROOT, TUESDAY, as_plain_user, command, leftovers, report, spymaster

QUARANTINE = Path("raw/.quarantine") / Path(RAW).relative_to("raw")


def test_a_file_in_the_lake_is_none_of_the_users(raw_days: dict[dt.date, Path], tmp_lake: Path, tmp_path: Path):
    """Whatever is written into the file that was added, as by a download into its name, the lake's stays whole."""
    source, whole = tmp_path / raw_days[MONDAY].name, raw_days[MONDAY].read_bytes()
    source.write_bytes(whole)
    report("add", source, "--lake", tmp_lake)
    source.write_bytes(b"")
    place = tmp_lake / RAW / source.name
    assert place.read_bytes() == whole
    assert not place.samefile(source)
    assert count_records(place) > 12_000
    assert not leftovers(tmp_lake)


def test_only_a_link_that_was_asked_for_shares_the_users_file(raw_days: dict[dt.date, Path], tmp_lake: Path, tmp_path: Path):
    source = tmp_path / raw_days[MONDAY].name
    shutil.copyfile(raw_days[MONDAY], source)
    report("add", source, "--link", "--lake", tmp_lake)
    assert (tmp_lake / RAW / source.name).samefile(source)
    assert report("add", source, "--link", "--lake", tmp_lake)["added"][0]["what"] == "there already"
    assert "harms" in spymaster("add", "--help").stdout


def test_nothing_is_put_into_a_lake_that_another_process_writes(raw_days: dict[dt.date, Path], tmp_lake: Path):
    damaged = tmp_lake / RAW / raw_days[MONDAY].name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(raw_days[MONDAY].read_bytes()[:30_000])
    with Lake(tmp_lake).lock():
        done = spymaster("add", raw_days[MONDAY], raw_days[TUESDAY], "--lake", tmp_lake, check=False)
        assert done.returncode == 1
        assert f"LakeBusy: lake {tmp_lake}: process {os.getpid()} is writing it; wait for it" in done.stderr
        assert [p.stat().st_size for p in (tmp_lake / "raw").rglob("*.dbn.zst")] == [30_000]
    assert len(report("add", raw_days[MONDAY], raw_days[TUESDAY], "--lake", tmp_lake)["added"]) == 2


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


def test_an_unreadable_raw_file_is_not_taken_for_damaged(raw_days: dict[dt.date, Path], lake_with: Callable[..., Lake], tmp_path: Path):
    """The system does not let us read it, by permission or for want of descriptors: it stays, and the new one is not added."""
    lake = lake_with()
    there = lake.root / RAW / raw_days[MONDAY].name
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_bytes(raw_days[TUESDAY].read_bytes())  # another whole file of that name
    there.chmod(0)
    done = subprocess.run(as_plain_user("add", raw_days[MONDAY], "--lake", lake.root), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"RawUnreadable: {there}: cannot be read: Permission denied; let this user read it" in done.stderr
    assert "Traceback" not in done.stderr
    there.chmod(0o600)
    assert there.read_bytes() == raw_days[TUESDAY].read_bytes()
    assert not (lake.root / "raw/.quarantine").exists()


def test_a_failing_disk_is_not_taken_for_damage(raw_days: dict[dt.date, Path], lake_with: Callable[..., Lake], tmp_path: Path):
    lake = lake_with()
    there = lake.root / RAW / raw_days[MONDAY].name
    there.parent.mkdir(parents=True, exist_ok=True)
    there.symlink_to("/proc/self/mem")  # its first byte gives EIO, as a bad sector does
    with pytest.raises(RawUnreadable, match=r"Input/output error; check the disk"):
        count_records(there)
    done = spymaster("add", raw_days[MONDAY], "--lake", lake.root, check=False)
    assert done.returncode == 1
    assert f"RawUnreadable: {there}: cannot be read: Input/output error" in done.stderr
    assert there.is_symlink()
    # It is named, and the other days are read.
    assert report("add", raw_days[TUESDAY], "--lake", lake.root)["added"][0]["what"] == "added"
    assert str(there) in report("lake", "--lake", lake.root)["unreadable"]


def test_few_descriptors_are_no_damage(raw_days: dict[dt.date, Path], lake_with: Callable[..., Lake]):
    lake = lake_with(MONDAY, TUESDAY)
    index = raw_index(lake, "ES", keep=False)
    assert len(index.files) == 2
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(fd) for fd in os.listdir("/proc/self/fd"))
    held = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))
        with suppress(OSError):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        with pytest.raises(RawUnreadable, match="Too many open files; raise the limit, `ulimit -n"):
            count_records(raw_days[MONDAY])
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_one_bad_source_does_not_stop_the_others(raw_days: dict[dt.date, Path], tmp_lake: Path, tmp_path: Path):
    locked = tmp_path / "locked"
    locked.mkdir()
    (locked / "a.dbn").write_bytes(b"DBN")
    empty = tmp_path / "empty"
    empty.mkdir()
    locked.chmod(0)
    sources = (tmp_path / "gone.dbn", locked, locked / "a.dbn", "/proc/self/mem", empty, raw_days[MONDAY])
    done = subprocess.run(as_plain_user("add", *sources, "--lake", tmp_lake), cwd=ROOT, capture_output=True, text=True)
    locked.chmod(0o700)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "5 of 6 files were not added:" in done.stderr
    assert f"RawMissing: {tmp_path}/gone.dbn: expected a DBN file or a folder of them, found nothing there" in done.stderr
    assert f"RawUnreadable: {locked}: cannot be read: Permission denied" in done.stderr
    assert f"RawUnreadable: {locked}/a.dbn: cannot be read: Permission denied" in done.stderr
    assert f"RawMissing: {empty}: expected files that end in .dbn or .dbn.zst, found none" in done.stderr
    assert (tmp_lake / RAW / raw_days[MONDAY].name).read_bytes() == raw_days[MONDAY].read_bytes()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (b"glbx.mbo.zst", "expected a name that ends in .dbn or .dbn.zst, found 'glbx.mbo.zst'"),
        (b".glbx.dbn.zst", "expected a name without a dot at its start, found '.glbx.dbn.zst'"),
        (b"glbx-\xff.dbn.zst", r"expected a name in UTF-8, found b'glbx-\xff.dbn.zst'"),
    ],
)
def test_names_that_no_run_would_read_are_made_readable(
    raw_days: dict[dt.date, Path], tmp_lake: Path, tmp_path: Path, name: bytes, said: str
):
    source = tmp_path / os.fsdecode(name)
    os.link(raw_days[MONDAY], source)
    done = subprocess.run(command("add", source, "--lake", tmp_lake), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (taken,) = (tmp_lake / RAW).iterdir()
    assert f"stored as {taken.name}" in done.stdout
    assert taken.read_bytes() == raw_days[MONDAY].read_bytes()
    taken.unlink()
    # Put there by hand it is passed over, with the reason.
    place = tmp_lake / RAW / source.name
    place.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, place)
    assert Lake(tmp_lake).passed_over() == ({} if name.startswith(b".") else {place: said})
    assert not raw_index(Lake(tmp_lake), "ES").files
    listed = subprocess.run(command("lake", "--lake", tmp_lake), cwd=ROOT, capture_output=True, text=True)
    assert (listed.returncode, listed.stderr) == (0, "")


def test_that_the_damaged_one_was_moved_is_said_even_where_the_new_one_is_not_added(raw_days: dict[dt.date, Path], tmp_lake: Path):
    damaged = tmp_lake / RAW / raw_days[MONDAY].name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(raw_days[MONDAY].read_bytes()[:30_000])
    link = os.link

    def full(source: Path, place: Path) -> None:
        if place.exists():
            link(source, place)  # the name is taken
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as m:
        m.setattr("engine.lake.writer.os.link", full)
        m.setattr("engine.lake.writer.shutil.copyfile", full)
        done = spymaster("add", raw_days[MONDAY], "--lake", tmp_lake, check=False)
    assert done.returncode == 1
    moved = tmp_lake / QUARANTINE / damaged.name
    assert "could not be written: [Errno 28] No space left on device" in done.stderr
    assert f"; the damaged {damaged} had been moved to {moved}\n" in done.stderr
    assert len(moved.read_bytes()) == 30_000
    assert report("add", raw_days[MONDAY], "--lake", tmp_lake)["added"][0]["what"] == "added"


def test_nothing_gives_way_to_a_file_for_which_there_is_no_room(raw_days: dict[dt.date, Path], tmp_lake: Path):
    damaged = tmp_lake / RAW / raw_days[MONDAY].name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(raw_days[MONDAY].read_bytes()[:30_000])

    words = command("add", raw_days[MONDAY], "--lake", tmp_lake)
    done = subprocess.run(["sh", "-c", 'ulimit -f 200 && exec "$@"', "sh", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "could not be written: [Errno 27] File too large" in done.stderr
    assert "LakeWriteFailed" in done.stderr
    assert str(raw_days[MONDAY]) not in done.stderr
    assert damaged.stat().st_size == 30_000
    assert not leftovers(tmp_lake)


def test_a_name_is_taken_by_whatever_is_there(raw_days: dict[dt.date, Path], tmp_lake: Path):
    place = tmp_lake / RAW / raw_days[MONDAY].name
    place.parent.mkdir(parents=True)
    makes: list[Callable[[], None]] = [lambda: place.symlink_to("nowhere"), place.mkdir, lambda: os.mkfifo(place)]
    for make in makes:
        make()
        before = place.lstat()
        with pytest.raises(NameTaken, match="never overwritten"):
            put_raw(raw_days[MONDAY], place, own=True)
        done = spymaster("add", raw_days[MONDAY], "--lake", tmp_lake, check=False)
        assert "NameTaken" in done.stderr
        assert place.lstat() == before
        (place.rmdir if place.is_dir() else place.unlink)()


def test_a_file_that_appears_during_the_copy_is_not_overwritten(raw_days: dict[dt.date, Path], tmp_lake: Path):
    """A file system without links: the file is copied, and the name is taken by another process meanwhile."""
    place = tmp_lake / RAW / raw_days[MONDAY].name
    copy = shutil.copyfile
    appears = True

    def no_links(a: Path, b: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def slowly(a: Path, b: Path) -> None:
        copy(a, b)
        if appears:
            place.write_bytes(b"of another process")

    with pytest.MonkeyPatch.context() as m:
        m.setattr("engine.lake.writer.os.link", no_links)
        m.setattr("engine.lake.writer.shutil.copyfile", slowly)
        with pytest.raises(NameTaken):
            put_raw(raw_days[MONDAY], place, own=True)
        assert place.read_bytes() == b"of another process"
        place.unlink()
        appears = False
        assert put_raw(raw_days[MONDAY], place, own=True)
        place.unlink()
        # `add` copies there, too, and says what to leave out where a link was wanted.
        report("add", raw_days[MONDAY], "--lake", tmp_lake)
        assert "leave out --link" in spymaster("add", raw_days[TUESDAY], "--link", "--lake", tmp_lake, check=False).stderr
    assert place.read_bytes() == raw_days[MONDAY].read_bytes()
    assert not leftovers(tmp_lake)


BOMBS = """
import sys
from engine.errors import BadDbn
from engine.mbo.dbn import count_records, read_header, stream_columns
from tests.support.figures import memory_mb

read_header(sys.argv[1]), count_records(sys.argv[1]), list(stream_columns(sys.argv[1]))
before = memory_mb("VmHWM")
for name in sys.argv[2:]:
    for read in (read_header, count_records, lambda p: list(stream_columns(p))):
        try:
            read(name)
        except BadDbn as e:
            print(str(e).split(":")[1][:60], file=sys.stderr)
        else:
            assert read is read_header and "records" in name, name
print(memory_mb("VmHWM") - before)
"""


def first_version(mappings: int, intervals: int) -> bytes:
    """Metadata of DBN version 1 with so many mappings of so many intervals each."""
    interval = struct.pack("<II22s", 20251103, 20251104, b"7")
    body = (struct.pack("<22sI", b"ESZ5", intervals) + interval * intervals) * mappings
    fixed = struct.pack("<16sHQQQQBBB47xI", b"GLBX.MDP3", 0, utc_ns(MONDAY), utc_ns(TUESDAY), 0, 0, 0, 1, 0, 0)
    body = fixed + struct.pack("<IIII", 0, 0, 0, mappings) + body
    return b"DBN\x01" + len(body).to_bytes(4, "little") + body


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
        "intervals.dbn.zst": pack(first_version(1, 2_200_000)),
        "symbols.dbn.zst": pack(first_version(1_200_000, 1)),
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
    # Megabytes above what a plain file takes: the 4 MB that metadata may have, and what decoding them needs.
    assert int(done.stdout) < 200, done.stderr
    assert done.stderr.count("expected metadata of at most 4 MB") == 4 * 3
