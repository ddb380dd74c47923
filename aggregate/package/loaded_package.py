"""A package in memory: `load_package(folder)`, asked about patients with `predict`.

    package = load_package("package")
    answers = package.predict(patients, coverage=0.9)

Every file is compared with its SHA-256 once, when the package is loaded; the models are read when they are first asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from aggregate.cohort.patient import Patient
from aggregate.fitting.fitted_models import in_all_classes
from aggregate.models.base import PatientEstimator
from aggregate.models.registry import load_model
from aggregate.models.views import Sample, as_patient
from aggregate.package.bag_contract import CONTRACT, PackageContract
from aggregate.package.package_files import RECORD, PackageRecord, check_files, read_package_record, validated
from aggregate.package.prediction_sets import SetLevel, in_sets, level_of
from aggregate.package.stage_1_settings import STAGE_1
from aggregate.package.temperature import CALIBRATION, Calibration
from aggregate.package.training_cohort import TRAINING_COHORT, TrainingCohort
from aggregate.package.training_distribution import DISTRIBUTION, DistributionSummary, TrainingDistribution
from aggregate.package.training_measures import TRAINING_MEASURES, TrainingMeasures
from aggregate.statistics.printed_probabilities import as_printed
from pipeline.errors import ConfigError, PackageError, PhasemilError
from pipeline.provenance import sha256_of_file

DECISIONS = "decisions.json"
_NO_MODEL = (PhasemilError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, OSError)
"""What reading a model raises whose files are not those of a model; tensors of another shape are a RuntimeError."""


class Decisions(BaseModel):
    """decisions.json: when a probability becomes a decision, and what cannot be ruled out."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    rule: str
    """Of the thresholds, such as youden."""
    thresholds: dict[str, float | None]
    """Class -> probability at or above which it is called; median over the folds, chosen on the tune patients of each."""
    prediction_sets: tuple[SetLevel, ...]


@dataclass(frozen=True)
class Answer:
    """What a package says of one patient.

    Attributes:
        patient_id: of the patient.
        probabilities: class -> calibrated probability, as they are printed.
        predicted: the most probable class; the first one of equals.
        called: class -> whether its probability reaches the threshold of the class; None where there is no threshold.
        prediction_set: the classes that cannot be ruled out; None where no coverage was asked for.
        combination: the phases seen of the patient, of those that the model looks at.
        is_combination_known: whether a training patient had the same phases.
        covariates_missing: columns that the model reads and that say nothing of the patient, or a word it does not know.
        covariates_outside: columns that the model reads and whose number is not within those of 90 % of the training patients.
    """

    patient_id: str
    probabilities: Mapping[str, float]
    predicted: str
    called: Mapping[str, bool | None]
    prediction_set: tuple[str, ...] | None
    combination: str
    is_combination_known: bool
    covariates_missing: tuple[str, ...]
    covariates_outside: tuple[str, ...]

    @property
    def abstains(self) -> bool | None:
        """Whether the set is not a single class; None where no coverage was asked for."""
        return None if self.prediction_set is None else len(self.prediction_set) != 1


@dataclass(frozen=True, eq=False)
class Package:
    """A frozen model with all that goes with it.

    Attributes:
        folder: where it lies.
        record: package.json.
        contract: what it asks of bags and covariates.
        calibration: of its probabilities.
        decisions: thresholds and prediction sets.
        cohort: whom it was trained on, in groups.
        measures: of their lesions, in groups.
    """

    folder: Path
    record: PackageRecord
    contract: PackageContract
    calibration: Calibration
    decisions: Decisions
    cohort: TrainingCohort
    measures: TrainingMeasures

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of package.json, which stands for the whole package."""
        return sha256_of_file(self.folder / RECORD)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the probabilities."""
        return self.contract.classes

    @cached_property
    def distribution(self) -> TrainingDistribution | None:
        """How features and scans of the training patients are spread; None for a model that reads no bags.

        Raises:
            PackageError: it is missing or damaged.
        """
        if not self.contract.bag_sets:
            return None
        return TrainingDistribution.read(
            self.folder, validated(DistributionSummary, self.folder, DISTRIBUTION)
        )

    @property
    def stage_1(self) -> Path | None:
        """The configuration by which new scans are embedded as the training patients were; None where it is not known."""
        path = self.folder / STAGE_1
        return path if path.is_file() else None

    @cached_property
    def models(self) -> Sequence[PatientEstimator]:
        """The fitted models.

        Raises:
            PackageError: one cannot be read.
        """
        found = []
        for name in self.record.models:
            try:
                found.append(load_model(self.folder / name))
            except _NO_MODEL as error:
                raise PackageError(f"{self.folder / name}: expected a saved model, found: {error}") from error
            largest = int(np.max(found[-1].classes_))
            if largest >= len(self.classes):
                raise PackageError(
                    f"{self.folder / name}: expected a model of the {len(self.classes)} classes of {CONTRACT} "
                    f"({', '.join(self.classes)}), found one that knows a class number {largest + 1}"
                )
        return found

    def sees(self, patients: Sequence[Sample]) -> NDArray[np.bool_]:
        """Return whether there is anything of each patient that a model looks at (patients,), without reading features from files."""
        found = np.stack([model.sees(patients) for model in self.models]).any(axis=0)
        if not self.contract.bag_sets:
            return np.asarray(found)
        shown = [self.contract.has_phases(as_patient(patients[i])) for i in range(len(patients))]
        return np.asarray(found & np.array(shown, dtype=np.bool_))

    def uncalibrated(self, patients: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the mean class probabilities of the models, float64 (patients, classes); a model that sees nothing has no vote.

        Raises:
            SampleError: a bag cannot be used or differs from the training bags.
            PackageError: no model sees anything of a patient.
        """
        unseen = np.flatnonzero(~self.sees(patients))
        if len(unseen):
            patient = as_patient(patients[int(unseen[0])])
            raise PackageError(f"patient {patient.patient_id}: {self.why_unseen(patient)}")
        said = np.stack(
            [
                in_all_classes(model.predict_proba(patients), model, len(self.classes), absent=0.0)
                for model in self.models
            ]
        )
        sees = np.stack([model.sees(patients) for model in self.models])
        if sees.all():
            return np.asarray(said.mean(axis=0))
        return np.asarray((said * sees[:, :, None]).sum(axis=0) / sees.sum(axis=0)[:, None])

    def predict_proba(self, patients: Sequence[Sample]) -> NDArray[np.float64]:
        """Return calibrated class probabilities, float64 (patients, classes), rows summing to 1.

        Raises:
            PackageError: the models of a damaged package say something that is no probability.
        """
        found = self.calibration(self.uncalibrated(patients))
        wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
        if len(wrong):
            patient = as_patient(patients[int(wrong[0])])
            raise PackageError(
                f"{self.folder}: expected a probability of each class for patient {patient.patient_id}, found {found[wrong[0]].tolist()}; "
                "the models of the package are damaged: take it again from where it came from"
            )
        return found

    def predict(self, patients: Sequence[Sample], *, coverage: float | None = None) -> list[Answer]:
        """Answer for each patient; the model must see something of each, as `sees` says.

        Args:
            patients: with bags that keep the contract, and the covariates of it.
            coverage: of the prediction sets, such as 0.9; None for none.

        Raises:
            ConfigError: the package has no sets of this coverage.
            SampleError: a bag cannot be used or differs from the training bags.
        """
        level = None if coverage is None else self.level(coverage)
        probabilities = as_printed(self.predict_proba(patients))
        return [self._answer(as_patient(patients[i]), row, level) for i, row in enumerate(probabilities)]

    def level(self, coverage: float) -> SetLevel:
        """Return the prediction sets of a coverage.

        Raises:
            ConfigError: the package has none of this coverage.
        """
        return level_of(self.decisions.prediction_sets, coverage, self.calibration.n_patients)

    def why_unseen(self, patient: Patient) -> str:
        """Say why the model sees nothing of a patient."""
        wanted = ", ".join(self.contract.phases_read or self.contract.phases)
        sets = ", ".join(self.contract.bag_sets)
        present = {
            name: "+".join(patient.phases_present(name)) or "nothing" for name in self.contract.bag_sets
        }
        found = "; ".join(f"{name}: {phases}" for name, phases in present.items())
        return f"the model sees nothing of the patient: expected a phase of {wanted} in {sets}, found {found}"

    def _answer(self, patient: Patient, row: NDArray[np.float64], level: SetLevel | None) -> Answer:
        probabilities = dict(zip(self.classes, row.tolist(), strict=True))
        combination = self.contract.combination(patient)
        limit = None if level is None else level.limit
        is_in = None if limit is None else in_sets(row, limit)
        return Answer(
            patient_id=patient.patient_id,
            probabilities=probabilities,
            predicted=self.classes[int(row.argmax())],
            called={
                name: None if limit is None else probabilities[name] >= limit
                for name, limit in self.decisions.thresholds.items()
            },
            prediction_set=None
            if is_in is None
            else tuple(name for name, kept in zip(self.classes, is_in, strict=True) if kept),
            combination=combination,
            is_combination_known=combination in self.contract.combinations or not self.contract.bag_sets,
            covariates_missing=self._missing(patient),
            covariates_outside=self.covariates_outside(patient),
        )

    def covariates_outside(self, patient: Patient) -> tuple[str, ...]:
        """Return the columns whose number is not within those of 90 % of the training patients, where that can be told."""
        found = []
        for name in self.contract.covariates:
            value, limits = patient.covariates.get(name), self.cohort.range_of(name)
            if isinstance(value, float) and limits is not None and not limits[0] <= value <= limits[1]:
                found.append(name)
        return tuple(found)

    def _missing(self, patient: Patient) -> tuple[str, ...]:
        """Return the columns that tell the model nothing of a patient."""
        found = []
        for name, covariate in self.contract.covariates.items():
            value = patient.covariates.get(name)
            if value is None or (isinstance(value, str) and value not in covariate.words):
                found.append(name)
        return tuple(found)


def load_package(folder: Path | str, *, run_code: bool = False) -> Package:
    """Read a package, and compare every file in it with its SHA-256.

    Args:
        folder: where it lies.
        run_code: whether a network of a Python file in the package may be loaded, which runs that file.

    Raises:
        PackageError: it is no package of this version, or was changed; the file is named, with both values.
        ConfigError: it holds code, and nobody said that this may run.
    """
    folder = Path(folder)
    record = read_package_record(folder)
    check_files(folder, record)
    if record.has_code and not run_code:
        raise ConfigError(
            f"{folder}: the model is a network of a Python file in the package, which runs when the model is loaded; read the "
            "files in its folder `code`, and say --run-code (in Python: run_code=True) if you trust them"
        )
    package = Package(
        folder=folder,
        record=record,
        contract=validated(PackageContract, folder, CONTRACT),
        calibration=validated(Calibration, folder, CALIBRATION),
        decisions=validated(Decisions, folder, DECISIONS),
        cohort=validated(TrainingCohort, folder, TRAINING_COHORT),
        measures=validated(TrainingMeasures, folder, TRAINING_MEASURES),
    )
    if not record.models:
        raise PackageError(f"{folder / RECORD}: expected at least one model, found none")
    named = tuple(package.decisions.thresholds)
    if named != package.classes:
        raise PackageError(
            f"{folder / DECISIONS}: expected thresholds of {', '.join(package.classes)}, as {CONTRACT} has them, found those of "
            f"{', '.join(named) or 'none'}"
        )
    return package
