"""The list of fits: every model on every fold, each with its cache key."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aggregate.cohort.folds import Fold
from aggregate.cohort.study_cohort import StudyCohort
from aggregate.models.registry import model_class
from aggregate.store.fit_cache import code_of_model, fit_key


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


def fit_tasks(
    study: StudyCohort, folds: Sequence[Fold], specs: Sequence[ModelSpec], *, seed: int
) -> Mapping[str, Sequence[FitTask]]:
    """Return the fits of every model; the cache key of a fit covers everything that it depends on."""
    return {spec.name: _tasks(study, folds, spec, seed) for spec in specs}


def _tasks(study: StudyCohort, folds: Sequence[Fold], spec: ModelSpec, seed: int) -> list[FitTask]:
    contents = study.contents(model_class(spec.kind).reads(spec.parameters))
    model = {
        "kind": spec.kind,
        "parameters": dict(spec.parameters),
        "code": code_of_model(spec.kind, spec.parameters),
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
            labels=study.targets,
            classes=study.columns,
        )
        tasks.append(FitTask(spec, fold, fit_seed, key))
    return tasks
