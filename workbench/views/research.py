"""The Research view: do the four conditions keep their promise, is similarity worth anything, and what are the data worth?"""

from __future__ import annotations

from html import escape
from typing import Any, ClassVar

import panel as pn

from workbench.queries import market, simulated
from workbench.state import LevelState
from workbench.theme import THEMES, css_variables
from workbench.views import components, view
from workbench.views.background import BackgroundTask
from workbench.views.base import PageView
from workbench.views.components import BOTH, FILL, Chips, Form, buttons, heading, html, simulated_mark
from workbench.views.controls import keys_pane
from workbench.views.research_sections import (
    AuditSection,
    FeatureSection,
    HitRates,
    Hypothesis,
    QualitySection,
    Section,
    SectionQuery,
    WallSection,
)
from workbench.views.save import save_control

SECTIONS: tuple[type[Section], ...] = (Hypothesis, AuditSection, HitRates, WallSection, FeatureSection, QualitySection)


STOP = [buttons("stop", "Stop", "Stop")]


@view("research", "Research")
class ResearchView(PageView):
    """Six questions about all sessions of a market."""

    follows: ClassVar[frozenset[str]] = frozenset({"theme", "section"}.union(*(s.needs for s in SECTIONS)))

    def __init__(self, root: str, state: LevelState, complaints: list[str], **params: Any) -> None:
        super().__init__(root, state, complaints, **params)
        self.sections = {s.key: s(root, state, self._refuse) for s in SECTIONS}
        self._themes = dict.fromkeys(self.sections, state.theme)
        self._dirty = set(self.sections)
        self._stopped: set[str] = set()
        """Sections whose question was stopped: not asked again before the trader wants it, or asks something else."""
        self._asking = ""
        self.later = BackgroundTask(self._tell)
        self.chips = Chips(
            label="Question", small=True, value=state.section, items=[{"id": s.key, "label": s.title} for s in SECTIONS],
            colors=css_variables(THEMES[state.theme]), **FILL,
        )  # fmt: skip
        self.notices.show()
        self.mark, self.progress = simulated_mark(root), html()
        self.stop = Form(row=True, margin=(0, 0, 0, 10), fields=STOP)
        self.working = pn.Row(self.progress, self.stop, visible=False, **FILL)
        self.body = pn.Column(
            self.notices.banner, pn.Row(self.chips, self.mark, **FILL), self.working, *(s.body for s in self.sections.values()),
            **components.layout("sm-research"), **BOTH,
        )  # fmt: skip
        self.chips.param.watch(lambda e: state.param.update(section=e.new), "value")
        self.stop.param.watch(lambda e: self._stop(e.new), "changed")
        for s in self.sections.values():
            if s.choice is not None:
                s.choice.param.watch(lambda *events, s=s: self._on_choice(s, events), [n for n in s.choice.param if n != "name"])

    @property
    def section(self) -> Section:
        """The section in front."""
        return self.sections[self.state.section]

    def controls(self) -> list[Any]:
        """What the drawer holds."""
        save = save_control(lambda: [t for s in self.sections.values() for t in s.exports()])
        return [save, Form(fields=[heading("Keys")], **FILL), keys_pane("research")]

    def open(self) -> None:
        """Ask for the section in front."""
        self._show()

    def rest(self) -> bool:
        """Ask for nothing any more. The lake may have changed until the view is back: what did not is answered from memory."""
        self._give_up()
        self._dirty.add(self.state.section)
        return True

    def changed(self, names: set[str]) -> None:
        """Ask again what depends on these parameters, once it is in front."""
        other = {s.key for s in self.sections.values() if s.needs & names}
        self._dirty |= other
        self._stopped -= other
        if "theme" in names:
            self.chips.colors = css_variables(THEMES[self.state.theme])
        self._show()

    def _on_choice(self, section: Section, events: Any) -> None:
        if section.asks & {e.name for e in events}:
            self._dirty.add(section.key)
            self._stopped.discard(section.key)
            self._show()
        else:
            with pn.io.hold():
                section.again()

    def _show(self) -> None:
        s = self.section
        with pn.io.hold():
            self.chips.value = s.key
            for other in self.sections.values():
                other.body.visible = other is s
            if self._themes[s.key] != self.state.theme:
                self._themes[s.key] = self.state.theme
                s.apply_theme()
        if s.key in self._stopped:
            self._give_up()
            self._tell_stopped(s)
        elif s.key in self._dirty:
            self._give_up()
            self._dirty.discard(s.key)
            self._asking = s.key
            if self.stop.fields != STOP:
                self.stop.fields, self.progress.object = STOP, ""
            asked = s.asking()
            self.later.start(
                lambda progress: (s.work(asked, progress), simulated(self.root, market(asked.contract))),
                lambda found: self._done(s, asked, *found),
                lambda e: self._failed(s, str(e)),
            )
        elif self._asking != s.key:
            self._give_up()

    def _refuse(self, why: str) -> None:
        self.notices.trouble = [why] if why else []
        self.notices.show()

    def _tell(self, done: int, of: int, what: str) -> None:
        share = f"{100 * done / of:.0f}%" if of else "100%"
        bar = f"<div class='sm-bar' style='width:{share};background:var(--sm-long)'></div>"
        self._say(f"Working: {escape(f'{what} ({done} of {of})' if of else what)}{bar}", 4)

    def _say(self, words: str, padding_px: int) -> None:
        self.progress.object = f"<div class='sm-note' role='status' style='padding:{padding_px}px 0'>{words}</div>"
        self.working.visible = True

    def _done(self, section: Section, asked: SectionQuery, answer: Any, simulated: bool) -> None:
        self.working.visible = False
        section.simulated = self.mark.visible = simulated
        section.show(answer, asked)

    def _failed(self, section: Section, message: str) -> None:
        self.working.visible = False
        section.fail(message)

    def _give_up(self) -> None:
        """Another section's work is not waited for any more; it is asked again when that is opened."""
        if self.later.busy:
            self.later.stop()
            self._dirty.add(self._asking)
        self.working.visible = False

    def _stop(self, change: dict[str, Any]) -> None:
        """Stop what is under way; where it was stopped before, ask again."""
        self.stop.answered = int(change["n"])
        s = self.section
        self._dirty.add(s.key)
        if self.later.busy:
            self.later.stop()
            self._stopped.add(s.key)
            self._tell_stopped(s)
        else:
            self._stopped.discard(s.key)
            self._show()

    def _tell_stopped(self, section: Section) -> None:
        self.stop.fields = [buttons("stop", "Ask again", "Ask again")]
        if section.answer is None:
            section.say.object = components.sentence(f"{section.title}: stopped")
        self._say("Stopped: there is no answer yet." if section.answer is None else "Stopped: what stands below is the answer before.", 6)
