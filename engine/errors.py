"""Exceptions of the engine, all derived from `EngineError`; and what is said of an exception that is none of them."""

from __future__ import annotations

import datetime as dt
import errno
import os
import tempfile
import traceback
from pathlib import Path

OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
"""Numbers of the errors of a process or a system that may open no more files."""

MORE_FILES = "raise the limit, `ulimit -n 4096`, and run again"


def remedy(error: BaseException) -> str:
    """What helps against an error of writing."""
    if isinstance(error, OSError) and error.errno in OUT_OF_FILES:
        return MORE_FILES
    return "free space or fix the folder's permissions, then run again"


def defect_text(error: BaseException, doing: str) -> str:
    """A sentence for an exception that nobody expected, whose traceback is added to a log that the sentence names."""
    text = "".join(traceback.format_exception(error))
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "spymaster"
    for folder in (state, Path(tempfile.gettempdir())):
        log = folder / "spymaster-errors.log"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with log.open("a", encoding="utf-8") as f:
                f.write(f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ} {doing}\n{text}\n")
        except OSError:
            continue
        return f"Defect: {type(error).__name__}: {error}: this was not expected. Nothing was written half. Please report it with {log}"
    return f"Defect: {type(error).__name__}: {error}: this was not expected. Please report it:\n{text}"


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


class RunFailed(EngineError):
    """A run in which one or more tasks failed; names each with the reason."""


class SessionError(EngineError):
    """An invalid argument: a date that is not a trading day or has no data, or an unusable option."""


class NoData(SessionError):
    """The inputs have no records for a session (or too few for a fit): nothing to make, not a failure."""


class BadPicture(EngineError):
    """A picture, or the state embedded in it, that cannot be read safely or does not match its claims."""
