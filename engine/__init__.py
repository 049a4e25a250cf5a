"""The physics and the lake: market-by-order replay, the price ladder, levels, features. Knows no screen."""

__version__ = "0.1.0"
