"""When a line of progress is due, and how a time is told."""

import pytest

from pipeline.pace import Pace, duration


def test_a_line_is_due_after_so_many_seconds_and_then_again():
    seconds = iter([0, 29, 30, 31, 59, 60])
    pace = Pace(30, clock=lambda: next(seconds))
    assert [pace.is_due() for _ in range(5)] == [False, True, False, False, True]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2.0 h"), (12600, "3.5 h")],
)
def test_a_time_is_told_in_the_unit_that_suits_it(seconds, told):
    assert duration(seconds) == told
