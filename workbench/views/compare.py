"""The Compare view: a setup's picture beside, or swiped over, the moment that the page stands at, drawn here from the lake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import panel as pn
from panel.viewable import Viewer
from pydantic import ValidationError

from engine.errors import EngineError, SessionError
from workbench import data
from workbench.snapshot import Scene, SetupState, read_sidecar, read_state, write_sidecar
from workbench.snapshot.sidecar import picture_bytes
from workbench.state import LevelState
from workbench.theme import THEMES, css_variables
from workbench.views import compare_files as files
from workbench.views import compare_moment as moments
from workbench.views import notices, view
from workbench.views.banner import Notices
from workbench.views.compare_acts import BACK, OPENS, SAVE, Acts
from workbench.views.compare_pair import MAX_UPLOAD, Pair
from workbench.views.compare_words import KEEP, Typed, guide
from workbench.views.controls import drawer
from workbench.views.keys_help import COMPARE_KEYS
from workbench.views.later import Later
from workbench.views.parts import Chips
from workbench.views.style import PANE_CSS

SHOWS = {
    "contract", "session", "level", "cursor_ts_ns", "direction", "window_s", "at", "near", "mid", "far", "layer", "palette", "rows",
    "half_life_s", "theme",
}  # fmt: skip
"""Parameters whose change draws the moment anew."""


@dataclass(frozen=True, eq=False)
class Shown:
    """The picture in the first place: its bytes, what it is called, and its moment; `path` where it is kept, `own` what it carries."""

    name: str
    raw: bytes
    path: Path | None = None
    own: SetupState | None = None
    moment: dict[str, Any] | None = None


@view("compare", "Compare", keys=COMPARE_KEYS)
class CompareView(Viewer):
    """Pictures of setups against the lake. `state` is the tab's state, `root` the lake."""

    def __init__(self, root: str, state: LevelState, complaints: list[str], **params: Any) -> None:
        super().__init__(**params)
        self.root, self.state = root, state
        self.notices = Notices(complaints)
        self.known: list[Path] = []
        self.shown: Shown | None = None
        self.moment: dict[str, Any] | None = None
        """What is drawn, or about to be."""
        self.active, self._missed, self._going = True, False, False
        self._fresh = True
        self._saves = 0
        self._later = Later(lambda done, of, what: None)
        self._build()
        self.chips.param.watch(lambda e: self._guard(lambda: self._choose(e.new)), "value")
        self.pair.param.watch(lambda e: self._guard(lambda: self._on_drop(e.new)), "dropped")
        self.pair.param.watch(lambda _: self._guard(self._keep_moment), "pushed")
        state.param.watch(lambda *_: self._on_state(), list(SHOWS))
        state.param.watch(lambda e: self.chips.param.update(colors=css_variables(THEMES[e.new])), "theme")

    def _build(self) -> None:
        fill: dict[str, Any] = {"margin": 0, "sizing_mode": "stretch_width"}
        self.chips = Chips(label="Picture", small=True, visible=False, **fill)
        self.say = pn.pane.HTML("", stylesheets=[PANE_CSS], **fill)
        opens = {act: partial(setattr, self.state, "view", act.removeprefix("Open in ").lower()) for act in OPENS}
        own = {BACK: self._back, KEEP: self._keep_moment, SAVE: self._save}
        self.acts = Acts(self._lay, {**opens, **{act: partial(self._guard, do) for act, do in own.items()}})
        self.typed = Typed(lambda fields: self._guard(lambda: self._keep_typed(fields)))
        self.pair = Pair(margin=0, sizing_mode="stretch_both")
        self.body = pn.Column(
            self.notices.banner, self.chips, self.say, self.acts.form, self.typed.row, self.pair, margin=0, sizing_mode="stretch_both",
            styles={"padding": "8px 12px", "box-sizing": "border-box", "gap": "4px"},
        )  # fmt: skip

    def __panel__(self) -> Any:
        return self.body

    def controls(self) -> list[Any]:
        """What the drawer holds."""
        return drawer(self.state, view="compare")

    def start(self) -> None:
        """Draw the moment that the page stands at; a picture of that very moment stands beside it, where there is one."""
        self._guard(self._list)
        self._guard(self._follow)

    def front(self, on: bool) -> None:
        """A hidden view draws nothing; it catches up when it comes back."""
        self.active = on
        if not on and self._later.busy:
            self._later.stop()
            self._missed = True
        if on and self._missed:
            self._guard(self._follow)

    def _on_state(self) -> None:
        if self._going:
            return
        if self.active:
            self._guard(self._follow)
        else:
            self._missed = True

    def _list(self, chosen: Path | None = None) -> None:
        self.known = files.pictures(self.root)
        self.chips.param.update(
            items=[{"id": str(i), "label": p.name, "title": str(p)} for i, p in enumerate(self.known)],
            value=str(self.known.index(chosen)) if chosen in self.known else "",
            colors=css_variables(THEMES[self.state.theme]), visible=bool(self.known),
        )  # fmt: skip

    # --- pictures that come in

    def _choose(self, which: str) -> None:
        if which.isdigit() and int(which) < len(self.known):
            path = self.known[int(which)]
            if self.shown is None or self.shown.path != path:
                self._open(picture_bytes(path), path.name, path)

    def _on_drop(self, dropped: dict[str, Any]) -> None:
        raw, name = files.dropped_bytes(dropped, MAX_UPLOAD)
        self._open(raw, name, None)

    def _open(self, raw: bytes, name: str, path: Path | None) -> None:
        """Show a picture, and go to the moment that it is of."""
        own = read_state(raw, name)
        if own is None and path is None:
            path = files.keep(self.root, raw)
        typed = None if own is not None or path is None else read_sidecar(path)
        moment = moments.moment_of(own) if own is not None else None
        self._show(Shown(name, raw, path, own, moment))
        self.chips.value = str(self.known.index(path)) if path in self.known else ""
        if typed is not None:
            moment = moments.moment_typed(self.root, self.state.contract, typed)
            self._show(Shown(name, raw, path, own, moment))
        if moment is None:
            self._ask()
        else:
            self._go(moment)

    def _show(self, shown: Shown) -> None:
        """Put a picture in the first place."""
        self.shown, self._fresh = shown, False
        self.typed.done()
        of = "" if shown.moment is None else f" · {moments.words_of(shown.moment)}"
        self.pair.first = {"src": files.data_url(shown.raw), "title": f"{shown.name}{of}"}

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
        moment = moments.moment_typed(self.root, self.state.contract, write_sidecar(shown.path, **fields))
        self._show(Shown(shown.name, shown.raw, shown.path, None, moment))
        self._go(moment)

    # --- the moment drawn here

    def _go(self, moment: dict[str, Any]) -> None:
        """Put the tab's state at a moment, so that every view opens there, and draw it."""
        self.moment = None
        there = data.contracts(self.root)
        symbol, date = moment["contract"], moment["session"]
        if date not in there.get(symbol, []):
            raise SessionError(
                f"{symbol} {date}: the picture's session is not in the lake {self.root}; "
                f"`spymaster run --lake {self.root} --layer all --symbol {symbol} --dates {date}` makes it from the raw files"
            )
        self._going = True
        try:
            self.state.param["session"].objects = there[symbol]
            self.state.param.update(**moment)
        finally:
            self._going = False
        self._follow()

    def _follow(self) -> None:
        """Draw the moment that the page stands at."""
        self._missed = False
        if self.typed.asking:
            return  # what is typed in goes to its own moment
        self.moment = None
        moment, said = moments.moment_in(self.root, self.state)
        self.notices.complaints += said
        self.moment = moment
        features, picture = moments.as_drawn(self.state)
        shown, known = self.shown, self.known if self._fresh else []
        if shown is not None and shown.own is not None and moments.same(shown.own, self.state):
            features, picture = shown.own.features, shown.own.picture
        self.acts.offer(back=shown is not None and shown.moment is not None and not self._at(shown.moment))
        self._tell(f"Drawing the moment: {moments.words_of(moment)} …")

        def work(progress: Callable[[int, int, str], None]) -> tuple[bytes, Scene, Path | None]:
            beside = moments.of_moment(self.root, known, moment, features.window_s)
            progress(0, 0, "")
            return *files.draw_moment(self.root, moment, features, picture), beside

        self._later.start(work, lambda made: self._drawn(moment, *made), self._failed)

    def _at(self, moment: dict[str, Any]) -> bool:
        w = self.state.window_s * 10**9
        here = self.moment or {}
        return all(here.get(k) == moment[k] for k in moments.WHERE[:3]) and here["cursor_ts_ns"] // w == moment["cursor_ts_ns"] // w

    def _drawn(self, moment: dict[str, Any], raw: bytes, scene: Scene, beside: Path | None) -> None:
        shown = self.shown
        note = ""
        if shown is not None and shown.moment is not None and not self._at(shown.moment):
            note = ": another moment than the picture's"
        elif shown is not None and shown.own is not None and moments.same(shown.own, self.state):
            note = ": the same numbers" if scene.digest() == shown.own.drawn_sha256 else ": other numbers than the picture's"
        here = f"Drawn here from {Path(self.root).name}"
        self.pair.second = {"src": files.data_url(raw), "title": f"{here} · {moments.words_of(moment)}{note}"}
        self._tell(scene.sentence)
        wanted = self.state.direction
        if wanted in moments.DIRECTIONS and scene.direction in moments.DIRECTIONS and scene.direction != wanted:
            ways = moments.WORDS[wanted], moments.WORDS[scene.direction]
            self.notices.trouble = [f"{moments.words_of(moment)}: {ways[0]} is asked for; price comes {ways[1]} here"]
            self.notices.show()
        if shown is None:
            self.pair.first = {"guide": guide(self.root, moment, bool(self.known))}
        if self._fresh and beside is not None:
            self._guard(lambda: self._open(picture_bytes(beside), beside.name, beside))

    def _failed(self, error: EngineError) -> None:
        self.notices.trouble = [str(error)]
        self._nothing()
        self.notices.show()

    def _nothing(self) -> None:
        self._later.stop()
        self.moment = None
        self.pair.second = {"said": "Nothing could be drawn; the reason stands above."}

    # --- what the trader does

    def _lay(self, swipe: bool) -> None:
        self.pair.swipe = swipe

    def _back(self) -> None:
        if self.shown is not None and self.shown.moment is not None:
            self._go(self.shown.moment)

    def _picture(self) -> tuple[bytes, Scene]:
        """The moment that the page stands at, as a picture that carries it."""
        moment, said = moments.moment_in(self.root, self.state)
        self.notices.complaints += said
        return files.draw_moment(self.root, moment, *moments.as_drawn(self.state))

    def _keep_moment(self) -> None:
        """Keep the moment as a picture in the lake's folder, and put it in the first place."""
        raw, scene = self._picture()
        path = files.keep(self.root, raw, files.name_of(scene))
        self._list()
        self._open(raw, path.name, path)

    def _save(self) -> None:
        raw, scene = self._picture()
        self._saves += 1
        self.pair.saved = {"name": files.name_of(scene), "src": files.data_url(raw), "n": self._saves}

    def _tell(self, text: str) -> None:
        self.say.object = notices.sentence(text)

    def _guard(self, act: Callable[[], None]) -> None:
        """Run `act`; what is wrong with a picture is said above, and nothing of it is believed."""
        self.notices.act()
        try:
            with pn.io.hold():
                act()
        except ValidationError as e:
            self.notices.trouble = [f"Not applied: {err['msg']}" for err in e.errors()]
        except EngineError as e:
            self.notices.trouble = [str(e)]
            if self.moment is None:
                self._nothing()
        self.notices.show()
