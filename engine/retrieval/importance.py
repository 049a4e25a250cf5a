"""When and what moved a forecast: how its log odds change where a window, or a family of features, is replaced by what usually is there.

What usually is there is the mean given all the rest of the vector, as for a Gaussian with history's shrunken covariance. A value that
the rest tells anyway moves nothing, so the change is that of what only this window, or this family, shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.retrieval.attention import layout_of
from engine.retrieval.reference import centred
from engine.retrieval.scores import Floats

if TYPE_CHECKING:
    from engine.retrieval.events import Events
    from engine.retrieval.model import Model


@dataclass(frozen=True, eq=False)
class Importance:
    """What moved the log odds of one forecast, beyond the reference.

    Attributes
    ----------
    families : tuple of str
        Families of features, those of the windows first.
    cells : float64 ``(families, bins, classes)``
        Change of the log odds, centred over the classes, that a family in one bin makes; 0 of a family that has no windows. Windows are
        taken together in bins of 15 s: a single one is told by those beside it.
    windows, whole : float64 ``(bins, classes)``, ``(families, classes)``
        Of a bin with all families, of a family in all bins.
    """

    families: tuple[str, ...]
    cells: Floats
    windows: Floats
    whole: Floats

    def between(self, what: Floats, one: int, other: int) -> Floats:
        """How far `what` (`cells`, `windows` or `whole`) moved the log odds of class `one` against `other`."""
        return np.asarray(what[..., one] - what[..., other])


def importance(model: Model, query: Events, families: Sequence[str]) -> Importance:
    """What moved the reading of one query's vector; `families` names the family of each dimension."""
    query = query.only(model.names)
    layout = layout_of(query.names)
    of = np.array(families, dtype=object)
    timed, still = (tuple(dict.fromkeys(of[part.ravel()].tolist())) for part in (layout.windows, layout.rest))
    names = (*timed, *(f for f in still if f not in timed))
    scaled, directed = model.scaled(query.matrix)
    steps = len(layout.windows) // layout.per_bin
    bins = layout.windows.reshape(steps, layout.per_bin * len(layout.features))
    asked = [*(b[of[b] == f] for f in timed for b in bins), *bins, *(np.flatnonzero(of == f) for f in names)]
    x = scaled[0].astype(float)
    made = np.stack([x, *(model.usual.without(x, c) for c in asked)]).astype(np.float32)
    rows = query.take(np.zeros(len(made), np.int64))
    reading = model.reading(rows, made, np.repeat(directed, len(made)))
    assert reading is not None
    odds = centred(reading.odds)
    change = odds[0] - odds[1:]
    classes, split = odds.shape[1], len(timed) * steps
    each = np.zeros((len(names), steps, classes))
    each[: len(timed)] = change[:split].reshape(len(timed), steps, classes)
    return Importance(names, each, change[split : split + steps], change[split + steps :])
