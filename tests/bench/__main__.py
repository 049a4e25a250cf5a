"""``python -m tests.bench [WORD]``: run every benchmark whose name holds WORD, and print each row as it is measured."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time

from rich.console import Console
from rich.progress import Progress

import tests.bench
from tests.bench.harness import BENCHES, Measure

SCREEN = ("bench_ui", "bench_live")  # need a browser: `make bench-ui`


def main() -> None:
    """Import the bench modules, run what is asked for, print one row each as soon as it is there."""
    for module in pkgutil.iter_modules(tests.bench.__path__):
        if module.name.startswith("bench_") and module.name not in SCREEN:
            importlib.import_module(f"tests.bench.{module.name}")
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [b for b in BENCHES if word in b.name]
    if not chosen:
        raise SystemExit(f"{word!r}: expected a part of a benchmark's name, such as live, options, replay or simulate")
    began = time.perf_counter()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("bench", total=len(chosen))
        for b in chosen:
            progress.update(task, description=b.name)
            # Each row stands there as soon as it is known: whoever waits for the last one may not wait for all.
            print(row(b.name, b.run(), b.bar), flush=True)
            progress.advance(task)
    print(f"{len(chosen)} measured in {time.perf_counter() - began:.0f} s; medians, of so many runs as each says")


def row(name: str, m: Measure, bar: str) -> str:
    """Two lines: what was found for what, and beside which bar, of how many runs, with what else is to be said."""
    value = f"{m.value:,.3g}" if m.value < 1000 else f"{m.value:,.0f}"
    more = [f"bar {bar}" if bar.strip("-") else "", f"{m.runs} run{'s' if m.runs > 1 else ''}", m.note]
    return f"{value + ' ' + m.unit:>18}  {name}\n{'':18}  {'; '.join(part for part in more if part)}"


if __name__ == "__main__":
    main()
