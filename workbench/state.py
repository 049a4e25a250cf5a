"""What is being looked at, as `param` only: bounds and docs come from the engine's parameter models, the URL from here."""

from __future__ import annotations

import datetime as dt
from typing import Any

import param
from param.parameterized import discard_events
from pydantic import BaseModel, ValidationError

from engine.errors import EngineError
from engine.params import FeatureParams, PressureParams, ZoneParams
from engine.sessions import NEW_YORK, to_ns
from engine.vocab import Root, root_of
from workbench.theme import PALETTES, THEMES

LAYER_KEYS = ("depth", "add", "pull", "fill", "long", "short", "net")
STEPS = {"1 tick": "tick", "$1": "dollar"}
VOLUME = {"Off": "off", "On": "on"}
SPANS = {"10 min": 10, "20 min": 20, "30 min": 30, "1 hour": 60, "2 hours": 120, "Session": 0}
"""Minutes shown by the heatmap; 0 is the whole session."""

DOTS = {"Off": 0, "Large": -1, "10": 10, "25": 25, "50": 50, "100": 100, "250": 250}
"""Least contracts of a trade that has a dot on the heatmap; -1: what is large in the session so far."""

PANELS = {"candles": "Candles", "heat": "Heatmap", "ladder": "Ladder", "conditions": "Conditions", "tape": "Time and sales"}
"""Panels that can have a window of their own: key in the URL -> title."""

LEAST = {"All": 1, "2": 2, "5": 5, "10": 10, "25": 25, "50": 50, "100": 100}
"""Least contracts of a trade in time and sales."""

HORIZON_WORDS = {f"{m} min": f"h{i}" for i, m in enumerate((1, 2, 4, 6, 8, 10, 12))}
"""Time after the touch in which an outcome counts, in words -> its key in gold."""

MODES = {"Sessions before (walk-forward)": "walk_forward", "All other sessions (index)": "all"}
POOLS = {"All levels": "all", "Levels of this kind": "kind", "This level and direction": "level"}
DIRECTIONS = {"As price stands": "price", "From below": "approach_up", "From above": "approach_down"}
SECTION_KEYS = ("hypothesis", "audit", "levels", "walls", "features", "quality")
"""Questions of the Research view."""

ASKED = frozenset({"horizon", "mode", "pool", "direction", "neighbours_k"})
"""Parameters of the question about similar setups; they change no picture of the session itself."""

RULES = {"Hybrid: open interest and flow": "hybrid", "Naive: open interest": "naive", "Flow alone": "flow"}
"""Assumptions about what dealers hold (`engine.options.profile.RULES`), in words."""

SCOPES = {"All": "all", "Within a week": "week", "Today": "0dte"}
"""Expiries that count (`engine.options.profile.SCOPES`), in words."""

BUCKETS = ("at", "near", "mid", "far")
QUERY = {
    "view": "view", "contract": "contract", "session": "session", "level": "level", "t": "cursor_ts_ns", "window": "window_s",
    "at": "at", "near": "near", "mid": "mid", "far": "far", "layer": "layer", "step": "step",
    "half": "half_life_s", "rows": "rows", "span": "span_min", "theme": "theme", "map": "palette", "horizon": "horizon",
    "mode": "mode", "pool": "pool", "from": "direction", "k": "neighbours_k", "volume": "volume", "marks": "marks", "about": "section",
    "tape": "tape", "least": "least", "dots": "dots", "panel": "panel", "clock": "clock",
    "rule": "rule", "scope": "scope",
}  # fmt: skip
"""Key in the URL -> parameter."""


ONE_VIEW = {"replay": "level"}
"""Views of links made before Level and Replay were one -> the view that opens the same moment."""


def dollar_ticks(root: Root) -> int | None:
    """Ticks of a row of one dollar; None where that is a single tick, no whole number, or more than a row may hold."""
    ticks = round(1 / root.tick_size)
    most = param_from_field(PressureParams, "step_ticks")["bounds"][1]
    return ticks if 2 <= ticks <= most and abs(ticks * root.tick_size - 1) < 1e-9 else None


def param_from_field(model: type[BaseModel], name: str) -> dict[str, Any]:
    """Default, bounds and doc of a field of an engine model, as keyword arguments of a numeric `param`."""
    field = model.model_fields[name]
    low = next((m.ge for m in field.metadata if hasattr(m, "ge")), None)
    high = next((m.le for m in field.metadata if hasattr(m, "le")), None)
    return {"default": field.default, "bounds": (low, high), "doc": field.description}


class LevelState(param.Parameterized):
    """The Level view's state; one per browser tab."""

    panel: Any = param.Selector(default="", objects=["", *PANELS], doc="The one panel of a window of its own; empty: the whole page")
    clock = param.String(default="", doc="Name of the clock that a window follows; empty: its own")
    view: Any = param.Selector(default="level", objects=["level"], check_on_set=True, doc="Which view is open")
    contract: Any = param.Selector(objects=[], allow_None=True, check_on_set=True, doc="Contract, such as ESH4")
    session: Any = param.Selector(objects=[], allow_None=True, check_on_set=True, doc="Session date, New York")
    level = param.String(default="pm_high", doc="Level id: a key level, or price:6800.25 for any price")
    cursor_ts_ns = param.Integer(None, allow_None=True, doc="Time on the clock, ns since the epoch; None is the latest approach")
    window_s = param.Integer(**param_from_field(FeatureParams, "window_s"))
    at = param.Integer(**param_from_field(ZoneParams, "at"))
    near = param.Integer(**param_from_field(ZoneParams, "near"))
    mid = param.Integer(**param_from_field(ZoneParams, "mid"))
    far = param.Integer(**param_from_field(ZoneParams, "far"))
    layer: Any = param.Selector(default="depth", objects=list(LAYER_KEYS), doc="What the heatmap shows")
    step: Any = param.Selector(default="tick", objects=STEPS, doc="Price step of a row: one tick, or one dollar")
    half_life_s = param.Number(**param_from_field(PressureParams, "half_life_s"))
    rows = param.Integer(default=16, bounds=(8, 120), doc="Ticks shown above and below the level")
    span_min: Any = param.Selector(default=10, objects=SPANS, doc="How much time the heatmap shows")
    dots: Any = param.Selector(default=-1, objects=DOTS, doc="Least contracts of a trade that has a dot on the heatmap")
    volume: Any = param.Selector(default="off", objects=VOLUME, doc="Volume profile and cumulative delta, up to the cursor")
    marks: Any = param.Selector(default="on", objects=VOLUME, doc="Large orders, icebergs, sweeps, absorption and pulls on the heat")
    tape: Any = param.Selector(default="off", objects=VOLUME, doc="Time and sales beside the picture, up to the clock")
    least: Any = param.Selector(default=1, objects=LEAST, doc="Least contracts of a trade in time and sales")
    rule: Any = param.Selector(default="hybrid", objects=RULES, doc="What dealers are assumed to hold of the options")
    scope: Any = param.Selector(default="all", objects=SCOPES, doc="Expiries of the options that count")
    palette: Any = param.Selector(default="perceptual", objects=list(PALETTES), doc="Colours of resting size and one-signed flows")
    horizon: Any = param.Selector(default="h1", objects=HORIZON_WORDS, doc="Horizon of the outcomes after a touch")
    mode: Any = param.Selector(default="walk_forward", objects=MODES, doc="Sessions whose setups are compared")
    pool: Any = param.Selector(default="all", objects=POOLS, doc="Levels whose setups are compared")
    direction: Any = param.Selector(default="price", objects=DIRECTIONS, doc="Side from which price comes to the level")
    neighbours_k = param.Integer(default=11, bounds=(3, 24), doc="Similar setups shown on the wall")
    section: Any = param.Selector(default="hypothesis", objects=list(SECTION_KEYS), doc="What the Research view is asked")
    theme: Any = param.Selector(default="dark", objects=list(THEMES), doc="Dark or light")

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.refused = ""
        """Why the last change of the buckets was taken back; whoever shows it empties it."""
        self.awaits = False
        """Whether the Level view waits for a session that is recorded, where no moment was asked for: its address then names no other."""
        self._rising = {k: getattr(self, k) for k in BUCKETS}

    @param.depends("at", "near", "mid", "far", watch=True)
    def _take_back_unless_rising(self) -> None:
        """Before anyone sees bounds that do not rise: every view and the URL hold the same buckets as the picture."""
        try:
            self._rising, self.refused = self.zones().model_dump(), ""
        except ValidationError:
            now, back = [getattr(self, k) for k in BUCKETS], self._rising
            self.refused = (
                f"Not applied: the buckets' bounds must rise from At to Far, {', '.join(map(str, now))} do not; "
                f"they stay at {', '.join(map(str, back.values()))}"
            )
            with discard_events(self):
                self.param.update(**back)

    @param.depends("contract", watch=True)
    def _offer_steps(self) -> None:
        """Offer the dollar only where it makes a row: a dollar of crude oil is 100 ticks, one of the Dow a single tick."""
        offered = {k: v for k, v in STEPS.items() if v != "dollar" or self.contract is None or dollar_ticks(root_of(self.contract))}
        if list(offered.values()) != list(self.param["step"].objects):
            if self.step not in offered.values():
                self.step = "tick"
            self.param["step"].objects = offered

    def zones(self) -> ZoneParams:
        """The four bounds as the engine wants them; raises where they do not rise."""
        return ZoneParams(at=self.at, near=self.near, mid=self.mid, far=self.far)

    def query(self) -> dict[str, str]:
        """The state as URL parameters: contract, session and level, and of the others those that are not at their default."""
        out = {}
        for key, name in QUERY.items():
            value = getattr(self, name)
            if self.awaits and self.view == "level" and name in ("contract", "session"):
                continue
            if value is None or (name not in ("contract", "session", "level") and value == self.param[name].default):
                continue
            out[key] = clock_text(value) if name == "cursor_ts_ns" else f"{value:g}" if isinstance(value, float) else str(value)
        return out

    def read_query(self, query: dict[str, str]) -> list[str]:
        """Sentences about what of `query` cannot be taken, and what is shown in its place; the rest is taken."""
        known = {k: str(v) for k, v in query.items() if k in QUERY}
        if known.get("view") in ONE_VIEW:
            known["view"] = ONE_VIEW[known["view"]]
        bad = [f"Link: “{k}” is not a setting of this page; it is ignored" for k in query if k not in QUERY]
        taken: dict[str, Any] = {}
        # The clock needs the session's date, so it comes last.
        for key in sorted(known, key=lambda k: k == "t"):
            name, text = QUERY[key], known[key]
            try:
                value = self._parse(name, text, taken)
                with discard_events(self):  # set and taken back: it raises for what the parameter does not take
                    now = getattr(self, name)
                    setattr(self, name, value)
                    setattr(self, name, now)
            except (ValueError, TypeError, EngineError) as e:
                bad.append(f"Link: {key} “{text}” cannot be shown ({_reason(self, name, e)}); {_instead(self, name)} stands in its place")
                continue
            taken[name] = value
        zones = {k: taken.get(k, getattr(self, k)) for k in BUCKETS}
        try:
            ZoneParams(**zones)
        except ValidationError:
            bad.append(
                f"Link: buckets {', '.join(map(str, zones.values()))} do not rise; "
                f"{self.at}, {self.near}, {self.mid}, {self.far} stand in their place"
            )
            taken = {k: v for k, v in taken.items() if k not in zones}
        self.param.update(**taken)
        if taken.get("step", self.step) != self.step:
            bad.append(f"Link: rows of a dollar cannot be shown (a dollar of {self.contract} makes no row); rows of one tick stand there")
        return bad

    def _parse(self, name: str, text: str, taken: dict[str, Any]) -> Any:
        if name == "cursor_ts_ns":
            date = taken.get("session", self.session)
            if date is None:
                raise ValueError("no session is chosen")
            # 9:53 is a time.
            return to_ns(dt.date.fromisoformat(date), dt.time.fromisoformat(f"0{text}" if text[1:2] == ":" else text))
        kind = self.param[name]
        if isinstance(kind, param.Integer) or name in ("span_min", "least", "dots"):
            return int(text)
        if isinstance(kind, param.Number):
            return float(text)
        return text


def _reason(state: LevelState, name: str, error: Exception) -> str:
    kind = state.param[name]
    if isinstance(kind, param.Selector):
        choices = list(kind.objects)
        return "expected " + (f"one of {', '.join(map(str, choices[:12]))}" if choices else "a partition of the lake; there is none")
    if name == "cursor_ts_ns":
        return "expected New York time as HH:MM:SS, and a session" if state.session is None else "expected New York time as HH:MM:SS"
    if isinstance(kind, param.Number) and kind.bounds:
        whole = "a whole number" if isinstance(kind, param.Integer) else "a number"
        return f"expected {whole} from {kind.bounds[0]} to {kind.bounds[1]}"
    return str(error)


def _instead(state: LevelState, name: str) -> str:
    value = getattr(state, name)
    if name == "cursor_ts_ns":
        return "the latest approach to the level" if value is None else clock_text(value)
    return "nothing" if value is None else str(value)


def clock_text(ts_ns: int) -> str:
    """New York time of `ts_ns` as ``HH:MM:SS``."""
    return dt.datetime.fromtimestamp(ts_ns // 1_000_000_000, NEW_YORK).strftime("%H:%M:%S")
