"""What each recipe takes of the attainable skill on the laboratory's laws: ``python -m tests.bench.laboratory [LAWS] [EVENTS] [SEEDS]``.

Histories of so many events, three samples each, forecasts of 4,000 fresh paths; skill by the exact probabilities, without labels' noise.
``python -m tests.bench.laboratory linear,burst,and,xor,mix 1000,2000,8000,20000`` takes about an hour of one core.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from engine.commands.retrieval import TO_CLASSES, synthetic_events
from engine.params import RetrievalParams
from engine.retrieval.events import Events
from engine.retrieval.model import fit, forecast
from engine.retrieval.scores import Floats
from engine.retrieval.stack import boosted
from engine.simulate.laws import LAWS

SEEDS, FRESH, ASKED = (401, 402, 403), 404, 4000
"""Samples of history, kept aside, and the one that is forecast."""

RECIPES = ("learned", "attention", "stack")


def expected_loss(truth: Floats, p: Floats) -> float:
    """Expected log loss of forecasts `p` where outcomes have the probabilities `truth`, nats."""
    return float(-(truth * np.log(np.maximum(p, 1e-12))).sum(axis=1).mean())


def expected_ece(truth: Floats, p: Floats, bins: int = 10) -> float:
    """Calibration error of the top class over bins of equal count, against the exact probabilities."""
    top, at = p.argmax(axis=1), np.arange(len(p))
    parts = np.array_split(np.argsort(p[at, top], kind="stable"), bins)
    return sum(len(i) * abs(float(p[i, top[i]].mean() - truth[i, top[i]].mean())) for i in parts) / len(p)


def trees(history: Events, queries: Events) -> Floats:
    """Gradient-boosted trees on the bins and the covariates, as the audit has them."""
    table, asked = (np.column_stack([e.matrix, e.covariates]) for e in (history, queries))
    return np.asarray(boosted(table, history.labels("h1"), 3, 0).predict(asked), float)


def measured(law: str, n: int, seeds: tuple[int, ...]) -> dict[str, tuple[float, float, float]]:
    """Mean share of the attainable skill, mean calibration error, and mean CPU seconds of a fit, by recipe as served and ``direct``."""
    fresh = synthetic_events(ASKED, 1.0, FRESH, law=law)
    truth = fresh.sample.posterior[:, TO_CLASSES]
    least, most = (expected_loss(truth, p) for p in (truth, np.tile(truth.mean(axis=0), (ASKED, 1))))
    found = dict[str, list[tuple[float, float, float]]]()

    def keep(name: str, p: Floats, seconds: float) -> None:
        share = (most - expected_loss(truth, p)) / (most - least)
        found.setdefault(name, []).append((share, expected_ece(truth, p), seconds))

    for seed in seeds:
        data = synthetic_events(n, 1.0, seed, law=law).data
        start = time.process_time()
        p = trees(data.means, fresh.data.means)
        keep("lightgbm", p, time.process_time() - start)
        for recipe in RECIPES:
            start = time.process_time()
            model = fit(data.events_for(recipe), RetrievalParams(), recipe=recipe)  # type: ignore[arg-type]
            seconds = time.process_time() - start
            answer = forecast(model, fresh.data.events_for(recipe))
            keep(recipe, answer.probability, seconds)
            keep(f"{recipe}, direct", answer.toward, seconds)
    return {name: tuple(np.mean(rows, axis=0).tolist()) for name, rows in found.items()}  # type: ignore[misc]


def main() -> None:
    """Print a line per law, number of events, and recipe."""
    given = [*sys.argv[1:], "", "", ""]
    laws = given[0].split(",") if given[0] else list(LAWS)
    sizes = [int(v) for v in given[1].split(",")] if given[1] else [2000]
    seeds = tuple(int(v) for v in given[2].split(",")) if given[2] else SEEDS
    for n in sizes:
        for law in laws:
            for name, (share, error, seconds) in measured(law, n, seeds).items():
                print(f"{law:8} {n:6,} {name:20} share {share:6.3f}  ECE {error:.3f}  fit {seconds:6.1f} s CPU", flush=True)


if __name__ == "__main__":
    main()
