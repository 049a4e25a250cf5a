"""``spymaster serve``: the screen, on this machine, or shared on purpose."""

from __future__ import annotations

import getpass
import hmac
import ipaddress
import os
import re
import secrets
import socket
import ssl
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import Parameter

from engine.commands.common import LakeDir
from engine.errors import EngineError, SessionError

APP = Path(__file__).resolve().parents[2] / "workbench" / "app.py"

SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 200

WILDCARDS = {"0.0.0.0": (socket.AF_INET, "192.0.2.1"), "::": (socket.AF_INET6, "2001:db8::1")}
"""Addresses that mean every interface: their family, and an address elsewhere (of the range for documentation)."""


def secret_of(purpose: str, *, new: bool = False) -> str:
    """A secret of this user for `purpose`, the same at every start, so that an open page goes on after the server was started again.

    It is derived from a random key in ``$XDG_STATE_HOME/spymaster/key`` (by default ``~/.local/state``), which only this user may read:
    EngineError where others may, or it cannot be kept. A `new` key makes the cookies of all browsers before it worthless.
    """
    path = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "spymaster" / "key"
    try:
        if new:
            path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in path.parent.glob(".key-*"):  # versions before wrote the key beside its name
            left.unlink(missing_ok=True)
        # Of two servers that start at once, one makes the key and both read it.
        with suppress(FileExistsError), os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
            f.write(secrets.token_bytes(32))
        if path.stat().st_mode & 0o077 or path.stat().st_uid != os.geteuid():
            raise EngineError(f"{path}: expected a file that only this user may read; `rm {path}`, and start again")
        for _ in range(20):  # the other one may have made the file, and be about to fill it
            if key := path.read_bytes():
                break
            time.sleep(0.05)
    except OSError as e:
        raise EngineError(f"{path}: the key of this user's servers cannot be kept: {e}; set XDG_STATE_HOME to a writable folder") from e
    if len(key) != 32:
        raise EngineError(f"{path}: expected 32 bytes, found {len(key)}; `rm {path}`, and start again")
    return hmac.new(key, purpose.encode(), "sha256").hexdigest()


NAME = re.compile(r"(?=.*[a-z])[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
"""A host's name in small letters; what has no letter, such as ``0``, is an address that some programs read and others refuse."""


def _plain(option: str, given: str) -> str:
    """An address in its short form, or a name, for the option that gave it; SessionError where no browser could open a page there."""
    text = given.strip().lower().removeprefix("[").removesuffix("]")
    if "%" in text:
        raise SessionError(f"{option} {given}: browsers open no address with a zone; give another one of this machine")
    if _is_address(text):
        return str(getattr(ipaddress.ip_address(text), "ipv4_mapped", None) or ipaddress.ip_address(text))
    if not NAME.fullmatch(text):
        raise SessionError(f"{option} {given!r}: expected an address such as 127.0.0.1, or a name without https:// and /")
    return text


def _named(given: str) -> str:
    name, _, port = given.rpartition(":")
    has_port = port.isdecimal() and (":" not in name or name.endswith("]"))
    return _literal(_plain("--host", name if has_port else given)) + (f":{port}" if has_port else "")


def is_loopback(address: str) -> bool:
    """Whether only programs of this machine reach `address`."""
    return _is_address(address) and ipaddress.ip_address(address).is_loopback


def own_addresses(address: str) -> list[str]:
    """Names and addresses by which others reach a server that is bound to `address`."""
    if address not in WILDCARDS:
        return [address]
    family, elsewhere = WILDCARDS[address]
    found = {socket.gethostname()}
    with suppress(OSError):
        found |= {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None, family)}
    # The address of the interface that leads out of this machine; connecting a datagram socket sends nothing.
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as s:
        s.connect((elsewhere, 9))
        found.add(s.getsockname()[0])
    return sorted(a for a in found if not is_loopback(a) and "%" not in a)


def given_password() -> str:
    """The password of ``SPYMASTER_PASSWORD``, else one that is asked for at the terminal; SessionError where nobody could sign in by it."""
    password = os.environ.get("SPYMASTER_PASSWORD")
    # A program that was started with its input closed has no `sys.stdin`.
    if password is None and sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty():
        with suppress(EOFError):
            password = getpass.getpass("Password for the screen: ")
    if password is None:
        raise SessionError("password: expected one in SPYMASTER_PASSWORD, or a terminal to ask at; --no-password serves without")
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise SessionError(f"password: expected at least {SHORTEST_PASSWORD} characters, at most {LONGEST_PASSWORD}, found {len(password)}")
    if not password.isprintable() or password != password.strip():
        raise SessionError("password: expected characters that can be typed, and no space at either end, where a browser's form loses it")
    return password


def check_certificate(cert: Path | None, key: Path | None) -> bool:
    """Whether to serve with TLS; SessionError where certificate and key do not fit."""
    if cert is None and key is None:
        return False
    if cert is None or key is None:
        raise SessionError("--cert and --key: expected both or none")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    except (OSError, ValueError) as e:
        raise SessionError(f"--cert {cert} --key {key}: expected a certificate and its key as PEM files: {e}") from e
    return True


def serve(
    *,
    lake: LakeDir = Path("lake"),
    port: Annotated[int, Parameter(help="Port on this machine.")] = 5006,
    address: Annotated[str, Parameter(help="Address to bind to; beyond loopback others can reach it (0.0.0.0: on every interface).")] = (
        "127.0.0.1"
    ),
    show: Annotated[bool, Parameter(negative=(), help="Open a browser.")] = False,
    host: Annotated[list[str] | None, Parameter(negative=(), help="A name by which the page may be reached, too; repeatable.")] = None,
    password: Annotated[
        bool | None, Parameter(help="Ask everyone for a password (SPYMASTER_PASSWORD, else asked for now); needed beyond loopback.")
    ] = None,
    token: Annotated[bool, Parameter(help="Without a password: ask each browser once for the secret of the printed address.")] = True,
    new_secret: Annotated[bool, Parameter(negative=(), help="Forget all browsers: passes and sign-ins of before end.")] = False,
    cert: Annotated[Path | None, Parameter(help="Certificate (PEM), for https; with --key.")] = None,
    key: Annotated[Path | None, Parameter(help="Key of the certificate (PEM).")] = None,
    query: Annotated[str, Parameter(help="What the printed address opens on, such as level=or_high&t=10:31:05.")] = "",
) -> None:
    """Serve the screen, bound to loopback unless told otherwise; Ctrl-C ends it.

    The secret of the printed address is another one at every start. A browser that opened it has a pass for a week: after the server was
    started again on the same port, pages that are open go on by themselves.

    Examples
    --------
    On this machine::

        spymaster serve
        spymaster serve --lake /data/lake --port 5007 --show

    To colleagues on the desk's network, encrypted, with a password that is asked for::

        spymaster serve --address 0.0.0.0 --cert desk.pem --key desk.key

    Behind a proxy that knows who may see it::

        spymaster serve --host desk.example --no-token
    """
    if not lake.is_dir():
        raise EngineError(f"lake {lake}: expected a folder, found none; `spymaster add FILE --lake {quote(str(lake))}` starts one")
    address = "127.0.0.1" if address == "localhost" else _plain("--address", address)
    names = [_named(h) for h in host or ()]
    shared = not is_loopback(address)
    if shared and password is None:
        raise SessionError(
            f"--address {address}: others can reach the screen there, and it needs a password: add --password (it is asked for, or taken "
            f"from SPYMASTER_PASSWORD), or --no-password where everyone who can reach this machine may see it"
        )
    encrypted = check_certificate(cert, key)
    check_port(address, port)
    if new_secret:
        secret_of("", new=True)
    # What Bokeh and Panel would take from there could have the page ask another host, or the server ask for a password.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("BOKEH_", "PANEL_"))}
    environment = {**kept, "SPYMASTER_LAKE": str(lake.resolve())}
    secret = ""
    if password:
        environment["PANEL_BASIC_AUTH"] = given_password()
        # Of the password, so that with another one the sign-ins of before end; not of the port, since a browser has one sign-in for all.
        environment["PANEL_COOKIE_SECRET"] = secret_of(f"cookies {environment['PANEL_BASIC_AUTH']}")
    elif token:
        secret = secrets.token_urlsafe(24)
        environment["SPYMASTER_COOKIE_KEY"] = secret_of(f"passes {port}")
    # Bokeh takes pages only from who got them from this start.
    environment |= {"BOKEH_SIGN_SESSIONS": "yes", "BOKEH_SECRET_KEY": secrets.token_hex(32)}
    hosts = [*names, *((a for a in own_addresses(address) if not _is_address(a)) if shared else ())]
    environment |= {"SPYMASTER_TOKEN": secret, "SPYMASTER_HOSTS": ",".join(hosts), "SPYMASTER_PASSWORD": ""}
    command = [sys.executable, "-m", "workbench", "serve", str(APP), "--address", address, "--port", str(port), "--warm"]
    # `workbench.access` checks the host of every request, so Bokeh's own check is not needed.
    command += ["--allow-websocket-origin", "*"]
    if password:
        command += ["--basic-login-template", str(APP.with_name("login.html"))]
    if encrypted:
        command += ["--ssl-certfile", str(cert), "--ssl-keyfile", str(key)]
    scheme = "https" if encrypted else "http"
    asked = "&".join(filter(None, (f"token={secret}" if secret else "", query)))
    urls = [f"{scheme}://{_literal(a)}:{port}/app{'?' if asked else ''}{asked}" for a in own_addresses(address)]
    lines = [*urls, *(who_can_see(address, bool(password), bool(secret), encrypted) if shared else ())]
    if show:
        lines.append("If no browser shows the page (some may not read the file that leads there), open the address above.")
        environment["SPYMASTER_SHOW"] = urls[0]
    print(*lines, sep="\n", file=sys.stderr, flush=True)
    os.execve(sys.executable, command, environment)


def check_port(address: str, port: int) -> None:
    """Raise SessionError where no server can listen at a port of an address of this machine."""
    from tornado.netutil import bind_sockets

    if not 0 < port < 65_536:
        raise SessionError(f"--port {port}: expected a number from 1 to 65535")
    try:
        for bound in bind_sockets(port, address):
            bound.close()
    except OSError as e:
        raise SessionError(f"--address {address} --port {port}: no server can listen there: {e.strerror or e}; try another --port") from e


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _literal(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def who_can_see(address: str, password: bool, secret: bool, encrypted: bool) -> Iterable[str]:
    """Sentences that say who can see a screen that is shared."""
    where = "any network of this machine" if address in WILDCARDS else f"the network of {address}"
    who = "knows the password" if password else "has this address" if secret else "can reach it"
    yield f"Shared: everyone on {where} who {who} can see and move this screen, and reads the lake through it."
    if not encrypted:
        what = "the password and the screen" if password else "the secret and the screen" if secret else "the screen"
        yield f"Not encrypted: whoever can read that network can read {what}. --cert FILE --key FILE encrypt it."
