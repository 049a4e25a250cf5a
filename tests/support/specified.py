"""What the specification says that strength does to outcomes, and how exactly it can have known."""

import numpy as np
from scipy.stats import chi2

from tests.support.regime_outcomes import expected_shares

SHARES = {0.7: (0.36, 0.47, 0.17), 1.0: (0.38, 0.45, 0.18), 2.0: (0.46, 0.39, 0.15)}
"""Kappa -> break, reject and chop, gamma .5."""

REJECTS_AT_ZERO, DECIDED_AT_ZERO = 0.56, 0.83
"""Rejects of the decided at kappa 0; its chop is not given, and taken as that of the other rows."""


def rejects() -> dict[float, tuple[float, float]]:
    """Kappa -> rejects of the decided, and the share that is decided."""
    rows = {k: (r / (b + r), b + r) for k, (b, r, _) in SHARES.items()}
    return {0.0: (REJECTS_AT_ZERO, DECIDED_AT_ZERO), **rows}


def largest_sample(level: float = 0.05) -> tuple[float, float]:
    """The most touches per row with which the table agrees with the law it was measured on, and the start in ticks that agrees best.

    The law says how the split of breaks and rejects moves with kappa; where price starts is free, and so is the gain (1 as specified,
    1.17 as fitted here). With more touches per row than this, chi-square refuses every start.
    """
    best, at = np.inf, 0.0
    for start in np.linspace(0.0, 1.5, 31):
        for gain in (1.0, 1.17):
            off = 0.0
            for kappa, (share, decided) in rejects().items():
                p = expected_shares(kappa, 0.5, gain, float(start))["reject_of_decided"]
                off += (share - p) ** 2 / (p * (1 - p)) * decided
            if off < best:
                best, at = off, float(start)
    return float(chi2.ppf(1 - level, len(rejects()) - 1) / best), at
