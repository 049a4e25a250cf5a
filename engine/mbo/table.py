"""Open-addressing table of resting orders (numba): linear probing, Fibonacci hashing, backshift deletion.

An entry is four uint64 words, 32 bytes, so that two share a cache line: order id; tick, side and size; entry time;
executed size still to be carried out and the event it belongs to. A size above 0 marks an entry as taken (ids may be 0). The table is
kept at most a quarter full, where a probe almost always ends at once.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from engine.mbo.pointer import pointer

WORDS = 4
_GOLDEN = np.uint64(11400714819323198485)  # 2**64 / golden ratio, odd (Knuth, TAOCP 3, section 6.4)
_SIZE = np.uint64(0x7FFFFFFF)
_U31 = np.uint64(31)
_U32 = np.uint64(32)
MAX_SIZE = 0x7FFFFFFF


@nb.njit(cache=True, nogil=True, error_model="numpy")
def pack(tick, side, size):
    """Tick, side and size as one word."""
    return (np.uint64(tick & 0xFFFFFFFF) << _U32) | (np.uint64(side) << _U31) | np.uint64(size)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def tick_of(word):
    """Tick of a packed word."""
    return np.int64(np.int32(np.uint32(word >> _U32)))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def side_of(word):
    """Side code of a packed word."""
    return np.int64((word >> _U31) & np.uint64(1))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def size_of(word):
    """Size of a packed word; 0 marks a free entry."""
    return np.int64(word & _SIZE)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def find(tab, mask, shift, oid):
    """Entry of order `oid`, or the free entry where it belongs."""
    p = np.int64((oid * _GOLDEN) >> shift)
    while True:
        e = p * WORDS
        if size_of(tab[e + 1]) == 0 or tab[e] == oid:
            return e
        p = (p + 1) & mask


@nb.njit(cache=True, nogil=True, error_model="numpy")
def delete(tab, mask, shift, e):
    """Free entry `e`, moving back whatever a probe would otherwise no longer find."""
    hole = e // WORDS
    p = hole
    while True:
        p = (p + 1) & mask
        f = p * WORDS
        if size_of(tab[f + 1]) == 0:
            break
        home = np.int64((tab[f] * _GOLDEN) >> shift)
        if ((p - home) & mask) >= ((p - hole) & mask):
            h = hole * WORDS
            for j in range(WORDS):
                tab[h + j] = tab[f + j]
            hole = p
    tab[hole * WORDS + 1] = np.uint64(0)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def rehash(old, new):
    """Copy every order of `old` into the empty, larger `new`."""
    capacity = new.shape[0] // WORDS
    mask = capacity - 1
    shift = np.uint64(64)
    while capacity > 1:
        capacity >>= 1
        shift -= np.uint64(1)
    target = pointer(new)
    for p in range(old.shape[0] // WORDS):
        if size_of(old[p * WORDS + 1]) > 0:
            e = find(target, mask, shift, old[p * WORDS])
            for j in range(WORDS):
                new[e + j] = old[p * WORDS + j]
