"""Bare pointers to arrays inside numba code.

A numba function that is handed an array counts references to it with atomic operations, at every call; in a kernel of small functions
called per record that costs ten times the work itself. A pointer is not counted. It is only good while the caller holds the array.
"""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.extending import intrinsic


@intrinsic
def _pointer(typing_context, array):
    """Pointer to the first item of a C-contiguous array; index it with a flat integer."""
    if not isinstance(array, types.Array) or array.layout != "C":
        return None

    def generate(context, builder, signature, args):
        return context.make_array(signature.args[0])(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), generate


pointer: Any = _pointer
"""`_pointer` as numba code sees it: called with the array alone."""
