"""Successive halving (Jamieson and Talwalkar 2016): of many models the best one, found at a fraction of the fits.

Every model is trained on few patients; the best third on three times as many; and so on. All of this happens within the
training patients of a fold, so that the test patients of the fold have no part in the choice.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - the next import needs it
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import HalvingGridSearchCV, StratifiedKFold

from aggregate.cohort.chosen import Chosen
from aggregate.models.average import Average
from aggregate.models.base import Arrays, Labels, PatientEstimator, Samples, TunePatients, seed_of
from aggregate.models.baselines import Majority
from aggregate.models.class_codes import codes_among, encode_labels
from aggregate.models.either import Either
from aggregate.models.parameters import AtLeastTwo
from aggregate.models.several import KINDS_INSIDE, SeveralModels
from aggregate.models.stack import Stack
from aggregate.models.wrappers import log_loss
from pipeline.errors import FoldError

_LEAST_OF_CLASS = 4
"""Patients of the rarest class on the lowest rung: with fewer, models are told apart by luck."""


@dataclass(frozen=True)
class Rung:
    """One step of a halving: how many models are trained on how many patients."""

    n_patients: int
    n_models: int


@dataclass(kw_only=True, eq=False, repr=False)
class Halving(SeveralModels):
    """The best of several models by successive halving within the training patients (Jamieson and Talwalkar 2016).

    Each rung trains the models that are left on `factor` times as many patients, and keeps the best of them by their score on
    inner folds. The last one is trained on all training patients. The tuning patients serve every model as they do by itself.
    """

    kind: ClassVar[str] = "halving"

    select_by: Literal["log_loss", "auc"] = "log_loss"
    """Score on the inner folds: the log loss, or the macro AUC."""
    factor: AtLeastTwo = 3
    """One in so many models goes on to the next rung, with so many times the patients."""
    inner_folds: AtLeastTwo = 3
    """Inner folds of the training patients; fewer where the rarest class has fewer patients."""

    @classmethod
    def kinds_inside(cls) -> Mapping[str, type[PatientEstimator]]:
        """Return what may stand inside: every kind but this one."""
        return {**KINDS_INSIDE, Average.kind: Average, Either.kind: Either, Stack.kind: Stack}

    def new_model(self, name: str) -> PatientEstimator:
        """Return one of the unfitted models inside.

        Raises:
            ConfigError: a kind, a parameter or a value is not allowed.
        """
        return self.new_inside([name])[0]

    def predict_tune(self, patients: Samples) -> NDArray[np.float64]:
        """Return class probabilities of tuning patients, as the chosen model gives them (patients, classes)."""
        return self.inside_[0].predict_tune(patients)

    def _fit_patients(self, patients: Samples, labels: Labels, tune: TunePatients | None) -> None:
        """Climb the rungs, and train the model that is left on all patients."""
        self.classes_, codes = encode_labels(labels)
        with warnings.catch_warnings():
            # That is how a model without a score comes last.
            warnings.filterwarnings("ignore", message="One or more of the test scores are non-finite")
            search = self._search(codes).fit(patients, np.asarray(labels), tune=tune)
        self.search_: list[dict[str, Any]] = _told(search)
        chosen = self._checked_choice()
        self.inside_ = [self.new_model(chosen).fit(patients, labels, tune=tune)]

    def _predict_patients(self, patients: Samples) -> NDArray[np.float64]:
        """Return class probabilities of the chosen model (patients, classes)."""
        return self.inside_[0].predict_proba(patients)

    def learned_arrays(self) -> Arrays:
        """Return the course of the search as JSON."""
        return {"search": np.frombuffer(json.dumps(self.search_).encode(), dtype=np.uint8)}

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore the course of the search."""
        self.search_ = json.loads(arrays["search"].tobytes())

    def names_of_fitted(self) -> Sequence[str]:
        """Return the name of the chosen model."""
        return [one["model"] for one in self.search_ if one["is_picked"]]

    def _checked_choice(self) -> str:
        """Return the name of the picked model; refuse a pick among several of which no score is known."""
        (picked,) = (one for one in self.search_ if one["is_picked"])
        if picked["scores"][-1] is None and len(self.search_) > 1:
            raise FoldError(
                f"model 'halving': none of {len(self.search_)} models could be trained on the inner folds, where each sees no "
                "training patient of some class; extract the missing bags, or add models that see other bags or phases"
            )
        return str(picked["model"])

    def _search(self, codes: NDArray[np.intp]) -> HalvingGridSearchCV:
        steps = rungs(codes, len(self.models), factor=self.factor, inner_folds=self.inner_folds)
        seed = seed_of(self.random_state)
        n_folds = _n_inner_folds(codes, self.inner_folds)
        return HalvingGridSearchCV(
            Configured(self, seed=seed),
            {"configuration": list(self.models)},
            resource="n_patients",
            min_resources=steps[0].n_patients,
            max_resources=_n_trained_inside(codes, self.inner_folds),
            factor=self.factor,
            cv=StratifiedKFold(n_folds, shuffle=True, random_state=seed),
            scoring=_score_by_auc if self.select_by == "auc" else _score_by_log_loss,
            refit=False,  # the best one is trained on all patients, and not on those of the last rung
            error_score="raise",
            return_train_score=False,
            random_state=seed,
        )


class Configured(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """One of the models of a halving by its name, trained on some of the patients: what the search varies."""

    def __init__(self, halving: Halving, configuration: str = "", n_patients: int = 0, seed: int = 0) -> None:
        self.halving = halving
        self.configuration = configuration
        self.n_patients = n_patients
        self.seed = seed

    def fit(self, patients: Samples, labels: Labels, tune: TunePatients | None = None) -> Self:
        """Train on the first `n_patients` of an order that has the shares of the classes throughout.

        A model that sees no patient of some class among these, because of missing bags or phases, knows the class shares,
        and has no score.
        """
        chosen = evenly_ordered(labels, self.seed)[: self.n_patients]
        given = Chosen(patients, chosen), labels[chosen]
        try:
            self.model_ = self.halving.new_model(self.configuration).fit(*given, tune=tune)
            self.is_trained_ = True
        except FoldError:
            self.is_trained_ = False
            self.model_ = Majority(random_state=self.seed).fit(*given)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, patients: Samples) -> NDArray[np.float64]:
        """Return class probabilities (patients, classes)."""
        return self.model_.predict_proba(patients)


def rungs(codes: NDArray[np.intp], n_models: int, *, factor: int, inner_folds: int) -> list[Rung]:
    """Return the rungs of a halving over training patients of these classes, the lowest first.

    The last rung uses all patients that inner folds leave for training; there are as many rungs as halve the models to
    fewer than `factor`, as long as the lowest has enough patients of each class.

    Raises:
        FoldError: a class has one patient.
    """
    most = _n_trained_inside(codes, inner_folds)
    least = ceil(_LEAST_OF_CLASS * len(codes) / int(np.bincount(codes).min()))
    n_rungs = 1 + floor(log(n_models, factor))
    while n_rungs > 1 and most // factor ** (n_rungs - 1) < least:
        n_rungs -= 1
    found, lowest = [], most // factor ** (n_rungs - 1)
    for number in range(n_rungs):
        found.append(Rung(lowest * factor**number, n_models))
        n_models = ceil(n_models / factor)
    return found


def evenly_ordered(labels: Labels, seed: int) -> NDArray[np.intp]:
    """Return a random order of the patients (n,), every beginning of which has nearly the shares of the classes of all."""
    order = np.random.default_rng(seed).permutation(len(labels))
    _, codes, counts = np.unique(np.asarray(labels)[order], return_inverse=True, return_counts=True)
    place = np.empty(len(order))
    for code, count in enumerate(counts):
        place[codes == code] = (np.arange(count) + 0.5) / count
    return order[np.argsort(place, kind="stable")]


def _n_inner_folds(codes: NDArray[np.intp], inner_folds: int) -> int:
    counts = np.bincount(codes)
    if counts.min() < 2:
        raise FoldError(
            "model 'halving': a class has one training patient, too few for inner folds; expected at least 2: use fewer "
            "folds, or merge classes"
        )
    return min(inner_folds, int(counts.min()))


def _n_trained_inside(codes: NDArray[np.intp], inner_folds: int) -> int:
    """Return how many patients every inner fold leaves for training at least."""
    return len(codes) - ceil(len(codes) / _n_inner_folds(codes, inner_folds))


# A score that is NaN on one inner fold is NaN in the mean, and the search takes it for the worst.


def _score_by_log_loss(model: Configured, patients: Samples, labels: Labels) -> float:
    if not model.is_trained_:
        return np.nan
    return -log_loss(model.model_, patients, labels)


def _score_by_auc(model: Configured, patients: Samples, labels: Labels) -> float:
    if not model.is_trained_:
        return np.nan
    codes = codes_among(model.classes_, labels)
    probabilities = model.predict_proba(patients)
    aucs = [roc_auc_score(codes == k, probabilities[:, k]) for k in range(probabilities.shape[1])]
    return float(np.mean(aucs))


def _told(search: HalvingGridSearchCV) -> list[dict[str, Any]]:
    """Return, for every model, the patients and the score of each rung that it reached, and its seconds.

    The score is None where an inner fold could not train the model.
    """
    results = search.cv_results_
    told: dict[str, dict[str, Any]] = {}
    seconds = (results["mean_fit_time"] + results["mean_score_time"]) * search.n_splits_
    for i, given in enumerate(results["params"]):
        name = given["configuration"]
        one = told.setdefault(name, {"model": name, "patients": [], "scores": [], "seconds": 0.0})
        one["patients"].append(int(given["n_patients"]))
        score = float(results["mean_test_score"][i])
        one["scores"].append(score if np.isfinite(score) else None)
        one["seconds"] += float(seconds[i])
    best = search.best_params_["configuration"]
    return [{**one, "is_picked": name == best} for name, one in told.items()]
