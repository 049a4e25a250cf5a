"""Every error the engine raises on purpose has one root, so that one `except EngineError` shows a user what to do."""


class EngineError(Exception):
    """Root of all errors that tell a user what was expected, what was found, and the command that mends it."""


class UnknownRoot(EngineError):
    """A symbol whose root is not in the table of roots."""


class UnknownDataset(EngineError):
    """A dataset key that ``engine/lake/datasets.yaml`` does not declare."""


class UnknownLevel(EngineError):
    """A level id that no ``@level`` function makes."""


class UnknownProfile(EngineError):
    """A session profile that ``engine/sessions.py`` does not name, or another than the lake holds."""


class ContractError(EngineError):
    """A frame that differs from its contract: a missing, extra or differently typed column."""


class PartitionMissing(EngineError):
    """A partition that is not there, or that no reader may trust (no ``_SUCCESS``, manifest does not match)."""


class PartitionCorrupt(PartitionMissing):
    """A partition whose files do not match its manifest."""


class PartitionChanged(PartitionCorrupt):
    """A partition that a run rebuilt while it was read; reading it again gives the new one."""


class StaleIndex(EngineError):
    """An index of other features, contract, session profile, parameters or inputs than those it is asked for, or one that was harmed."""


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
    """The lake could not be written (a full disk, a read-only folder); nothing half-written stays."""


class RunFailed(EngineError):
    """A run in which one or more partitions failed; names each, with its reason."""


class SessionError(EngineError):
    """A date or a session that cannot be used: no trading day, no data in it, or not selected."""


class NoData(SessionError):
    """A session in whose span the inputs hold no record at all: nothing to make, and no failure."""


class BadPicture(EngineError):
    """A picture, or what it carries, that cannot be read safely or is not what it says."""
