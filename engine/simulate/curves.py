"""What a fidelity report draws, as plain frames."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from engine.simulate.fidelity import GATES, LAGS, Facts, gate_table


def curves(facts: list[Facts], pooled: dict[str, float]) -> dict[str, pl.DataFrame]:
    """What a report draws.

    Returns
    -------
    dict of str to pl.DataFrame
        ``sign_acf`` (lag, measured, fitted), ``returns`` (sd, density, normal: 10 s returns in their session's own standard
        deviations), ``intraday`` (half_hour, messages_per_s), ``response`` (size, ticks), and ``sessions`` (fact, title, session,
        value, pooled, low, high): every fact of every session beside its gate.
    """
    acf = np.mean([f.sign_acf for f in facts], axis=0)
    good = acf > 0
    centre = np.log(acf[good]).mean() + pooled["sign_exponent"] * np.log(LAGS[good]).mean() if good.any() else math.nan
    edges = np.linspace(-8, 8, 65)
    returns = np.concatenate([f.returns_10s / max(f.returns_10s.std(), 1e-12) for f in facts])
    density, _ = np.histogram(returns, edges, density=True)
    middle = 0.5 * (edges[1:] + edges[:-1])
    width = min(len(f.half_hours) for f in facts)
    half = np.mean([f.half_hours[:width] for f in facts], axis=0)
    sizes = ["smallest half", "to 80%", "to 95%", "largest 5%"]
    gates = gate_table(pooled).rename({"value": "pooled"}).drop("holds")
    values = [{"fact": g.fact, "session": k + 1, "value": float(f.values[g.fact])} for g in GATES for k, f in enumerate(facts)]
    return {
        "sign_acf": pl.DataFrame({"lag": LAGS, "measured": acf, "fitted": np.exp(centre - pooled["sign_exponent"] * np.log(LAGS))}),
        "returns": pl.DataFrame({"sd": middle, "density": density, "normal": np.exp(-(middle**2) / 2) / math.sqrt(2 * math.pi)}),
        "intraday": pl.DataFrame({"half_hour": np.arange(1, width + 1), "messages_per_s": half}),
        "response": pl.DataFrame({"size": sizes, "ticks": [pooled[f"response_{k}"] for k in range(1, 5)]}),
        "sessions": pl.DataFrame(values).join(gates, on="fact", how="left", maintain_order="left"),
    }
