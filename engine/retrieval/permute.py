"""Day-permuted outcomes: a null in which paths and outcomes keep all they share within a day, and share nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.retrieval.events import OUTCOMES, Events


def permute_days(parts: Sequence[Events], seed: int) -> list[Events]:
    """Give each trigger the outcome columns of a trigger of another day.

    Days are put in a random order and their triggers' outcomes dealt out in that order, so that what the outcomes of one
    day share stays together; triggers keep vectors, covariates and days. The first part decides, the others follow by
    ``trigger_id``.
    """
    first = parts[0]
    codes = first.session_codes
    order = np.random.default_rng([seed, 7]).permutation(int(codes.max()) + 1 if len(codes) else 0)
    rows = np.concatenate([np.flatnonzero(codes == c) for c in order]) if len(order) else np.zeros(0, np.int64)
    moved = [c for c in OUTCOMES if c in first.frame.columns]
    dealt = first.frame.select(moved)[rows].with_columns(first.frame["trigger_id"])
    out = []
    for part in parts:
        frame = part.frame.drop(moved).join(dealt, on="trigger_id", how="left", maintain_order="left")
        out.append(Events(part.matrix, part.names, part.representation, frame.select(part.frame.columns)))
    return out
