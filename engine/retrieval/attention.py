"""Attention over the windows before a moment: log odds where the time of what matters is not fixed.

A head reads every window by one filter, ``s_t = x_t . filter + time_t``, and says ``m = ln mean_t exp(s_t)``: a soft maximum, whose slope
in ``s_t`` is the attention ``softmax_t(s)`` itself. Log odds are the reference's, and the heads', and a linear skip of the windows' means.

Heads begin in closed form, as the shrunken discriminant of single windows that are labelled by their event, at three sharpnesses; the skip
as that of the means; what both count for by a small regression. Then gradient steps (Adam: Kingma and Ba 2015), pulled toward the
start, in five fits that leave a group of sessions out each, until these groups' loss gets no better; no step at all may be best.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.retrieval.reader import Spread, ridge
from engine.retrieval.reference import centred, softmax
from engine.retrieval.scores import Floats, Labels, log_loss_each

SHARPNESS = (1.0, 3.0, 8.0)
"""Factors on the discriminant of single windows, one set of heads each: from nearly the mean over windows to nearly the largest."""

EPOCHS, PATIENCE, BATCH = 40, 5, 256
RATE, PULL = 1e-3, 1e-2
MOMENTUM, SQUARES = 0.9, 0.99
"""At most so many epochs, so many more without a gain, and events of a step; its length, the pull toward the start, Adam's averages."""

START_PRECISION = 10.0
"""One over the prior variance of what heads and skip count for at the start, per standard deviation."""

BINS = 8
"""Means of the skip per feature: of 15 s each where the windows are of 5 s."""

BOUND = 6.0
"""Standardised values are cut here."""

_WINDOW = re.compile(r"^b(\d+)_(.+)$")

Singles = NDArray[np.floating[Any]]
"""Windows in single or double precision: fits go in single, checks in double."""


# ----------------------------------------------------------------------------
# Windows of a vector


@dataclass(frozen=True, eq=False)
class Layout:
    """Which dimensions of a vector are windows: `windows` ``(T, F)``, oldest first, of `features`; `rest` ``(S,)`` are the others."""

    windows: Labels
    rest: Labels
    features: tuple[str, ...]

    @property
    def per_bin(self) -> int:
        """Windows of one of the `BINS`; 1 where there are not more of them."""
        steps = len(self.windows)
        return steps // BINS if steps % BINS == 0 and steps else 1

    def split(self, matrix: Singles) -> tuple[Singles, Singles]:
        """Windows ``(n, T, F)`` and the rest ``(n, S)`` of vectors ``(n, d)``."""
        return matrix[:, self.windows], matrix[:, self.rest]

    def means(self, x: Singles) -> Singles:
        """Means over bins of windows ``(n, T, F)``, ``(n, bins, F)``."""
        return ordered_mean([x[:, k :: self.per_bin] for k in range(self.per_bin)])

    def flat(self, matrix: Singles) -> Singles:
        """Vectors ``(n, d)`` with bins in the place of windows."""
        x, rest = self.split(matrix)
        return np.concatenate([self.means(x).reshape(len(x), -1), rest], axis=1)


def ordered_mean(parts: Sequence[Singles]) -> Singles:
    """Mean of equal arrays, added one after the other: the last bits of NumPy's own depend on the number of rows."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total / np.asarray(len(parts), total.dtype)


def layout_of(names: Sequence[str]) -> Layout:
    """The windows of a vector with dimensions `names`: those that begin with ``b{number}_``; without any, all is rest."""
    found = [(_WINDOW.match(n), i) for i, n in enumerate(names)]
    at = {(int(m[1]), m[2]): i for m, i in found if m}
    steps, features = sorted({t for t, _ in at}), tuple(dict.fromkeys(f for _, f in at))
    windows = np.array([[at[t, f] for f in features] for t in steps], np.int64).reshape(len(steps), len(features))
    return Layout(windows, np.array([i for m, i in found if m is None], np.int64), features)


# ----------------------------------------------------------------------------
# The net: its scores, and their gradient


@dataclass(frozen=True, eq=False)
class Net:
    """Parameters of one fit: filters ``(F, H)`` and times ``(T, H)`` of `H` heads, what each counts for ``(H, classes)``, the skip
    ``(D, classes)`` and a constant ``(classes,)``.
    """

    filters: Singles
    times: Singles
    heads: Singles
    skip: Singles
    constant: Singles

    def pool(self, x: Singles) -> tuple[Singles, Singles]:
        """What the heads say of windows ``(n, T, F)``, ``(n, H)``, and their attention ``(n, T, H)``."""
        n, steps, f = x.shape
        s = (x.reshape(n * steps, f) @ self.filters).reshape(n, steps, self.filters.shape[1]) + self.times
        if not steps:  # a vector without windows has no heads
            return np.zeros((n, 0), x.dtype), s
        top = s.max(axis=1, keepdims=True)
        e = np.exp(s - top)
        total = e.sum(axis=1, keepdims=True)
        return (top + np.log(total / steps))[:, 0], e / total

    def scores(self, x: Singles, flat: Singles) -> Singles:
        """Log odds that are added to the reference's, ``(n, classes)``, of windows and of means and the rest ``(n, D)``."""
        return self.pool(x)[0] @ self.heads + flat @ self.skip + self.constant

    def gradient(self, x: Singles, flat: Singles, offset: Singles, hits: Singles) -> Net:
        """Gradient of the mean log loss in every parameter; `offset` ``(n, classes)`` are the reference's log odds, `hits` the outcomes."""
        said, attention = self.pool(x)
        d = (softmax(offset + said @ self.heads + flat @ self.skip + self.constant) - hits) / len(x)
        ds = attention * (d @ self.heads.T)[:, None, :]
        n, steps, f = x.shape
        filters = x.reshape(n * steps, f).T @ ds.reshape(n * steps, ds.shape[2])
        return Net(filters, ds.sum(axis=0), said.T @ d, flat.T @ d, d.sum(axis=0))

    def arrays(self) -> tuple[Singles, ...]:
        """All parameters."""
        return self.filters, self.times, self.heads, self.skip, self.constant

    def to_json(self) -> dict[str, Any]:
        """All parameters as lists."""
        return {f.name: np.asarray(getattr(self, f.name), float).tolist() for f in fields(self)}


def net_from_json(value: dict[str, Any], layout: Layout) -> Net:
    """The net of a `Net.to_json` value."""
    made = {k: np.array(v, float) for k, v in value.items()}
    shapes = {"filters": (len(layout.features), -1), "times": (len(layout.windows), -1)}
    return Net(**{k: v.reshape(shapes[k]) if k in shapes and v.size else v for k, v in made.items()})


# ----------------------------------------------------------------------------
# The fit


@dataclass(frozen=True, eq=False)
class Attention:
    """Nets fitted without one group of history's sessions each.

    Attributes
    ----------
    centre, scale : float64 ``(F,)``
        Of the features over all windows.
    rest_centre, rest_scale : float64 ``(S,)``
    nets : tuple of Net
    epoch : int
        Epochs after which the groups that were left out were forecast best; 0 is the closed form.
    """

    layout: Layout
    centre: Floats
    scale: Floats
    rest_centre: Floats
    rest_scale: Floats
    nets: tuple[Net, ...]
    epoch: int

    def standard(self, scaled: Singles) -> tuple[Singles, Singles]:
        """Standardised windows ``(n, T, F)``, and means with the rest ``(n, D)``, of normalised vectors."""
        x, rest = self.layout.split(scaled)
        x = np.clip((x - self.centre) / self.scale, -BOUND, BOUND)
        rest = np.clip((rest - self.rest_centre) / self.rest_scale, -BOUND, BOUND)
        return x, np.concatenate([self.layout.means(x).reshape(len(x), -1), rest], axis=1)

    def added(self, scaled: Singles) -> Floats:
        """Log odds that each net adds for queries, ``(nets, q, classes)``; each query on its own: no other changes its last bits."""
        x, flat = self.standard(np.asarray(scaled, float))
        rows = [[n.scores(x[i : i + 1], flat[i : i + 1])[0] for i in range(len(x))] for n in self.nets]
        return np.asarray(rows, float).reshape(len(self.nets), len(x), len(self.nets[0].constant))

    def watched(self, scaled: Singles) -> Floats:
        """Mean over nets and heads of the attention to each window, ``(q, T)``, heads weighted by what they count for."""
        x, _ = self.standard(np.asarray(scaled, float))
        parts = []
        for n in self.nets:
            weight = np.ptp(n.heads, axis=1)
            parts.append(n.pool(x)[1] @ (weight / max(weight.sum(), 1e-12)))
        return np.asarray(np.mean(parts, axis=0))

    @cached_property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.nets[0].constant)

    def to_json(self) -> dict[str, Any]:
        """All fields but the layout, which the names of the dimensions tell."""
        arrays = {k: getattr(self, k).tolist() for k in ("centre", "scale", "rest_centre", "rest_scale")}
        return arrays | {"nets": [n.to_json() for n in self.nets], "epoch": self.epoch}


def attention_from_json(value: dict[str, Any], names: Sequence[str]) -> Attention:
    """The attention of an `Attention.to_json` value, for vectors with dimensions `names`."""
    layout = layout_of(names)
    arrays = {k: np.array(value[k], float) for k in ("centre", "scale", "rest_centre", "rest_scale")}
    return Attention(layout, **arrays, nets=tuple(net_from_json(n, layout) for n in value["nets"]), epoch=value["epoch"])


def discriminant(x: Singles, y: Labels, classes: int) -> Floats:
    """Coefficients ``(d, classes)`` of a linear discriminant with shrunken covariance (Ledoit and Wolf 2004); rows sum to zero."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x, y)
    coef = np.zeros((x.shape[1], classes))
    if len(fitted.classes_) == 2:
        # scikit-learn keeps one column for two classes.
        coef[:, fitted.classes_[1]] = fitted.coef_[0]
    else:
        coef[:, fitted.classes_] = fitted.coef_.T
    return centred(coef)


def _start(x: Singles, flat: Singles, labels: Labels, rest: NDArray[np.bool_], classes: int) -> tuple[Net, Floats]:
    """A net whose heads and skip count for nothing yet, and the skip's discriminant, fitted on the events `rest`."""
    steps, f = x.shape[1:]
    filters = np.zeros((f, 0))
    if steps:
        one = discriminant(x[rest].reshape(-1, f), np.repeat(labels[rest], steps), classes)
        filters = np.concatenate([one * s for s in SHARPNESS], axis=1)
    h = filters.shape[1]
    net = Net(filters, np.zeros((steps, h)), np.zeros((h, classes)), np.zeros((flat.shape[1], classes)), np.zeros(classes))
    return net, discriminant(flat[rest], labels[rest], classes)


def fit_attention(
    layout: Layout, scaled: NDArray[np.float32], labels: Labels, offset: Floats, group: Labels, *, seed: int = 0, epochs: int = EPOCHS
) -> tuple[Attention, Floats]:
    """The attention fitted on history, and the cross-fitted log odds that it adds to history's `offset` ``(n, classes)``.

    `scaled` are normalised vectors, `group` ``(n,)`` the groups of sessions of which each fit leaves one out. The same to the bit for the
    same arguments.
    """
    classes = offset.shape[1]
    raw, others = layout.split(np.asarray(scaled, float))
    each = raw.reshape(len(raw) * len(layout.windows), len(layout.features))
    centre, scale = (each.mean(axis=0), np.maximum(each.std(axis=0), 1e-6)) if len(each) else (np.zeros(0), np.ones(0))
    rest_centre, rest_scale = others.mean(axis=0), np.maximum(others.std(axis=0), 1e-6)
    empty = Attention(layout, centre, scale, rest_centre, rest_scale, (), 0)
    x, flat = (np.ascontiguousarray(v, np.float32) for v in empty.standard(scaled))
    folds = [group == g for g in np.unique(group)]
    nets = _closed_form(x, flat, labels, offset, folds)
    kept, epoch = _descend(nets, x, flat, labels, offset, folds, seed, epochs)
    fitted = tuple(Net(*(np.asarray(a, float) for a in n.arrays())) for n in kept)
    added = np.zeros((len(labels), classes))
    for n, out in zip(fitted, folds):
        added[out] = n.scores(x[out].astype(float), flat[out].astype(float))
    return Attention(layout, centre, scale, rest_centre, rest_scale, fitted, epoch), added


def _closed_form(x: Singles, flat: Singles, labels: Labels, offset: Floats, folds: list[NDArray[np.bool_]]) -> list[Net]:
    """Nets at the start: what heads and skip count for is one regression on what they say of the groups left out."""
    classes = offset.shape[1]
    begun = [_start(x, flat, labels, ~out, classes) for out in folds]
    heads = begun[0][0].filters.shape[1]
    said = np.zeros((len(labels), heads + classes))
    for (net, coef), out in zip(begun, folds):
        said[out] = np.column_stack([net.pool(x[out])[0], flat[out] @ coef])
    mean, spread = said.mean(axis=0), np.maximum(said.std(axis=0), 1e-9)
    columns = np.column_stack([(said - mean) / spread, np.ones(len(said))])
    hits, made = np.eye(classes)[labels], []
    for (net, coef), out in zip(begun, folds):
        # Without the group's own outcomes, too: a dozen numbers fitted on them would look like an effect where there is none.
        rest = columns[~out]
        values, axes = np.linalg.eigh(rest.T @ rest)
        spans = Spread(axes, np.maximum(values, 0), START_PRECISION)
        counts = ridge(rest, offset[~out], hits[~out], spans, np.zeros((len(axes), classes)))
        slopes, constant = counts[:-1] / spread[:, None], counts[-1]
        parts = net.filters, net.times, slopes[:heads], coef @ slopes[heads:], constant - mean @ slopes
        made.append(Net(*(np.asarray(a, np.float32) for a in parts)))
    return made


def _descend(
    nets: list[Net], x: Singles, flat: Singles, labels: Labels, offset: Floats, folds: list[NDArray[np.bool_]], seed: int, epochs: int
) -> tuple[list[Net], int]:
    """Gradient steps of every net on the events outside its group, and the number of epochs after which the groups' loss was least."""
    start, hits, off = [n.arrays() for n in nets], np.eye(offset.shape[1], dtype=np.float32)[labels], offset.astype(np.float32)

    def held_out() -> float:
        losses = [log_loss_each(softmax(off[f] + n.scores(x[f], flat[f])), labels[f]) for n, f in zip(nets, folds)]
        return float(np.concatenate(losses).mean())

    best, epoch, kept, step = held_out(), 0, list(nets), 0
    averages = [[(np.zeros_like(a), np.zeros_like(a)) for a in n.arrays()] for n in nets]
    rng = np.random.default_rng(seed)
    for e in range(1, epochs + 1):
        order, before = rng.permutation(len(labels)), step
        for k, out in enumerate(folds):
            rows, step = order[~out[order]], before
            for i in range(0, len(rows) - min(BATCH, len(rows)) + 1, BATCH):
                j, step = rows[i : i + BATCH], step + 1
                found = nets[k].gradient(x[j], flat[j], off[j], hits[j])
                moved = []
                for a, g, first, (m, v) in zip(nets[k].arrays(), found.arrays(), start[k], averages[k]):
                    m += (1 - MOMENTUM) * (g - m)
                    v += (1 - SQUARES) * (g * g - v)
                    toward = (m / (1 - MOMENTUM**step)) / (np.sqrt(v / (1 - SQUARES**step)) + 1e-8)
                    moved.append((a - RATE * (toward + PULL * (a - first))).astype(np.float32))
                nets[k] = Net(*moved)
        now = held_out()
        if now < best:
            best, epoch, kept = now, e, list(nets)
        elif e - epoch >= PATIENCE:
            break
    return kept, epoch
