"""What the Neighbours view says in words: the sentence above the wall, and what stands where there is no wall."""

from __future__ import annotations

from workbench import data
from workbench.views.neighbours_cards import Walled


def wait_card(html: str, *, waiting: bool) -> str:
    """What stands where no wall does: what is being done, or why there is none and where another one is asked for."""
    said = f"<p style='line-height:1.7'>{html}</p>"
    if waiting:
        return f"<div class='sm-card' role='status'><h2>Looking for similar setups</h2>{said}<div class='sm-bar'></div></div>"
    more = "<p>Outcome, sessions, levels and side are chosen in the drawer (☰).</p>"
    return f"<div class='sm-card' role='status'><h2>No similar setups to show</h2>{said}{more}</div>"


def sentence_of(walled: Walled) -> str:
    """The query and its neighbours in one sentence."""
    found = walled.found
    f, t, q = found.forecast, found.trigger, found.question
    side = "below" if t["approach"] == "approach_up" else "above"
    counts = ", ".join(f"{n} {c}" for c, n in reversed(found.answer.counts.items()))
    away = abs(int(t["distance_ticks"]))
    minutes = next(m for h, m in found.outcomes.select("horizon", "minutes").iter_rows() if h == q.horizon)
    head = f"{data.level_title(q.level_id)} from {side}, {away} tick{'' if away == 1 else 's'} away"
    shown = len(walled.minis)
    if f["nothing_comparable"]:
        return f"{head}: nothing comparable ({f['reason']}); the {shown} nearest are shown all the same."
    return (
        f"{head}: {f['neighbours']} similar setups on {f['distinct_days']} days, after their touch {counts} within {minutes:g} min; "
        f"the {shown} nearest below."
    )
