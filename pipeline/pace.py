"""When a line of progress is due where no bar can be drawn, and how a time is told."""

import time
from collections.abc import Callable

LINES_EVERY_S = 30.0
_MINUTE_S, _HOUR_S = 60, 3600


class Pace:
    """Says when the next line of progress is due: one every so many seconds, the first after as many.

    Args:
        every_s: seconds between two lines.
        clock: seconds that only increase.
    """

    def __init__(self, every_s: float = LINES_EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s, self._clock = every_s, clock
        self._last = clock()

    def is_due(self) -> bool:
        """Say whether a line is due, and take it as said."""
        now = self._clock()
        if now - self._last < self._every_s:
            return False
        self._last = now
        return True


def duration(seconds: float) -> str:
    """Tell a time: 90 s, 12 min, 3.5 h."""
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE_S:.0f} min" if seconds < 2 * _HOUR_S else f"{seconds / _HOUR_S:.1f} h"
