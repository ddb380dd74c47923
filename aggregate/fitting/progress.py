"""The live table of a run: model, fits done, AUC so far, time left; of a study, the best configurations so far."""

import time
from collections.abc import Mapping, Sequence
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


class LiveTable:
    """Shows every model's progress while a cross-validation runs; quiet where there is no terminal."""

    def __init__(
        self,
        models: Sequence[str],
        labels: NDArray[np.intp],
        n_classes: int,
        n_fits: int,
        *,
        most: int | None = None,
    ) -> None:
        """Show every model in the given order, or only the best so far where `most` says how many."""
        self._labels = labels
        self._n_classes = n_classes
        self._n_fits = n_fits
        self._most = most
        self._done: Mapping[str, list[tuple[FitTask, Fit]]] = {name: [] for name in models}
        self._aucs: dict[str, float | None] = {}
        self._started = time.monotonic()
        self._fresh = 0
        self._live = Live(
            console=Console(stderr=True, markup=False, emoji=False), refresh_per_second=4, transient=False
        )

    def __enter__(self) -> Self:
        if self._live.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._live.stop()

    def fitted(self, task: FitTask, fit: Fit, *, from_cache: bool) -> None:
        """Take note of one finished fit."""
        self._done[task.spec.name].append((task, fit))
        self._fresh += not from_cache
        if self._live.is_started:
            done = self._done[task.spec.name]
            self._aucs[task.spec.name] = macro_auc_so_far(done, self._labels, self._n_classes)
            self._live.update(self._render())

    def _render(self) -> Table:
        table = Table("model", "fits", "AUC so far", title=self._time_left())
        for name in self.shown():
            done, auc = self._done[name], self._aucs.get(name)
            table.add_row(name, f"{len(done)}/{self._n_fits}", "" if auc is None else f"{auc:.3f}")
        return table

    def shown(self) -> list[str]:
        """Return the models of the rows: all, or the best so far, those without an AUC last."""
        names = list(self._done)
        if self._most is None:
            return names
        return sorted(names, key=lambda name: -(self._aucs.get(name) or 0.0))[: self._most]

    def _time_left(self) -> str:
        total = self._n_fits * len(self._done)
        done = sum(len(fits) for fits in self._done.values())
        if not self._fresh:
            return f"{done} of {total} fits"
        seconds = (time.monotonic() - self._started) / self._fresh * (total - done)
        return f"{done} of {total} fits, about {seconds:.0f} s left"


def macro_auc_so_far(
    done: Sequence[tuple[FitTask, Fit]], labels: NDArray[np.intp], n_classes: int
) -> float | None:
    """Return the macro one-vs-rest AUC pooled over the folds of each repeat, or None before all classes came."""
    aucs = []
    for repeat in {task.fold.repeat for task, _ in done}:
        fits = [(task.fold.test, fit.test) for task, fit in done if task.fold.repeat == repeat]
        seen = labels[np.concatenate([test for test, _ in fits])]
        scores = np.concatenate([probabilities for _, probabilities in fits])
        if len(np.unique(seen)) == n_classes:
            aucs.append(np.mean([roc_auc_score(seen == c, scores[:, c]) for c in range(n_classes)]))
    return float(np.mean(aucs)) if aucs else None
