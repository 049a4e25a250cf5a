"""Features of the book around a level: a register of small declared functions over sums that one kernel makes."""

from engine.features.pressure import pressure, pressure_cube
from engine.features.reference_docs import feature_reference
from engine.features.registry import Feature, feature, feature_names, features, table_features
from engine.features.windows import level_steps, level_windows, window_schema

__all__ = [
    "Feature",
    "feature",
    "feature_names",
    "feature_reference",
    "features",
    "level_steps",
    "level_windows",
    "pressure",
    "pressure_cube",
    "table_features",
    "window_schema",
]
