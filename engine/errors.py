"""Exceptions of the engine, all derived from `EngineError`; and what is said of an exception that is none of them."""

from __future__ import annotations

import datetime as dt
import errno
import os
import stat
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
"""Numbers of the errors of a process or a system that may open no more files."""

MORE_FILES = "raise the limit, `ulimit -n 4096`, and run again"

LOG = "spymaster-errors.log"
LOG_BYTES = 1 << 20
"""Bytes after which the log of defects steps aside (to ``.1``) and a new one begins: two files at most, of this length each."""


def remedy(error: BaseException) -> str:
    """What helps against an error of writing."""
    if isinstance(error, OSError) and error.errno in OUT_OF_FILES:
        return MORE_FILES
    return "free space or fix the folder's permissions, then run again"


def unreadable(path: Path, error: OSError) -> RawUnreadable:
    """The error of a raw file or folder that the system does not let us read, with what helps."""
    if error.errno in OUT_OF_FILES:
        helps = MORE_FILES
    elif isinstance(error, PermissionError):
        helps = "let this user read it (`chmod u+r`; of its folders also `chmod u+x`)"
    else:
        helps = "check the disk (`dmesg | tail`), then run again"
    return RawUnreadable(f"{path}: cannot be read: {error.strerror or error}; {helps}")


# ----------------------------------------------------------------------------
# What nobody expected

_times: dict[tuple[object, ...], int] = {}
"""How often each defect was met by this process, by its type and the lines it went through."""


def defect_text(error: BaseException, doing: str) -> str:
    """A sentence for an exception that nobody expected, whose traceback is added to a log that the sentence names; never raises.

    Of a defect that is met again and again, as by a page that is drawn ten times a second, only the first time, the second, the fourth,
    the eighth and so on are logged.
    """
    said = f"Defect: {type(error).__name__}: "
    try:
        said += f"{str(error)[:2000]}: "
    except Exception:
        said += "it cannot even say what it is: "
    # File names may be no text; neither a log nor a browser takes them.
    said = f"{said}this was not expected.".encode(errors="backslashreplace").decode()
    try:
        text = "".join(traceback.format_exception(error)).encode(errors="backslashreplace").decode()
        text = text if len(text) < 50_000 else f"{text[:25_000]}\n...\n{text[-25_000:]}"
        where = (type(error), *((f.f_code.co_filename, line) for f, line in traceback.walk_tb(error.__traceback__)))
        if len(_times) > 1000:
            _times.clear()
        times = _times[where] = _times.get(where, 0) + 1
        again = f" (met {times} times)" if times > 1 else ""
        is_power_of_two = times & (times - 1) == 0
        entry = f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ} {doing!a}{again}\n{text}\n" if is_power_of_two else ""
        log = next((log for folder in _log_folders() if (log := _logged(folder, entry)) is not None), None)
    except Exception:
        return f"{said} Please report it"
    if log is None:
        return f"{said} Please report it:\n{text}"
    return f"{said} Nothing was written half. Please report it with {log}"


def _log_folders() -> Iterator[Path]:
    """Where the log of defects may be, best first."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    if os.path.isabs(state):  # a user may have no home
        yield Path(state) / "spymaster"
    try:
        fallback = tempfile.gettempdir()
    except OSError:
        return  # no folder can be written
    yield Path(fallback)


def _logged(folder: Path, entry: str) -> Path | None:
    """The log in `folder`, with `entry` added; None where it cannot be written, or is not a file of this user alone.

    The folder may be ``/tmp``, where another user may have put a link, a pipe or a file of that name before.
    """
    log = folder / LOG
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(log, "a", encoding="utf-8", opener=_open_private) as f:
            found = os.fstat(f.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink != 1:
                return None
            if found.st_size > LOG_BYTES:
                log.replace(folder / f"{LOG}.1")
                return _logged(folder, entry)
            os.fchmod(f.fileno(), 0o600)
            f.write(entry)
    except (OSError, ValueError):
        return None
    return log


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)


class EngineError(Exception):
    """Base of all errors meant for users: what was expected, what was found, and the command that fixes it."""


class UnknownRoot(EngineError):
    """A symbol whose root is not in the table of roots."""


class UnknownDataset(EngineError):
    """A dataset key that ``engine/lake/datasets.yaml`` does not declare."""


class UnknownLevel(EngineError):
    """A level id without a ``@level`` function."""


class UnknownProfile(EngineError):
    """A session profile that is not in ``engine/sessions.py``, or not the lake's."""


class ContractError(EngineError):
    """A frame that differs from its contract: a missing, extra or differently typed column."""


class PartitionMissing(EngineError):
    """A partition that does not exist, or is invalid (no ``_SUCCESS``, manifest does not match)."""


class PartitionCorrupt(PartitionMissing):
    """A partition whose files do not match its manifest."""


class PartitionChanged(PartitionCorrupt):
    """A partition that a run rebuilt during a read; reading it again gives the new one."""


class StaleIndex(EngineError):
    """An index whose features, contract, code, profile, parameters or inputs differ from the current ones, or with corrupt files."""


class RawMissing(EngineError):
    """No raw file for a date and symbol."""


class DuplicateRaw(EngineError):
    """More than one raw file for the same symbol and date."""


class BadDbn(EngineError):
    """A Databento file that is truncated, empty, corrupt, or not market-by-order."""


class RawUnreadable(EngineError):
    """A raw file or folder that the system does not let us read now (permissions, too many open files, a failing disk): nothing is known
    of its content, which may be whole.
    """


class NotOneDate(BadDbn):
    """A file that is whole, and whose header does not make it one UTC date: several dates, or a recording of the live feed."""


class UnmappedInstrument(BadDbn):
    """A record whose instrument id the file's metadata does not map to a symbol on its date."""


class LakeBusy(EngineError):
    """Another run holds the lake's lock."""


class LakeWriteFailed(EngineError):
    """The lake could not be written (a full disk, a read-only folder); writes are atomic, nothing partial remains."""


class NameTaken(LakeWriteFailed):
    """Another raw file of the same name is in the lake."""


class DownloadFailed(EngineError):
    """Databento refused, could not be reached, or sent what it had not announced; or the price was not agreed to."""


class BadFeed(EngineError):
    """Bytes of the live feed that are no record, or a feed that says nothing: the connection is dropped and what it lacks replayed."""


class OverlapDiffers(BadFeed):
    """What a resumed feed sent again is not what was recorded: records may be missing, and the book is asked for anew."""


class FeedRefused(EngineError):
    """The live gateway refused the key or the subscription; trying again is of no use."""


class RunFailed(EngineError):
    """A run in which one or more tasks failed; names each with the reason."""


class ClusterUnfit(EngineError):
    """A cluster that no run can use: no scheduler or worker answers, or its workers differ from this machine; names each and how."""


class SessionError(EngineError):
    """An invalid argument: a date that is not a trading day or has no data, or an unusable option."""


class NoData(SessionError):
    """The inputs have no records for a session (or too few for a fit): nothing to make, not a failure."""


class BadPicture(EngineError):
    """A picture, or the state embedded in it, that cannot be read safely or does not match its claims."""
