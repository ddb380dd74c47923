"""Progress display of stage 1: patients, slices per second, time left, faults as they are found."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pipeline.pace import Pace, duration
from pipeline.run_log import say


class RunProgress:
    """A progress bar over patients that also counts slices; where the console is no terminal, a line now and then.

    Args:
        console: where it is drawn.
        said: lines that were printed before, and are not printed again; those of this bar are added.
        clock: seconds that only increase.
    """

    def __init__(
        self,
        console: Console,
        said: set[str] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console
        self._said = said
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            get_time=clock,
            disable=not console.is_terminal,
        )
        self._pace = Pace(clock=clock)
        self._reading: TaskID | None = None
        self._embedding: TaskID | None = None
        self._n_slices = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._bar.disable:  # it would print an empty line
            self._bar.stop()

    def start_reading(self, total: int, unit: str = "patients") -> None:
        """Begin to count patients, or scans, whose files are being read."""
        self._reading = self._bar.add_task("reading", total=total, rate="", unit=unit)

    def has_read(self, patient_id: str) -> None:
        """Count a patient whose files are hashed."""
        if self._reading is not None:
            self._bar.update(self._reading, advance=1, rate=patient_id)
            self._say_if_due(self._reading)

    def start_embedding(self, n_patients: int, n_done: int) -> None:
        """Begin to count embedded patients, after those that were done before."""
        if self._reading is not None:
            self._bar.update(self._reading, rate=f"{n_done} done before" if n_done else "")
        self._embedding = self._bar.add_task("embedding", total=n_patients, rate="", unit="patients")

    def has_embedded(self, n_slices: int) -> None:
        """Count a patient whose bag is written, or who was left out."""
        if self._embedding is None:
            return
        self._n_slices += n_slices
        elapsed = self._bar.tasks[self._embedding].elapsed or 0.0
        rate = f"{self._n_slices / elapsed:.0f} slices/s" if elapsed else ""
        self._bar.update(self._embedding, advance=1, rate=rate)
        self._say_if_due(self._embedding, rate)

    def say(self, line: str) -> None:
        """Print one line above the bar."""
        if self._said is not None:
            if line in self._said:
                return
            self._said.add(line)
        say(self.console, line)

    def _say_if_due(self, task_id: TaskID, rate: str = "") -> None:
        """Say in a line how far a task is, where no bar shows it."""
        if not self._bar.disable or not self._pace.is_due():
            return
        (task,) = (task for task in self._bar.tasks if task.id == task_id)
        left_s = (task.elapsed or 0.0) / task.completed * ((task.total or 0) - task.completed)
        told = f"{task.description}: {task.completed:.0f} of {task.total:.0f} {task.fields['unit']}"
        say(self.console, ", ".join(filter(None, (told, rate, f"about {duration(left_s)} left"))))
