"""``python -m tests.bench [WORD]``: run every benchmark whose name holds WORD and print the table."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import tests.bench
from tests.bench.harness import BENCHES

SCREEN = ("bench_ui", "bench_live")  # need a browser: `make bench-ui`


def main() -> None:
    """Import the bench modules, run what is asked for, print one row each."""
    for module in pkgutil.iter_modules(tests.bench.__path__):
        if module.name.startswith("bench_") and module.name not in SCREEN:
            importlib.import_module(f"tests.bench.{module.name}")
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [b for b in BENCHES if word in b.name]
    table = Table("benchmark", "median", "unit", "bar", "runs", "note", title="spymaster benchmarks")
    console = Console()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("bench", total=len(chosen))
        for b in chosen:
            progress.update(task, description=b.name)
            m = b.run()
            table.add_row(b.name, f"{m.value:,.3g}" if m.value < 1000 else f"{m.value:,.0f}", m.unit, b.bar, str(m.runs), m.note)
            progress.advance(task)
    console.print(table)


if __name__ == "__main__":
    main()
