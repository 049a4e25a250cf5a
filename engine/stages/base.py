"""`Stage` and what all stages share: inputs, staleness, and building a session's outputs with their lineage."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from engine.errors import PartitionCorrupt, PartitionMissing, SessionError
from engine.lake.catalog import dataset
from engine.lake.manifest import NOT_JSON, Lineage, Manifest, canonical, sha256_text
from engine.lake.store import Lake, input_key
from engine.params import RunParams
from engine.provenance import Selection, accepted, code_of
from engine.sessions import SessionWindows, profile_named, session_windows
from engine.vocab import ROOTS, root_of

if TYPE_CHECKING:
    import polars as pl


@lru_cache(maxsize=8)
def version(package: str) -> str:
    """Version of an installed distribution, cached since the look-up reads files."""
    return metadata.version(package)


@dataclass(frozen=True)
class StageIO:
    """Dataset keys that a stage reads and writes."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Ref:
    """One input partition of a session; a stage cannot run without a `required` one."""

    key: str
    date: dt.date
    required: bool = True


@dataclass(frozen=True)
class Output:
    """Rows and notes that a stage made for one dataset."""

    frame: pl.DataFrame
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StageInputs:
    """Argument of a stage's function: its declared inputs."""

    lake: Lake
    symbol: str
    windows: SessionWindows
    params: RunParams
    manifests: dict[tuple[str, dt.date], Manifest | None]
    earlier: tuple[tuple[str, dt.date], ...] = ()

    def present(self, key: str) -> list[dt.date]:
        """Dates of a dataset's partitions that are present, sorted."""
        return sorted(d for (k, d), m in self.manifests.items() if k == key and m is not None)

    def notes(self, key: str, date: dt.date) -> dict[str, Any]:
        """Notes of an input's manifest; empty where the input is absent."""
        manifest = self.manifests[key, date]
        return manifest.notes if manifest is not None else {}

    def parts(self, key: str, date: dt.date, columns: Sequence[str] | None = None, where: pl.Expr | None = None) -> Iterator[pl.DataFrame]:
        """Yield an input's rows, part by part."""
        return self.lake.read_parts(key, dataset(key).owner(self.symbol), date, columns, where)

    def frame(self, key: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Rows of the session's own partition of a silver or gold input."""
        return self.lake.read(key, self.symbol, self.windows.date, columns)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A declared transform, written with keywords: ``Stage(name="bars", io=StageIO(...), ...)``.

    refs: the input partitions of a session's windows and parameters
    run: makes one `Output` per dataset; all engine code it reaches is its code version (`engine.provenance`)
    param_groups: the fields of `RunParams` it reads
    later_groups: those that came later: they count only where they are not as by default, so that what was made before stays current
    entries: from their values, the registry entries that are part of the code version; all where it names none
    packages: distributions whose version affects the rows, such as the exchange calendar; part of the code version
    later_inputs: optional inputs that came later: they count only where they are there, so that what was made before stays current
    later_run: makes of what `run` made, and of those inputs, what it is with them; its code counts where they do
    optional: whether a session without its required inputs goes without its outputs, and nothing is said of it
    history: datasets of whose earlier sessions of the same root it reads as well, those that have the first
    differs: from an output's manifest of earlier, accepted code: whether the rows would be others now all the same
    """

    name: str
    io: StageIO
    refs: Callable[[SessionWindows, RunParams], tuple[Ref, ...]]
    run: Callable[[StageInputs], dict[str, Output]]
    param_groups: tuple[str, ...] = ()
    later_groups: tuple[str, ...] = ()
    entries: Callable[[dict[str, Any]], Selection] = lambda values: {}
    packages: tuple[str, ...] = ()
    later_inputs: tuple[str, ...] = ()
    later_run: Callable[[StageInputs, dict[str, Output]], dict[str, Output]] | None = None
    optional: bool = False
    history: tuple[str, ...] = ()
    differs: Callable[[Manifest], bool] = lambda manifest: False

    def earlier(self, lake: Lake, symbol: str, date: dt.date) -> list[tuple[str, dt.date]]:
        """(contract, date) of the partitions of its history before `date`, sorted by date."""
        if not self.history:
            return []
        root = root_of(symbol)
        return sorted(((s, d) for s, d in lake.partitions(self.history[0]) if d < date and root_of(s) == root), key=lambda p: (p[1], p[0]))

    def code_versions(self, symbol: str, profile: str, values: dict[str, Any], inputs: Iterable[str] = ()) -> tuple[str, ...]:
        """Code versions that make the same rows of such a session, the current one first; `inputs` of a lineage say whether it has some of
        the inputs that came later.
        """
        selection = self.selection(symbol, profile, values)
        later = self.later_run is not None and not {name.split("/", 1)[0] for name in inputs}.isdisjoint(self.later_inputs)
        runs = (self.run, self.later_run) if later and self.later_run is not None else (self.run,)
        return accepted(code_of(*runs, session_windows, root_of), selection, self.counting(symbol, profile))

    def selection(self, symbol: str, profile: str, values: dict[str, Any]) -> Selection:
        """What of registries such a session's rows depend on."""
        # Session windows and tick size affect every stage's rows, also where only `build` reads them.
        root = root_of(symbol)
        return {"ROOTS.code": {root.code}, "PROFILES.name": {profile}, "MARKETS.name": {root.market}, **self.entries(values)}

    def counting(self, symbol: str, profile: str) -> dict[str, str]:
        """What decides about such a session's rows beside the code: distributions and their versions, and a root of the user's own."""
        by_calendar = () if profile_named(profile).trading[1] is not None else ("exchange-calendars",)
        return {p: version(p) for p in (*self.packages, *by_calendar)} | own_root(symbol)

    @property
    def layer(self) -> str:
        """Layer of its outputs."""
        return dataset(self.io.outputs[0]).layer

    @property
    def product_type(self) -> str:
        """Product type of its outputs."""
        return dataset(self.io.outputs[0]).product_type

    def values(self, params: RunParams) -> dict[str, Any]:
        """Values of the parameters it reads."""
        later = {g for g in self.later_groups if getattr(params, g) != RunParams.model_fields[g].default}
        return params.model_dump(mode="json", include={*self.param_groups, *later})


def own_root(symbol: str) -> dict[str, str]:
    """A root of the user's own file, as what decides about rows beside the code (`engine.provenance.accepted`); nothing for the others."""
    root = root_of(symbol)
    hours = " {:%H:%M}-{:%H:%M}".format(*root.hours) if root.hours is not None else ""
    return {} if root.code in ROOTS else {f"root {root.code}": f"{root.tick_fixed} {root.months} {root.market}{hours}"}


def params_hash(values: dict[str, Any]) -> str:
    """Hash of a stage's parameter values, as recorded in lineages."""
    return sha256_text(canonical(values))


def _digest(lake: Lake, key: str) -> str | None:
    name, symbol, date = key.rsplit("/", 2)
    manifest = lake.find_manifest(name, symbol, dt.date.fromisoformat(date))
    return manifest.digest() if manifest is not None else None


def why_stale(lake: Lake, stage: Stage, symbol: str, date: dt.date, profile: str, params: RunParams | None) -> str | None:
    """Why the stage's outputs of a session are missing or stale, None where current; parameters are not compared where `params` is None."""
    for key in stage.io.outputs:
        try:
            manifest = lake.find_manifest(key, symbol, date)
        except PartitionCorrupt as e:
            return str(e)
        if manifest is None:
            return "not there"
        line = manifest.lineage
        if not dataset(key).contract().accepts(manifest.contract):
            return "the contract changed"
        if stage.optional and inputs_gone(lake, line):
            continue
        values = line.values if params is None else stage.values(params)
        try:
            codes = stage.code_versions(symbol, profile, values, line.inputs)
        except NOT_JSON:
            if params is not None:
                raise
            return "the parameters in its manifest are not this stage's"
        if line.code not in codes or (line.code != codes[0] and stage.differs(manifest)):
            return "the code changed"
        if params is not None and line.params != params_hash(values):
            return "other parameters"
        if line.profile != profile:
            return f"session profile {line.profile!r}"
        if stage.history:
            expected = {input_key(key, s, d) for s, d in stage.earlier(lake, symbol, date) for key in stage.history}
            new = expected - set(line.inputs)
            if new:
                return f"input {min(new)} appeared"
        later = sorted({input_key(k, dataset(k).owner(symbol), date) for k in stage.later_inputs} - set(line.inputs))
        appeared = next((name for name in later if _digest(lake, name) is not None), None)
        if appeared:
            return f"input {appeared} appeared"
        # The set of other inputs follows from date, profile, parameters and code, which are equal here, so the recorded ones are complete.
        for name, digest in line.inputs.items():
            try:
                found = _digest(lake, name)
            except PartitionCorrupt as e:
                return str(e)
            if found != digest:
                return f"input {name} " + ("appeared" if digest is None else "is gone" if found is None else "changed")
    return None


def inputs_gone(lake: Lake, line: Lineage) -> bool:
    """Whether something is gone that outputs of an optional stage were made from. Like bronze without its raw files they count as current:
    made again of what is left they would only lose what they have.
    """
    try:
        return any(digest is not None and _digest(lake, name) is None for name, digest in line.inputs.items())
    except PartitionCorrupt:
        return False


def is_there_to_make(lake: Lake, stage: Stage, symbol: str, date: dt.date, profile: str, params: RunParams) -> bool:
    """Whether a stage is made for a session: always, but for an optional one, which is where its required inputs are, and where nothing is
    gone that its outputs were made from. A harmed input is there: making the stage names it.
    """
    if not stage.optional:
        return True
    try:
        for r in stage.refs(session_windows(date, profile, root_of(symbol)), params):
            if r.required and lake.find_manifest(r.key, dataset(r.key).owner(symbol), r.date) is None:
                return False
        there = [lake.find_manifest(key, symbol, date) for key in stage.io.outputs]
    except PartitionCorrupt:
        return True
    return any(m is None for m in there) or not any(inputs_gone(lake, m.lineage) for m in there if m is not None)


def build(lake: Lake, stage: Stage, symbol: str, date: dt.date, profile: str, params: RunParams, *, overwrite: bool = False) -> int | None:
    """Build the stage's outputs of one session unless they are current; returns the rows written, or None where all were current.
    Raises PartitionMissing, naming the command, where a required input is missing, and SessionError where the inputs hold no data.
    """
    if not overwrite and why_stale(lake, stage, symbol, date, profile, params) is None:
        return None
    windows = session_windows(date, profile, root_of(symbol))
    manifests: dict[tuple[str, dt.date], Manifest | None] = {}
    for ref in stage.refs(windows, params):
        owner = dataset(ref.key).owner(symbol)
        found = lake.find_manifest(ref.key, owner, ref.date)
        if found is None and ref.required:
            raise PartitionMissing(
                f"{stage.name} of {symbol} {date}: expected {ref.key} of {ref.date}, found none; "
                f"`{lake.repair_command(ref.key, owner, ref.date)}` makes it"
            )
        manifests[ref.key, ref.date] = found
    inputs = {
        input_key(k, dataset(k).owner(symbol), d): m.digest() if m else None
        for (k, d), m in manifests.items()
        if m is not None or k not in stage.later_inputs
    }
    earlier = stage.earlier(lake, symbol, date)
    known = {(key, s, d): lake.find_manifest(key, s, d) for s, d in earlier for key in stage.history}
    inputs |= {input_key(*of): m.digest() if m else None for of, m in known.items()}
    values = stage.values(params)
    code = stage.code_versions(symbol, profile, values, inputs)[0]
    lineage = Lineage(stage.name, params_hash(values), code, inputs, profile, values)
    given = StageInputs(lake, symbol, windows, params, manifests, tuple(earlier))
    made = stage.run(given)
    if stage.later_run is not None and any(m is not None for (k, _), m in manifests.items() if k in stage.later_inputs):
        made = stage.later_run(given, made)
    if set(made) != set(stage.io.outputs):
        raise SessionError(f"stage {stage.name}: declared {', '.join(stage.io.outputs)}, made {', '.join(made)}")
    # Mark everything derived from a simulated market, through every layer.
    mark = {"simulated": True} if any(m is not None and m.notes.get("simulated") for m in manifests.values()) else {}
    rows = 0
    for key in stage.io.outputs:
        rows += lake.write(key, symbol, date, made[key].frame, lineage, {**made[key].notes, **mark}).rows
    return rows
