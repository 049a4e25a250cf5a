"""The Compare view: a setup's picture beside, or swiped over, the same moment drawn here from the lake."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import panel as pn
import polars as pl
from panel.viewable import Viewer
from pydantic import ValidationError

from engine.errors import BadPicture, EngineError, SessionError
from engine.features import level_windows
from engine.params import ApproachParams, FeatureParams
from engine.sessions import to_ns
from workbench import data
from workbench.state import LevelState
from workbench.theme import THEMES, css_variables
from workbench.views import compare_files as files
from workbench.views import notices, view
from workbench.views.compare_pair import MAX_UPLOAD, Pair
from workbench.views.controls import drawer
from workbench.views.form import Form
from workbench.views.parts import Chips
from workbench.views.style import PANE_CSS

DIRECTIONS = ("approach_up", "approach_down")
ACTS = ("Side by side", "Swipe", "Open in Level", "Open in Replay", "Save the current setup as PNG")


@view("compare", "Compare")
class CompareView(Viewer):
    """Pictures of setups against the lake. `state` is the tab's state, `root` the lake."""

    def __init__(self, root: str, state: LevelState, complaints: list[str], **params: Any) -> None:
        super().__init__(**params)
        self.root, self.state, self.complaints = root, state, complaints
        self.known: list[Path] = []
        self.chosen: Path | None = None
        self.moment: dict[str, Any] | None = None
        self._typed: dict[str, str] = {}
        self._saves = 0
        fill: dict[str, Any] = {"margin": 0, "sizing_mode": "stretch_width"}
        self.chips = Chips(label="Picture", small=True, **fill)
        self.notice = pn.pane.HTML("", visible=False, stylesheets=[PANE_CSS], **fill)
        self.say = pn.pane.HTML("", stylesheets=[PANE_CSS], **fill)
        self.acts = Form(row=True, margin=(4, 0), fields=[{"name": "act", "kind": "group", "label": "What to do", "options": list(ACTS)}])
        self.acts.values = {"act": 0}
        self.typed = Form(row=True, margin=0)
        self.asked = pn.Row(self.typed, margin=(4, 0), visible=False, sizing_mode="stretch_width")
        self.pair = Pair(margin=0, sizing_mode="stretch_both")
        self.chips.param.watch(lambda e: self._guard(lambda: self._choose(e.new)), "value")
        self.acts.param.watch(lambda e: self._on_act(e.new), "changed")
        self.typed.param.watch(lambda e: self._on_typed(e.new), "changed")
        self.pair.param.watch(lambda e: self._guard(lambda: self._on_drop(e.new)), "dropped")
        state.param.watch(lambda e: self.chips.param.update(colors=css_variables(THEMES[e.new])), "theme")
        self.body = pn.Column(
            self.notice, self.chips, self.say, self.acts, self.asked, self.pair, margin=0, sizing_mode="stretch_both",
            styles={"padding": "8px 12px", "box-sizing": "border-box", "gap": "4px"},
        )  # fmt: skip

    def __panel__(self) -> Any:
        return self.body

    def controls(self) -> list[Any]:
        """What the drawer holds."""
        return drawer(self.state)

    def start(self) -> None:
        """List the pictures, and show the newest."""
        self._guard(self._list)

    def _list(self) -> None:
        self.known = files.pictures(self.root)
        self.chips.param.update(
            items=[{"id": str(i), "label": p.name, "title": str(p)} for i, p in enumerate(self.known)],
            colors=css_variables(THEMES[self.state.theme]),
        )
        if not self.known:
            self._tell("No SETUP*.png in assets/ yet: drop one here, or save the current setup with the button above the pictures.")
            self._empty("The picture that you choose or drop is shown here.", "The same moment, drawn from the lake, is shown here.")
        elif self.chosen is None:
            self.chips.value = "0"

    def _empty(self, first: str, second: str) -> None:
        self.pair.param.update(first={"said": first}, second={"said": second})

    # --- pictures that come in

    def _choose(self, which: str) -> None:
        if which.isdigit() and int(which) < len(self.known):
            from workbench.snapshot.sidecar import picture_bytes

            self.chosen = self.known[int(which)]
            self._open(picture_bytes(self.chosen), self.chosen.name)

    def _on_drop(self, dropped: dict[str, Any]) -> None:
        name = files.clean_name(str(dropped.get("name", "")))
        text = dropped.get("data")
        if not isinstance(text, str) or len(text) > MAX_UPLOAD * 4 // 3 + 4:
            raise BadPicture(f"{name}: expected a picture of at most {MAX_UPLOAD // 1_000_000} MB; save it smaller")
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as e:
            raise BadPicture(f"{name}: did not arrive whole; drop it again") from e
        self.chosen = None
        self.chips.value = ""
        self._open(raw, name)

    def _open(self, raw: bytes, name: str) -> None:
        """Show a picture, and the moment it is of."""
        from workbench.snapshot import read_sidecar, read_state

        state = read_state(raw, name)
        self.moment = None
        self.asked.visible = False
        self.pair.first = {"src": files.data_url(raw), "title": name}
        if state is not None:
            self._go(files.moment_of(state))
            self._draw(state.features, state.picture, state.drawn_sha256)
            return
        if self.chosen is None:
            self.chosen = files.keep(self.root, raw)
        typed = read_sidecar(self.chosen)
        if typed is None:
            self._ask()
            return
        self._go(self._moment_typed(typed.session_date, typed.symbol, typed.level_id, typed.direction, typed.clock))
        self._draw(None, None, None)

    def _ask(self) -> None:
        """A picture that says nothing of itself: date, level and direction are typed in once."""
        s = self.state
        self._typed = {"date": s.session or "", "level": s.level, "direction": "0", "clock": ""}
        self.typed.fields = [
            {"name": "date", "kind": "text", "label": "Session date, YYYY-MM-DD", "hint": "date"},
            {"name": "level", "kind": "text", "label": "Level, such as pm_high or price:6800.25", "hint": "level"},
            {"name": "direction", "kind": "select", "label": "Direction", "options": ["from below", "from above"]},
            {"name": "clock", "kind": "text", "label": "New York time, where the picture tells it", "hint": "HH:MM:SS"},
            {"name": "keep", "kind": "group", "label": "Keep", "options": ["Keep and draw"]},
        ]
        self.typed.values = {**self._typed, "direction": 0}
        self.asked.visible = True
        self.pair.second = {"said": "This picture was drawn elsewhere. Type date, level and direction in once; they are kept beside it."}
        self._tell("A picture from elsewhere: what is it of?")

    def _on_typed(self, change: dict[str, Any]) -> None:
        name, value = str(change["name"]), change["value"]
        self.typed.answered = int(change["n"])
        if name != "keep":
            self._typed[name] = str(value)[:64]
            return
        self._guard(self._keep)

    def _keep(self) -> None:
        from workbench.snapshot import write_sidecar

        if self.chosen is None:
            return
        t = self._typed
        fields: dict[str, Any] = {
            "session_date": t["date"].strip(), "level_id": t["level"].strip(), "direction": DIRECTIONS[t["direction"] == "1"],
            "symbol": self.state.contract, "clock": t["clock"].strip() or None,
        }  # fmt: skip
        kept = write_sidecar(self.chosen, **fields)
        self.asked.visible = False
        self._go(self._moment_typed(kept.session_date, kept.symbol, kept.level_id, kept.direction, kept.clock))
        self._draw(None, None, None)

    def _moment_typed(self, date: dt.date, symbol: str | None, level_id: str, direction: str, clock: dt.time | None) -> dict[str, Any]:
        """The moment that was typed in; without a time the window of such an approach that came nearest to the level."""
        symbol = symbol or self.state.contract
        if symbol is None:
            raise SessionError(f"{date}: the lake {self.root} holds no session; `spymaster run --lake {self.root}` makes them")
        if clock is not None:
            ts = to_ns(date, clock)
        else:
            s = data.load(self.root, symbol, date)
            v = level_windows(s.ladder, data.level_frame(s, level_id), FeatureParams(), ApproachParams())
            near = v.filter(pl.col("book_valid") & (pl.col("approach") == direction))
            near = near.sort(pl.col("distance_ticks").abs(), maintain_order=True)
            if near.height == 0:
                way = "below" if direction == "approach_up" else "above"
                raise SessionError(f"{date}: no approach to {level_id} from {way} in {symbol}; type the time in, or another direction")
            ts = int(near["window_start_ts_ns"][0])
        return {"contract": symbol, "session": date.isoformat(), "level": level_id, "cursor_ts_ns": ts}

    # --- the moment drawn here

    def _go(self, moment: dict[str, Any]) -> None:
        """Put the tab's state at a moment, so that every view opens there."""
        there = data.contracts(self.root)
        symbol, date = moment["contract"], moment["session"]
        if date not in there.get(symbol, []):
            raise SessionError(
                f"{symbol} {date}: the picture's session is not in the lake {self.root}; "
                f"`spymaster run --lake {self.root} --layer all --symbol {symbol} --dates {date}` makes it from the raw files"
            )
        self.moment = moment
        self.state.param["session"].objects = there[symbol]
        self.state.param.update(**moment)

    def _draw(self, features: Any, picture: Any, digest: str | None) -> None:
        from workbench.snapshot import PictureParams

        self._tell("Drawing the moment …")
        self.pair.second = {"said": "Drawing …"}
        raw, scene = files.draw_moment(
            self.root, self.moment or {}, features, picture or PictureParams(theme=self.state.theme, layer=self.state.layer)
        )
        same = "" if digest is None else ": the same numbers" if scene.digest() == digest else ": other numbers than the picture's"
        self.pair.second = {"src": files.data_url(raw), "title": f"Drawn here from {Path(self.root).name}{same}"}
        self._tell(scene.sentence)

    # --- what the trader does

    def _on_act(self, change: dict[str, Any]) -> None:
        self.acts.answered = int(change["n"])
        act = ACTS[int(change["value"])]
        if act in ACTS[:2]:
            self.pair.swipe = act == "Swipe"
            self.acts.values = {"act": int(self.pair.swipe)}
        elif act.startswith("Open in"):
            self.state.view = act.removeprefix("Open in ").lower()
        else:
            self._guard(self._save)

    def _save(self) -> None:
        from workbench.snapshot import PictureParams

        st = self.state
        if st.contract is None or st.session is None:
            raise SessionError(f"the lake {self.root} holds no session to draw; `spymaster run --lake {self.root}` makes them")
        ts = st.cursor_ts_ns
        if ts is None:
            raise SessionError("no moment is chosen yet: open the Level view, put the cursor at the setup, then save it here")
        moment = {"contract": st.contract, "session": st.session, "level": st.level, "cursor_ts_ns": ts}
        rows = min(max(st.rows, 8), 30)
        picture = PictureParams(theme=st.theme, layer=st.layer, palette=st.palette, rows=rows, half_life_s=float(st.half_life_s))
        raw, scene = files.draw_moment(self.root, moment, FeatureParams(window_s=st.window_s, zones=st.zones()), picture)
        self._saves += 1
        clock = dt.datetime.fromtimestamp(scene.now_ns // 10**9, dt.UTC).strftime("%H%M%S")
        name = f"SETUP_{scene.symbol}_{scene.date}_{clock}Z_{re.sub('[^a-z0-9.]+', '_', st.level)}.png"
        self.pair.saved = {"name": name, "src": files.data_url(raw), "n": self._saves}
        self._tell(f"{name} (sha256 {hashlib.sha256(raw).hexdigest()[:12]}): {scene.sentence}")

    def _tell(self, text: str) -> None:
        self.say.object = notices.sentence(text)

    def _guard(self, act: Callable[[], None]) -> None:
        """Run `act`; what is wrong with a picture is said above, and nothing of it is believed."""
        lines = list(self.complaints)
        try:
            act()
        except ValidationError as e:
            lines += [f"Not applied: {err['msg']}" for err in e.errors()]
        except EngineError as e:
            lines.append(str(e))
            self.pair.second = {"said": "Nothing could be drawn; the reason stands above."}
        self.notice.object = notices.banner(lines) if lines else ""
        self.notice.visible = bool(lines)
