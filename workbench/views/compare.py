"""The Compare view: a setup's picture beside, or swiped over, the moment that the page is at, drawn here from the lake."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar

import panel as pn
import param
import polars as pl
from panel.custom import JSComponent
from param.parameterized import discard_events

from engine.errors import BadPicture, EngineError, SessionError
from engine.lake.store import Lake
from engine.lake.writer import write_bytes_atomic
from engine.params import FeatureParams
from engine.retrieval.hints import brings_sessions
from engine.session import level_title
from engine.sessions import to_ns
from engine.vocab import NS
from workbench import lakes, live, session_cache
from workbench.assets import script, style
from workbench.plots import axes
from workbench.snapshot import ForeignState, PictureParams, Scene, SetupState, picture, read_sidecar, read_state, write_sidecar
from workbench.snapshot.png import picture_bytes
from workbench.snapshot.scene import profile_of, scene_of, session_scene
from workbench.state import LevelState
from workbench.theme import THEMES, css_variables
from workbench.views import components, view
from workbench.views.background import BackgroundTask
from workbench.views.base import PageView
from workbench.views.components import BOTH, FILL, Chips, Form, buttons, html, text_field
from workbench.views.controls import COMPARE_KEYS, drawer
from workbench.views.viewport import clamp_to_session, resolve

MAX_UPLOAD = 12_000_000
"""Bytes of a dropped picture: what fits through the page's connection as text; pictures drawn here have a twentieth of it."""

SHOWS = {
    "contract", "session", "level", "cursor_ts_ns", "direction", "window_s", "at", "near", "mid", "far", "layer", "palette", "rows",
    "half_life_s", "theme",
}  # fmt: skip
"""Parameters whose change draws the moment again."""

LAYS = ("Side by side", "Swipe")

BACK, SAVE, KEEP = "To the picture's moment", "Save the current setup as PNG", "Keep this moment as a picture"

OPENS = ("Open in Level",)


class Pair(JSComponent):
    """A picture and the same moment drawn here.

    `first` and `second` have ``src`` (a data URL) and ``title``; or ``said``; or ``guide``, what can be done in the picture's place: a
    list of ``[heading, text, command, button]``, each empty where there is none.

    Two beside each other are as large as the width lets them be; the height that is left has the same place of both, enlarged:
    the one under the pointer, or where the arrow keys have moved it.
    """

    first = param.Dict(default={}, doc="Picture that was chosen or dropped")
    second = param.Dict(default={}, doc="The same moment drawn here")
    swipe = param.Boolean(default=False, doc="Over each other, with a slider between them")
    limit = param.Integer(default=MAX_UPLOAD, doc="Bytes of a dropped picture")
    dropped = param.Dict(default={}, doc="What was dropped: name, base64 text or error, running number")
    saved = param.Dict(default={}, doc="Picture to hand out: name, src, running number")
    pushed = param.Dict(default={}, doc="Button of the guide: its words, running number")

    _stylesheets: ClassVar[list[str]] = [style("pair")]
    _esm = script("make", "pair")


@dataclass(frozen=True, eq=False)
class Shown:
    """The picture in the first place: its bytes, what it is called, and its moment; `path` where it is on disk, `own` what it carries."""

    name: str
    raw: bytes
    path: Path | None = None
    own: SetupState | None = None
    moment: dict[str, Any] | None = None


@view("compare", "Compare", keys=COMPARE_KEYS)
class CompareView(PageView):
    """Pictures of setups against the lake."""

    follows: ClassVar[frozenset[str]] = frozenset(SHOWS)

    def __init__(self, root: str, state: LevelState, complaints: list[str], **params: Any) -> None:
        super().__init__(root, state, complaints, **params)
        self.known: list[Path] = []
        self.shown: Shown | None = None
        self.moment: dict[str, Any] | None = None
        """What is drawn, or about to be."""
        self._fresh, self._saves = True, 0
        self._later = BackgroundTask(lambda done, of, what: None)
        self.chips = Chips(label="Picture", small=True, visible=False, **FILL)
        self.say = html()
        self.acts = Form(row=True, margin=(4, 0))
        self._offer(back=False)
        self.typed = Typed(lambda fields: self.guard(lambda: self._keep_typed(fields)))
        self.pair = Pair(**BOTH)
        self.body = pn.Column(
            self.notices.banner, self.chips, self.say, self.acts, self.typed.row, self.pair,
            styles={"padding": "8px 12px", "box-sizing": "border-box", "gap": "4px"}, **BOTH,
        )  # fmt: skip
        self.acts.param.watch(lambda e: self._on_act(e.new), "changed")
        self.chips.param.watch(lambda e: self.guard(lambda: self._choose(e.new)), "value")
        self.pair.param.watch(lambda e: self.guard(lambda: self._open(*dropped_bytes(e.new, MAX_UPLOAD), None)), "dropped")
        self.pair.param.watch(lambda _: self.guard(self._keep_moment), "pushed")
        state.param.watch(lambda e: self.chips.param.update(colors=css_variables(THEMES[e.new])), "theme")

    def controls(self) -> list[Any]:
        """What the drawer holds."""
        return drawer(self.state, view="compare")

    def start(self) -> None:
        """Draw the moment that the page is at, beside a picture of that very moment where there is one."""
        self.guard(self._list)
        super().start()

    def open(self) -> None:
        """Draw the moment that the page is at."""
        self._follow()

    def changed(self, names: set[str]) -> None:
        """Draw it again."""
        self._follow()

    def rest(self) -> bool:
        """What is being drawn is given up, and drawn when the view is back."""
        busy = self._later.busy
        self._later.stop()
        return busy

    def _list(self, chosen: Path | None = None) -> None:
        self.known = pictures(self.root)
        self.chips.param.update(
            items=[{"id": str(i), "label": p.name, "title": str(p)} for i, p in enumerate(self.known)],
            value=str(self.known.index(chosen)) if chosen in self.known else "",
            colors=css_variables(THEMES[self.state.theme]), visible=bool(self.known),
        )  # fmt: skip

    def _choose(self, which: str) -> None:
        if which.isdigit() and int(which) < len(self.known):
            path = self.known[int(which)]
            if self.shown is None or self.shown.path != path:
                self._open(picture_bytes(path), path.name, path)

    def _open(self, raw: bytes, name: str, path: Path | None) -> None:
        """Show a picture, and go to the moment that it is of."""
        own = read_state(raw, name)
        if own is None and path is None:
            path = store_picture(self.root, raw)
        typed = read_sidecar(path) if own is None and path is not None else None
        shown = Shown(name, raw, path, own, None if own is None else moment_of(own))
        self._show(shown)
        self.chips.value = str(self.known.index(path)) if path in self.known else ""
        if typed is not None:
            shown = replace(shown, moment=moment_typed(self.root, self.state.contract, typed))
            self._show(shown)
        if shown.moment is None:
            self._ask()
        else:
            self._go(shown.moment)

    def _show(self, shown: Shown) -> None:
        self.shown, self._fresh = shown, False
        self.typed.row.visible = False
        of = "" if shown.moment is None else f" · {words_of(shown.moment)}"
        self.pair.first = {"src": data_url(shown.raw), "title": f"{shown.name}{of}"}

    def _ask(self) -> None:
        """A picture that says nothing of itself: date, level and direction are typed in once."""
        self._later.stop()
        self.moment = None
        self.typed.ask(self.state)
        self.pair.second = {"said": "This picture was drawn elsewhere. Type date, level and direction in once; they are kept beside it."}
        self._tell("A picture from elsewhere: what is it of?")

    def _keep_typed(self, fields: dict[str, Any]) -> None:
        shown = self.shown
        if shown is None or shown.path is None:
            return
        moment = moment_typed(self.root, self.state.contract, write_sidecar(shown.path, **fields))
        self._show(replace(shown, own=None, moment=moment))
        self._go(moment)

    def _go(self, moment: dict[str, Any]) -> None:
        """Put the tab's state at a moment, so that every view opens there, and draw it."""
        self.moment = None
        there = lakes.contracts(self.root)
        symbol, date = moment["contract"], moment["session"]
        if date not in there.get(symbol, []):
            raise SessionError(
                f"{symbol} {date}: the picture's session is not in the lake {self.root}; "
                f"`{Lake(self.root).session_command(symbol, date)}` makes it from the raw files"
            )
        self.state.param["session"].objects = there[symbol]
        self.put(**moment)
        self._follow()

    def _follow(self) -> None:
        if self.typed.row.visible:
            return  # what is typed in goes to its own moment
        self.moment = None
        moment, said = moment_in(self.root, self.state)
        self.notices.complaints += said
        self.moment = moment
        features, picture = as_drawn(self.state)
        shown, known = self.shown, self.known if self._fresh else []
        if shown is not None and shown.own is not None and same(shown.own, self.state):
            features, picture = shown.own.features, shown.own.picture
        self._offer(back=shown is not None and shown.moment is not None and not self._at(shown.moment))
        self._tell(f"Drawing the moment: {words_of(moment)} …")
        under_way = scene_under_way(self.root, moment, features, picture)

        def work(progress: Callable[[int, int, str], None]) -> tuple[bytes, Scene, Path | None]:
            beside = of_moment(self.root, known, moment, features.window_s)
            progress(0, 0, "")
            return *draw_moment(self.root, moment, features, picture, under_way), beside

        self._later.start(work, lambda made: self._drawn(moment, *made), self._not_drawn)

    def _at(self, moment: dict[str, Any]) -> bool:
        return self.moment is not None and same_window(self.moment, moment, self.state.window_s)

    def _drawn(self, moment: dict[str, Any], raw: bytes, scene: Scene, beside: Path | None) -> None:
        shown, note = self.shown, ""
        if shown is not None and shown.moment is not None and not self._at(shown.moment):
            note = ": another moment than the picture's"
        elif shown is not None and shown.own is not None and same(shown.own, self.state):
            note = ": the same numbers" if scene.digest() == shown.own.drawn_sha256 else ": other numbers than the picture's"
        self.pair.second = {"src": data_url(raw), "title": f"Drawn here from {Path(self.root).name} · {words_of(moment)}{note}"}
        self._tell(scene.sentence)
        wanted = self.state.direction
        if wanted in WORDS and scene.direction in WORDS and scene.direction != wanted:
            ways = WORDS[wanted], WORDS[scene.direction]
            self.notices.show(f"{words_of(moment)}: {ways[0]} is asked for; price comes {ways[1]} here")
        if shown is None:
            self.pair.first = {"guide": guide(self.root, moment, bool(self.known))}
        if self._fresh and beside is not None:
            self.guard(lambda: self._open(picture_bytes(beside), beside.name, beside))

    def _not_drawn(self, error: EngineError) -> None:
        self._nothing()
        self.notices.show(str(error))

    def _nothing(self) -> None:
        self._later.stop()
        self.moment = None
        self.pair.second = {"said": "Nothing could be drawn; the reason stands above."}

    def _offer(self, *, back: bool) -> None:
        """Show the buttons there are; back to the picture's moment only where the page is at another."""
        acts = [*([BACK] if back else []), *OPENS, KEEP, SAVE]
        fields = [buttons("lay", "How the two stand", *LAYS), buttons("act", "What to do", *acts)]
        if self.acts.fields != fields:
            self.acts.param.update(fields=fields, values={"lay": int(self.acts.values.get("lay", 0)), "act": -1})

    def _on_act(self, change: dict[str, Any]) -> None:
        self.acts.answered = int(change["n"])
        if change["name"] == "lay":
            self.pair.swipe = bool(change["value"])
            self.acts.values = {"lay": int(self.pair.swipe), "act": -1}
            return
        act = self.acts.fields[1]["options"][int(change["value"])]
        if act in OPENS:
            self.state.view = act.removeprefix("Open in ").lower()
        else:
            self.guard({BACK: self._back, KEEP: self._keep_moment, SAVE: self._save}[act])

    def _back(self) -> None:
        if self.shown is not None and self.shown.moment is not None:
            self._go(self.shown.moment)

    def _picture(self) -> tuple[bytes, str]:
        """The moment that the page is at, as a picture that carries it, and its file name, as `spymaster snapshot` gives it."""
        moment, said = moment_in(self.root, self.state)
        self.notices.complaints += said
        features, params = as_drawn(self.state)
        raw, scene = draw_moment(self.root, moment, features, params, scene_under_way(self.root, moment, features, params))
        clock, level = axes.clock(scene.end_ns).replace(":", ""), re.sub("[^a-z0-9.]+", "_", scene.level_id)
        return raw, f"SETUP_{scene.symbol}_{scene.date}_{clock}_{level}.png"

    def _keep_moment(self) -> None:
        raw, name = self._picture()
        path = store_picture(self.root, raw, name)
        self._list()
        self._open(raw, name, path)

    def _save(self) -> None:
        raw, name = self._picture()
        self._saves += 1
        self.pair.saved = {"name": name, "src": data_url(raw), "n": self._saves}

    def _tell(self, text: str) -> None:
        self.say.object = components.sentence(text)

    def failed(self, error: EngineError) -> None:
        """What is wrong with a picture is said above, and nothing of it is believed."""
        self.notices.trouble = [str(error)]
        if self.moment is None:
            self._nothing()


# ----------------------------------------------------------------------------
# Pictures of setups on disk and on their way to the browser: what is listed, what is stored, how a moment is drawn

PICTURES = "pictures"
"""Folder of the lake with what was dropped and carries no state of its own, and the moments that were made pictures."""


def pictures(root: str) -> list[Path]:
    """``SETUP*.png`` of ``SPYMASTER_ASSETS`` (else ``assets``) and of the lake, newest first; what points out of its folder is left out."""
    folders = Path(os.environ.get("SPYMASTER_ASSETS", "assets")), Path(root) / PICTURES
    found = [p for f in folders if f.is_dir() for p in sorted(f.glob("SETUP*.png")) if p.is_file() and not p.is_symlink()]
    return sorted(found, key=lambda p: -p.stat().st_mtime_ns)[:60]


def store_picture(root: str, raw: bytes, name: str | None = None) -> Path:
    """Store a picture in the lake's folder of them; returns where. A LakeWriteFailed where the folder cannot be written.

    One without a `name`, that was dropped, is stored under the hash of its bytes, so that what is typed in for it has a place beside it.
    """
    path = Path(root) / PICTURES / (name or f"SETUP_{hashlib.sha256(raw).hexdigest()[:16]}.png")
    if name is not None or not path.exists():
        write_bytes_atomic(path, raw)
    return path


def dropped_bytes(dropped: Mapping[str, Any], most: int) -> tuple[bytes, str]:
    """Bytes and name of a dropped picture, of which the browser sends ``name`` and ``data``, base64 text.

    A BadPicture where it has more than `most` bytes, or did not arrive whole.
    """
    last, text = str(dropped.get("name", "")).replace("\\", "/").rsplit("/", 1)[-1], dropped.get("data")
    # The name as the browser sent it, fit to be shown.
    name = "".join(c if c.isprintable() else "?" for c in last)[:80] or "picture"
    if not isinstance(text, str) or len(text) > most * 4 // 3 + 4:
        raise BadPicture(f"{name}: expected a picture of at most {most // 1_000_000} MB; save it smaller")
    try:
        return base64.b64decode(text, validate=True), name
    except (binascii.Error, ValueError) as e:
        raise BadPicture(f"{name}: did not arrive whole; drop it again") from e


def data_url(raw: bytes) -> str:
    """The PNG as a URL that asks nobody."""
    return "data:image/png;base64," + base64.b64encode(raw).decode()


def scene_under_way(root: str, moment: dict[str, Any], features: FeatureParams, params: PictureParams) -> tuple[Scene, str] | None:
    """What a picture of a moment of a session under way shows, nothing of what came after, and the session's profile; None where the
    session is not under way.

    Only the page's own loop may ask: there the session grows.
    """
    session = live.session_of(root, moment["contract"], dt.date.fromisoformat(moment["session"]))
    if session is None:
        return None
    known = params.model_copy(update={"hindsight": False})
    scene = session_scene(session, level_id=moment["level"], clock_ns=moment["cursor_ts_ns"], features=features, picture=known)
    return scene, session.profile


def draw_moment(
    root: str,
    moment: dict[str, Any],
    features: FeatureParams | None,
    params: PictureParams,
    under_way: tuple[Scene, str] | None = None,
) -> tuple[bytes, Scene]:
    """The moment's picture as PNG that carries its state, and what it was drawn from: of a session `scene_under_way`, or of the lake's."""
    if under_way is not None:
        return picture(*under_way), under_way[0]
    lake = lakes.open_lake(root)
    scene = scene_of(
        lake, moment["contract"], dt.date.fromisoformat(moment["session"]), level_id=moment["level"], clock_ns=moment["cursor_ts_ns"],
        features=features, picture=params,
    )  # fmt: skip
    return picture(scene, profile_of(lake)), scene


# ----------------------------------------------------------------------------
# The moment of a comparison: what the tab's state says of it, what a picture says of it, and which pictures are of the same

WORDS = {"approach_up": "from below", "approach_down": "from above"}

WHERE = ("contract", "session", "level", "cursor_ts_ns")
"""Parameters of the tab's state that are the moment; the others say how it is drawn."""

MOST_ROWS = 30
"""Ticks above and below the level that a picture has room for."""


def moment_of(state: SetupState) -> dict[str, Any]:
    """What a picture says of its moment, as parameters of the tab's state."""
    z, p = state.features.zones, state.picture
    return {
        "contract": state.symbol, "session": state.session_date.isoformat(), "level": state.level_id, "cursor_ts_ns": state.clock_ns,
        "window_s": state.features.window_s, "at": z.at, "near": z.near, "mid": z.mid, "far": z.far, "layer": p.layer,
        "palette": p.palette, "rows": p.rows, "half_life_s": p.half_life_s,
    }  # fmt: skip


def moment_in(root: str, state: LevelState) -> tuple[dict[str, Any], list[str]]:
    """The moment that `state` names, brought into its session as the Level view does it, and what the trader has to know.

    Where it names no time: the window nearest to the level, of an approach from the side that it names, if it names one. A SessionError
    where the lake holds no session, or the level no approach from that side; a PartitionMissing where the session's files are not there.
    """
    session = components.session_of(root, state)
    if session is None:
        raise SessionError(f"the lake {root} holds no session to draw: {brings_sessions(Lake(root), None)}")
    said = clamp_to_session(state, session)
    with discard_events(state):
        if state.cursor_ts_ns is None and state.direction in WORDS:
            state.cursor_ts_ns = nearest(root, session.symbol, session.date, state.level, state.direction)
        state.cursor_ts_ns = resolve(session, state).now_ns
    return {k: getattr(state, k) for k in WHERE}, said


def moment_typed(root: str, contract: str | None, typed: ForeignState) -> dict[str, Any]:
    """The moment that was typed in, of `contract` where none was; without a time the window of such an approach nearest to the level."""
    symbol, date = typed.symbol or contract, typed.session_date
    if symbol is None:
        raise SessionError(f"{date}: the lake {root} holds no session: {brings_sessions(Lake(root), None)}")
    ts = to_ns(date, typed.clock) if typed.clock is not None else nearest(root, symbol, date, typed.level_id, typed.direction)
    return {"contract": symbol, "session": date.isoformat(), "level": typed.level_id, "cursor_ts_ns": ts}


def nearest(root: str, symbol: str, date: dt.date, level_id: str, direction: str) -> int:
    """End of the window that came nearest to the level in an approach from that side, the first of them; a SessionError without one."""
    p = FeatureParams()
    v = session_cache.load(root, symbol, date).windows(level_id, p)
    near = v.filter(pl.col("book_valid") & (pl.col("approach") == direction)).sort(pl.col("distance_ticks").abs(), maintain_order=True)
    if near.height == 0:
        way = WORDS.get(direction, direction)
        raise SessionError(f"{date}: no approach to {level_title(level_id)} {way} in {symbol}; choose a time, or another direction")
    return int(near["window_start_ts_ns"][0]) + p.window_s * NS


def as_drawn(state: LevelState) -> tuple[FeatureParams, PictureParams]:
    """How the tab's state has the moment drawn."""
    rows = min(max(state.rows, 8), MOST_ROWS)
    picture = PictureParams(theme=state.theme, layer=state.layer, palette=state.palette, rows=rows, half_life_s=float(state.half_life_s))
    return FeatureParams(window_s=state.window_s, zones=state.zones()), picture


def same(own: SetupState, state: LevelState) -> bool:
    """Whether the tab is at the picture's moment and draws it with the picture's own parameters."""
    return all(getattr(state, k) == v for k, v in moment_of(own).items() if k != "rows") and min(state.rows, MOST_ROWS) == own.picture.rows


def same_window(a: Mapping[str, Any], b: Mapping[str, Any], window_s: int) -> bool:
    """Whether two moments are the same window of the same level."""
    w = window_s * NS
    return all(a[k] == b[k] for k in WHERE[:3]) and a["cursor_ts_ns"] // w == b["cursor_ts_ns"] // w


def of_moment(root: str, known: list[Path], moment: dict[str, Any], window_s: int) -> Path | None:
    """The newest of the pictures `known` that is of this moment; None where none is."""
    for path in known:
        try:
            theirs = _theirs(root, path, moment)
        except (BadPicture, SessionError):
            continue  # what is wrong with it is said when it is chosen
        if theirs is not None and same_window(theirs, moment, window_s):
            return path
    return None


def _theirs(root: str, path: Path, moment: dict[str, Any]) -> dict[str, Any] | None:
    own = read_state(picture_bytes(path), path.name)
    if own is not None:
        return moment_of(own)
    typed = read_sidecar(path)
    if typed is None or (typed.session_date.isoformat(), typed.level_id) != (moment["session"], moment["level"]):
        return None  # of another session: it need not be read
    return moment_typed(root, moment["contract"], typed)


def words_of(moment: dict[str, Any]) -> str:
    """The moment in words, such as ``ESZ5 2025-10-24 09:53:30, OR High``."""
    level = moment["level"].replace("price:", "Price ") if moment["level"].startswith("price:") else level_title(moment["level"])
    return f"{moment['contract']} {moment['session']} {axes.clock(moment['cursor_ts_ns'])}, {level}"


def guide(root: str, moment: dict[str, Any], pictures: bool) -> list[list[str]]:
    """What can be done where no picture is chosen: heading, text, command and button of each way."""
    when = words_of(moment).split(",")[0].split(" ", 1)[1]
    of = f"--symbol {moment['contract']} --level {moment['level']}"
    command = f'spymaster snapshot --lake {quote(str(root))} {of} --ts "{when}" --out assets/SETUP_1.png'
    what = (
        "Compare holds a setup's picture against the same moment drawn from the lake: beside it, or swiped over it. "
        "A picture that was saved here opens its own moment; one from elsewhere is asked once for date, level and direction."
    )
    have = f"{'Choose one of the pictures above, or drop' if pictures else 'Drop'} a PNG anywhere on this page, or use “Choose a picture”."
    keep = "Keeps it as a picture in the lake, to hold other moments against: go on in Level, and come back."
    return [
        ["Put a picture beside this moment", what, "", ""],
        ["A picture that you have", have, "", ""],
        ["This moment", keep, "", KEEP],
        ["Without a browser", "Makes the same picture, the same bytes every time; pictures in assets/ are listed here.", command, ""],
    ]


class Typed:
    """Date, level, direction and time of a picture from elsewhere, typed in once while `row` is visible.

    `keep` is called with the fields of a `ForeignState`.
    """

    def __init__(self, keep: Callable[[dict[str, Any]], None]) -> None:
        self._keep = keep
        self._values: dict[str, str] = {}
        self._contract: str | None = None
        self.form = Form(row=True, margin=0)
        self.form.param.watch(lambda e: self._on_change(e.new), "changed")
        self.row = pn.Row(self.form, margin=(4, 0), visible=False, sizing_mode="stretch_width")

    def ask(self, state: LevelState) -> None:
        """Ask, beginning with what the page is at."""
        self._contract = state.contract
        self._values = {"date": state.session or "", "level": state.level, "direction": "0", "clock": ""}
        self.form.fields = [
            text_field("date", "Session date, YYYY-MM-DD", "date"),
            text_field("level", "Level, such as pm_high or price:6800.25", "level"),
            {"name": "direction", "kind": "select", "label": "Direction", "options": list(WORDS.values())},
            text_field("clock", "New York time, where the picture tells it", "HH:MM:SS"),
            buttons("keep", "Keep", "Keep and draw"),
        ]
        self.form.values = {**self._values, "direction": 0}
        self.row.visible = True

    def _on_change(self, change: dict[str, Any]) -> None:
        name, value = str(change["name"]), change["value"]
        self.form.answered = int(change["n"])
        if name != "keep":
            self._values[name] = str(value)[:64]
            return
        date, level, clock = (self._values[k].strip() for k in ("date", "level", "clock"))
        direction = list(WORDS)[self._values["direction"] == "1"]
        self._keep({"session_date": date, "level_id": level, "direction": direction, "symbol": self._contract, "clock": clock or None})
