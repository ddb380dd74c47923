"""Cache of fits: a model is not fitted again on the same patients with the same settings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.folds import Fold
from aggregate.models.base import PatientEstimator
from aggregate.models.registry import model_class
from aggregate.store.code_versions import code_sha256
from aggregate.store.content_store import ContentStore, EntryKind
from pipeline.provenance import sha256_of_json

_PREDICTIONS = "predictions.npz"
_COSTS = "costs.json"
_SEARCH = "search.json"
_COURSES = "courses.json"
MODEL_FOLDER = "model"


@dataclass(frozen=True)
class Costs:
    """What a fit cost, as it was measured when the model was trained; None where that was not measured.

    Attributes:
        fit_s: seconds to train.
        slices_per_s: slices of test patients predicted in a second, reading their bags included.
        n_parameters: learned numbers; None for trees.
    """

    fit_s: float | None = None
    slices_per_s: float | None = None
    n_parameters: int | None = None


@dataclass(frozen=True, eq=False)
class Fit:
    """Predictions of a fitted model for the patients it was not trained on.

    Attributes:
        test: float64 (n_test, classes), rows sum to 1.
        tune: float64 (n_tune, classes), for thresholds and calibration.
        costs: of the training.
        search: of a model that was searched by successive halving, the course of it: one entry per model tried.
        courses: of each network in the model, the losses of its training, as `courses_of` returns them.
    """

    test: NDArray[np.float64]
    tune: NDArray[np.float64]
    costs: Costs = Costs()
    search: Sequence[Mapping[str, Any]] = ()
    courses: Sequence[Mapping[str, Any]] = ()


def fit_key(
    *,
    model: Mapping[str, Any],
    seed: int,
    fold: Fold,
    contents: Sequence[str],
    labels: NDArray[Any],
    classes: Sequence[str],
) -> str:
    """Return the cache key of a fit: a hash of the model, its code, the patients by content and role, the labels.

    `labels` are codes of `classes`, or outcomes, of which a model says the columns `classes`.
    `contents` holds the key of each patient's data (bag, covariates), in the order of the fold's indices; `model` its
    kind, its parameters, and its code as returned by `code_of_model`.
    """
    roles = {role: [contents[i] for i in getattr(fold, role)] for role in ("train", "tune", "test")}
    known = labels[np.concatenate([fold.train, fold.tune])].tolist()
    return sha256_of_json([dict(model), seed, roles, known, list(classes)])[:32]


def code_of_model(kind: str, parameters: Mapping[str, Any]) -> list[str]:
    """Return the hashes of the code of a model: with all that it imports and what it has inside, and of the user's file."""
    model = model_class(kind)
    inside = [one for one, _ in model.models_inside(parameters)]
    modules = {one.__module__ for one in (model, *inside)}
    return [code_sha256(*sorted(modules)), model.code_sha256(parameters)]


class FitCache:
    """Fits in a content store."""

    def __init__(self, folder: Path) -> None:
        self.store = ContentStore(folder)

    def read(self, key: str) -> Fit | None:
        """Return the fit of a key, or None where there is none; a damaged one is removed, to be fitted anew."""
        content = self.store.read(key, _PREDICTIONS)
        if content is None:
            return None
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            test, tune = arrays["test"], arrays["tune"]
        costs = Costs(**(self._told(key, _COSTS) or {}))
        return Fit(test, tune, costs, self._told(key, _SEARCH) or (), self._told(key, _COURSES) or ())

    def stored_predictions(self, key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what a fit says of the test and of the tune patients of its fold, without noting its use.

        Raises:
            OSError, ValueError: there is none, or it is damaged.
        """
        with np.load(self.store.path_of(key, _PREDICTIONS), allow_pickle=False) as arrays:
            return arrays["test"], arrays["tune"]

    def _told(self, key: str, name: str) -> Any:  # noqa: ANN401 - what the file of that name holds
        """Return what a file of a fit tells; None for a fit without it, such as one of an earlier release."""
        path = self.store.path_of(key, name)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def holds(self, key: str) -> bool:
        """Say whether there is a fit of a key, without reading it."""
        return self.store.holds(key)

    def write(self, key: str, fit: Fit, model: PatientEstimator, *, name: str) -> None:
        """Keep a fit of the model of that name, and the model where it can be written without pickle."""
        with self.store.writing(key, EntryKind.FIT, of=name) as folder:
            np.savez(folder / _PREDICTIONS, test=fit.test, tune=fit.tune)
            (folder / _COSTS).write_text(json.dumps(vars(fit.costs)), encoding="utf-8")
            if fit.search:
                (folder / _SEARCH).write_text(json.dumps(fit.search), encoding="utf-8")
            if fit.courses:
                (folder / _COURSES).write_text(json.dumps(fit.courses), encoding="utf-8")
            if model.is_savable:
                (folder / MODEL_FOLDER).mkdir()
                model.save(folder / MODEL_FOLDER)

    def model_folder(self, key: str) -> Path:
        """Return where the model of a key lies, if it could be written."""
        return self.store.path_of(key, MODEL_FOLDER)
