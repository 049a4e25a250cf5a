"""Random numbers for the kernels: splitmix64 streams held in one array, so that a run is the same to the byte for a seed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numba.core.options import DefaultOptions

_UNCOUNTED: dict[str, Any] = {"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {}

kernel: Any = njit(cache=True, error_model="numpy", **_UNCOUNTED)
"""How the market's functions are compiled: without counting references to the arrays they hand on, which in a kernel of small
functions per event took three fifths of its time (bare pointers, as in `engine.mbo.book`, serve flat arrays only). The caller
holds every array, and none is made inside (numba refuses to compile one that would be); a division by zero gives what it gives in
C, and costs no branch. The option is numba's own: a version without it counts, writes the same, and is slower."""

MAIN, REGIME, JITTER = 0, 1, 2
"""Streams: the market's own, the one footprints of regimes draw from, and the one of receive times."""

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_SCALE = 1.0 / 9007199254740992.0


@kernel
def mix(z):
    """Scramble 64 bits (the output function of splitmix64, Steele et al. 2014)."""
    z = (z ^ (z >> _S30)) * _M1
    z = (z ^ (z >> _S27)) * _M2
    return z ^ (z >> _S31)


@kernel
def bits(rng, stream):
    """Next 64 bits of a stream."""
    rng[stream] += _GAMMA
    return mix(rng[stream])


@kernel
def uniform(rng, stream):
    """Uniform on [0, 1)."""
    return float(bits(rng, stream) >> _S11) * _SCALE


@kernel
def exponential(rng, stream):
    """Exponential with mean 1."""
    return -math.log(1.0 - uniform(rng, stream))


@kernel
def normal_pair(rng, stream):
    """Two independent standard normals (Box and Muller)."""
    r = math.sqrt(2.0 * exponential(rng, stream))
    angle = 2.0 * math.pi * uniform(rng, stream)
    return r * math.cos(angle), r * math.sin(angle)


def hash_words(*words: int) -> int:
    """One 64-bit hash of integers: how a seed, a date and an approach name a stream without using the main one."""
    z = 0x243F6A8885A308D3
    mask = (1 << 64) - 1
    for word in words:
        z = (z ^ (word & mask)) & mask
        z = (z + 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        z ^= z >> 31
    return z
