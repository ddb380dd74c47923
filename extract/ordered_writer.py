"""Writing in a background thread, in order."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

PATIENTS_AHEAD = 2
"""Patients that are prepared or written while the encoder works on another; memory grows with this number."""


class OrderedWriter:
    """A thread that runs tasks in order, with a short queue; an error of a task is raised at the next call."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> "OrderedWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._drain(0)
        self._pool.shutdown()

    def submit(self, task: Callable[[], None]) -> None:
        """Queue a task; wait if too many are unfinished."""
        self._pending.append(self._pool.submit(task))
        self._drain(2 * PATIENTS_AHEAD)

    def _drain(self, n_left: int) -> None:
        while self._pending and (len(self._pending) > n_left or self._pending[0].done()):
            self._pending.popleft().result()
