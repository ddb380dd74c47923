"""The progress of a run: fits done, macro AUC so far, time left; of a study, the best configurations so far."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.live import Live
from rich.table import Table
from sklearn.metrics import roc_auc_score

from aggregate.planning.fit_tasks import FitTask
from aggregate.store.fit_cache import Fit
from pipeline.pace import Pace, duration
from pipeline.run_log import detail, say

_MODELS_IN_A_LINE = 4


@dataclass(frozen=True)
class SoFar:
    """What is told of a model while it is trained."""

    name: str
    of: Callable[[Sequence[tuple[FitTask, Fit]]], float | None]
    """Fits until now -> a number, the higher the better; None where it cannot be had yet."""


class FitProgress:
    """Shows how far a cross-validation is: a live table on a terminal, a line now and then elsewhere.

    Args:
        models: names, in the order of the table.
        labels: intp (patients,).
        n_classes: number of classes.
        n_fits: fits of each model.
        most: show only so many models, the best so far; None shows all.
        so_far: what is told of the models; by default the macro AUC.
        clock: seconds that only increase.
    """

    def __init__(
        self,
        models: Sequence[str],
        labels: NDArray[np.intp],
        n_classes: int,
        n_fits: int,
        *,
        most: int | None = None,
        so_far: SoFar | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._so_far = so_far or SoFar("macro AUC", lambda done: macro_auc_so_far(done, labels, n_classes))
        self._n_fits, self._most = n_fits, most
        self._done: Mapping[str, list[tuple[FitTask, Fit]]] = {name: [] for name in models}
        self._aucs: dict[str, float | None] = {}
        self._clock, self._started, self._pace = clock, clock(), Pace(clock=clock)
        self._seconds: dict[str, list[float]] = {}
        self._live = Live(
            console=Console(stderr=True, markup=False, emoji=False), refresh_per_second=4, transient=False
        )

    def __enter__(self) -> Self:
        if self._live.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._live.stop()
        taken = self._clock() - self._started
        fresh = sum(map(len, self._seconds.values()))
        detail(f"{fresh} fits trained in {taken:.1f} s, {self._n_done - fresh} from the cache")

    def fitted(self, task: FitTask, fit: Fit, *, from_cache: bool) -> None:
        """Take note of one finished fit."""
        name = task.spec.name
        self._done[name].append((task, fit))
        if not from_cache:
            self._seconds.setdefault(name, []).append(fit.costs.fit_s or 0.0)
            detail(_told(task, fit))
        if self._live.is_started:
            self._measure(name)
            self._live.update(self._render())
        elif self._pace.is_due():
            for known in self._done:
                self._measure(known)
            say(self._live.console, self.line())

    def shown(self) -> list[str]:
        """Return the models of the rows: all, or the best so far, those without an AUC last."""
        return list(self._done) if self._most is None else self._best()[: self._most]

    def line(self) -> str:
        """Return the progress in one line, with the best models so far by the AUC of the patients tested until now."""
        aucs = {name: self._aucs.get(name) for name in self._best()[:_MODELS_IN_A_LINE]}
        told = [
            f"{name} {auc:.3f} ({len(self._done[name])}/{self._n_fits} fits)"
            for name, auc in aucs.items()
            if auc is not None
        ]
        return self._time_left() + (
            f"; out-of-fold {self._so_far.name} so far: {', '.join(told)}" if told else ""
        )

    @property
    def _n_done(self) -> int:
        return sum(len(fits) for fits in self._done.values())

    def _best(self) -> list[str]:
        return sorted(self._done, key=lambda name: -(self._aucs.get(name) or 0.0))

    def _measure(self, name: str) -> None:
        self._aucs[name] = self._so_far.of(self._done[name])

    def _render(self) -> Table:
        table = Table("model", "fits", f"{self._so_far.name} so far", title=self._time_left())
        for name in self.shown():
            done, auc = self._done[name], self._aucs.get(name)
            table.add_row(name, f"{len(done)}/{self._n_fits}", "" if auc is None else f"{auc:.3f}")
        return table

    def _time_left(self) -> str:
        """Return the fits done, and the time left for the models of which the seconds of a fit are known by now."""
        done = f"{self._n_done} of {self._n_fits * len(self._done)} fits"
        busy_s = sum(map(sum, self._seconds.values()))
        if not busy_s:
            return done
        left_s = {
            name: float(np.mean(seconds)) * (self._n_fits - len(self._done[name]))
            for name, seconds in self._seconds.items()
        }
        # As many fits run side by side as until now.
        seconds = sum(left_s.values()) * (self._clock() - self._started) / busy_s
        waiting = sum(not fits for fits in self._done.values())
        beside = f" for these models, {waiting} not begun" if waiting else ""
        return f"{done}, about {duration(seconds)} left{beside}"


def _told(task: FitTask, fit: Fit) -> str:
    seconds = "" if fit.costs.fit_s is None else f" in {fit.costs.fit_s:.2f} s"
    return f"fitted {task.spec.name}, repeat {task.fold.repeat}, fold {task.fold.fold}{seconds}"


def macro_auc_so_far(
    done: Sequence[tuple[FitTask, Fit]], labels: NDArray[np.intp], n_classes: int
) -> float | None:
    """Return the macro one-vs-rest AUC pooled over the folds of each repeat, or None before all classes came."""
    aucs = []
    for repeat in {task.fold.repeat for task, _ in done}:
        fits = [(task.fold.test, fit.test) for task, fit in done if task.fold.repeat == repeat]
        seen = labels[np.concatenate([test for test, _ in fits])]
        scores = np.concatenate([probabilities for _, probabilities in fits])
        aucs.append(macro_auc_of(seen, scores, n_classes))
    known = [auc for auc in aucs if auc is not None]
    return float(np.mean(known)) if known else None


def macro_auc_of(labels: NDArray[np.intp], scores: NDArray[np.float64], n_classes: int) -> float | None:
    """Return the macro one-vs-rest AUC of scores (n, classes), or None where a class has no patient."""
    if len(np.unique(labels)) < n_classes:
        return None
    return float(np.mean([roc_auc_score(labels == c, scores[:, c]) for c in range(n_classes)]))
