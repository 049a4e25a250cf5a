import datetime as dt

import numpy as np
import pytest

from engine.sessions import to_ns
from engine.simulate.calendar import THIN_ACTIVITY, activity, listed, next_file_date, open_spans, third_friday, utc_midnight, walk
from engine.vocab import ROOTS

ES = ROOTS["ES"]


def test_saturdays_good_friday_and_christmas_eve_to_day():
    assert next_file_date(dt.date(2025, 9, 5)) == dt.date(2025, 9, 7)
    assert open_spans(dt.date(2025, 4, 18)) == []  # Good Friday
    (span,) = open_spans(dt.date(2025, 12, 25))  # opens on the evening for the 26th
    assert span[0] == to_ns(dt.date(2025, 12, 25), dt.time(18))
    assert open_spans(dt.date(2025, 9, 7))[0][0] == to_ns(dt.date(2025, 9, 7), dt.time(18))


@pytest.mark.parametrize(
    ("date", "close"),
    [
        (dt.date(2025, 9, 3), dt.time(17)),
        (dt.date(2025, 11, 28), dt.time(13, 15)),  # the day after Thanksgiving
        (dt.date(2025, 9, 1), dt.time(13)),  # Labor Day
        (dt.date(2025, 12, 10), dt.time(17)),  # winter time
    ],
)
def test_days_end_as_the_calendar_says(date, close):
    assert open_spans(date)[0] == (utc_midnight(date), to_ns(date, close))


def test_activity_is_zero_when_closed_and_one_on_average_in_the_cash_session():
    date = dt.date(2025, 9, 3)
    a = activity(date)
    start = utc_midnight(date)
    minute = [(to_ns(date, t) - start) // (60 * 10**9) for t in (dt.time(9, 30), dt.time(16), dt.time(17), dt.time(18))]
    assert a[minute[0] : minute[1]].mean() == pytest.approx(1.0)
    assert (a[minute[2] : minute[3]] == 0).all()
    assert (a[: minute[2]] > 0).all()
    middle = (minute[0] + minute[1]) // 2
    assert a[minute[0]] > 2 * a[middle] < a[minute[1] - 1]
    thin = activity(date, dt.time(12, 35))
    four = (to_ns(date, dt.time(4)) - start) // (60 * 10**9)
    assert np.array_equal(thin[four : minute[0] + 185], a[four : minute[0] + 185])
    rest = np.concatenate([thin[:four], thin[minute[0] + 185 :]])
    assert rest.max() == THIN_ACTIVITY
    assert ((thin > 0) == (a > 0)).all(), "thin hours trade all the same"


def test_the_roll_hands_over_within_the_week_of_expiry():
    expiry = third_friday(2025, 9)
    assert expiry == dt.date(2025, 9, 19)
    shares = [listed(ES, expiry - dt.timedelta(days=k)) for k in (10, 7, 4, 2, 0)]
    front = [a.share for a, _ in shares]
    assert front[0] == 0.99
    assert front[1] > 0.9
    assert front[2] == pytest.approx(0.5)
    assert front[3] < 0.1
    assert all(a.symbol == "ESU5" and b.symbol == "ESZ5" and a.share + b.share == pytest.approx(1) for a, b in shares)
    assert listed(ES, expiry + dt.timedelta(days=1))[0].symbol == "ESZ5"


def test_the_walk_keeps_its_scale_and_hardly_moves_over_a_weekend():
    days = [dt.date(2025, 1, 1) + dt.timedelta(days=k) for k in range(365)]
    x = np.array([walk(7, ES, d) for d in days])
    step = np.diff(x)
    weekday = np.array([d.weekday() for d in days[:-1]])
    assert 60 < step[weekday < 5].std() < 260
    assert step[weekday == 5].std() < 30  # Saturdays only forget
    assert np.abs(x - 27_200).max() < 5_000
    assert walk(8, ES, days[0]) != x[0]


def test_a_thin_month_moves_by_its_own_activity():
    days = [dt.date(2025, 1, 1) + dt.timedelta(days=k) for k in range(365)]
    noon = dt.time(12, 35)
    moves = [np.diff([walk(7, ES, d, thin) for d in days]) for thin in (None, noon)]
    weekday = dt.date(2025, 1, 8)
    ratio = activity(weekday, noon).sum() / activity(weekday).sum()
    assert moves[1].std() / moves[0].std() == pytest.approx(ratio**0.5, rel=0.03)
    assert ratio < 0.8
