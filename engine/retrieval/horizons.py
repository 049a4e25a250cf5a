"""What counts of neighbours are shrunken toward at every horizon, fitted with the model of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.params import HORIZONS
from engine.retrieval.embedding import fold_of_session
from engine.retrieval.events import CLASSES
from engine.retrieval.model import Model
from engine.retrieval.reader import (
    Curvature,
    Effect,
    curvature_from_json,
    curvature_json,
    curvature_of,
    effect_from_json,
    effect_json,
    fit_effect,
)
from engine.retrieval.reference import Reference, centred, fit_reference, reference_from_json, softmax


@dataclass(frozen=True, eq=False)
class HorizonForecast:
    """What a horizon's counts are shrunken toward: its reference, and what the reader of the model's horizon says of this one.

    `effect` maps the log odds that the reader adds to the reference to those of this horizon; None where the counts of the model's own
    horizon, or the reference alone, are meant.
    """

    reference: Reference
    effect: Effect | None
    curvature: Curvature | None


def horizon_references(model: Model) -> dict[str, HorizonForecast]:
    """`HorizonForecast` of every horizon, fitted on what the model was; that of the model's own horizon is the model's."""
    strength = model.reference.strength or None
    whole = slice(0, len(model.history) - model.later)
    fitted, known_read = model.history.take(whole), None if model.read is None else model.read[whole]
    read = known_read if model.embedding is not None else None
    added = None
    if read is not None:
        pi = model.reference.predict(fitted)
        added = centred(np.log(np.maximum(read, 1e-12)) - np.log(np.maximum(pi, 1e-12)))
    out: dict[str, HorizonForecast] = {}
    for h in HORIZONS:
        if h == model.params.horizon:
            out[h] = HorizonForecast(model.reference, None, None)
            continue
        labels = fitted.labels(h)
        reference = fit_reference(fitted, labels, len(CLASSES), strength=strength)
        effect, curvature, known = None, None, labels >= 0
        if added is not None and known.sum() >= model.params.min_events:
            history = fitted.take(known)
            offset = np.log(np.maximum(reference.predict(history), 1e-12))
            group = fold_of_session(history.session_codes, model.params.folds)
            effect, more = fit_effect(added[known], offset, labels[known], history.session_codes, group)
            curvature = curvature_of(softmax(offset + more))
        out[h] = HorizonForecast(reference, effect, curvature)
    return out


def horizons_json(horizons: dict[str, HorizonForecast]) -> dict[str, Any]:
    """All of it, arrays as lists."""
    return {
        h: {
            "reference": f.reference.to_json(),
            "effect": None if f.effect is None else effect_json(f.effect),
            **({"weights": None, "directions": None} if f.curvature is None else curvature_json(f.curvature)),
        }
        for h, f in horizons.items()
    }


def horizons_from_json(value: dict[str, Any]) -> dict[str, HorizonForecast]:
    """What `horizons_json` was made of."""
    out = {}
    for h, v in value.items():
        effect = None if v["effect"] is None else effect_from_json(v["effect"])
        curvature = None if v["weights"] is None else curvature_from_json(v)
        out[h] = HorizonForecast(reference_from_json(v["reference"]), effect, curvature)
    return out
