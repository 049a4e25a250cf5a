"""A market whose laws are known, written as Databento files (simulator.md, docs/SIMULATOR.md)."""
