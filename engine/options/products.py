"""Which root an option's product belongs to: weeklies and month ends have codes of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable

from engine.vocab import known_roots

PARENTS = {"ES": ("ES", "EYC", "EW", *(f"EW{n}" for n in range(1, 5)), *(f"E{n}{day}" for n in range(1, 6) for day in "ABCD"))}
"""Products of a root's options besides its own code: of ES end of year, end of month, Fridays, and Mondays to Thursdays."""

_ROOTS = {product: root for root, products in PARENTS.items() for product in products}
_OPTION = re.compile(r"(?P<product>[A-Z0-9]+?)[FGHJKMNQUVXZ][0-9]{1,2} [CP][0-9.]+")
_PARENT = re.compile(r"(?P<product>[A-Z0-9]+)\.OPT")


def parents_of(root: str) -> tuple[str, ...]:
    """Databento's parent symbols of a root's options, such as ``ES.OPT`` and ``EW2.OPT``."""
    return tuple(f"{product}.OPT" for product in PARENTS.get(root, (root,)))


def option_roots(symbols: Iterable[str]) -> set[str]:
    """Roots of the options among symbols: contracts (``E1CU5 C6800``) and parents (``EW2.OPT``).

    Examples
    --------
    >>> sorted(option_roots(["E1CU5 C6800", "CL.OPT", "ESU5", "ES.FUT", "UD:1V: VT 0903001"]))
    ['CL', 'ES']
    """
    matches = (_OPTION.fullmatch(s) or _PARENT.fullmatch(s) for s in symbols)
    found = {m["product"] for m in matches if m is not None}
    known = known_roots()
    return {_ROOTS.get(p, p) for p in found if p in _ROOTS or p in known}
