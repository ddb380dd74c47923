"""The one cross-validation loop that every model goes through."""

import time
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from aggregate.cache import Fit, FitCache, fit_key
from aggregate.chosen_bags import ChosenBags
from aggregate.folds import Fold
from aggregate.models.base import BagEstimator
from aggregate.models.registry import build_model, model_class
from aggregate.predictions import Predictions
from aggregate.splits import fold_of_test
from aggregate.statistics.decisions import TuneFold
from aggregate.study import Study, bag_sizes
from pipeline.bags import Bag
from pipeline.provenance import canonical_json


@dataclass(frozen=True)
class ModelSpec:
    """A model of the configuration: its name in the tables, its kind and its parameters."""

    name: str
    kind: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class FitTask:
    """One model on one fold."""

    spec: ModelSpec
    fold: Fold
    seed: int
    key: str


class Watcher(Protocol):
    """Somebody who is told of every fit."""

    def fitted(self, task: FitTask, fit: Fit, *, from_cache: bool) -> None:
        """Take note of one finished fit."""


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Every fit of every model, by model name, in the order of the folds."""

    folds: tuple[Fold, ...]
    tasks: Mapping[str, tuple[FitTask, ...]]
    fits: Mapping[str, tuple[Fit, ...]]
    seconds: Mapping[str, float]
    """Mean time of a fit of a model, of those that were trained and not taken from the cache."""


def cross_validate(
    study: Study, folds: Sequence[Fold], specs: Sequence[ModelSpec], *, cache: FitCache, seed: int, jobs: int,
    watcher: Watcher,
) -> OutOfFold:  # fmt: skip
    """Fit every model on every fold, taking from the cache what is there, and keep each fit as it is done.

    Fits run side by side, one process each; those on a GPU one after the other in this process.
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


def fit_tasks(
    study: Study, folds: Sequence[Fold], specs: Sequence[ModelSpec], *, seed: int
) -> Mapping[str, Sequence[FitTask]]:
    """Return what is to be fitted, by model; the key of a task names everything that decides the fit."""
    contents = _contents(study)
    return {spec.name: _tasks(study, folds, spec, seed, contents) for spec in specs}


def predictions_of(study: Study, result: OutOfFold) -> Predictions:
    """Gather the test probabilities of all folds into one table per model, for the patients that were tested."""
    fold = fold_of_test(result.folds, len(study.labels))
    tested = np.flatnonzero((fold >= 0).all(axis=0))
    repeats = sorted({f.repeat for f in result.folds})
    probabilities = {}
    for name, fits in result.fits.items():
        table = np.full((len(repeats), len(study.labels), len(study.classes)), np.nan)
        for f, fit in zip(result.folds, fits, strict=True):
            table[repeats.index(f.repeat), f.test] = fit.test
        probabilities[name] = table[:, tested]
    headers = [study.headers[i] for i in tested]
    return Predictions(
        classes=study.classes,
        patient_ids=tuple(header.patient_id for header in headers),
        labels=study.labels[tested],
        fold=fold[:, tested],
        probabilities=probabilities,
        n_slices=bag_sizes(study.bags)[tested],
        phases=tuple("+".join(header.phases_present) for header in headers),
    )


def tuning_of(study: Study, result: OutOfFold) -> Mapping[str, list[TuneFold]]:
    """Gather what each model says of the tune patients of each fold; thresholds are chosen on it."""
    repeats = sorted({fold.repeat for fold in result.folds})
    patient_ids = study.patient_ids
    return {
        name: [
            TuneFold(
                repeat=repeats.index(fold.repeat),
                fold=fold.fold,
                patient_ids=tuple(patient_ids[i] for i in fold.tune),
                labels=study.labels[fold.tune],
                probabilities=fit.tune,
            )
            for fold, fit in zip(result.folds, fits, strict=True)
        ]
        for name, fits in result.fits.items()
    }


def _contents(study: Study) -> list[str]:
    """Name what each patient brings into a fit."""
    return [
        f"{patient.patient_id} {header.content_key} {study.view} {canonical_json(dict(patient.covariates))}"
        for patient, header in zip(study.patients, study.headers, strict=True)
    ]


def _tasks(
    study: Study, folds: Sequence[Fold], spec: ModelSpec, seed: int, contents: Sequence[str]
) -> list[FitTask]:
    model = {
        "kind": spec.kind,
        "parameters": dict(spec.parameters),
        "code": model_class(spec.kind).code_sha256(spec.parameters),
    }
    tasks = []
    for fold in folds:
        # The seed hangs on names, not on positions, so adding a model leaves the others' fits as they are.
        entropy = [seed, zlib.crc32(spec.name.encode()), fold.repeat, fold.fold]
        fit_seed = int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)
        key = fit_key(
            model=model,
            seed=fit_seed,
            fold=fold,
            contents=contents,
            labels=study.labels,
            classes=study.classes,
        )
        tasks.append(FitTask(spec, fold, fit_seed, key))
    return tasks


def _fit_all(
    study: Study, tasks: Sequence[FitTask], cache: FitCache, jobs: int
) -> Generator[tuple[FitTask, Fit, float], None, None]:
    on_gpu, elsewhere = ([t for t in tasks if _is_on_gpu(t.spec) is wanted] for wanted in (True, False))
    for chosen, n_jobs in ((elsewhere, jobs), (on_gpu, 1)):
        parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
        work = (delayed(_fit_one)(study.bags, study.labels, len(study.classes), t, cache) for t in chosen)
        yield from parallel(work)


def _is_on_gpu(spec: ModelSpec) -> bool:
    """Whether a model, or one inside it, computes elsewhere than on the CPU."""
    return any(device != "cpu" for device in _devices(spec.parameters))


def _devices(parameters: Mapping[str, object]) -> Iterator[str]:
    for key, value in parameters.items():
        if key == "device":
            yield str(value)
        elif isinstance(value, Mapping):
            yield from _devices(value)


def _fit_one(
    bags: Sequence[Bag], labels: NDArray[np.intp], n_classes: int, task: FitTask, cache: FitCache
) -> tuple[FitTask, Fit, float]:
    fold, started = task.fold, time.monotonic()
    model = _build(task)
    # The products are small: a second BLAS thread costs more than it computes.
    with threadpool_limits(limits=1, user_api="blas"):
        tune = (ChosenBags(bags, fold.tune), labels[fold.tune]) if len(fold.tune) else None
        model.fit(ChosenBags(bags, fold.train), labels[fold.train], tune=tune)
        fit = _keep(model, bags, n_classes, task, cache)
        return task, fit, time.monotonic() - started


def _build(task: FitTask) -> BagEstimator:
    return build_model(task.spec.kind, task.spec.parameters, random_state=task.seed)


def _keep(model: BagEstimator, bags: Sequence[Bag], n_classes: int, task: FitTask, cache: FitCache) -> Fit:
    fit = Fit(
        test=_probabilities(model, model.predict_proba, ChosenBags(bags, task.fold.test), n_classes),
        tune=_probabilities(model, model.predict_tune, ChosenBags(bags, task.fold.tune), n_classes),
    )
    cache.write(task.key, fit, model)
    return fit


def _probabilities(
    model: BagEstimator,
    predict: Callable[[Sequence[Bag]], NDArray[np.float64]],
    bags: Sequence[Bag],
    n_classes: int,
) -> NDArray[np.float64]:
    """Return (n, n_classes), with zeros for a class that the training patients did not have."""
    result = np.zeros((len(bags), n_classes))
    if len(bags):
        result[:, model.classes_] = predict(bags)
    return result
