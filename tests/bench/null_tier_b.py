"""The null of retrieval.md on the simulator: many markets without levels (kappa 0), in each of which the audit must find no edge.

``python -m tests.bench.null_tier_b 20`` takes about half an hour of one core; one market of the kind is a long test.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from engine.commands.run import run
from engine.commands.simulate import simulate
from engine.lake.store import Lake
from engine.params import AuditParams
from engine.retrieval.audit import Row, audit
from engine.retrieval.dataset import audit_events
from engine.retrieval.walk_forward import AuditData

DATES = "2025-09-16:2025-10-15"
RATE = 0.02
FIRST_SEED = 100
COMPARED = ("means", "learned")


def null_rows(seed: int) -> list[Row]:
    """The audit of 22 sessions of one such market, refitted whenever history has grown by half."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "lake"
        simulate(dates=DATES, lake=root, rate=RATE, kappa=0.0, seed=seed, workers=1)
        for layer in ("bronze", "silver"):
            run(symbol="ESZ5", dates=DATES, layer=layer, lake=root, workers=1)  # type: ignore[arg-type]
        events, *_ = audit_events(Lake(root), None, blocks=False)
    report = audit(AuditData(events), AuditParams(refit_growth=0.5), only=COMPARED, touch=False)
    return [report.row(name) for name in COMPARED]


def main(seeds: int) -> None:
    """Print each market's skills with their intervals, and in how many an edge was seen."""
    rows: list[Row] = []
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        made = null_rows(seed)
        rows += made
        shown = "; ".join(f"{r.representation} {r.skill:+.4f} ({r.skill_low:+.4f} to {r.skill_high:+.4f})" for r in made)
        print(f"seed {seed}: {made[0].events + made[0].abstained} episodes; {shown}", flush=True)
    for name in COMPARED:
        mine = [r for r in rows if r.representation == name]
        above, below = sum(r.skill_low > 0 for r in mine), sum(r.skill_high < 0 for r in mine)
        print(f"{name}: the interval is above 0 in {above} of {len(mine)}, below it in {below} (bar: above in at most 2 of 20)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
