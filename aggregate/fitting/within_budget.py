"""A cross-validation within a budget of time: what a fit takes, tried beforehand, and the end at the deadline."""

import json
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from aggregate.cohort.chosen import Chosen
from aggregate.cohort.folds import Fold
from aggregate.cohort.patients import Patients
from aggregate.models.halving import Configured, Halving, rungs
from aggregate.planning.study_budget import Trial
from aggregate.store.content_store import ContentStore, EntryKind

SHARE_OF_TRIAL = 0.25
"""Of the budget: the trial ends there, and the configurations that it has not come to are left out."""
_TRIAL = "trial.json"


def kept_trial(store: ContentStore, key: str, try_all: Callable[[], Trial]) -> Trial:
    """Return the trial of a key, made where there is none.

    It is kept so that a study which was stopped and started again spends its budget on the same configurations.
    """
    known = store.read(key, _TRIAL)
    if known is not None:
        return Trial(**json.loads(known))
    trial = try_all()
    with store.writing(key, EntryKind.TRIAL, of="") as folder:
        (folder / _TRIAL).write_text(json.dumps(vars(trial)), encoding="utf-8")
    return trial


def try_configurations(
    patients: Patients, fold: Fold, halving: Halving, order: Sequence[str], *, jobs: int, limit_s: float
) -> Trial:
    """Fit configurations once each on the lowest rung of a fold, in the given order, until the time is over."""
    started = time.monotonic()
    codes = patients.codes[fold.train]
    lowest = rungs(codes, len(order), factor=halving.factor, inner_folds=halving.inner_folds)[0]
    seconds: dict[str, float] = {}
    for at in range(0, len(order), jobs):
        names = order[at : at + jobs]
        work = (delayed(_seconds_of)(patients, fold, halving, name, lowest.n_patients) for name in names)
        seconds |= dict(zip(names, Parallel(n_jobs=jobs)(work), strict=True))
        if time.monotonic() - started >= limit_s:
            break
    return Trial(seconds, lowest.n_patients, time.monotonic() - started)


def complete_repeats(
    fit: Callable[[Sequence[Fold]], object],
    folds: Sequence[Fold],
    *,
    at_once: int,
    deadline: float,
    clock: Callable[[], float] = time.monotonic,
) -> list[Fold]:
    """Fit repeat by repeat until the deadline; return the folds of the repeats that are complete.

    What is being fitted at the deadline is completed. The first repeat is, too: without it nothing is known of some patients.
    """
    complete: list[Fold] = []
    for of_repeat in _by_repeat(folds).values():
        for at in range(0, len(of_repeat), at_once):
            if complete and clock() >= deadline:
                return complete
            fit(of_repeat[at : at + at_once])
        complete += of_repeat
    return complete


def _by_repeat(folds: Sequence[Fold]) -> Mapping[int, list[Fold]]:
    found: dict[int, list[Fold]] = {}
    for fold in folds:
        found.setdefault(fold.repeat, []).append(fold)
    return found


def _seconds_of(patients: Patients, fold: Fold, halving: Halving, name: str, n_patients: int) -> float:
    """Return what one configuration takes to train on so many patients, and to predict an inner fold."""
    codes, train = patients.codes, fold.train
    tune = (Chosen(patients, fold.tune), codes[fold.tune]) if len(fold.tune) else None
    held_out = Chosen(patients, np.asarray(train[: max(1, len(train) // halving.inner_folds)]))
    started = time.monotonic()
    with threadpool_limits(limits=1, user_api="blas"):
        model = Configured(halving, name, n_patients).fit(Chosen(patients, train), codes[train], tune=tune)
        model.predict_proba(held_out)
    return time.monotonic() - started
