"""The audit: are neighbours better than what setups at this distance and hour usually do, and by how much (retrieval.md)?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import NoData
from engine.params import AuditParams, Target
from engine.retrieval.events import Events, Progress
from engine.retrieval.model import target_labels
from engine.retrieval.scores import EACH, ece, events_needed, finite, mean, paired_error, perfect_ece, reliability, session_weights, skill
from engine.retrieval.walk_forward import REPRESENTATIONS, AuditData, WalkForwardResult, counting, schedule, scored_labels, serve, walk_all

BASELINES = ("pi", "lightgbm")
"""Forecasters that never abstain."""

MIN_ATTAINABLE = 0.01
"""Attainable skill below which no share of it is reported: that would be noise over noise."""


@dataclass(frozen=True)
class Row:
    """One representation's scores on one target; `skill*` is of the log loss, against pi on the same events (those not abstained from)."""

    representation: str
    target: str
    events: int
    abstained: int
    log_loss: float
    brier: float
    rps: float
    ece: float
    ece_perfect: float
    ece_perfect_95: float
    skill: float
    skill_low: float
    skill_high: float
    brier_skill: float
    brier_skill_low: float
    brier_skill_high: float
    rps_skill: float
    rps_skill_low: float
    rps_skill_high: float
    attainable: float | None
    share_of_attainable: float | None
    edge: bool
    events_needed: int | None
    abstained_log_loss: float | None
    abstained_reference_log_loss: float | None


@dataclass(frozen=True)
class Report:
    """The audit's result.

    `winner` is the representation that should be the default on these data (``choices["any"]``), empty where no candidate was audited;
    `choices` are the results of `choose` for the keys of `CHOICES`. `first_scored` is the first session (ISO date) that had enough history.
    `diagrams` has the reliability diagram of each ``target/representation``.
    """

    rows: list[Row]
    sessions: int
    scored_sessions: int
    refits: int
    first_scored: str
    horizon: str
    winner: str
    comparisons: int
    verdict: str
    choices: dict[str, dict[str, Any]] = field(default_factory=dict)
    diagrams: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)

    def row(self, representation: str, target: str = "class") -> Row:
        """The result of one representation."""
        return next(r for r in self.rows if r.representation == representation and r.target == target)

    def to_json(self) -> dict[str, Any]:
        """Fields for ``--json``: scores per representation, NaN as null; the ``touch`` target under a key of its own."""
        body = {k: v for k, v in asdict(self).items() if k != "rows"}
        body["representations"] = {r.representation: _row_json(r) for r in self.rows if r.target == "class"}
        body["touch"] = {r.representation: _row_json(r) for r in self.rows if r.target == "touch"}
        return body


def _row_json(row: Row) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in asdict(row).items() if k != "representation"}


def audit(
    data: AuditData,
    params: AuditParams | None = None,
    *,
    only: Sequence[str] = REPRESENTATIONS,
    touch: bool = True,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Report:
    """Report of a walk-forward evaluation by session: every representation scored on the `arm` events, one per episode.

    `only` are the representations to score, of `REPRESENTATIONS`; ``pi`` is always added. `touch` says whether the probability of a touch
    is scored as well. An `executor`, such as a pool of processes, runs representations and targets in parallel; the result is
    bit-identical.

    Raises `NoData` where there is no session with enough history before it.
    """
    p = params or AuditParams()
    there = {"blocks": bool(data.blocks), "blocks_original": bool(data.blocks), "wall": data.wall is not None}
    wanted = [r for r in REPRESENTATIONS if r == "pi" or (r in only and there.get(r, True))]
    targets: list[Target] = ["class"]
    touches = data.means.touches()[(data.means.frame["kind"] == "arm").to_numpy()]
    if touch and min((touches == 0).sum(), (touches == 1).sum()) >= p.retrieval.min_sessions:
        targets.append("touch")
    plans = {t: schedule(data.means.sessions, scored_labels(data.means, t, p), p) for t in targets}
    if not plans["class"]:
        use = scored_labels(data.means, "class", p) >= 0
        raise NoData(
            f"too few events for an audit: expected a session after at least {p.retrieval.min_events} arm events with an outcome in "
            f"{p.retrieval.min_sessions} sessions, found {int(use.sum())} in {len(np.unique(data.means.sessions[use]))} sessions in all; "
            f"add and run more dates"
        )
    total = sum(len(blocks) * (len(wanted) - 1) for blocks in plans.values())
    step = counting(progress, total)
    walked = walk_all(wanted, data, plans, p, step, executor)
    for of_target in walked.values():
        if (served := serve(of_target, wall=data.wall is not None)) is not None:
            of_target["served"] = served
    diagrams: dict[str, list[dict[str, float]]] = {}
    rows = [row for target in plans for row in _score(data, walked[target], p, target, diagrams)]
    choices = _choices(data.means, walked["class"], rows, p)
    blocks = plans["class"]
    knn = [r for r in rows if r.target == "class" and r.representation not in BASELINES]
    comparisons = sum(r.representation != "pi" for r in rows)
    return Report(
        rows=rows,
        sessions=len(np.unique(data.means.sessions)),
        scored_sessions=sum(len(b.sessions) for b in blocks),
        refits=len(blocks),
        first_scored=str(blocks[0].sessions[0]),
        horizon=p.retrieval.horizon,
        winner=choices["any"]["representation"] if choices else "",
        comparisons=comparisons,
        verdict=_verdict(knn),
        choices=choices,
        diagrams=diagrams,
        params=p.model_dump(mode="json"),
    )


def _score(
    data: AuditData, walked: dict[str, WalkForwardResult], p: AuditParams, target: Target, diagrams: dict[str, list[dict[str, float]]]
) -> list[Row]:
    labels = target_labels(data.means, target, p.retrieval.horizon)
    reference = walked["pi"].probability
    rng = np.random.default_rng(p.seed)
    rows = []
    for name, w in walked.items():
        there = np.isfinite(w.probability).all(axis=1)
        use, out = there & ~w.abstained, there & w.abstained
        y, f, r = labels[use], w.probability[use], reference[use]
        codes, counts = session_weights(data.means.sessions[use], p.draws, rng)
        each = {score: loss(f, y) for score, loss in EACH.items()}
        against = {score: skill(each[score], loss(r, y), codes, counts) for score, loss in EACH.items()}
        attainable = None
        if data.truth is not None and target == "class" and len(y):
            # On the realised labels: sampling error is common to pi and the exact law, so the ratio varies less than with the mean entropy.
            attainable = float(1 - EACH["log_loss"](data.truth[use], y).sum() / EACH["log_loss"](r, y).sum())
        perfect, limit = perfect_ece(f, p.bins, rng)
        abstained = [mean(EACH["log_loss"](x[out], labels[out])) if out.any() else None for x in (w.probability, reference)]
        s = against["log_loss"]
        rows.append(
            Row(
                representation=name,
                target=target,
                events=int(use.sum()),
                abstained=int(out.sum()),
                **{k: mean(v) for k, v in each.items()},
                ece=ece(f, y, p.bins),
                ece_perfect=perfect,
                ece_perfect_95=limit,
                **{k: v for score, found in against.items() for k, v in found.named(score).items()},
                attainable=attainable,
                share_of_attainable=s.value / attainable if attainable is not None and attainable >= MIN_ATTAINABLE else None,
                edge=bool(s.low > 0) and name != "pi",
                events_needed=None if name == "pi" else events_needed(s, len(y), s.high),
                abstained_log_loss=abstained[0],
                abstained_reference_log_loss=abstained[1],
            )
        )
        diagrams[f"{target}/{name}"] = reliability(f, y, p.bins)
    return rows


def _choices(events: Events, walked: dict[str, WalkForwardResult], rows: Sequence[Row], p: AuditParams) -> dict[str, dict[str, Any]]:
    labels = target_labels(events, "class", p.retrieval.horizon)
    losses = {}
    for name, w in walked.items():
        answered = np.isfinite(w.probability).all(axis=1) & ~w.abstained
        losses[name] = np.full(len(events), np.nan)
        losses[name][answered] = EACH["log_loss"](w.probability[answered], labels[answered])
    skills = {r.representation: (r.skill, r.skill_low, r.skill_high) for r in rows if r.target == "class"}
    found = {k: choose({n: losses[n] for n in names if n in losses}, skills, events.sessions) for k, names in CHOICES.items()}
    return {k: v for k, v in found.items() if v}


def _verdict(knn: Sequence[Row]) -> str:
    """The verdict on what serves, which was declared before; where that was not audited, on the best of the others, corrected for it."""
    if not knn:
        return "no neighbours were audited"
    served = [r for r in knn if r.representation == "served"]
    known = served or [r for r in knn if np.isfinite(r.skill)] or list(knn)
    best, wide = max(known, key=lambda r: r.skill), _many(len(known))
    low, high = (best.skill + wide * (end - best.skill) for end in (best.skill_low, best.skill_high))
    what = "what serves" if served else f"{best.representation}, the best of {len(known)}" if len(known) > 1 else best.representation
    between = f"95% interval {low:.1%} to {high:.1%}"
    if low > 0:
        others = "; it was declared before, the others are there to compare" if served else ""
        return f"edge found: {what} beats the reference by {best.skill:.1%} of its log loss ({between}, {best.events} episodes{others})"
    if not np.isfinite(low):
        return f"no edge found in {best.events} episodes: one session tells no interval"
    if best.events_needed is None:
        return f"no edge found in {best.events} episodes: {what} has a skill of {best.skill:.1%} ({between}), and one above 0 is not likely"
    least = f"{max(best.skill_high, 0):.1%}"
    return (
        f"no edge found in {best.events} episodes: {what} has a skill of {best.skill:.1%} ({between}); an edge of {least}, the most that "
        f"is likely, would be seen in about {best.events_needed:,} episodes, a smaller one in more"
    )


def _many(k: int) -> float:
    """Factor by which each of `k` 95% intervals is widened so that all of them hold together (Bonferroni)."""
    from scipy.stats import norm

    return float(norm.ppf(1 - 0.025 / k) / norm.ppf(0.975))


# ----------------------------------------------------------------------------
# Model selection: the default representation by the audit's losses

CANDIDATES = ("means", "blocks", "learned", "wall", "attention", "stack")
"""Representations that may be the default, simplest first: raw in a third of the dimensions; raw; embedded by outcome; the same of
features that were drawn for walls; of both by attention, and by several views. The original recipe may not: its unsmoothed shares of 20
neighbours give probabilities of 0."""

CHOICES = {"any": CANDIDATES, "means": ("means", "learned", "wall", "attention", "stack"), "blocks": ("blocks",)}
"""Candidates of model selection: among all, and among those computable from gold vectors of one representation."""

MIN_COMMON_EVENTS = 30
"""Minimum of events that all candidates answered; with fewer, none is chosen."""


def choose(
    losses: Mapping[str, NDArray[np.float64]], skills: Mapping[str, tuple[float, float, float]], sessions: NDArray[np.generic]
) -> dict[str, Any]:
    """The representation with the lowest mean loss on the events that all answered, or the simplest that ties with it.

    A tie is a difference within one standard error, clustered by session (the one-standard-error rule, Breiman et al. 1984). Skills
    cannot be ranked: each is measured on the events its representation answered, so abstaining from hard events would win.

    `losses` are log losses ``(n,)`` of each event by representation, simplest first, NaN where it abstained; representations that answered
    fewer than `MIN_COMMON_EVENTS` events are not candidates. `skills`, with their 95% intervals, are copied into the result.

    Returns ``representation``, ``best``, ``tie``, ``events`` (answered by all); by representation ``skill``, ``low``, ``high``, and on the
    common events ``loss``, ``behind`` (loss minus the best's, nats) and ``error`` (its standard error). Empty where the common events are
    fewer than `MIN_COMMON_EVENTS`, or of a single session.
    """
    # A representation that answered almost nothing would leave almost nothing to compare the others on.
    known = [n for n in losses if np.isfinite(losses[n]).sum() >= MIN_COMMON_EVENTS]
    common = np.logical_and.reduce([np.isfinite(losses[n]) for n in known]) if known else np.zeros(0, bool)
    if common.sum() < MIN_COMMON_EVENTS or len(np.unique(sessions[common])) < 2:
        return {}
    loss = {n: float(losses[n][common].mean()) for n in known}
    best = min(known, key=lambda n: loss[n])
    behind = {n: loss[n] - loss[best] for n in known}
    error = {n: paired_error((losses[n] - losses[best])[common], sessions[common]) for n in known}
    chosen = next(n for n in known if n == best or behind[n] <= error[n])
    figures = {k: {n: finite(skills[n][i]) for n in known} for i, k in enumerate(("skill", "low", "high"))}
    figures |= {k: {n: finite(v[n]) for n in known} for k, v in (("loss", loss), ("behind", behind), ("error", error))}
    return {"representation": chosen, "best": best, "tie": chosen != best, "events": int(common.sum()), **figures}
