"""The cross-validation loop of all models."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from aggregate.cohort.chosen import Chosen
from aggregate.cohort.folds import Fold
from aggregate.cohort.patients import Patients
from aggregate.cohort.study_cohort import StudyCohort
from aggregate.fitting.training_courses import courses_of
from aggregate.models.base import PatientEstimator, Samples
from aggregate.models.halving import Halving
from aggregate.models.registry import build_model
from aggregate.planning.fit_tasks import FitTask, ModelSpec, fit_tasks
from aggregate.planning.splits import fold_of_test
from aggregate.predictions import Predictions
from aggregate.statistics.decisions import TuneFold
from aggregate.store.fit_cache import Costs, Fit, FitCache


class Watcher(Protocol):
    """Observer that is called after every fit."""

    def fitted(self, task: FitTask, fit: Fit, *, from_cache: bool) -> None:
        """Take note of one finished fit."""


@dataclass(frozen=True)
class Watchers:
    """Several who watch the same fits."""

    watchers: Sequence[Watcher]

    def fitted(self, task: FitTask, fit: Fit, *, from_cache: bool) -> None:
        """Let each take note of one finished fit."""
        for watcher in self.watchers:
            watcher.fitted(task, fit, from_cache=from_cache)


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Every fit of every model, by model name, in the order of the folds."""

    folds: tuple[Fold, ...]
    tasks: Mapping[str, tuple[FitTask, ...]]
    fits: Mapping[str, tuple[Fit, ...]]
    seconds: Mapping[str, float]
    """Mean time of a fit of a model, of those that were trained and not taken from the cache."""


def cross_validate(
    study: StudyCohort, folds: Sequence[Fold], specs: Sequence[ModelSpec], *, cache: FitCache, seed: int, jobs: int,
    watcher: Watcher,
) -> OutOfFold:  # fmt: skip
    """Fit every model on every fold, taking from the cache what is there, and keep each fit as it is done.

    Fits run side by side, one process each, or on the cluster that joblib was told to use; those on a GPU one after the other
    in this process.
    """
    tasks = fit_tasks(study, folds, specs, seed=seed)
    fits: dict[str, Fit] = {}
    seconds: dict[str, list[float]] = {}
    open_tasks: list[FitTask] = []
    for task in (task for name in tasks for task in tasks[name]):
        known = cache.read(task.key)
        if known is None:
            open_tasks.append(task)
        else:
            fits[task.key] = known
            watcher.fitted(task, known, from_cache=True)
    # Closed, so that after Ctrl-C nothing trains on.
    with closing(_fit_all(study, open_tasks, cache, jobs)) as fitted:
        for task, fit, taken in fitted:
            fits[task.key] = fit
            seconds.setdefault(task.spec.name, []).append(taken)
            watcher.fitted(task, fit, from_cache=False)
    return OutOfFold(
        folds=tuple(folds),
        tasks={name: tuple(of_model) for name, of_model in tasks.items()},
        fits={name: tuple(fits[task.key] for task in of_model) for name, of_model in tasks.items()},
        seconds={name: float(np.mean(of_model)) for name, of_model in seconds.items()},
    )


def seconds_of_first_fits(study: StudyCohort, tasks: Iterable[FitTask]) -> Mapping[str, float]:
    """Return, by model, the seconds of one fit, trained on its first task here and thrown away."""
    first: dict[str, FitTask] = {}
    for task in tasks:
        first.setdefault(task.spec.name, task)
    with threadpool_limits(limits=1, user_api="blas"):
        return {name: _fitted(study.patients, study.targets, task)[1] for name, task in first.items()}


def predictions_of(study: StudyCohort, result: OutOfFold) -> Predictions:
    """Gather the test probabilities of all folds into one table per model, for the patients that were tested."""
    patients = study.patients
    fold = fold_of_test(result.folds, len(patients))
    tested = np.flatnonzero((fold >= 0).all(axis=0))
    repeats = sorted({f.repeat for f in result.folds})
    probabilities = {}
    for name, fits in result.fits.items():
        table = np.full((len(repeats), len(patients), len(patients.classes)), np.nan)
        for f, fit in zip(result.folds, fits, strict=True):
            table[repeats.index(f.repeat), f.test] = fit.test
        probabilities[name] = table[:, tested]
    scans = set(study.phase_names)  # a patient who has a biopsy alone has none of these phases
    present = [[name for name in study.headers[i].phases_present if name in scans] for i in tested]
    return Predictions(
        classes=patients.classes,
        patient_ids=tuple(patients.patient_ids[i] for i in tested),
        labels=patients.codes[tested],
        fold=fold[:, tested],
        probabilities=probabilities,
        n_slices=patients.bag_sizes()[tested],
        phases=tuple(map("+".join, present)),
    )


def tuning_of(study: StudyCohort, result: OutOfFold) -> Mapping[str, list[TuneFold]]:
    """Collect each model's predictions of the tune patients of each fold, used to choose thresholds."""
    repeats = sorted({fold.repeat for fold in result.folds})
    patients = study.patients
    return {
        name: [
            TuneFold(
                repeat=repeats.index(fold.repeat),
                fold=fold.fold,
                patient_ids=tuple(patients.patient_ids[i] for i in fold.tune),
                labels=patients.codes[fold.tune],
                probabilities=fit.tune,
            )
            for fold, fit in zip(result.folds, fits, strict=True)
        ]
        for name, fits in result.fits.items()
    }


def _fit_all(
    study: StudyCohort, tasks: Sequence[FitTask], cache: FitCache, jobs: int
) -> Generator[tuple[FitTask, Fit, float], None, None]:
    on_gpu, elsewhere = ([t for t in tasks if is_on_gpu(t.spec) is wanted] for wanted in (True, False))
    side_by_side: dict[str, Any] = {"n_jobs": jobs}
    # Named, since a backend that was set for this thread would take them elsewhere.
    one_by_one = {"n_jobs": 1, "backend": "sequential"}
    for chosen, how in ((elsewhere, side_by_side), (on_gpu, one_by_one)):
        if not chosen:
            continue
        parallel = Parallel(**how, return_as="generator_unordered")
        work = (delayed(_fit_one)(study.patients, study.targets, study.columns, t, cache) for t in chosen)
        yield from parallel(work)


def is_on_gpu(spec: ModelSpec) -> bool:
    """Whether a model, or one inside it, computes elsewhere than on the CPU."""
    return any(device != "cpu" for device in _devices(spec.parameters))


def _devices(parameters: Mapping[str, object]) -> Iterator[str]:
    for key, value in parameters.items():
        if key == "device":
            yield str(value)
        elif isinstance(value, Mapping):
            yield from _devices(value)


def _fit_one(
    patients: Patients, targets: NDArray[Any], columns: Sequence[str], task: FitTask, cache: FitCache
) -> tuple[FitTask, Fit, float]:
    started = time.monotonic()
    # The products are small: a second BLAS thread costs more than it computes.
    with threadpool_limits(limits=1, user_api="blas"):
        model, fit_s = _fitted(patients, targets, task)
        fit = _keep(model, patients, columns, task, cache, fit_s=fit_s)
        return task, fit, time.monotonic() - started


def _fitted(patients: Patients, targets: NDArray[Any], task: FitTask) -> tuple[PatientEstimator, float]:
    """Train the model of a task, and tell the seconds that it took."""
    fold, started = task.fold, time.monotonic()
    model = build_model(task.spec.kind, task.spec.parameters, random_state=task.seed)
    tune = (Chosen(patients, fold.tune), targets[fold.tune]) if len(fold.tune) else None
    model.fit(Chosen(patients, fold.train), targets[fold.train], tune=tune)
    return model, time.monotonic() - started


def _keep(
    model: PatientEstimator,
    patients: Patients,
    columns: Sequence[str],
    task: FitTask,
    cache: FitCache,
    *,
    fit_s: float,
) -> Fit:
    n_classes, started = len(columns), time.monotonic()
    test = _probabilities(model, model.predict_proba, Chosen(patients, task.fold.test), n_classes)
    seconds = max(time.monotonic() - started, 1e-9)
    n_slices = int(patients.take(task.fold.test).bag_sizes().sum())
    fit = Fit(
        test=test,
        tune=_probabilities(model, model.predict_tune, Chosen(patients, task.fold.tune), n_classes),
        costs=Costs(fit_s, n_slices / seconds if n_slices else None, model.n_parameters()),
        search=model.search_ if isinstance(model, Halving) else (),
        courses=tuple(courses_of(model)),
    )
    cache.write(task.key, fit, model, name=task.spec.name)
    return fit


def _probabilities(
    model: PatientEstimator,
    predict: Callable[[Samples], NDArray[np.float64]],
    patients: Samples,
    n_classes: int,
) -> NDArray[np.float64]:
    """Return (n, n_classes), with zeros for a class that the training patients did not have."""
    result = np.zeros((len(patients), n_classes))
    if len(patients):
        result[:, model.classes_] = predict(patients)
    return result
