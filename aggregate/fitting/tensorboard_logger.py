"""The fits of a run for TensorBoard, where the configuration asks for it: `tensorboard --logdir OUTPUT/tensorboard`."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from aggregate.config import AggregateConfig
from aggregate.fitting.cross_validation import Watcher
from aggregate.fitting.progress import macro_auc_of
from aggregate.planning.fit_tasks import FitTask
from aggregate.store.fit_cache import Fit
from pipeline.provenance import utc_now

FOLDER = "tensorboard"
"""Folder of the output; each run has one of its own in it, named by the time at which it began."""


class TensorBoardLogger:
    """Writes every finished fit: its losses by epoch, and the macro AUC of its tuning patients.

    It writes nothing of the test patients, lest somebody chooses by them.

    Args:
        folder: of this run.
        labels: intp (patients,).
        n_classes: number of classes.
    """

    def __init__(self, folder: Path, labels: NDArray[np.intp], n_classes: int) -> None:
        self._folder, self._labels, self._n_classes = folder, labels, n_classes

    def fitted(self, task: FitTask, fit: Fit, *, from_cache: bool) -> None:
        """Write one finished fit, also one from the cache, so that the folder shows the whole run."""
        del from_cache
        # An extra, and slow to import.
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

        name = quote(task.spec.name, safe=" ,=+")
        place = self._folder / name / f"repeat_{task.fold.repeat}_fold_{task.fold.fold}"
        for course in fit.courses:
            with SummaryWriter(str(place / course["member"])) as writer:
                for role in ("train", "tune"):
                    for epoch, loss in enumerate(course[role], start=1):
                        writer.add_scalar(f"loss/{role}", loss, epoch)
        auc = macro_auc_of(self._labels[task.fold.tune], fit.tune, self._n_classes)
        with SummaryWriter(str(place)) as writer:
            if auc is not None:
                writer.add_scalar("tune/macro_auc", auc)
            if fit.costs.fit_s is not None:
                writer.add_scalar("fit/seconds", fit.costs.fit_s)


def fit_loggers(config: AggregateConfig, labels: NDArray[np.intp], n_classes: int) -> Sequence[Watcher]:
    """Return who else watches the fits of a run, as the configuration says."""
    if config.aggregate.logger is None:
        return ()
    begun = utc_now().replace(":", "-").removesuffix("+00-00")
    return (TensorBoardLogger(config.output / FOLDER / begun, labels, n_classes),)
