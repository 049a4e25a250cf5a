"""Exceptions of the engine; all derive from `EngineError`."""


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


class UnmappedInstrument(BadDbn):
    """A record whose instrument id the file's metadata does not map to a symbol on its date."""


class LakeBusy(EngineError):
    """Another run holds the lake's lock."""


class LakeWriteFailed(EngineError):
    """The lake could not be written (a full disk, a read-only folder); writes are atomic, nothing partial remains."""


class NameTaken(LakeWriteFailed):
    """Another raw file of the same name is in the lake."""


class RunFailed(EngineError):
    """A run in which one or more tasks failed; names each with the reason."""


class SessionError(EngineError):
    """An invalid argument: a date that is not a trading day or has no data, or an unusable option."""


class NoData(SessionError):
    """The inputs have no records for a session (or too few for a fit): nothing to make, not a failure."""


class BadPicture(EngineError):
    """A picture, or the state embedded in it, that cannot be read safely or does not match its claims."""
