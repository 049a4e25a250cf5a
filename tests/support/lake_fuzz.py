"""Ways in which a lake on disk may be harmed, each undone by the function it returns."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from engine.lake.manifest import MANIFEST, SUCCESS, canonical, sha256_text

Undo = Callable[[], None]

JSON_OTHERS: tuple[object, ...] = (None, True, -1, 1.5, 10**30, "", "\ud800", "../../x", [], {}, [[]], {"a": None}, "0" * 5000)


def _restore(path: Path) -> Undo:
    """Put `path` (a file) back as it is now, bytes and times."""
    content, times = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)

    def undo() -> None:
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path)
        path.write_bytes(content)
        os.utime(path, ns=times)

    return undo


def harm_file(path: Path, rng: random.Random) -> tuple[str, Undo]:
    """Harm the file `path` in one of the ways; returns what was done."""
    undo = _restore(path)
    content = path.read_bytes()
    kind = rng.choice(("bit", "bit", "cut", "empty", "gone", "noise", "utf8", "deep", "folder", "dangling", "link", "pipe", "swap"))
    if kind == "bit" and content:
        at = rng.randrange(len(content))
        path.write_bytes(content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :])
    elif kind == "cut":
        path.write_bytes(content[: rng.randrange(len(content) + 1)])
    elif kind == "noise":
        path.write_bytes(rng.randbytes(rng.randrange(1, 4096)))
    elif kind == "utf8":
        path.write_bytes(content[:10] + b"\xff\xfe" + content[10:])
    elif kind == "deep":
        path.write_bytes(b"[" * 100_000)
    elif kind == "swap":
        at = rng.randrange(len(content) + 1)
        path.write_bytes(content[at:] + content[:at])
    else:
        path.unlink()
        if kind == "empty":
            path.touch()
        elif kind == "folder":
            path.mkdir()
        elif kind == "dangling":
            path.symlink_to("nowhere")
        elif kind == "link":
            path.symlink_to("/etc/hostname")
        elif kind == "pipe":
            os.mkfifo(path)
    return f"{kind} {path.name}", undo


def _paths(value: object, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(p for k, v in children for p in _paths(v, (*at, k)))]


def sign_manifest(folder: Path, body: dict[str, object]) -> None:
    """Make `body` the manifest of the partition in `folder`, so that digest and ``_SUCCESS`` match it, where it can be hashed."""
    try:
        digest = sha256_text(canonical({k: v for k, v in body.items() if k not in ("digest", "observed")}))
    except ValueError:
        digest = "0" * 64
    (folder / MANIFEST).write_text(json.dumps({**body, "digest": digest}))
    (folder / SUCCESS).write_text(digest)


def harm_manifest(folder: Path, rng: random.Random) -> tuple[str, Undo]:
    """Put another value into a manifest, and sign it: digest and ``_SUCCESS`` match."""
    undos = [_restore(folder / MANIFEST), _restore(folder / SUCCESS)]
    body = json.loads((folder / MANIFEST).read_text())
    where = rng.choice([p for p in _paths(body) if p and p != ("digest",)])
    other = rng.choice(JSON_OTHERS)
    inner = body
    for key in where[:-1]:
        inner = inner[key]
    if rng.random() < 0.2:
        del inner[where[-1]]
    else:
        inner[where[-1]] = other
    sign_manifest(folder, body)

    def undo() -> None:
        for each in undos:
            each()

    return f"{'/'.join(map(str, where))} = {other!r:.40}", undo


def harm_folder(folder: Path, rng: random.Random) -> tuple[str, Undo]:
    """Move a partition's folder, or put something beside it or in its place."""
    kind = rng.choice(("no date", "newline", "file", "out", "loop", "other date", "stray", "symbol"))
    aside = folder.parents[6] / f"aside-{rng.randrange(10**9)}"

    def put_back() -> None:
        if os.path.lexists(folder):
            folder.unlink()
        aside.rename(folder)

    if kind in ("no date", "newline", "other date"):
        moved = folder.with_name({"no date": "dt=9999-99-99", "newline": f"{folder.name}\n", "other date": "dt=2024-02-29"}[kind])
        folder.rename(moved)
        return kind, lambda: moved.rename(folder) and None
    if kind == "stray":
        strays = [folder.parent / name for name in ("dt=0000-00-00", "notes.txt", "dt=٢٠٢٥-11-04")]
        for stray in strays:
            stray.touch()
        return kind, lambda: [s.unlink() for s in strays] and None
    if kind == "symbol":
        base = next(p for p in folder.parents if p.name.startswith("symbol=")).parent
        made = [base / "symbol=ESZ5\n", base / "symbol=", base / "symbol=../x".replace("/", "_"), base / "symbol=NOPE"]
        for path in made:
            shutil.copytree(base / "symbol=ESZ5", path)
        return kind, lambda: [shutil.rmtree(p) for p in made] and None
    folder.rename(aside)
    if kind == "file":
        folder.write_text("no folder")
    elif kind == "out":
        folder.symlink_to(aside)
    else:
        folder.symlink_to(folder.name)
    return kind, put_back


def harm_raw(folder: Path, rng: random.Random) -> tuple[str, Undo]:
    """Put something that is no raw file among the raw files."""
    kind = rng.choice(("folder", "dangling", "loop", "pipe", "temporary", "text"))
    path = folder / rng.choice(("a.dbn", "z.dbn.zst", "ünï\n.dbn.zst"))
    if kind == "folder":
        path.mkdir()
        return kind, path.rmdir
    if kind == "pipe":
        os.mkfifo(path)
    elif kind in ("dangling", "loop"):
        path.symlink_to("nowhere" if kind == "dangling" else path.name)
    elif kind == "temporary":
        path = folder / ".tmp-a.dbn-1"
        path.touch()
    else:
        path.write_bytes(rng.randbytes(100))
    return f"{kind} in raw", path.unlink
