"""Whatever the seed, rate and regime, a venue could have published what the simulator writes."""

import datetime as dt

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engine.params import SimParams
from engine.simulate.day import Day
from tests.reference.venue_twin import Venue

DATES = [dt.date(2025, 9, 3), dt.date(2025, 9, 15), dt.date(2025, 9, 7), dt.date(2025, 11, 28)]


@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate])  # shrinking days of market takes minutes
@given(st.integers(0, 2**32), st.sampled_from([0.0, 1.0, 5.0]), st.sampled_from(DATES))
def test_every_record_keeps_the_venues_rules(seed, kappa, date):
    day = Day(date, SimParams(seed=seed, rate=0.02, kappa=kappa))
    venues = {number: Venue() for number in day.symbols}
    seen, last_recv, last_sequence = 0, 0, 0
    for rows in day.chunks():
        assert (np.diff(rows[:, 5]) >= 0).all()
        assert rows[0, 5] >= last_recv
        sequence = rows[:, 6] >> 32
        assert (np.diff(sequence) >= 0).all()
        assert sequence[0] >= last_sequence
        last_recv, last_sequence = rows[-1, 5], sequence[-1]
        numbers = rows[:, 0] >> 32
        for number, venue in venues.items():
            venue.feed(rows[numbers == number])
        seen += len(rows)
        if seen > 250_000:
            break
    assert sum(v.trades for v in venues.values()) > 20
