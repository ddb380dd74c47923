"""What every explanation starts from: the models of a cross-validation and the patients they did not see."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aggregate.chosen_bags import ChosenBags
from aggregate.folds import Fold
from pipeline.bags import Bag
from pipeline.errors import ResultsError


class ExplainableModel(Protocol):
    """A fitted model that says which slices it looked at and what each of them speaks for."""

    classes_: NDArray[np.intp]
    """The classes of its training patients, in the order of its columns."""

    @property
    def weighs_slices(self) -> bool:
        """Whether it has attention and evidence of single slices."""
        ...

    def predict_proba(self, bags: Sequence[Bag]) -> NDArray[np.float64]:
        """Return the class probabilities, (len(bags), classes)."""
        ...

    def attention(self, bags: Sequence[Bag]) -> Sequence[NDArray[np.float64]]:
        """Return per bag the weight of each instance, (n,), summing to 1."""
        ...

    def instance_evidence(self, bags: Sequence[Bag]) -> Sequence[NDArray[np.float64]]:
        """Return per bag the evidence of each instance for each class, (n, classes)."""
        ...


@dataclass(frozen=True, eq=False)
class LabelledBags:
    """The patients of a study in one order.

    Attributes:
        bags: n patients; one may be read from its file each time it is asked for.
        patient_ids: their identifiers, known without reading a bag.
        labels: intp (n,), index into classes.
        classes: class names.

    Raises:
        ResultsError: bags, identifiers and labels differ in number.
    """

    bags: Sequence[Bag]
    patient_ids: tuple[str, ...]
    labels: NDArray[np.intp]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.bags) == len(self.patient_ids) == len(self.labels):
            raise ResultsError(
                f"expected one identifier and one label per bag, found {len(self.patient_ids)} and "
                f"{len(self.labels)} for {len(self.bags)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def label(self, patient: int) -> str:
        """Return the name of a patient's class."""
        return self.classes[int(self.labels[patient])]

    def index_of(self, patient_ids: Sequence[str]) -> list[int]:
        """Return where patients stand in the order."""
        index = {patient_id: i for i, patient_id in enumerate(self.patient_ids)}
        return [index[patient_id] for patient_id in patient_ids]


@dataclass(frozen=True, eq=False)
class OutOfFoldModels:
    """Fitted models with the fold each was trained in; a patient is explained by models that did not see it.

    Attributes:
        models: model name -> one (fold, fitted model) per repeat and fold; the first is the one whose pictures
            and votes the report shows.
        cohort: the patients to whom the indices of the folds refer.

    Raises:
        ResultsError: a patient is tested twice within a repeat.
    """

    models: Mapping[str, Sequence[tuple[Fold, ExplainableModel]]]
    cohort: LabelledBags

    def __post_init__(self) -> None:
        for name in self.models:
            for repeat in self.repeats(name):
                self._check_repeat(name, repeat)

    def _check_repeat(self, name: str, repeat: int) -> None:
        tests = [fold.test for fold, _ in self.models[name] if fold.repeat == repeat]
        patients, times = np.unique(np.concatenate(tests), return_counts=True)
        if (times > 1).any():
            twice = self.cohort.patient_ids[int(patients[times > 1][0])]
            raise ResultsError(
                f"model {name}, repeat {repeat}: expected every patient tested once, found {twice} tested twice"
            )

    @property
    def phase_names(self) -> tuple[str, ...]:
        """Phase names in the order of the configuration."""
        return self.cohort.bags[0].header.phase_names

    def repeats(self, name: str) -> tuple[int, ...]:
        """Return the numbers of the repeats that a model has."""
        return tuple(sorted({fold.repeat for fold, _ in self.models[name]}))

    def tested(self, name: str) -> Iterator[tuple[Fold, ExplainableModel, Sequence[Bag]]]:
        """Yield each fold of a model with the bags of its test patients, in the order of `fold.test`."""
        for fold, model in self.models[name]:
            yield fold, model, ChosenBags(self.cohort.bags, fold.test)


@dataclass(frozen=True, eq=False)
class PerInstance:
    """One number, or one row of numbers, per instance from models that did not see the patient.

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
    """Return the attention of every model, by its name."""
    return {name: attention_of(inputs, name) for name in inputs.models}


def attention_of(inputs: OutOfFoldModels, name: str) -> PerInstance:
    """Ask every model of a cross-validation for the attention of the patients it did not see, (repeats, n)."""
    return _gather(inputs, name, lambda model, bags: model.attention(bags))


def evidence_of(inputs: OutOfFoldModels, name: str) -> PerInstance:
    """Ask likewise for the evidence of each instance, (repeats, n, classes)."""
    n_classes = len(inputs.cohort.classes)

    def ask(model: ExplainableModel, bags: Sequence[Bag]) -> list[NDArray[np.float64]]:
        return [in_all_classes(v, model, n_classes, absent=-np.inf) for v in model.instance_evidence(bags)]

    return _gather(inputs, name, ask)


def in_all_classes(
    values: NDArray[np.float64], model: ExplainableModel, n_classes: int, *, absent: float
) -> NDArray[np.float64]:
    """Return the columns of every class, `absent` where the training patients of the model had none of it."""
    result = np.full((len(values), n_classes), absent)
    result[:, model.classes_] = values
    return result


Question = Callable[[ExplainableModel, Sequence[Bag]], Sequence[NDArray[np.float64]]]


def _gather(inputs: OutOfFoldModels, name: str, question: Question) -> PerInstance:
    """Keep the patients tested in every repeat: a user's own splits may leave somebody out of the tests."""
    answers: dict[int, list[NDArray[np.float64]]] = {}
    for fold, model, bags in inputs.tested(name):
        for patient, answer in zip(fold.test, question(model, bags), strict=True):
            answers.setdefault(int(patient), []).append(np.asarray(answer, dtype=np.float64))
    n_repeats = len(inputs.repeats(name))
    complete = sorted(patient for patient, found in answers.items() if len(found) == n_repeats)
    return PerInstance(name, {patient: np.stack(answers[patient]) for patient in complete})
