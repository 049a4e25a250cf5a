"""``spymaster download`` against a server of our own on loopback, over TLS, asked by Databento's own client."""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import databento_dbn as dbn
import numpy as np
import pytest
import zstandard

from engine.commands.databento_client import Client
from engine.commands.download import Covered, Request, lacks, runs_of, sessions_back
from engine.commands.pieces import salvage
from engine.lake.catalog import BRONZE_MBO
from engine.lake.store import Lake
from engine.mbo.dbn import COLUMN_TYPES, read_metadata, stream_part
from engine.stages.bronze import build_bronze
from engine.stages.raw import facts_path, raw_index, read_conditions
from engine.vocab import root_of
from tests.support.databento_server import CHUNK, KEY, USD_PER_BYTE, Account, Market, Server, run_alone
from tests.support.dbn_files import DAY_NS, utc_ns
from tests.support.deliveries import HOUR_NS, head, mapped, orders, put
from tests.support.lakes import RAW, ROOT, spymaster

MONDAY = dt.date(2025, 11, 3)
DAYS = [MONDAY + dt.timedelta(days=i) for i in range(5)]
BATCH, STREAM = ("--stream-gb", "0"), ("--stream-gb", "2")


@pytest.fixture(scope="module")
def market() -> Market:
    days = {d: orders(utc_ns(d), utc_ns(d) + DAY_NS, {17077: 250_000_000}, 60 * 10**9) for d in DAYS}
    return Market(days, {DAYS[2]: "degraded"})


@pytest.fixture
def account(market: Market) -> Account:
    return Account(market)


@pytest.fixture
def server(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(account, tmp_path_factory.mktemp("server")) as running:
        yield running


def ask(server: Server, lake: Path, *options: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    return spymaster("download", "--symbol", "ES", "--lake", lake, *options, check=check, env=server.env)


def span(first: int = 0, last: int = 4) -> tuple[str, str]:
    return "--dates", f"{DAYS[first]}:{DAYS[last]}"


def require_complete(lake: Path, market: Market, days: list[dt.date]) -> None:
    """The lake has these dates, whole, with every record of each."""
    place = Lake(lake)
    index = raw_index(place, "ES")
    assert index.dates("ES") == days
    for date in days:
        ((day, symbols),) = index.of("ESZ5", date)
        assert day.spans == [(utc_ns(date), utc_ns(date) + DAY_NS)]
        build_bronze(place, day, symbols)
        frame, records = place.read(BRONZE_MBO, "ESZ5", date), market.days[date]
        assert frame.height == len(records)
        for column in ("ts_recv", "order_id", "price", "size"):
            np.testing.assert_array_equal(frame[column].to_numpy(), records[column])


def write_ledger(lake: Path, job_id: str | None, first: dt.date = MONDAY, end: dt.date = DAYS[1]) -> Path:
    """What a run writes down of a batch job that it orders, and its id where it heard it."""
    now = dt.datetime.now(dt.UTC).isoformat()
    job = {"schema": "mbo", "start": str(first), "end": str(end), "ordered": now, "cost": 1.0, "id": job_id}
    path = lake / "raw/.download/ES/jobs.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([job]))
    return path


def left_over(lake: Path) -> list[Path]:
    """What is in the folder of downloads that a complete one has not."""
    return [p for p in (lake / "raw/.download").rglob("*") if p.name not in ("ES", ".lock", "jobs.json", "received.json")]


def bill(market: Market, days: list[dt.date]) -> int:
    return sum(market.days[d].nbytes for d in days)


@pytest.mark.parametrize("how", [STREAM, BATCH], ids=["streams", "batch job"])
def test_price_first_then_every_date_once(server: Server, account: Account, market: Market, tmp_path: Path, how: tuple[str, str]):
    lake = tmp_path / "lake"
    cost = bill(market, DAYS) * USD_PER_BYTE
    refused = ask(server, lake, *span(), *how, check=False)
    assert refused.returncode == 1
    assert f"the price is USD {cost:.2f}, and nobody is there to be asked: --max-usd" in refused.stderr
    for date in DAYS:
        assert str(date) in refused.stderr
    assert "degraded" in refused.stderr
    dear = ask(server, lake, *span(), *how, "--max-usd", "0.01", check=False)
    assert f"the price is USD {cost:.2f}, above --max-usd 0.01" in dear.stderr
    assert (account.streamed, len(account.jobs)) == (0, 0)
    # The consent that it printed is the one that it takes.
    consent = refused.stderr.partition("--max-usd ")[2].split()[0]
    done = ask(server, lake, *span(), *how, "--max-usd", consent)
    assert f"spymaster demo --lake {lake}" in done.stdout
    require_complete(lake, market, DAYS)
    assert read_conditions(Lake(lake))[DAYS[2]] == "degraded"
    assert (account.streamed, len(account.jobs)) == ((bill(market, DAYS), 0) if how is STREAM else (0, 1))
    again = ask(server, lake, *span(), *how)
    assert "nothing to ask for" in again.stderr
    assert (account.count("timeseries.get_range"), account.count("batch.submit_job")) == ((5, 0) if how is STREAM else (0, 1))
    assert not left_over(lake)


def test_only_what_the_lake_lacks_is_asked_for(server: Server, account: Account, market: Market, tmp_path: Path):
    lake = tmp_path / "lake"
    ask(server, lake, "--dates", str(DAYS[2]), "--max-usd", "10")
    ask(server, lake, *span(), *BATCH, "--max-usd", "10")
    # The date in the middle is there: two jobs around it.
    assert [(j["start"][:10], j["end"][:10]) for j in account.jobs.values()] == [
        (str(DAYS[0]), str(DAYS[2])), (str(DAYS[3]), str(DAYS[4] + dt.timedelta(days=1))),
    ]  # fmt: skip
    require_complete(lake, market, DAYS)


def test_definitions_come_too_and_are_not_asked_for_again(server: Server, account: Account, tmp_path: Path):
    lake = tmp_path / "lake"
    wanted = ("--dates", f"{DAYS[0]}:{DAYS[1]}", "--schemas", "mbo,definition", "--max-usd", "10")
    ask(server, lake, *wanted)
    table = lake / "raw/source=databento/product_type=future/symbol=ES/table=definition_dbn"
    assert len(list(table.iterdir())) == 2
    before = account.count("timeseries.get_range")
    assert "nothing to ask for" in ask(server, lake, *wanted).stderr
    assert account.count("timeseries.get_range") == before == 4


def test_the_last_sessions_with_what_they_need(server: Server, account: Account, market: Market, tmp_path: Path):
    lake = tmp_path / "lake"
    ask(server, lake, "--last", "2", "--max-usd", "10")
    require_complete(lake, market, DAYS[2:])  # Thursday and Friday, and Wednesday's regular hours before them


def test_missing_and_pending_dates_are_named_and_not_asked_for(server: Server, account: Account, market: Market, tmp_path: Path):
    account.market = Market(market.days, {DAYS[0]: "missing", DAYS[4]: "pending"})
    lake = tmp_path / "lake"
    done = ask(server, lake, *span(), "--max-usd", "10")
    assert f"Databento calls {DAYS[0]} missing: not asked for" in done.stderr
    assert f"Databento calls {DAYS[4]} pending: not asked for" in done.stderr
    require_complete(lake, market, DAYS[1:4])


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("metadata.get_dataset_condition", 401, "the key was refused; check DATABENTO_API_KEY"),
        ("metadata.get_cost", 403, "the account may not have these data"),
        ("timeseries.get_range", 402, "Databento wants payment"),
        ("timeseries.get_range", 422, "the request was refused as it is"),
        ("metadata.get_billable_size", 500, "Databento's server failed"),
        ("metadata.get_billable_size", 429, "too many requests"),
    ],
)
def test_refusals_are_named(
    server: Server, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, status: int, said: str
):
    monkeypatch.setattr("engine.commands.databento_client.LONGEST_WAIT", 0.01)
    account.trouble[path] = [(status, {})] * 20
    failed = ask(server, tmp_path / "lake", "--dates", str(MONDAY), "--max-usd", "10", check=False)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("DownloadFailed: ")
    assert said in failed.stderr
    assert f"case_{status}" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert account.streamed == 0


@pytest.mark.parametrize("how", [STREAM, BATCH], ids=["streams", "batch job"])
def test_troubles_that_pass_do_not_stop_it(
    server: Server, account: Account, market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: tuple[str, str]
):
    monkeypatch.setattr("engine.commands.databento_client.LONGEST_WAIT", 0.01)
    monkeypatch.setattr("engine.commands.batch_jobs.LOOK_AGAIN", 0.01)
    paths = ("metadata.get_dataset_condition", "metadata.get_billable_size", "timeseries.get_range", "batch.submit_job", "batch.list_files")
    for p in paths:
        account.trouble[p] = [(429, {"Retry-After": "0"}), (503, {}), (504, {})]
    account.lose_answer = True
    account.break_after = [CHUNK, 3 * CHUNK, CHUNK]
    account.harm = {f"glbx-mdp3-{DAYS[1]:%Y%m%d}.mbo.dbn.zst"}
    lake = tmp_path / "lake"
    ask(server, lake, *span(0, 1), *how, "--max-usd", "10")
    require_complete(lake, market, DAYS[:2])
    if how is BATCH:
        assert len(account.jobs) == 1  # also where the answer to its order was lost
    else:
        # Three breaks: no record is streamed twice but those of the instant in which a stream broke.
        assert bill(market, DAYS[:2]) <= account.streamed <= bill(market, DAYS[:2]) + 3 * 2 * CHUNK


def test_a_server_that_is_not_there_or_not_trusted(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engine.commands.databento_client.LONGEST_WAIT", 0.01)
    wanted = ("download", "--symbol", "ES", "--lake", tmp_path / "lake", "--dates", MONDAY)
    gone = {**server.env, "SPYMASTER_DATABENTO_GATEWAY": "https://localhost:9"}
    done = spymaster(*wanted, env=gone, check=False)
    assert "the connection to Databento failed" in done.stderr
    untrusted = {**server.env, "REQUESTS_CA_BUNDLE": ""}
    assert "certificate verify failed" in spymaster(*wanted, env=untrusted, check=False).stderr


def test_the_key_is_never_shown_or_stored(server: Server, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engine.commands.databento_client.LONGEST_WAIT", 0.01)
    lake = tmp_path / "lake"
    runs = [ask(server, lake, "--dates", str(MONDAY), *how, "--max-usd", "10") for how in (STREAM, BATCH)]
    account.trouble["metadata.get_cost"] = [(500, {"x": KEY})] * 9
    runs.append(ask(server, lake, "--dates", str(DAYS[1]), check=False))
    spoken = "".join(r.stdout + r.stderr for r in runs)
    assert KEY not in spoken
    assert KEY[-5:] not in spoken
    for path in lake.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    for key in ("", "  ", "with\nnewline-in-it"):
        done = spymaster(
            "download", "--symbol", "ES", "--dates", MONDAY, "--lake", lake, env={**server.env, "DATABENTO_API_KEY": key}, check=False
        )
        assert "DATABENTO_API_KEY" in done.stderr
        assert "newline" not in done.stderr


def test_a_harmed_file_is_fetched_twice_and_then_named(server: Server, account: Account, tmp_path: Path):
    name = f"glbx-mdp3-{MONDAY:%Y%m%d}.mbo.dbn.zst"

    class Always(set[str]):
        def discard(self, element: str) -> None:
            """It stays harmed."""

    account.harm = Always({name})
    failed = ask(server, tmp_path / "lake", "--dates", str(MONDAY), *BATCH, "--max-usd", "10", check=False)
    assert f"{name} of GLBX-20251120-0000000000: expected" in failed.stderr
    assert not list((tmp_path / "lake/raw").rglob("table=*/*.dbn.zst"))
    # Harm that is mended: the job that was paid is used, and no other ordered.
    account.harm = set()
    ask(server, tmp_path / "lake", "--dates", str(MONDAY), *BATCH)
    assert len(account.jobs) == 1


def test_a_job_whose_answer_died_with_the_run_is_found_again(server: Server, account: Account, market: Market, tmp_path: Path):
    """Killed between the order and its answer, and the list of jobs is the short one: the job is known by its details."""
    lake = tmp_path / "lake"
    write_ledger(lake, None)
    account.short = True
    account.job("GLBX-1", MONDAY, DAYS[1])
    account.job("GLBX-0", MONDAY, DAYS[1], symbols="NQ.FUT")
    ask(server, lake, "--dates", str(MONDAY))
    assert len(account.jobs) == 2
    require_complete(lake, market, DAYS[:1])


@pytest.mark.parametrize("how", [STREAM, BATCH], ids=["streams", "batch job"])
@pytest.mark.parametrize("moments", [3, pytest.param(20, marks=pytest.mark.long)])
def test_killed_at_random_moments_it_pays_once_and_ends_complete(market: Market, tmp_path: Path, moments: int, how: tuple[str, str]):
    """A kill in a stream may lose what was on the way, at most some chunks, which are streamed again; a job is ordered once."""
    fork = multiprocessing.get_context("forkserver")
    fork.set_forkserver_preload(
        ["pytest", "databento", "engine.cli", "engine.commands.download", "engine.stages.intake", run_alone.__module__]
    )
    draw, days = random.Random(9), DAYS[: 3 if moments == 20 else 2]
    kills = rounds = 0
    while kills < moments:
        account, lake, killed = Account(market, pause=0.01), tmp_path / f"lake{rounds}", 0
        rounds += 1
        with Server(account, tmp_path) as server:
            words = ["download", "--symbol", "ES", "--lake", str(lake), "--dates", f"{days[0]}:{days[-1]}", *how, "--max-usd", "10"]
            for lives in range(40):
                child: Any = fork.Process(target=run_alone, args=(words, server.env))
                child.start()
                child.join(draw.uniform(0.05, 1.5) if kills < moments else None)
                if child.exitcode is None:
                    os.kill(child.pid, signal.SIGKILL)
                    child.join()
                    kills, killed = kills + 1, killed + 1
                elif child.exitcode == 0:
                    break
                else:
                    pytest.fail(f"life {lives} ended with {child.exitcode}")
                time.sleep(0.05)  # what was on its way to the dead one is counted
            require_complete(lake, market, days)
            if how is BATCH:
                assert len(account.jobs) == 1
            else:
                assert account.streamed <= bill(market, days) + killed * 4 * CHUNK


def test_what_a_stream_has_begun_goes_on_as_one_and_the_rest_is_ordered(server: Server, account: Account, market: Market, tmp_path: Path):
    """A job is of whole dates: over one that is here in part it would order, and cost, more than was agreed to."""
    lake = tmp_path / "lake"
    account.break_after, account.trouble["timeseries.get_range"] = [4 * CHUNK], [None, (402, {})]
    broken = ask(server, lake, *span(0, 0), "--max-usd", "10", check=False)
    assert "Databento wants payment" in broken.stderr
    before = account.streamed
    done = json.loads(ask(server, lake, *span(0, 2), *BATCH, "--max-usd", "10", "--json").stdout)
    assert [(j["start"][:10], j["end"][:10]) for j in account.jobs.values()] == [(str(DAYS[1]), str(DAYS[3]))]
    paid = (account.streamed - before + bill(market, DAYS[1:3])) * USD_PER_BYTE
    assert done["paid_usd"] == pytest.approx(paid, abs=1e-6)
    assert before < bill(market, DAYS[:1]) <= account.streamed <= bill(market, DAYS[:1]) + 2 * CHUNK
    require_complete(lake, market, DAYS[:3])
    assert not left_over(lake)


def test_a_job_that_the_account_does_not_know_is_not_ordered_again(
    server: Server, account: Account, market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("engine.commands.batch_jobs.ABSENT_FOR", 0.0)
    lake = tmp_path / "lake"
    ledger = write_ledger(lake, "GLBX-7")
    failed = ask(server, lake, *span(0, 1), "--max-usd", "10", check=False)
    assert failed.returncode == 1
    assert f"the batch job GLBX-7 (mbo {MONDAY} to {DAYS[1]}), ordered " in failed.stderr
    assert "is not among the jobs of this account: it is not ordered anew, which would cost again" in failed.stderr
    assert json.loads(ledger.read_text())[0]["id"] == "GLBX-7"
    assert (account.jobs, account.streamed) == ({}, bill(market, DAYS[1:2]))
    require_complete(lake, market, DAYS[1:2])
    # It is there after all, though no list has it: what was paid is fetched.
    account.job("GLBX-7", MONDAY, DAYS[1], state="done")
    account.unlisted = {"GLBX-7"}
    ask(server, lake, *span(0, 1))
    require_complete(lake, market, DAYS[:2])
    assert (len(account.jobs), account.streamed) == (1, bill(market, DAYS[1:2]))


def test_a_job_that_has_expired_is_ordered_anew_only_by_another_run(server: Server, account: Account, market: Market, tmp_path: Path):
    lake = tmp_path / "lake"
    write_ledger(lake, "GLBX-7")
    account.job("GLBX-7", MONDAY, DAYS[1], state="expired")
    failed = ask(server, lake, *span(0, 0), "--max-usd", "10", check=False)
    assert "has expired: Databento keeps files for 30 days. It was paid, and is forgotten now" in failed.stderr
    assert (len(account.jobs), account.streamed) == (1, 0)
    ask(server, lake, *span(0, 0), "--max-usd", "10")
    require_complete(lake, market, DAYS[:1])


@pytest.mark.parametrize(("state", "said"), [("expired", "has expired"), (None, "was not taken, nor paid")])
def test_an_order_of_an_earlier_run_is_not_sent_without_being_agreed_to(
    server: Server, account: Account, tmp_path: Path, state: str | None, said: str
):
    lake = tmp_path / "lake"
    write_ledger(lake, None)
    if state is not None:
        account.job("GLBX-7", MONDAY, DAYS[1], state=state)
    failed = ask(server, lake, *span(0, 0), "--max-usd", "0", check=False)
    assert said in failed.stderr
    assert account.count("batch.submit_job") == account.streamed == 0


def test_a_piece_that_nothing_can_be_saved_of_is_named(server: Server, account: Account, market: Market, tmp_path: Path):
    """Its metadata are of a version that does not exist: what is saved of it has the same."""
    lake = tmp_path / "lake"
    folder = lake / "raw/.download/ES"
    folder.mkdir(parents=True)
    head = bytearray(market.metadata("mbo", utc_ns(MONDAY), utc_ns(MONDAY) + DAY_NS))
    head[3] = 200
    piece = folder / f"glbx-mdp3-{MONDAY:%Y%m%d}.mbo.ES.0.dbn.zst"
    piece.write_bytes(zstandard.compress(bytes(head) + market.days[MONDAY].tobytes()))
    failed = ask(server, lake, *span(0, 0), *STREAM, "--max-usd", "10", check=False)
    assert f"{piece}: " in failed.stderr
    assert "it is kept: move it away to have its date asked for anew" in failed.stderr
    assert piece.exists()


@pytest.mark.parametrize(
    ("skew", "late"), [(dt.timedelta(hours=-3), 0), (dt.timedelta(hours=3), 0), (dt.timedelta(), 2)], ids=["fast", "slow", "late"]
)
def test_an_order_whose_answer_was_lost_is_found(
    server: Server, account: Account, market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skew: dt.timedelta, late: int
):
    """Also where this machine's clock is another one, and where lists of jobs have it late; jobs that are not quite the same are not it."""
    monkeypatch.setattr("engine.commands.databento_client.LONGEST_WAIT", 0.01)
    monkeypatch.setattr("engine.commands.batch_jobs.LOOK_AGAIN", 0.01)
    account.skew = skew
    others = ({"encoding": "csv"}, {"split_duration": "none"}, {"stype_in": "raw_symbol"}, {"start": f"{MONDAY}T12:00:00.000000000Z"})
    for i, other in enumerate(others):
        account.job(f"GLBX-{i}", MONDAY, DAYS[1], **other)
    account.lose_answer, account.late = True, late
    lake = tmp_path / "lake"
    ask(server, lake, *span(0, 0), *BATCH, "--max-usd", "10")
    assert account.count("batch.submit_job") == 1
    assert len(account.jobs) == len(others) + 1
    require_complete(lake, market, DAYS[:1])


def test_an_order_that_is_refused_is_not_remembered(
    server: Server, account: Account, market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    account.trouble["batch.submit_job"] = [(402, {})]
    lake = tmp_path / "lake"
    refused = ask(server, lake, *span(0, 0), *BATCH, "--max-usd", "10", check=False)
    assert "Databento wants payment" in refused.stderr
    ask(server, lake, *span(0, 0), *STREAM, "--max-usd", "10")
    assert not account.jobs
    require_complete(lake, market, DAYS[:1])


@pytest.mark.parametrize("option", ["--max-usd", "--stream-gb"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_only_a_number_is_a_price(server: Server, account: Account, tmp_path: Path, option: str, value: str):
    refused = ask(server, tmp_path / "lake", *span(0, 0), f"{option}={value}", check=False)
    assert f"{option} {float(value)}: expected a number that is 0 or more" in refused.stderr
    assert not account.asked


def part_of(market: Market, folder: Path, name: str, hours: tuple[int, int], every: bool, records: np.ndarray | None = None) -> Path:
    """Monday's `hours`, by UTC, as a file of a request for all contracts, or for one."""
    start, end = (utc_ns(MONDAY) + h * HOUR_NS for h in hours)
    if records is None:
        records = market.days[MONDAY]
        records = records[(records["ts_recv"] >= start) & (records["ts_recv"] < end)]
    asked = dbn.SType.PARENT if every else dbn.SType.RAW_SYMBOL
    return put(folder / name, head(start, end, mapped(MONDAY, {17077: "ESZ5"}), stype_in=asked), records)


@pytest.mark.parametrize(
    ("hours", "every", "said"),
    [((9, 10), True, "09:00 to 10:00 UTC"), ((0, 24), False, "some contracts"), ((0, 22), True, "00:00 to 22:00 UTC")],
    ids=["an hour", "a contract", "without the evening"],
)
def test_a_part_of_a_date_is_not_taken_for_the_date(
    server: Server, account: Account, market: Market, tmp_path: Path, hours: tuple[int, int], every: bool, said: str
):
    lake = tmp_path / "lake"
    spymaster("add", part_of(market, tmp_path, "part.dbn.zst", hours, every), "--lake", lake)
    done = ask(server, lake, *span(0, 0), "--max-usd", "10")
    assert f"the lake has a part of mbo of {MONDAY} only, {said}: all of it is asked for" in done.stderr
    assert account.streamed == bill(market, DAYS[:1])
    require_complete(lake, market, DAYS[:1])
    assert "nothing to ask for" in ask(server, lake, *span(0, 0)).stderr


@pytest.mark.parametrize("how", [STREAM, BATCH], ids=["streams", "batch job"])
def test_what_was_bought_is_not_bought_again_whatever_its_header_says(
    server: Server, account: Account, market: Market, tmp_path: Path, how: tuple[str, str]
):
    lake = tmp_path / "lake"
    account.market = Market(market.days, stype_in=dbn.SType.RAW_SYMBOL)
    ask(server, lake, *span(0, 1), *how, "--max-usd", "10")
    assert "nothing to ask for" in ask(server, lake, *span(0, 1)).stderr
    # But where it was removed, it is wanted.
    for path in (lake / RAW).glob(f"*{MONDAY:%Y%m%d}*"):
        path.unlink()
    ask(server, lake, *span(0, 1), *STREAM, "--max-usd", "10")
    assert account.streamed == bill(market, DAYS[:1] if how is BATCH else [*DAYS[:2], MONDAY])
    require_complete(lake, market, DAYS[:2])


def test_hours_in_which_nothing_is_traded_need_not_be_there():
    """Files of Globex sessions leave 17:00 to 18:00 New York out, and a weekend's date most of its hours; 22:00 to 23:00 UTC in winter."""

    def covered(date: dt.date, *hours: tuple[float, float], every: bool = True) -> list[Covered]:
        return [Covered(utc_ns(date) + round(a * HOUR_NS), utc_ns(date) + round(b * HOUR_NS), every) for a, b in hours]

    friday, saturday, sunday = (DAYS[4] + dt.timedelta(days=i) for i in range(3))
    assert lacks(MONDAY, covered(MONDAY, (23, 47), (-1, 22))) is None
    assert lacks(MONDAY, covered(MONDAY, (0, 12), (11, 22), (22.99, 24))) is None
    assert lacks(MONDAY, covered(MONDAY, (-1, 12), (12.5, 24))) == "00:00 to 12:00, 12:30 to 00:00 UTC"
    assert lacks(MONDAY, covered(MONDAY, (23.5, 24), (0, 22))) == "00:00 to 22:00, 23:30 to 00:00 UTC"
    assert lacks(MONDAY, [*covered(MONDAY, (0, 12)), *covered(MONDAY, (0, 24), every=False)]) == "00:00 to 12:00 UTC"
    assert lacks(MONDAY, []) == ""
    assert lacks(friday, covered(friday, (0, 22))) is None
    assert lacks(sunday, covered(sunday, (23, 24))) is None
    assert lacks(sunday, covered(sunday, (0, 23))) == "00:00 to 23:00 UTC"
    assert (lacks(saturday, []), lacks(saturday, covered(saturday, (0, 1)))) == ("", None)
    summer = dt.date(2025, 7, 8)  # an hour earlier
    assert lacks(summer, covered(summer, (0, 21), (22, 24))) is None
    assert lacks(summer, covered(summer, (0, 22), (23, 24))) is not None


@pytest.mark.parametrize("how", [STREAM, BATCH], ids=["streams", "batch job"])
def test_a_date_that_cannot_be_added_stops_no_other_and_is_not_paid_again(
    server: Server, account: Account, market: Market, tmp_path: Path, how: tuple[str, str]
):
    lake = tmp_path / "lake"
    strange = orders(utc_ns(MONDAY) + 9 * HOUR_NS, utc_ns(MONDAY) + 10 * HOUR_NS, {17077: 250_000_000}, 7 * 10**9)
    spymaster("add", part_of(market, tmp_path, "strange.dbn.zst", (9, 10), True, strange), "--lake", lake)
    place = lake / RAW / "strange.dbn.zst"

    def paid() -> int:
        whole = ((dt.date.fromisoformat(j[k][:10]) for k in ("start", "end")) for j in account.jobs.values())
        return account.streamed + sum(bill(market, [d for d in DAYS if a <= d < b]) for a, b in whole)

    failed = ask(server, lake, *span(0, 1), *how, "--max-usd", "10", check=False)
    assert failed.returncode == 1
    folder = lake / "raw/.download/ES" / (f"glbx-mdp3-{MONDAY:%Y%m%d}.mbo.ES.*" if how is STREAM else "GLBX-20251120-0000000000")
    assert f"what was downloaded to {folder} could not be added:" in failed.stderr
    assert f"is there already: {place}, which holds records that this file does not" in failed.stderr
    assert f"run again, which pays nothing for it; or remove {folder} to let go of it" in failed.stderr
    assert paid() == bill(market, DAYS[:2])
    assert raw_index(Lake(lake), "ES").dates("ES") == DAYS[:2]
    again = ask(server, lake, *span(0, 2), *how, "--max-usd", "10", check=False)
    assert again.returncode == 1
    assert paid() == bill(market, DAYS[:3])
    # The way is free: it is added, and nothing is paid.
    facts_path(Lake(lake), place).unlink()
    place.unlink()
    ask(server, lake, *span(0, 2), *how)
    require_complete(lake, market, DAYS[:3])
    assert paid() == bill(market, DAYS[:3])
    assert not left_over(lake)


@pytest.mark.parametrize("how", [STREAM, BATCH], ids=["streams", "batch job"])
def test_what_a_user_removes_is_let_go_of(server: Server, account: Account, market: Market, tmp_path: Path, how: tuple[str, str]):
    lake = tmp_path / "lake"
    strange = orders(utc_ns(MONDAY) + 9 * HOUR_NS, utc_ns(MONDAY) + 10 * HOUR_NS, {17077: 250_000_000}, 7 * 10**9)
    spymaster("add", part_of(market, tmp_path, "strange.dbn.zst", (9, 10), True, strange), "--lake", lake)
    failed = ask(server, lake, *span(0, 0), *how, "--max-usd", "10", check=False)
    place = failed.stderr.rpartition("or remove ")[2].split()[0]
    subprocess.run(f"rm -r {place}", shell=True, check=True)
    done = ask(server, lake, *span(1, 1), *STREAM, "--max-usd", "10")
    assert how is STREAM or "it is let go of" in done.stderr
    assert not left_over(lake)
    assert f"the lake has a part of mbo of {MONDAY} only" in ask(server, lake, *span(0, 0), check=False).stderr


@pytest.mark.parametrize("share", [0.66, 0.0], ids=["a harmed end", "nothing"])
def test_a_last_piece_that_is_damaged_is_asked_for_again(server: Server, account: Account, market: Market, tmp_path: Path, share: float):
    """All had come, as its name says, and a power cut took some of it from the disk."""
    lake = tmp_path / "lake"
    content = market.file("mbo", MONDAY)
    piece = lake / f"raw/.download/ES/glbx-mdp3-{MONDAY:%Y%m%d}.mbo.ES.0.dbn.zst"
    piece.parent.mkdir(parents=True)
    piece.write_bytes(content[: int(len(content) * share)])
    ask(server, lake, *span(0, 0), "--max-usd", "10")
    require_complete(lake, market, DAYS[:1])
    assert not left_over(lake)


def test_a_stream_is_on_the_disk_before_it_has_the_name_of_a_whole_one(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    flushed: list[str] = []
    fsync = os.fsync

    def note(fd: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", note)
    ask(server, tmp_path / "lake", *span(0, 0), "--max-usd", "10")
    assert [Path(p).name for p in flushed if p.endswith(".part")] == [f"glbx-mdp3-{MONDAY:%Y%m%d}.mbo.ES.0.part"]


def test_what_the_lake_has_is_told_by_what_files_hold_not_by_their_names(server: Server, account: Account, market: Market, tmp_path: Path):
    """A file of definitions over three dates, whose name has no date, or one that there is not."""
    lake, start, end = tmp_path / "lake", utc_ns(MONDAY), utc_ns(DAYS[3])
    content = market.metadata("definition", start, end), market.part("definition", start, end)
    spymaster("add", put(tmp_path / "defs-20259912.dbn.zst", *content), "--lake", lake)
    wanted = ("--schemas", "definition")
    assert "nothing to ask for" in ask(server, lake, *span(0, 2), *wanted).stderr
    ask(server, lake, *span(0, 4), *wanted, "--max-usd", "10")
    assert [asked["start"][:10] for path, asked in account.asked if path == "timeseries.get_range"] == [str(d) for d in DAYS[3:]]


def test_the_last_sessions_are_those_of_the_roots_own_market(market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On 9 January 2025 the stock exchange mourned; crude oil was traded."""
    days = [dt.date(2025, 1, d) for d in range(6, 11)]
    with Server(Account(Market(dict.fromkeys(days, market.days[MONDAY]))), tmp_path) as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        client = Client(KEY)
        assert sessions_back(client, root_of("CL"), 2) == days[2:]
        assert sessions_back(client, root_of("ES"), 2) == days[1:]


def test_warnings_are_as_before_whatever_threads_ask(monkeypatch: pytest.MonkeyPatch):
    """The first that asked is answered while the second waits: what each did to the filters of the process would not be undone in order."""
    client, first, second, done = Client(KEY), threading.Event(), threading.Event(), threading.Event()
    before = list(warnings.filters)

    def wait_for_second() -> None:
        first.set()
        assert second.wait(10)

    def wait_for_first() -> None:
        second.set()
        assert done.wait(10)

    one = threading.Thread(target=client.ask, args=("the first", wait_for_second))
    two = threading.Thread(target=client.ask, args=("the second", wait_for_first))
    one.start()
    assert first.wait(10)
    two.start()
    one.join()
    done.set()
    two.join()
    assert warnings.filters == before


def test_beside_a_run_that_writes_nothing_is_asked_for(server: Server, account: Account, tmp_path: Path):
    lake = Lake(tmp_path / "lake")
    with lake.lock():
        refused = ask(server, lake.root, *span(2, 2), "--max-usd", "10", check=False)
    assert "is writing it; wait for it" in refused.stderr
    assert (account.streamed, read_conditions(lake)) == (0, {})


def test_salvage_keeps_whole_instants_wherever_a_stream_is_cut(market: Market, tmp_path: Path):
    date = DAYS[0]
    records = market.days[date]
    packer = zstandard.ZstdCompressor().compressobj()
    blocks = [packer.compress(b.tobytes()) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for b in np.array_split(records, 40)]
    metadata = zstandard.compress(market.metadata("mbo", utc_ns(date), utc_ns(date) + DAY_NS))
    whole = metadata + b"".join(blocks) + packer.flush()
    for share in (0.0, 0.001, 0.02, 0.3, 0.77, 0.999, 1.0):
        part, piece = tmp_path / "a.part", tmp_path / "a.dbn.zst"
        piece.unlink(missing_ok=True)
        part.write_bytes(whole[: int(len(whole) * share)])
        salvage(part, piece, 40)
        if not piece.exists():
            assert share < 0.3
            continue
        end = read_metadata(piece).end_ns
        assert end is not None
        expected = records[records["ts_recv"] < end]
        assert len(expected) >= len(records) * (share - 0.1)
        found = list(stream_part(piece, [17077]))
        for column in COLUMN_TYPES:
            got = np.concatenate([getattr(c, column) for c in found])
            if column not in ("action", "side"):
                np.testing.assert_array_equal(got, expected[column], err_msg=f"{share} {column}")
        assert len(list(tmp_path.iterdir())) == 2


def test_jobs_are_ordered_for_runs_of_dates():
    dates = [DAYS[0], DAYS[1], DAYS[3]]
    assert [[r.date for r in run] for run in runs_of([Request("mbo", d, 0) for d in dates])] == [DAYS[:2], [DAYS[3]]]


def test_without_a_terminal_nobody_is_asked_and_on_one_the_answer_counts(server: Server, account: Account, tmp_path: Path):
    words = [sys.executable, "-m", "engine.cli", "download", "--symbol", "ES", "--lake", str(tmp_path / "lake"), "--dates", str(MONDAY)]
    for answer, agreed in (("no\n", False), ("yes\n", True)):
        master, slave = os.openpty()
        child = subprocess.Popen(
            words, cwd=ROOT, stdin=slave, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, **server.env}
        )
        os.write(master, answer.encode())
        _, said = child.communicate(timeout=120)
        os.close(master)
        os.close(slave)
        assert b"Type yes:" in said
        assert (child.returncode == 0, account.streamed > 0) == (agreed, agreed), said
