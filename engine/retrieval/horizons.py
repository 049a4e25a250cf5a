"""One set of neighbours at every horizon: counts, posterior with its interval, and the reference beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from engine.retrieval.events import CLASSES, OUTCOME_CLASS
from engine.retrieval.params import HORIZONS
from engine.retrieval.posterior import effective_number, interval, posterior, shares
from engine.retrieval.reference import fit_reference

if TYPE_CHECKING:
    import polars as pl

    from engine.retrieval.model import Model
    from engine.retrieval.neighbours import Neighbours
    from engine.retrieval.reference import Reference

COLUMNS = ("horizon", "minutes", "outcome", "count", "of", "p", "low", "high", "reference", "n_eff")


def horizon_references(model: Model) -> dict[str, Reference]:
    """The reference forecast of every horizon, fitted on the model's history as its own was; the model's own for its own horizon."""
    out: dict[str, Reference] = {}
    for h in HORIZONS:
        if h == model.params.horizon:
            out[h] = model.reference
        else:
            out[h] = fit_reference(model.history, model.history.labels(h), len(CLASSES), strength=model.reference.strength or None)
    return out


def horizon_table(found: Neighbours, model: Model, references: dict[str, Reference], seconds: Sequence[int]) -> pl.DataFrame:
    """Outcomes of the neighbours at every horizon.

    The neighbours, their weights and the weight of the reference are those of the model's horizon: one wall of setups is read at seven
    times. Neighbours whose horizon reached past their session's data do not count there.

    Parameters
    ----------
    found
        What `engine.retrieval.neighbours.ask` found with `model`.
    references
        `horizon_references` of `model`.
    seconds
        Length of each horizon.

    Returns
    -------
    DataFrame
        `COLUMNS`, one row per horizon and class in the order of `CLASSES`: ``count`` of ``of`` neighbours, posterior ``p`` with its
        interval (mass ``model.params.interval``), the reference's probability, and the effective number.
    """
    import polars as pl

    rows: list[tuple[object, ...]] = []
    weight = found.found["weight"].to_numpy()
    for h, s in zip(HORIZONS, seconds):
        label = np.array([OUTCOME_CLASS.get(x, -1) for x in found.found[f"outcome_{h}"].to_list()], np.int64)
        w, y = weight[label >= 0][None], label[label >= 0][None]
        n_eff = effective_number(w)
        pi = references[h].predict(found.query)
        p = posterior(shares(w, y, len(CLASSES)), n_eff, pi, model.tuned.alpha)
        low, high = interval(p, n_eff, model.tuned.alpha, model.params.interval)
        for i, c in enumerate(CLASSES):
            figures = (float(v[0, i]) for v in (p, low, high, pi))
            rows.append((h, s / 60, c, int((y == i).sum()), y.size, *figures, float(n_eff[0])))
    kinds = (pl.String, pl.Float64, pl.String, pl.Int64, pl.Int64, *[pl.Float64] * 5)
    return pl.DataFrame(rows, schema=dict(zip(COLUMNS, kinds)), orient="row")
