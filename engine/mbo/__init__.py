"""Market-by-order files in, price ladders out (``mbo.md`` and ``features.md`` section 1 of the specification)."""
