"""Stages: pure transforms between datasets, with declared inputs and outputs."""
