"""What similar setups did, on the space of a hand: counts first, then the posterior beside what is usual, and bars for every horizon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import polars as pl

from workbench.plots.outcomes import CLASSES, FEW, class_colours, class_words
from workbench.theme import FONT, MONO, Theme

CSS = f"""<style>
.o {{ font: clamp(12.5px,.62vw,16px)/1.35 {FONT}; }} .o .n, .o td {{ font-family: {MONO}; }} .o .m {{ color: var(--muted); }}
.o .top {{ display: flex; justify-content: space-between; gap: 12px; flex-wrap: wrap; }} .o .top b {{ color: var(--text); }}
.o table {{ width: 100%; border-collapse: collapse; table-layout: fixed; margin: 3px 0; }}
.o th {{ font-weight: 400; white-space: nowrap; color: var(--muted); font-size: .92em; padding: 0; }}
.o th.on {{ color: var(--text); font-weight: 600; }}
.o td {{ padding: 0 1px; text-align: center; vertical-align: bottom; }} .o .w {{ text-align: left; white-space: nowrap; }}
.o .w b {{ font-family: {FONT}; }} .o .big {{ font-size: 1.12em; font-weight: 600; }}
.o .cell {{ position: relative; height: clamp(20px,2.5vh,58px); border-bottom: 1px solid var(--edge); }}
.o.roomy .cell {{ height: clamp(34px,4.4vh,84px); }} .o .on .cell {{ background: var(--panel); }}
.o .bar, .o .pi, .o .iv, .o .p {{ position: absolute; }} .o .bar {{ left: 22%; right: 22%; bottom: 0; }}
.o .iv {{ left: calc(50% - 1px); width: 2px; background: var(--text); }}
.o .p {{ left: calc(50% - 4px); width: 8px; height: 2px; background: var(--text); }}
.o .pi {{ left: 8%; right: 8%; height: 0; border-top: 2px dashed var(--level); }}
.o .count {{ font-size: .92em; }} .o .dim {{ opacity: .38; }} .o .say {{ font-size: 1.15em; padding: 10px 0 4px; }}
.o .wait {{ height: 3px; margin: 0 0 -3px; background: linear-gradient(90deg,var(--edge),var(--text),var(--edge)); }}
</style>"""


@dataclass(frozen=True)
class Facts:
    """What stands around the table.

    Attributes
    ----------
    level, approach : str
        The level in words; ``approach_up`` or ``approach_down``.
    horizon : str
        The one in words, ``h0`` to ``h6``.
    whose : str
        Whose setups were compared, such as ``only the 18 sessions before 2025-10-28``.
    rule : str
        The outcome rule.
    neighbours, days : int
        Setups, and distinct sessions among them.
    n_eff : float
    p_touch, pi_touch : float or None
        Probability of a touch, and what is usual; None where it is not known.
    nothing : str
        Why nothing is comparable; empty where something is.
    """

    level: str
    approach: str
    horizon: str
    whose: str
    rule: str
    neighbours: int
    days: int
    n_eff: float
    p_touch: float | None
    pi_touch: float | None
    nothing: str = ""


def rule_words(barrier: int | str) -> str:
    """The outcome rule: what ends a touch as what, and by which clock."""
    if barrier == "auto":
        beyond = "as many ticks as volatility sets"
    else:
        beyond = f"{barrier} ticks"
    return f"a trade {beyond} beyond is a break, {beyond} back a reject, neither chop"


def outcome_html(rows: pl.DataFrame, facts: Facts, theme: Theme, *, waiting: bool = False, roomy: bool = False) -> str:
    """The table: a row per class, breaks where price goes up on top, a column per horizon.

    Parameters
    ----------
    rows : pl.DataFrame
        ``horizon`` and `workbench.plots.outcomes.OUTCOME_COLUMNS`.
    facts : Facts
        What stands around it; with `Facts.nothing` the reason and what is usual stand in the table's place.
    waiting : bool
        Whether another answer is on its way: this one is dimmed.
    roomy : bool
        Higher bars, where there is place for them.

    Examples
    --------
    >>> from IPython.display import HTML
    >>> HTML(outcome_html(rows, facts, DARK))  # doctest: +SKIP
    """
    side = "below" if facts.approach == "approach_up" else "above"
    top = f"<div class='top'><span class='m'><b>After a touch</b> of {escape(facts.level)} from {side}</span>{_touch(facts)}</div>"
    if facts.nothing:
        body = f"<div class='say'><b>Nothing comparable:</b> {escape(facts.nothing)}</div>{_usual(rows, facts)}"
    else:
        body = _table(rows, facts, theme)
    few = f" · <b>fewer than {FEW}: grey</b>" if facts.n_eff < FEW and not facts.nothing else ""
    n = f"<b>{facts.neighbours}</b> setups, <b>{facts.days}</b> days, n_eff <b>{facts.n_eff:.0f}</b>"
    foot = f"<div class='m'>{n} · {escape(facts.whose)}{few}<br>{escape(facts.rule)}</div>"
    return _page(f"<div class='wait'></div><div class='dim'>{top}{body}{foot}</div>" if waiting else f"{top}{body}{foot}", theme, roomy)


def outcome_notice(text: str, theme: Theme, *, waiting: bool = False, head: str = "After a touch") -> str:
    """The table's place while there is no table: what is missing (HTML, escaped by the caller), or that it is being asked."""
    bar = "<div class='wait'></div>" if waiting else ""
    return _page(f"<div class='top'><b>{escape(head)}</b></div><div class='m'>{text}</div>{bar}", theme)


def _page(body: str, theme: Theme, roomy: bool = False) -> str:
    keys = ("text", "muted", "edge", "panel", "level")
    ink = ";".join(f"--{k}:{getattr(theme, k)}" for k in keys)
    return f"{CSS}<div class='o{' roomy' if roomy else ''}' style='{ink};color:{theme.text}' role='status' aria-live='polite'>{body}</div>"


def _touch(facts: Facts) -> str:
    if facts.p_touch is None and facts.pi_touch is None:
        return ""
    p = "" if facts.p_touch is None else f"touch <b class='n'>{facts.p_touch:.0%}</b>, "
    pi = "" if facts.pi_touch is None else f"usually <span class='n'>{facts.pi_touch:.0%}</span>"
    return f"<span class='m' title='Probability that price touches the level in this episode'>{p}{pi}</span>"


def _usual(rows: pl.DataFrame, facts: Facts) -> str:
    mine = rows.filter(pl.col("horizon") == facts.horizon)
    words = class_words(facts.approach)
    said = ", ".join(f"{words[r['outcome']]} <b class='n'>{r['reference']:.0%}</b>" for r in mine.iter_rows(named=True))
    return f"<div>Usual at this distance and hour{_minutes(mine)}: {said}</div>" if said else ""


def _minutes(mine: pl.DataFrame) -> str:
    return f", within {mine['minutes'][0]:g} min" if mine.height else ""


def _order(approach: str) -> Sequence[str]:
    return CLASSES[::-1] if approach != "approach_down" else CLASSES


def _table(rows: pl.DataFrame, facts: Facts, theme: Theme) -> str:
    colours, words = class_colours(theme, facts.approach), class_words(facts.approach)
    peak = max(0.3, *(_peak(r) for r in rows.iter_rows(named=True))) * 1.06
    marks = rows.unique("horizon", keep="first", maintain_order=True).sort("minutes")
    heads = "".join(
        f"<th class='{'on' if h == facts.horizon else ''}'>{m:g}′</th>" for h, m in marks.select("horizon", "minutes").iter_rows()
    )
    lines = []
    for c in _order(facts.approach):
        of_class = rows.filter(pl.col("outcome") == c).sort("minutes")
        cells = "".join(_cell(r, colours[c], words[c], peak, on=r["horizon"] == facts.horizon) for r in of_class.iter_rows(named=True))
        shown = of_class.filter(pl.col("horizon") == facts.horizon)
        lines.append(f"<tr>{_words(shown.row(0, named=True) if shown.height else None, words[c], colours[c])}{cells}</tr>")
    key = "bar: count · line: 80% interval · dashes: usual here"
    return (
        f"<table><colgroup><col style='width:46%'></colgroup><tr><th class='w m' title='{key}'>┃ 80% interval "
        f"<span style='color:{theme.level}'>┅</span> usual here</th>{heads}</tr>{''.join(lines)}</table>"
    )


def _peak(row: dict[str, object]) -> float:
    share = int(row["count"]) / int(row["of"]) if row["of"] else 0.0  # type: ignore[call-overload]
    return max(share, *(float(row[k] or 0.0) for k in ("high", "reference")))  # type: ignore[arg-type]


def _words(row: dict[str, object] | None, word: str, colour: str) -> str:
    """The chosen horizon in figures: counts, posterior and interval, and the reference."""
    if row is None:
        return f"<td class='w'><b style='color:{colour}'>{word}</b></td>"
    dim = " dim" if float(row["n_eff"]) < FEW else ""  # type: ignore[arg-type]
    head = f"<b style='color:{colour}'>{word}</b> <span class='big'>{row['count']} of {row['of']}</span>"
    if row["p"] is None:
        return f"<td class='w'>{head}</td>"
    share = f"{row['p']:.0%} [{100 * row['low']:.0f}–{100 * row['high']:.0f}]"  # type: ignore[operator]
    return f"<td class='w'>{head}<br><span class='{dim}'>{share}</span> <span class='m'>usual {row['reference']:.0%}</span></td>"


def _cell(row: dict[str, object], colour: str, word: str, peak: float, *, on: bool) -> str:
    """One horizon of one class: its count over a bar, the interval as a line, the reference as dashes."""
    count, of = int(row["count"]), int(row["of"])  # type: ignore[call-overload]
    dim = " dim" if float(row["n_eff"]) < FEW else ""  # type: ignore[arg-type]

    def at(x: object) -> float:
        return 100 * float(x or 0.0) / peak  # type: ignore[arg-type]

    parts = f"<div class='bar{dim}' style='height:{at(count / of if of else 0):.0f}%;background:{colour}'></div>"
    said = f"{word} {count} of {of} within {row['minutes']:g} min"
    if row["reference"] is not None:
        parts += f"<div class='pi' style='bottom:{at(row['reference']):.0f}%'></div>"
        said += f", usually {row['reference']:.0%}"
    if row["p"] is not None:
        low, high = at(row["low"]), at(row["high"])
        parts += f"<div class='iv' style='bottom:{low:.0f}%;height:{high - low:.0f}%'></div>"
        parts += f"<div class='p' style='bottom:calc({at(row['p']):.0f}% - 1px)'></div>"
        said += f", expected {row['p']:.0%} [{row['low']:.0%}–{row['high']:.0%}]"
    return f"<td class='{'on' if on else ''}' title='{said}'><div class='count'>{count}</div><div class='cell'>{parts}</div></td>"
