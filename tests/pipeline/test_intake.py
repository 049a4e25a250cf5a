"""Everything that `spymaster add` may be given: what becomes of it, and that bronze then has its records, and no others."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.lake.catalog import BRONZE_MBO, LADDER, LEVELS, TAPE
from engine.lake.store import Lake
from engine.mbo.dbn import COLUMN_TYPES
from engine.stages import intake as intake_module
from engine.stages.bronze import build_bronze
from engine.stages.intake import Intake
from engine.stages.raw import raw_index, read_conditions
from tests.support.dbn_files import utc_ns
from tests.support.deliveries import HOUR_NS, MAKERS, Delivery, definition_file, head, make_all, mapped, one_day, put
from tests.support.lakes import ESZ5, RAW, TUESDAY, day_records, leftovers, make_bronze, make_silver, spymaster

FIRST = dt.date(2024, 1, 1)


@pytest.fixture(scope="module")
def intake(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Delivery], str, str]:
    """All deliveries in one folder, and what `add` said of it."""
    base = tmp_path_factory.mktemp("intake")
    made = make_all(base / "deliveries", FIRST)
    done = spymaster("add", base / "deliveries", "--lake", base / "lake", check=False)
    assert done.returncode == 1
    return base / "lake", made, done.stdout, done.stderr


def said_of(delivery: Delivery, out: str, err: str, dates: set[dt.date]) -> tuple[str, str]:
    """(outcome, words) of a delivery: its lines of both outputs, with those that follow one of its files, and those about its dates."""
    faults = [line for line in err.splitlines() if f"{delivery.folder}/" in line]
    lines, mine = [], False
    for line in out.splitlines():
        if not line.startswith("  "):
            mine = str(delivery.folder) in line or any(str(d) in line for d in dates)
        if mine:
            lines.append(line.strip())
    taken = [line for line in lines if line.startswith("added")]
    outcome = "refused" if faults else "taken" if taken else "passed over"
    return outcome, " / ".join([*faults, *lines])


def test_every_delivery_gets_what_it_deserves(intake: tuple[Path, dict[str, Delivery], str, str], capsys: pytest.CaptureFixture[str]):
    lake, made, out, err = intake
    assert len(made) >= 30
    wrong, table = [], []
    for n, (name, delivery) in enumerate(sorted(made.items())):
        dates = {FIRST + dt.timedelta(days=10 * n + k) for k in range(10)}
        outcome, words = said_of(delivery, out, err, dates)
        lacking = [w for w in delivery.words if w not in words]
        table.append(f"{name:45} {outcome:12} {words.replace(str(lake.parent), '')[:150]}")
        if outcome != delivery.outcome or lacking:
            wrong.append(f"{name}: expected {delivery.outcome} with {lacking or 'its words'}, found {outcome}: {words}")
    with capsys.disabled():
        print("\n" + "\n".join(table))
    assert not wrong, "\n".join(wrong)
    assert len(MAKERS) == len(table)


def test_bronze_has_the_records_of_what_was_taken_and_no_others(intake: tuple[Path, dict[str, Delivery], str, str]):
    lake, made, _, _ = intake
    place = Lake(lake)
    expected = {key: rows for delivery in made.values() for key, rows in delivery.rows.items()}
    index = {root: raw_index(place, root) for root in place.raw_roots()}
    assert not [i.bad for i in index.values() if i.bad]
    there = {(s, f.date) for i in index.values() for f in i.files for s in f.symbols}
    assert there == set(expected)
    for (symbol, date), records in expected.items():
        ((day, symbols),) = index[symbol[:2]].of(symbol, date)
        assert symbols == (symbol,)
        build_bronze(place, day, symbols)
        frame = place.read(BRONZE_MBO, symbol, date)
        assert frame.height == len(records), (symbol, date)
        for column in COLUMN_TYPES:
            found = frame[column]
            if column in ("action", "side"):
                assert found.cast(str).to_list() == [chr(c) for c in records[column]]
            else:
                np.testing.assert_array_equal(found.to_numpy(), records[column], err_msg=f"{symbol} {date} {column}")
    assert not leftovers(lake)


def test_what_a_date_covers_is_what_its_files_cover(intake: tuple[Path, dict[str, Delivery], str, str]):
    lake, made, _, _ = intake
    place = Lake(lake)
    hour = 3600 * 10**9

    def hours(name: str) -> list[list[float]]:
        (symbol, date), *_ = sorted(made[name].rows)
        ((day, _), *_) = raw_index(place, "ES").of(symbol, date)
        midnight = int(dt.datetime.combine(date, dt.time(), dt.UTC).timestamp()) * 10**9
        return [[round((a - midnight) / hour, 3), round((b - midnight) / hour, 3)] for a, b in day.spans]

    assert hours("hours with a hole") == [[0, 7], [9, 24]]
    assert hours("hours, in folders, of one name") == [[0, 24]]
    assert hours("split by size") == [[0, 24]]
    assert hours("two dates, ids that change at midnight") == [[20, 24]]
    assert hours("recording, version 3") == [[13, 19.75]]
    # Of the request that was cut off by its limit nothing is known after its last record.
    assert hours("request with a limit") == [[0, 12.25]]


def test_degraded_days_are_kept_and_shown(intake: tuple[Path, dict[str, Delivery], str, str]):
    lake, made, _, _ = intake
    degraded = {date for name, d in made.items() if "degraded" in name for _, date in d.rows}
    assert degraded <= {d for d, condition in read_conditions(Lake(lake)).items() if condition == "degraded"}
    shown = spymaster("lake", "--lake", lake).stdout
    for date in degraded:
        assert f"{date}: Databento calls the data of this UTC date degraded" in shown


def test_raw_files_are_as_they_came(intake: tuple[Path, dict[str, Delivery], str, str]):
    lake, made, _, _ = intake
    given = {p.read_bytes() for d in made.values() for p in d.folder.rglob("*") if p.is_file()}
    stored = [p for p in (lake / "raw").rglob("*.dbn*") if p.is_file() and ".intake" not in p.parts]
    assert stored
    in_archives = [p for p in stored if p.read_bytes() not in given]
    assert len(in_archives) == 1  # the one that came in the zip archive


def test_added_again_nothing_changes(intake: tuple[Path, dict[str, Delivery], str, str]):
    lake, made, _, _ = intake
    before = {p: p.stat().st_mtime_ns for p in (lake / "raw").rglob("*") if p.is_file() and p.name != ".lock"}
    done = spymaster("add", made["week in one file"].folder, "--lake", lake)
    assert "there already" in done.stdout
    assert {p: p.stat().st_mtime_ns for p in (lake / "raw").rglob("*") if p.is_file() and p.name != ".lock"} == before


def add_day(folder: Path, name: str, hours: tuple[int, int], records: np.ndarray, lake: Path, *options: str, check: bool = True):
    """Add the records of these hours as a file of its own."""
    start = utc_ns(FIRST)
    a, b = start + hours[0] * HOUR_NS, start + hours[1] * HOUR_NS
    part = records[(records["ts_recv"] >= a) & (records["ts_recv"] < b)]
    path = put(folder / name, head(a, b, mapped(FIRST)), part)
    return path, spymaster("add", path, "--lake", lake, *options, check=check)


def test_a_superset_takes_the_place_of_what_is_there_on_request(tmp_path: Path):
    _, _, records = one_day(FIRST)
    lake = tmp_path / "lake"
    morning, _ = add_day(tmp_path, "morning.dbn", (0, 12), records, lake)
    _, refused = add_day(tmp_path, "whole.dbn", (0, 24), records, lake, check=False)
    assert refused.returncode == 1
    command = refused.stderr.split("`")[1]
    # The command that is printed does it, and what was there is not deleted.
    done = spymaster(*command.split()[1:])
    moved = lake / "raw/.quarantine" / Path(RAW).relative_to("raw") / "morning.dbn"
    assert f"instead of the file that is now {moved}" in done.stdout
    assert moved.read_bytes() == morning.read_bytes()
    assert [p.name for p in (lake / RAW).iterdir()] == ["whole.dbn"]
    ((day, _),) = raw_index(Lake(lake), "ES").of("ESZ5", FIRST)
    assert [p.path.name for p in day.parts] == ["whole.dbn"]


@pytest.mark.parametrize("change", ["a record less", "another price", "a contract less"])
def test_what_is_no_superset_is_refused_on_request_too(tmp_path: Path, change: str):
    _, _, records = one_day(FIRST)
    lake = tmp_path / "lake"
    add_day(tmp_path, "morning.dbn", (0, 12), records, lake)
    other = records.copy()
    if change == "a record less":
        other = np.delete(other, 7)
    elif change == "another price":
        other["price"][7] += 1
    else:
        other = other[other["instrument_id"] != 2]
    _, refused = add_day(tmp_path, "whole.dbn", (0, 24), other, lake, "--replace", check=False)
    assert refused.returncode == 1
    assert "which holds records that this file does not; it stays" in refused.stderr
    assert [p.name for p in (lake / RAW).iterdir()] == ["morning.dbn"]


@pytest.mark.parametrize("name", ["morning.dbn", "whole.dbn"], ids=["same name", "another name"])
@pytest.mark.parametrize("moved", [False, True], ids=["before", "after"])
def test_a_replacement_that_is_killed_leaves_the_date_there_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, moved: bool
):
    """It dies just before or just after the file that gives way is moved: the date is in the lake at every moment."""
    _, _, records = one_day(FIRST)
    lake, there = tmp_path / "lake", Lake(tmp_path / "lake")
    old, _ = add_day(tmp_path, "morning.dbn", (0, 12), records, lake)
    quarantine = Lake.quarantine_raw

    def killed(self: Lake, path: Path) -> Path:
        if moved:
            quarantine(self, path)
        raise KeyboardInterrupt

    whole = put(tmp_path / "new" / name, head(utc_ns(FIRST), utc_ns(FIRST) + 24 * HOUR_NS, mapped(FIRST)), records)
    with monkeypatch.context() as m:
        m.setattr(Lake, "quarantine_raw", killed)
        with pytest.raises(KeyboardInterrupt):
            Intake(there, replace=True).take([whole])
    assert whole.read_bytes() in [p.read_bytes() for p in (lake / RAW).iterdir()]
    again = Intake(there, replace=True)
    again.take([whole])
    assert not again.faults
    assert [p.read_bytes() for p in (lake / RAW).iterdir()] == [whole.read_bytes()]
    assert [p.read_bytes() for p in (lake / "raw/.quarantine").rglob("*.dbn")] == [old.read_bytes()]
    ((day, _),) = raw_index(there, "ES").of("ESZ5", FIRST)
    assert sum(p.records or 0 for p in day.parts) == len(records)


def counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    """First arguments of the calls of a function of the intake, from now on."""
    calls, real = [], getattr(intake_module, name)

    def counting(*given: Any, **named: Any) -> Any:
        calls.append(given[0])
        return real(*given, **named)

    monkeypatch.setattr(intake_module, name, counting)
    return calls


def test_what_is_there_is_read_once_for_all_files_that_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The index once, and of a file only the parts of its own dates are compared; what was added a moment ago is known."""
    dates = [FIRST + dt.timedelta(days=n) for n in range(12)]
    for date in dates:
        start, end, records = one_day(date)
        put(tmp_path / "all" / f"{date}.dbn", head(start, end, mapped(date)), records)
    start, end, records = one_day(FIRST)
    put(tmp_path / "all" / "z.dbn", head(start, end, mapped(FIRST)), records[:50])
    place = Lake(tmp_path / "lake")
    read, compared = counted(monkeypatch, "raw_index"), counted(monkeypatch, "overlap")
    taking = Intake(place)
    taking.take([tmp_path / "all"])
    assert len(read) == 1
    assert len(compared) <= 2 * 3  # z.dbn and the first date, by contract
    assert [len(line.dates) for line in taking.lines] == [1] * 12
    (fault,) = taking.faults
    assert f"ESH6, ESZ5 of {FIRST} is there already: {place.root / RAW / f'{FIRST}.dbn'}" in fault
    assert sorted(p.date for p in raw_index(place, "ES").files) == dates


def test_what_another_one_puts_there_meanwhile_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Between two files of one command another process adds the second one's date, within a tick of the folder's clock."""
    start, end, records = one_day(FIRST)
    next_start, next_end, next_records = one_day(FIRST + dt.timedelta(days=1))
    put(tmp_path / "all" / "1.dbn", head(start, end, mapped(FIRST)), records)
    put(tmp_path / "all" / "2.dbn", head(next_start, next_end, mapped(FIRST + dt.timedelta(days=1))), next_records)
    other = put(tmp_path / "other.dbn", head(next_start, next_end, mapped(FIRST + dt.timedelta(days=1))), next_records, compress=False)
    place, taking = Lake(tmp_path / "lake"), Intake(Lake(tmp_path / "lake"))
    folder, name = place.raw_folder("ES"), intake_module.name_instruments

    def meanwhile(survey: Any, *given: Any) -> Any:
        if survey.dates[0].date > FIRST and len(list(folder.iterdir())) == 1:
            time = folder.stat().st_mtime_ns
            with monkeypatch.context() as m:
                m.setattr(intake_module, "name_instruments", name)
                Intake(place).take([other])
            os.utime(folder, ns=(time, time))
        return name(survey, *given)

    monkeypatch.setattr(intake_module, "name_instruments", meanwhile)
    taking.take([tmp_path / "all"])
    assert [line.source for line in taking.lines] == [str(tmp_path / "all" / "1.dbn")]
    assert "other.dbn, with the same records" in taking.faults[0]


def test_stored_definitions_are_read_once_and_only_up_to_a_file_s_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Four files without names, and in the lake the definitions of their dates and of later ones."""
    dates = [FIRST + dt.timedelta(days=n) for n in range(6)]
    for date in dates:
        definition_file(tmp_path / "definitions" / f"{date}.dbn.zst", date)
    place = Lake(tmp_path / "lake")
    Intake(place).take([tmp_path / "definitions"])
    files = []
    for date in dates[1:5]:
        start, end, records = one_day(date)
        files.append(put(tmp_path / "files" / f"{date}.dbn", head(start, end, {}), records))
    read = counted(monkeypatch, "definition_names")
    taking = Intake(place)
    taking.take([tmp_path / "files"])
    assert not taking.faults
    assert [line.contracts for line in taking.lines] == [("ESH6", "ESZ5")] * 4
    assert [found.name for found in read] == [f"{date}.dbn.zst" for date in dates[:5]]


@pytest.mark.parametrize("kind", ["book", "definition", "symbology", "linked"])
def test_every_file_of_a_batch_job_is_as_its_manifest_says(tmp_path: Path, kind: str):
    start, end, records = one_day(FIRST)
    job, place = tmp_path / "job", Lake(tmp_path / "lake")
    job.mkdir()
    book = put(job / "z.mbo.dbn", head(start, end, mapped(FIRST)), records)
    definitions = definition_file(job / "a.definition.dbn.zst", FIRST)
    names = {"result": {n: [{"d0": str(FIRST), "d1": "2030-01-01", "s": str(i)}] for i, n in {1: "ESZ5", 2: "ESH6"}.items()}}
    symbology = job / "symbology.json"
    symbology.write_text(json.dumps(names))
    if kind == "linked":
        Intake(place, link=True).take([book])
    listed = {p.name: f"sha256:{hashlib.sha256(p.read_bytes()).hexdigest()}" for p in (book, definitions, symbology)}
    wrong = {"book": book, "linked": book, "definition": definitions, "symbology": symbology}[kind]
    listed[wrong.name] = f"sha256:{'0' * 64}"
    listed |= {"later.definition.dbn.zst": "sha256:1", "condition.json": "sha256:2"}
    (job / "manifest.json").write_text(json.dumps({"files": [{"filename": n, "hash": h} for n, h in listed.items()]}))
    taking = Intake(place)
    taking.take([job])
    (fault,) = taking.faults
    assert fault.startswith(f"BadDbn: {wrong}: expected SHA-256 000000000000 as manifest.json says")
    stored = [p.name for p in (tmp_path / "lake" / "raw").rglob("*.dbn*") if ".intake" not in p.parts]
    assert sorted(stored) == sorted({book.name, definitions.name} - ({wrong.name} if kind != "linked" else set()))
    missing = [line for line in taking.lines if line.what == "passed over"]
    assert [line.said for line in missing] == [["manifest.json also lists condition.json, later.definition.dbn.zst: not given"]]


@pytest.mark.parametrize("again", [0, 1, 2])
def test_files_that_meet_in_one_instant_are_neighbours_unless_it_came_twice(tmp_path: Path, again: int):
    start, end, records = one_day(FIRST)
    records = records[records["instrument_id"] == 1]
    records["ts_recv"][10:14] = records["ts_recv"][10]
    lake = tmp_path / "lake"
    for name, part in (("a.dbn", records[:12]), ("b.dbn", records[12 - again :])):
        put(tmp_path / name, head(start, end, mapped(FIRST)), part)
    spymaster("add", tmp_path / "a.dbn", "--lake", lake)
    assert spymaster("add", tmp_path / "b.dbn", "--lake", lake, check=False).returncode == (1 if again == 2 else 0)


def test_a_file_of_the_lake_that_claims_more_than_it_holds_leaves_room(tmp_path: Path):
    """Put there by hand, its header claims the whole date, and its records end at noon: what follows is taken."""
    start, end, records = one_day(FIRST)
    lake = tmp_path / "lake"
    early = records["ts_recv"] < start + 12 * HOUR_NS
    put(lake / RAW / "early.dbn", head(start, end, mapped(FIRST)), records[early])
    put(tmp_path / "late.dbn", head(start, end, mapped(FIRST)), records[~early])
    spymaster("add", tmp_path / "late.dbn", "--lake", lake)
    ((day, symbols),) = raw_index(Lake(lake), "ES").of("ES", FIRST)
    assert [p.path.name for p in day.parts] == ["early.dbn", "late.dbn"]
    assert symbols == ("ESH6", "ESZ5")


HARMS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a list": lambda f: [f],
    "a word for a number": lambda f: {**f, "records": "96"},
    "a number for a name": lambda f: {**f, "names": 1},
    "no dates": lambda f: {k: v for k, v in f.items() if k != "dates"},
    "no date": lambda f: {**f, "dates": [{**f["dates"][0], "date": "2024-02-30"}]},
    "a contract without ids": lambda f: {**f, "dates": [{**f["dates"][0], "contracts": {"ESZ5": {"records": 1}}}]},
    "of another file": lambda f: {**f, "size": f["size"] + 1},
    "of another format": lambda f: {**f, "format": 0},
}


@pytest.mark.parametrize("harm", [*HARMS, "no JSON", "too long", "a folder"])
def test_facts_that_are_none_count_as_none(tmp_path: Path, harm: str):
    """The file is then taken by its header, as one that was put there by hand; added again it has its facts back."""
    _, _, records = one_day(FIRST)
    lake = tmp_path / "lake"
    path, _ = add_day(tmp_path, "whole.dbn", (0, 24), records, lake)
    (facts,) = (lake / "raw/.intake").rglob("*.json")
    text = facts.read_text()
    if harm == "a folder":
        facts.unlink()
        facts.mkdir()
    else:
        odd = {"no JSON": "{" * 100_000, "too long": text + " " * (1 << 24)}
        facts.write_text(odd[harm] if harm in odd else json.dumps(HARMS[harm](json.loads(text))))
    (part,) = raw_index(Lake(lake), "ES").files
    assert (part.records, part.date, part.symbols) == (None, FIRST, ("ESH6", "ESZ5"))
    if harm != "a folder":
        assert "there already" in spymaster("add", path, "--lake", lake).stdout
        (part,) = raw_index(Lake(lake), "ES").files
        assert part.records == len(records)


def test_names_that_become_known_make_bronze_stale(tmp_path: Path):
    """Half of a file's instruments are unknown; with their definitions it is added again, and its bronze made again."""
    start, end, records = one_day(FIRST)
    lake = tmp_path / "lake"
    path = put(tmp_path / "a.dbn.zst", head(start, end, mapped(FIRST, {1: "ESZ5"})), records)
    assert "no symbol is known of instrument 2" in spymaster("add", path, "--lake", lake).stdout
    spymaster("run", "--lake", lake, "--layer", "bronze", "--symbol", "ES", "--dates", str(FIRST))
    spymaster("add", path, definition_file(tmp_path / "d.dbn.zst", FIRST), "--lake", lake)
    spymaster("run", "--lake", lake, "--layer", "bronze", "--symbol", "ES", "--dates", str(FIRST))
    place = Lake(lake)
    assert {s: place.manifest(BRONZE_MBO, s, FIRST).rows for s, _ in place.partitions(BRONZE_MBO)} == {"ESZ5": 32, "ESH6": 32}


def test_parts_of_a_date_make_the_ladder_of_the_whole_and_a_hole_is_no_data(tmp_path: Path):
    """The book goes on from part to part; after a hole nothing of it is known, and nothing is known within."""
    day = day_records(TUESDAY)
    start = utc_ns(TUESDAY)
    cuts = {"whole": [(0, 24)], "parts": [(0, 13), (13, 15.25), (15.25, 24)], "hole": [(0, 14.6), (14.65, 24)]}
    tapes, ladders, lakes = {}, {}, {}
    for name, spans in cuts.items():
        for k, (a, b) in enumerate(spans):
            first, last = start + round(a * HOUR_NS), start + round(b * HOUR_NS)
            part = day[(day["ts_recv"] >= first) & (day["ts_recv"] < last)]
            put(tmp_path / name / f"{9 - k}.dbn.zst", head(first, last, mapped(TUESDAY, ESZ5)), part)
        lakes[name] = lake = Lake(tmp_path / f"lake {name}")
        spymaster("add", tmp_path / name, "--lake", lake.root)
        assert make_bronze(lake, TUESDAY).status == "made"
        assert make_silver(lake, TUESDAY).status == "made"
        tapes[name], ladders[name] = (lake.read(key, "ESZ5", TUESDAY) for key in (TAPE, LADDER))
    assert tapes["parts"].equals(tapes["whole"])
    assert ladders["parts"].equals(ladders["whole"])
    known = tapes["hole"]["window_end_ts_ns"].to_numpy() <= start + round(14.6 * HOUR_NS)
    valid = {name: tape["book_valid"].to_numpy().astype(bool) for name, tape in tapes.items()}
    assert (valid["hole"] == (valid["whole"] & known)).all()
    assert tapes["hole"].filter(known).equals(tapes["whole"].filter(known))
    # Levels whose window meets the hole are absent, and say why, in New York's time.
    absent = lakes["hole"].notes(LEVELS, "ESZ5", TUESDAY)["absent"]
    assert "no raw file of the UTC date 2025-11-04 covers 2025-11-04 09:36 to 09:39 New York" in absent["or_high"]
    assert "or_high" not in lakes["parts"].notes(LEVELS, "ESZ5", TUESDAY)["absent"]


def test_two_commands_from_a_batch_folder_to_the_screen(raw_days: dict[dt.date, Path], tmp_path: Path):
    """`add` of a job's folder as Databento makes it, then `demo`, here without the server: what the page opens is there."""
    job, lake = tmp_path / "GLBX-20251105-AAAA", tmp_path / "lake"
    job.mkdir()
    for path in raw_days.values():
        (job / path.name).write_bytes(path.read_bytes())
    listed = [{"filename": p.name, "hash": f"sha256:{hashlib.sha256(p.read_bytes()).hexdigest()}"} for p in raw_days.values()]
    (job / "manifest.json").write_text(json.dumps({"job_id": job.name, "files": listed}))
    (job / "condition.json").write_text(json.dumps([{"date": str(d), "condition": "available"} for d in raw_days]))
    (job / "metadata.json").write_text("{}")
    (job / "symbology.json").write_text("{}")
    printed = spymaster("add", job, "--lake", lake).stdout.split("`")[1]
    spymaster(*printed.split()[1:], "--no-serve")
    place = Lake(lake)
    assert place.has(LADDER, "ESZ5", TUESDAY)
    assert place.has(LEVELS, "ESZ5", TUESDAY)
