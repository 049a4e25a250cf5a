"""What ``spymaster serve`` makes of its options before it starts; the server itself is in ``tests/ui/test_access_attacks.py``."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.commands import serve
from engine.errors import EngineError, SessionError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "spymaster"


def test_servers_that_start_at_once_have_one_key(folder: Path):
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: serve.secret_of("passes 5006"), range(8)))
    assert len(found) == 1
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    assert serve.secret_of("passes 5007") not in found
    assert serve.secret_of("passes 5006", new=True) not in found


def test_a_key_is_kept_where_files_have_one_name_only(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """On file systems of cards and shares a second name is refused."""

    def refused(*args: object, **kwargs: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    folder.mkdir(mode=0o700)
    (folder / ".key-1-abcd").touch(0o600)
    assert serve.secret_of("x") == serve.secret_of("x")
    assert [p.name for p in folder.iterdir()] == ["key"], "nothing is left beside it"


@pytest.mark.parametrize(
    ("content", "mode", "said"), [(b"x" * 31, 0o600, "found 31"), (b"", 0o600, "found 0"), (b"x" * 32, 0o644, "only this user")]
)
def test_a_key_that_is_none_is_a_sentence(folder: Path, content: bytes, mode: int, said: str):
    folder.mkdir(mode=0o700)
    (folder / "key").write_bytes(content)
    (folder / "key").chmod(mode)
    with pytest.raises(EngineError, match=said):
        serve.secret_of("x")


@pytest.mark.parametrize(
    ("given", "answers"),
    [
        ("Desk.example", "desk.example"),
        ("desk.example:8443", "desk.example:8443"),
        ("localhost:8080", "localhost:8080"),
        ("192.0.2.7:80", "192.0.2.7:80"),
        ("2001:DB8:0::7", "[2001:db8::7]"),
        ("[2001:db8::7]:443", "[2001:db8::7]:443"),
        ("[::1]", "[::1]"),
    ],
)
def test_a_host_is_as_a_browser_s_header_says_it(given: str, answers: str):
    assert serve._named(given) == answers


@pytest.mark.parametrize(
    "given", ["", "https://desk.example", "https://desk.example:443", "desk.example/", "a b", "a,b", "fe80::1%eth0", "0", "a:b"]
)
def test_a_host_that_no_header_says_is_a_sentence(given: str):
    with pytest.raises(SessionError, match="--host"):
        serve._named(given)


@pytest.mark.parametrize(
    ("given", "bound"),
    [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("0:0::0", "::"), ("::ffff:127.0.0.1", "127.0.0.1"), ("Desk", "desk")],
)
def test_an_address_is_in_its_short_form(given: str, bound: str):
    assert serve._plain("--address", given) == bound
