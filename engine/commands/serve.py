"""``spymaster serve``: the screen, on this machine, or shared on purpose."""

from __future__ import annotations

import getpass
import hmac
import ipaddress
import os
import secrets
import socket
import ssl
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
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

    It is derived from a random key in ``$XDG_STATE_HOME/spymaster/key`` (by default ``~/.local/state``), which only this user may read.

    Parameters
    ----------
    purpose
        What it is for, such as ``passes 5006``.
    new
        Whether to make a new key, which makes the cookies of all browsers before it worthless.

    Raises
    ------
    EngineError
        Where the key cannot be read or written, or others may read it.
    """
    path = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "spymaster" / "key"
    try:
        if new:
            path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Of two servers that start at once, one makes the key and both read it.
        part = path.with_name(f".key-{os.getpid()}-{secrets.token_hex(4)}")
        if not path.exists():
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
                f.write(secrets.token_bytes(32))
            with suppress(FileExistsError):
                os.link(part, path)
            part.unlink()
        if path.stat().st_mode & 0o077 or path.stat().st_uid != os.getuid():
            raise EngineError(f"{path}: expected a file that only this user may read; `rm {path}`, and start again")
        key = path.read_bytes()
    except OSError as e:
        raise EngineError(f"{path}: the key of this user's servers cannot be kept: {e}; set XDG_STATE_HOME to a writable folder") from e
    if len(key) != 32:
        raise EngineError(f"{path}: expected 32 bytes, found {len(key)}; `rm {path}`, and start again")
    return hmac.new(key, purpose.encode(), "sha256").hexdigest()


def is_loopback(address: str) -> bool:
    """Whether only programs of this machine reach `address`."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


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
    """The password of ``SPYMASTER_PASSWORD``, else one that is asked for at the terminal.

    Raises
    ------
    SessionError
        Where there is none, or it is too short.
    """
    password = os.environ.get("SPYMASTER_PASSWORD")
    # A program that was started with its input closed has no `sys.stdin`.
    if password is None and sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty():
        with suppress(EOFError):
            password = getpass.getpass("Password for the screen: ")
    if password is None:
        raise SessionError("password: expected one in SPYMASTER_PASSWORD, or a terminal to ask at; --no-password serves without")
    if len(password) < SHORTEST_PASSWORD:
        raise SessionError(f"password: expected at least {SHORTEST_PASSWORD} characters, found {len(password)}")
    if len(password) > LONGEST_PASSWORD:
        raise SessionError(f"password: expected at most {LONGEST_PASSWORD} characters, found {len(password)}")
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
        raise EngineError(f"lake {lake}: expected a folder, found none; `spymaster add FILE --lake {lake}` starts one")
    shared = not is_loopback(address)
    if shared and password is None:
        raise SessionError(
            f"--address {address}: others can reach the screen there, and it needs a password: add --password (it is asked for, or taken "
            f"from SPYMASTER_PASSWORD), or --no-password where everyone who can reach this machine may see it"
        )
    encrypted = check_certificate(cert, key)
    environment = {**os.environ, "SPYMASTER_LAKE": str(lake.resolve())}
    secret = ""
    if password:
        environment["PANEL_BASIC_AUTH"] = given_password()
        # Of the password, so that with another one the sign-ins of before end; not of the port, since a browser has one sign-in for all.
        environment["PANEL_COOKIE_SECRET"] = secret_of(f"cookies {environment['PANEL_BASIC_AUTH']}", new=new_secret)
    elif token:
        secret = secrets.token_urlsafe(24)
        environment["SPYMASTER_COOKIE_KEY"] = secret_of(f"passes {port}", new=new_secret)
    # Bokeh takes pages only from who got them from this start.
    environment |= {"BOKEH_SIGN_SESSIONS": "yes", "BOKEH_SECRET_KEY": secrets.token_hex(32)}
    hosts = [*(host or ()), *((a for a in own_addresses(address) if not _is_address(a)) if shared else ())]
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
    for url in urls:
        print(url, file=sys.stderr, flush=True)
    if shared:
        for line in who_can_see(address, bool(password), bool(secret), encrypted):
            print(line, file=sys.stderr, flush=True)
    if show:
        environment["SPYMASTER_SHOW"] = urls[0]
    os.execve(sys.executable, command, environment)


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
