"""Explain a finished run: out-of-fold models from the cache, slices from the store, tables beside the others."""

from collections.abc import Callable, Sequence

import numpy as np

from aggregate.cache import FitCache
from aggregate.crossval import OutOfFold
from aggregate.explain.inputs import ExplainableModel, OutOfFoldModels
from aggregate.explain.phase_value import Evaluate
from aggregate.folds import Fold
from aggregate.models.base import Attends, GivesEvidence
from aggregate.models.registry import load_model, model_class
from aggregate.phase_views import retrained_probabilities
from aggregate.splits import fold_of_test
from aggregate.study import Study
from pipeline.errors import ResultsError

CrossValidateOne = Callable[[str], Callable[[Study, Sequence[Fold]], OutOfFold]]
"""Model name -> the cross-validation of that model alone."""


def out_of_fold_models(study: Study, result: OutOfFold, cache: FitCache) -> OutOfFoldModels:
    """Load the fitted models that can be explained: those that weigh slices and let each slice speak.

    Raises:
        ResultsError: a fit of the cache lacks its model.
    """
    models = {}
    for name, tasks in result.tasks.items():
        kind = model_class(tasks[0].spec.kind)
        if hasattr(kind, "attention") and hasattr(kind, "instance_evidence"):
            models[name] = [(task.fold, _load(cache, task.key, name)) for task in tasks]
    return OutOfFoldModels(models, study.bags, study.labels, study.classes)


def _load(cache: FitCache, key: str, name: str) -> ExplainableModel:
    model = load_model(cache.model_folder(key))
    if not (isinstance(model, Attends) and isinstance(model, GivesEvidence)):
        raise ResultsError(
            f"{cache.model_folder(key)}: model {name} gives no attention; remove the cache and run again"
        )
    return model


def retraining(
    study: Study, folds: Sequence[Fold], cross_validate_one: CrossValidateOne
) -> Callable[[str], Evaluate]:
    """Return, per model, the evaluation that trains it anew on a subset of the phases."""
    tested = np.flatnonzero((fold_of_test(folds, len(study.labels)) >= 0).all(axis=0))

    def of_model(name: str) -> Evaluate:
        fit = cross_validate_one(name)
        return lambda phases: retrained_probabilities(study, folds, phases, tested, fit)

    return of_model
