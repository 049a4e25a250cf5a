"""The text of ``docs/FEATURES.md``, made from the registry of features and the names of vectors' dimensions."""

from __future__ import annotations

from engine.features.registry import FAMILIES, KEYS, features
from engine.features.vector import (
    BINS,
    BLOCKS,
    DERIVATIVES,
    MAGNITUDES,
    MEANS,
    SIDE_PRIMITIVES,
    TAPE_PRIMITIVES,
    base_names,
    primitive_names,
    vector_names,
)
from engine.setups.timeline import HISTORY
from engine.vocab import Approach

# ----------------------------------------------------------------------------
# The part of ``docs/FEATURES.md`` that says what every dimension of a vector is

UP, DOWN = Approach.UP.value, Approach.DOWN.value


def vector_reference() -> list[str]:
    """Lines of the chapter on vectors."""
    means, down, up = len(vector_names("means", UP)), len(vector_names("blocks", DOWN)), len(vector_names("blocks", UP))
    per_bin = HISTORY // BINS
    lines = [
        "",
        "## Vectors, features.md section 5",
        "",
        f"A trigger's vector is made of the {HISTORY} windows up to its own (120 s of 5 s windows), taken around the trigger's level.",
        "It is null without that many windows of valid book, or where a value is not known. `feature_list.json` of an index names",
        "every dimension.",
        "",
        f"### `means`: {means} dimensions, the same for both approaches",
        "",
        f"`b{{n}}_{{primitive}}` for `n` = 0 (oldest) to {BINS - 1} (newest): the mean of a primitive over {per_bin} windows (15 s).",
        f"Bin outermost, then the {len(primitive_names())} primitives in this order, then the {len(MAGNITUDES)} magnitudes. `ahead` is the",
        "side that defends the level (asks on an approach from below, bids on one from above), `behind` the other; both in the",
        "trigger's own direction of travel.",
        "",
        "| primitive | formula | unit | range | positive or large where |",
        "|---|---|---|---|---|",
    ]
    for way in ("ahead", "behind"):
        lines += [f"| `{way}_{p.name}` | {p.formula} | {p.unit} | {p.range} | the side {way} {p.meaning} |" for p in SIDE_PRIMITIVES]
    tape = {f.name: f for f in features("tape")}
    lines += [f"| `{n}` | as in the tape family | {tape[n].unit} | {tape[n].range} | see there |" for n in TAPE_PRIMITIVES]
    lines += ["", "| magnitude | formula | unit | range |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {formula} | {unit} | {span} |" for name, (formula, unit, span) in MAGNITUDES.items()]
    lines += [
        "",
        f"### `blocks`: {down} dimensions from above, {up} from below",
        "",
        "`{block}_{derivative_}{feature}`: block outermost, then feature, then the value itself, `d1_`, `d2_`, `d3_` (first to third",
        "difference over consecutive windows; 0 where it reaches before the session's first window). Features: the vacuum features of",
        "the approach, then those of the tape, as `engine/features/vector.py` names them "
        f"({len(base_names(DOWN))} from above, {len(base_names(UP))} from below).",
        "",
        "| block | of the feature or its difference `x` |",
        "|---|---|",
        "| `w0` | `x` in the trigger's window |",
    ]
    lines += [f"| `w{n}_mean` | mean of the last {n} windows |" for n in MEANS]
    lines += [f"| `w{n}_delta` | (x_t - x_(t-{n - 1})) / {n - 1} |" for n in MEANS]
    lines += [
        "",
        f"So the first dimensions from above are {', '.join(f'`{n}`' for n in vector_names('blocks', DOWN)[: len(DERIVATIVES) + 1])}, "
        f"and the last is `{vector_names('blocks', DOWN)[-1]}` ({len(BLOCKS)} blocks).",
    ]
    return lines


# ----------------------------------------------------------------------------
# The register of features: a feature is a small function plus a declaration of what it is


def feature_reference() -> str:
    """The text of ``docs/FEATURES.md``, made from the register (``spymaster contracts --write`` writes it)."""
    lines = [
        "# Features",
        "",
        "Made from the register (`engine/features/registry.py`); a test fails when this file is not current.",
        "Symbols are those of the specification: `D` depth in the four zones around the level, `com` its centre of mass in",
        "ticks from the level, `A` adds, `P` rested pulls, `R` rested reprices, `start` and `end` of the window.",
        "Features are null where the book was not valid in every second of the window. What vectors are made of them stands at the end.",
        "",
        "## Columns that say what a row is about",
        "",
        "| name | type | unit | meaning |",
        "|---|---|---|---|",
        *(f"| `{k.name}` | {k.dtype}{', nullable' if k.nullable else ''} | {k.unit or '-'} | {k.meaning} |" for k in KEYS),
    ]
    for family, what in FAMILIES.items():
        lines += ["", f"## {what}", "", "| name | formula | unit | range | meaning |", "|---|---|---|---|---|"]
        lines += [f"| `{f.name}` | {_cell(f.formula)} | {f.unit or '-'} | {f.range} | {_cell(f.meaning)} |" for f in features(family)]
    # By name, for what makes vectors is made of this register.
    lines += vector_reference()
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
