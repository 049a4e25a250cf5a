"""``spymaster download`` against a server of our own on loopback, over TLS, asked by Databento's own client."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from engine.cli import main
from engine.commands.download import Request, runs_of
from engine.commands.pieces import salvage
from engine.lake.catalog import BRONZE_MBO
from engine.lake.store import Lake
from engine.mbo.dbn import COLUMN_TYPES, read_metadata, stream_part
from engine.stages.bronze import build_bronze
from engine.stages.raw import raw_index, read_conditions
from tests.support.databento_server import CHUNK, KEY, USD_PER_BYTE, Account, Market, Server
from tests.support.dbn_files import DAY_NS, utc_ns
from tests.support.deliveries import orders
from tests.support.lakes import ROOT, spymaster

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
    left = [p for p in (lake / "raw/.download").rglob("*") if p.is_file() and p.name not in (".lock", "jobs.json")]
    assert not left


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
    import json

    lake = tmp_path / "lake"
    folder = lake / "raw/.download/ES"
    folder.mkdir(parents=True)
    end = str(DAYS[1])
    job = {"schema": "mbo", "start": str(MONDAY), "end": end, "ordered": dt.datetime.now(dt.UTC).isoformat(), "cost": 1.0, "id": None}
    (folder / "jobs.json").write_text(json.dumps([job]))
    account.short = True
    fields = {"dataset": "GLBX.MDP3", "schema": "mbo", "symbols": "ES.FUT", "stype_in": "parent", "state": "queued", "ts_received": ""}
    account.jobs["GLBX-1"] = fields | {"id": "GLBX-1", "start": f"{MONDAY}T00:00:00.000000000Z", "end": f"{end}T00:00:00.000000000Z"}
    account.jobs["GLBX-0"] = account.jobs["GLBX-1"] | {"id": "GLBX-0", "symbols": "NQ.FUT"}
    ask(server, lake, "--dates", str(MONDAY))
    assert len(account.jobs) == 2
    require_complete(lake, market, DAYS[:1])


def run_in_child(words: list[str], env: dict[str, str]) -> None:
    """The command line in a process of its own, begun by fork, so that it is quick to start and kill."""
    os.environ.update(env)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    try:
        main(words)
    except SystemExit as e:
        os._exit(int(e.code is not None and e.code != 0))
    os._exit(0)


@pytest.mark.parametrize("how", [STREAM, BATCH], ids=["streams", "batch job"])
@pytest.mark.long
def test_killed_at_twenty_random_moments_it_pays_once_and_ends_complete(market: Market, tmp_path: Path, how: tuple[str, str]):
    """A kill in a stream may lose what was on the way, at most some chunks; a job is ordered once."""
    import databento  # noqa: F401  (loaded before the forks)

    draw, fork, days = random.Random(9), multiprocessing.get_context("fork"), DAYS[:3]
    kills = rounds = 0
    while kills < 20:
        account, lake, killed = Account(market, pause=0.01), tmp_path / f"lake{rounds}", 0
        rounds += 1
        with Server(account, tmp_path) as server:
            words = ["download", "--symbol", "ES", "--lake", str(lake), "--dates", f"{days[0]}:{days[-1]}", *how, "--max-usd", "10"]
            for lives in range(40):
                child: Any = fork.Process(target=run_in_child, args=(words, server.env))
                child.start()
                child.join(draw.uniform(0.05, 1.5) if kills < 20 else None)
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
