"""Tier B beyond `spymaster audit --market`: ``python -m tests.bench.tier_b SEED [MORNINGS] [few] [coverage]``

* **Few mornings:** the walk over each sixty of them by themselves (some 1,500 events), and the mean of what `wall` takes of the oracle's.
* **Coverage:** of events of an order stream nobody knows the posterior. So outcomes are drawn anew from one that is known: what the
  oracle's regression says of each regime, averaged by how likely each is given wall features and covariates (boosted trees, cross-fitted by
  mornings); its log odds beyond the usual are multiplied by a strength. Half of the mornings are history, of which so many events are
  taken, the other half is asked; printed is the share of true probabilities within the 80% interval, of the top class, of all, and of the
  differences from the usual, with how often a forecast leans and leans the wrong way.
"""

from __future__ import annotations

import sys

import numpy as np
import polars as pl

from engine.params import RetrievalParams
from engine.retrieval.embedding import fold_of_session
from engine.retrieval.events import CLASSES, OUTCOME_CLASS, Events
from engine.retrieval.forecast import forecast_table, lean
from engine.retrieval.model import fit, forecast
from engine.retrieval.reference import fit_reference, softmax
from engine.retrieval.scores import Floats
from engine.retrieval.stack import boosted
from engine.simulate.market_audit import audit_market, market_params, regression
from engine.simulate.mornings import MarketEvents, cache_folder, market_events, morning_params

FEW, STRENGTHS, SIZES, DRAWS = 60, (0.0, 0.5, 1.0), (600, 2000), 6


def few_mornings(market: MarketEvents) -> None:
    """Print the shares of each sixty mornings."""
    days = np.unique(market.means.sessions)
    taken, best = [], []
    for at in range(0, len(days) - FEW + 1, FEW):
        part = market.take(np.isin(market.means.sessions, days[at : at + FEW]))
        report = audit_market(part, market_params(FEW), only=("wall",))
        rows = [report.row(name) for name in ("wall", "oracle")]
        taken.append(rows[0].skill)
        best.append(rows[1].skill)
        said = "; ".join(f"{r.forecaster} {r.skill:+.4f} ({r.low:+.4f} to {r.high:+.4f})" for r in rows)
        print(
            f"mornings {at} to {at + FEW - 1}: {report.labelled:,} labelled, {rows[0].events} scored; {said}; share {rows[0].share}",
            flush=True,
        )
    print(f"of the oracle's skill, mean over {len(taken)} of {FEW} mornings: {np.mean(taken) / np.mean(best):.2f}", flush=True)


def posterior_of(market: MarketEvents) -> tuple[Events, Floats, Floats]:
    """The usable labelled events in `wall`, what is usual at their covariates, and the posterior given features and covariates."""
    wall = market.wall
    use = (wall.labels("h1") >= 0) & wall.usable
    events, labels = wall.take(use), wall.labels("h1")[use]
    covariates = np.nan_to_num(events.covariates)
    states = np.array([f"{w}/{r}" for w, r in zip(market.regime_is[use], market.regime[use])])
    names, state = np.unique(states, return_inverse=True)
    told = [np.column_stack([covariates, np.tile(np.arange(len(names)) == k, (len(state), 1))]) for k in range(len(names))]
    mine = np.column_stack([covariates, state[:, None] == np.arange(len(names))]).astype(float)
    after = np.stack([regression(mine, labels, events, x.astype(float)) for x in told], axis=1)
    table, likely = np.column_stack([events.matrix, covariates]).astype(float), np.zeros((len(state), len(names)))
    group = fold_of_session(events.session_codes, 5)
    for g in np.unique(group):
        likely[group == g] = boosted(table[group != g], state[group != g], len(names), 0, steps=63).predict(table[group == g])
    usual = fit_reference(events, labels, len(CLASSES)).predict(events)
    return events, usual, np.einsum("ns,nsc->nc", likely, after)


def drawn(events: Events, truth: Floats, seed: int) -> Events:
    """The events with outcomes drawn from these probabilities."""
    y = (np.random.default_rng([seed, 17]).random((len(truth), 1)) > truth.cumsum(axis=1)[:, :2]).sum(axis=1)
    names = [next(str(o) for o, c in OUTCOME_CLASS.items() if c == k) for k in range(len(CLASSES))]
    outcomes = pl.Series("outcome_h1", [names[k] for k in y])
    return Events(events.matrix, events.names, events.representation, events.frame.with_columns(outcomes))


def coverage(real: Events, usual: Floats, truth: Floats, n: int) -> list[float]:
    """Mean shares over `DRAWS` samples of outcomes, each with other mornings as history."""
    found = []
    for seed in range(DRAWS):
        events = drawn(real, truth, seed)
        days = np.random.default_rng([seed, 18]).permutation(np.unique(events.sessions))
        past = np.flatnonzero(np.isin(events.sessions, days[: len(days) // 2]))
        asked = np.flatnonzero(np.isin(events.sessions, days[len(days) // 2 :]))
        sessions = events.sessions[past]
        # Whole mornings, until there are so many events.
        past = past[np.isin(sessions, days[: np.searchsorted(np.cumsum([(sessions == d).sum() for d in days[: len(days) // 2]]), n) + 1])]
        model, queries, t = fit(events.take(past), RetrievalParams(), recipe="wall"), events.take(asked), truth[asked]
        answer = forecast(model, queries)
        assert answer.interval is not None
        spans, i, ok = answer.interval, np.arange(len(t)), ~answer.nothing_comparable
        top, edge = answer.probability.argmax(axis=1), t - usual[asked]
        inside = (t >= spans.low) & (t <= spans.high)
        apart = (edge >= spans.edge_low) & (edge <= spans.edge_high)
        leans = [lean(r) for r in forecast_table(model, answer, queries).iter_rows(named=True)]
        said = np.array([v.outcome != "" for v in leans])
        wrong = [edge[k, CLASSES.index(v.outcome)] * v.edge < 0 for k, v in enumerate(leans) if v.outcome]
        found.append([inside[i, top][ok].mean(), inside[ok].mean(), apart[ok].mean(), said.mean(), np.mean(wrong) if wrong else 0.0])
    return np.mean(found, axis=0).tolist()


def print_coverage(market: MarketEvents) -> None:
    """Print the coverage by strength and size of history."""
    events, usual, posterior = posterior_of(market)
    base = np.log(usual)
    for strength in STRENGTHS:
        truth = softmax(base + strength * (np.log(posterior) - base))
        for n in SIZES:
            top, every, apart, leans, wrong = coverage(events, usual, truth, n)
            told = f"top class {top:.3f}, all {every:.3f}, difference from the usual {apart:.3f}"
            print(f"strength {strength}, history of {n:,}: {told}; leans {leans:.3f}, wrongly {wrong:.3f} of these", flush=True)


def main() -> None:
    """Print what is named, or both."""
    numbers, named = [int(a) for a in sys.argv[1:] if a.isdigit()], {a for a in sys.argv[1:] if not a.isdigit()}
    seed, mornings = numbers[0], numbers[1] if len(numbers) > 1 else 240
    params = morning_params(seed=seed, kappa=1.0)
    market = market_events(mornings, params, cache_folder(params))
    if "few" in named or not named:
        few_mornings(market)
    if "coverage" in named or not named:
        print_coverage(market)


if __name__ == "__main__":
    main()
