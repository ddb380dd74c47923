"""The inputs of all explanations: the models of a cross-validation with their test patients."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.bag_sets import phases_with_instances
from aggregate.cohort.folds import Fold
from aggregate.cohort.patients import Patients
from aggregate.fitting.fitted_models import Fitted, in_all_classes
from aggregate.models.base import Samples
from pipeline.bags import Bag
from pipeline.errors import ResultsError


class ExplainableModel(Fitted, Protocol):
    """A fitted model that has attention and per-slice evidence (logits)."""

    @property
    def weighs_slices(self) -> bool:
        """Whether the model has attention and per-slice evidence."""
        ...

    def seen_bags(self, patients: Samples) -> Sequence[Bag]:
        """Return the bags as the model uses them, for patients with data for it."""
        ...

    def attention(self, patients: Samples) -> Sequence[NDArray[np.float64]]:
        """Return per patient the weight of each instance that the model uses, (n,), summing to 1."""
        ...

    def instance_evidence(self, patients: Samples) -> Sequence[NDArray[np.float64]]:
        """Return per patient the evidence of each instance for each class, (n, classes)."""
        ...


@dataclass(frozen=True, eq=False)
class OutOfFoldModels:
    """Fitted models with their folds; a patient is explained by the models of the folds that test the patient.

    Attributes:
        models: model name -> one (fold, fitted model) per repeat and fold; the report shows the pictures and votes of
            the first model.
        patients: the patients to which the indices of the folds refer.

    Raises:
        ResultsError: a patient is tested twice within a repeat.
    """

    models: Mapping[str, Sequence[tuple[Fold, ExplainableModel]]]
    patients: Patients

    def __post_init__(self) -> None:
        for name in self.models:
            for repeat in self.repeats(name):
                self._check_repeat(name, repeat)

    def _check_repeat(self, name: str, repeat: int) -> None:
        tests = [fold.test for fold, _ in self.models[name] if fold.repeat == repeat]
        patients, times = np.unique(np.concatenate(tests), return_counts=True)
        if (times > 1).any():
            twice = self.patients.patient_ids[int(patients[times > 1][0])]
            raise ResultsError(
                f"model {name}, repeat {repeat}: expected every patient tested once, found {twice} tested twice"
            )

    def bags(self, name: str) -> Sequence[Bag]:
        """Return the bags of all patients as a model uses them; only bags of patients with data for it can be read."""
        _, model = self.models[name][0]
        return model.seen_bags(self.patients)

    def phase_names(self, name: str) -> tuple[str, ...]:
        """Return the phases that a model uses of any patient, in the order of the bags."""
        _, model = self.models[name][0]
        seen = np.flatnonzero(model.sees(self.patients)).tolist()
        bags = self.bags(name)
        present = {phase for i in seen for phase in phases_with_instances(bags[i])}
        return tuple(phase for phase in bags[seen[0]].header.phase_names if phase in present)

    def repeats(self, name: str) -> tuple[int, ...]:
        """Return the indices of the repeats of a model."""
        return tuple(sorted({fold.repeat for fold, _ in self.models[name]}))

    def tested(self, name: str) -> Iterator[tuple[Fold, ExplainableModel, Patients]]:
        """Yield each fold of a model with its test patients, in the order of `fold.test`."""
        for fold, model in self.models[name]:
            yield fold, model, self.patients.take(fold.test)

    def seen(self, name: str) -> Iterator[tuple[Fold, ExplainableModel, NDArray[np.intp], Patients]]:
        """Yield each fold of a model with the indices of its test patients who have data for it, and the patients."""
        for fold, model in self.models[name]:
            numbers = fold.test[model.sees(self.patients.take(fold.test))]
            if len(numbers):
                yield fold, model, numbers, self.patients.take(numbers)


@dataclass(frozen=True, eq=False)
class PerInstance:
    """One number, or one row of numbers, per instance from out-of-fold models.

    Attributes:
        model: name of the model, or of the control.
        values: patient index -> float64 (repeats, n, ...), patients in ascending order.
    """

    model: str
    values: Mapping[int, NDArray[np.float64]]

    def mean(self, patient: int) -> NDArray[np.float64]:
        """Return the mean over the repeats, (n, ...)."""
        averaged: NDArray[np.float64] = self.values[patient].mean(axis=0)
        return averaged


def attentions_of(inputs: OutOfFoldModels) -> dict[str, PerInstance]:
    """Return the attention of every model, by model name."""
    return {name: attention_of(inputs, name) for name in inputs.models}


def attention_of(inputs: OutOfFoldModels, name: str) -> PerInstance:
    """Return the out-of-fold attention of a model of a cross-validation, (repeats, n) per patient."""
    return _gather(inputs, name, lambda model, patients: model.attention(patients))


def evidence_of(inputs: OutOfFoldModels, name: str) -> PerInstance:
    """Return the out-of-fold evidence of each instance, (repeats, n, classes) per patient."""
    n_classes = len(inputs.patients.classes)

    def ask(model: ExplainableModel, patients: Patients) -> list[NDArray[np.float64]]:
        return [
            in_all_classes(values, model, n_classes, absent=-np.inf)
            for values in model.instance_evidence(patients)
        ]

    return _gather(inputs, name, ask)


Question = Callable[[ExplainableModel, Patients], Sequence[NDArray[np.float64]]]


def _gather(inputs: OutOfFoldModels, name: str, question: Question) -> PerInstance:
    """Keep the patients tested in every repeat: with a user's own splits some patients may never be tested."""
    answers: dict[int, list[NDArray[np.float64]]] = {}
    for _, model, numbers, patients in inputs.seen(name):
        for patient, answer in zip(numbers, question(model, patients), strict=True):
            answers.setdefault(int(patient), []).append(np.asarray(answer, dtype=np.float64))
    n_repeats = len(inputs.repeats(name))
    complete = sorted(patient for patient, found in answers.items() if len(found) == n_repeats)
    return PerInstance(name, {patient: np.stack(answers[patient]) for patient in complete})
