"""What all stages share: reading inputs, enforcing contracts, skipping what is current, writing with lineage."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from engine.errors import PartitionCorrupt, PartitionMissing, SessionError
from engine.lake.catalog import dataset
from engine.lake.manifest import Lineage, Manifest, canonical, sha256_text
from engine.lake.store import Lake, input_key
from engine.params import (
    ApproachParams,
    FeatureParams,
    GoldParams,
    LevelParams,
    Params,
    ReplayParams,
    RetrievalParams,
    SetupParams,
    SignalRuleParams,
    StreamParams,
)
from engine.provenance import Selection, accepted, code_of
from engine.sessions import SessionWindows, session_windows
from engine.vocab import root_of

if TYPE_CHECKING:
    import polars as pl


@lru_cache(maxsize=8)
def version(package: str) -> str:
    """Version of an installed distribution; looking it up reads files, and a run asks for it once a session."""
    return metadata.version(package)


class RunParams(Params):
    """All parameters that silver and gold depend on; each stage's lineage has only those it reads."""

    replay: ReplayParams = ReplayParams()
    levels: LevelParams = LevelParams()
    features: FeatureParams = FeatureParams()
    approach: ApproachParams = ApproachParams()
    setups: SetupParams = SetupParams()
    gold: GoldParams = GoldParams()
    retrieval: RetrievalParams = RetrievalParams()
    fire: SignalRuleParams = SignalRuleParams()
    stream: StreamParams = StreamParams()


@dataclass(frozen=True)
class StageIO:
    """Dataset keys that a stage reads and writes."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Ref:
    """One input partition of a session; without a `required` one nothing can be made, without another one less."""

    key: str
    date: dt.date
    required: bool = True


@dataclass(frozen=True)
class Output:
    """What a stage made of one dataset."""

    frame: pl.DataFrame
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StageInputs:
    """What a stage's function gets: its declared inputs, and nothing else of the lake."""

    lake: Lake
    symbol: str
    windows: SessionWindows
    params: RunParams
    manifests: dict[tuple[str, dt.date], Manifest | None]
    earlier: tuple[tuple[str, dt.date], ...] = ()

    def present(self, key: str) -> list[dt.date]:
        """Dates of the dataset's partitions that are there, in order."""
        return sorted(d for (k, d), m in self.manifests.items() if k == key and m is not None)

    def notes(self, key: str, date: dt.date) -> dict[str, Any]:
        """Notes of an input that is there."""
        manifest = self.manifests[key, date]
        return manifest.notes if manifest is not None else {}

    def parts(self, key: str, date: dt.date, columns: Sequence[str] | None = None, where: pl.Expr | None = None) -> Iterator[pl.DataFrame]:
        """An input's rows, part by part."""
        return self.lake.read_parts(key, self.symbol, date, columns, where)

    def frame(self, key: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The session's own partition of a silver or gold input."""
        return self.lake.read(key, self.symbol, self.windows.date, columns)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A declared transform, written with keywords: ``Stage(name="bars", io=StageIO(...), ...)``.

    Attributes
    ----------
    name : str
        Its name in manifests.
    io : StageIO
        Datasets in and out.
    refs : callable
        Session windows and parameters to the input partitions.
    run : callable
        The transform: inputs to one `Output` per dataset. What it reaches of the engine is the stage's code (`engine.provenance`).
    parameters : tuple of str
        Fields of `RunParams` it reads.
    entries : callable
        From the parameters it reads, the entries of registries that count; all where it names none.
    packages : tuple of str
        Distributions whose version decides about the rows, as the exchange's calendar does; part of the code version.
    history : str
        Dataset of which it reads all earlier sessions of the same root, too; empty for none.
    """

    name: str
    io: StageIO
    refs: Callable[[SessionWindows, RunParams], tuple[Ref, ...]]
    run: Callable[[StageInputs], dict[str, Output]]
    knobs: tuple[str, ...] = ()
    entries: Callable[[dict[str, Any]], Selection] = lambda values: {}
    packages: tuple[str, ...] = ()
    history: str = ""

    def earlier(self, lake: Lake, symbol: str, date: dt.date) -> list[tuple[str, dt.date]]:
        """(contract, date) of its history in the lake, by date."""
        if not self.history:
            return []
        root = root_of(symbol)
        return sorted(((s, d) for s, d in lake.partitions(self.history) if d < date and root_of(s) == root), key=lambda p: (p[1], p[0]))

    def code_versions(self, symbol: str, profile: str, values: dict[str, Any]) -> tuple[str, ...]:
        """Hashes of code that makes the rows of such a session, today's code first."""
        # The windows and the tick size decide about every stage's rows, also where only the plumbing reads them.
        selection = {"ROOTS.code": {root_of(symbol).code}, "PROFILES.name": {profile}, **self.entries(values)}
        return accepted(code_of(self.run, session_windows, root_of), selection, {p: version(p) for p in self.packages})

    @property
    def layer(self) -> str:
        """Layer of its outputs."""
        return dataset(self.io.outputs[0]).layer

    @property
    def product_type(self) -> str:
        """Product type of its outputs."""
        return dataset(self.io.outputs[0]).product_type

    def values(self, params: RunParams) -> dict[str, Any]:
        """The parameters it reads."""
        return params.model_dump(mode="json", include=set(self.knobs))


def params_hash(values: dict[str, Any]) -> str:
    """Hash of a stage's parameters, as it stands in lineages."""
    return sha256_text(canonical(values))


def _digest(lake: Lake, key: str) -> str | None:
    name, symbol, date = key.rsplit("/", 2)
    manifest = lake.find_manifest(name, symbol, dt.date.fromisoformat(date))
    return manifest.digest() if manifest is not None else None


def why_stale(lake: Lake, stage: Stage, symbol: str, date: dt.date, profile: str, params: RunParams | None) -> str | None:
    """Why the stage's outputs of a session must be made (again); None where they are current.

    With `params` None the parameters are taken as they were.
    """
    for key in stage.io.outputs:
        try:
            manifest = lake.find_manifest(key, symbol, date)
        except PartitionCorrupt as e:
            return str(e)
        if manifest is None:
            return "not there"
        line = manifest.lineage
        if manifest.contract != dataset(key).contract().fingerprint():
            return "the contract changed"
        values = line.values if params is None else stage.values(params)
        if line.code not in stage.code_versions(symbol, profile, values):
            return "the code changed"
        if params is not None and line.params != params_hash(values):
            return "other parameters"
        if line.profile != profile:
            return f"session profile {line.profile!r}"
        if stage.history:
            expected = {input_key(stage.history, s, d) for s, d in stage.earlier(lake, symbol, date)}
            new = expected - set(line.inputs)
            if new:
                return f"input {min(new)} appeared"
        # Which inputs a session has otherwise follows from date, profile, parameters and code, all equal here: the recorded ones will do.
        for name, digest in line.inputs.items():
            try:
                found = _digest(lake, name)
            except PartitionCorrupt as e:
                return str(e)
            if found != digest:
                return f"input {name} " + ("appeared" if digest is None else "is gone" if found is None else "changed")
    return None


def build(lake: Lake, stage: Stage, symbol: str, date: dt.date, profile: str, params: RunParams, *, overwrite: bool = False) -> int | None:
    """Make the stage's outputs of one session, unless they are current.

    Returns
    -------
    int or None
        Rows written; None where everything was current.

    Raises
    ------
    PartitionMissing
        A required input is not there; with the command that makes it.
    SessionError
        The inputs hold no data for the session.
    """
    if not overwrite and why_stale(lake, stage, symbol, date, profile, params) is None:
        return None
    windows = session_windows(date, profile)
    manifests: dict[tuple[str, dt.date], Manifest | None] = {}
    for ref in stage.refs(windows, params):
        found = lake.find_manifest(ref.key, symbol, ref.date)
        if found is None and ref.required:
            raise PartitionMissing(
                f"{stage.name} of {symbol} {date}: expected {ref.key} of {ref.date}, found none; "
                f"`{lake.mend(ref.key, symbol, ref.date)}` makes it"
            )
        manifests[ref.key, ref.date] = found
    inputs = {input_key(k, symbol, d): m.digest() if m else None for (k, d), m in manifests.items()}
    earlier = stage.earlier(lake, symbol, date)
    inputs |= {input_key(stage.history, s, d): lake.manifest(stage.history, s, d).digest() for s, d in earlier}
    values = stage.values(params)
    lineage = Lineage(stage.name, params_hash(values), stage.code_versions(symbol, profile, values)[0], inputs, profile, values)
    made = stage.run(StageInputs(lake, symbol, windows, params, manifests, tuple(earlier)))
    if set(made) != set(stage.io.outputs):
        raise SessionError(f"stage {stage.name}: declared {', '.join(stage.io.outputs)}, made {', '.join(made)}")
    # What comes of a simulated market says so, through every layer.
    mark = {"simulated": True} if any(m is not None and m.notes.get("simulated") for m in manifests.values()) else {}
    rows = 0
    for key in stage.io.outputs:
        rows += lake.write(key, symbol, date, made[key].frame, lineage, {**made[key].notes, **mark}).rows
    return rows
