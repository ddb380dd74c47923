"""One patient, from scans to an answer: read, embedded, asked about, measured; nothing is written and no table needed."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from aggregate.cohort.patients import Patients
from aggregate.explain.patient_measures import MeasuredPatient, has_measures, measured, measured_in_bag
from aggregate.package.domain_shift import NO, measure_shift, patient_rows
from aggregate.package.loaded_package import Answer, Package, load_package
from aggregate.package.one_patient import check_covariates, patient_in_memory
from aggregate.package.prediction_sets import SetLevel
from extract.one_patient import EmbeddedPatient
from phasemil.given_scans import GivenScans, check_given, read_scans
from phasemil.phase_shares import Attention, PhaseShare, attention_of, phase_shares
from phasemil.stage_1_of_package import MachineChoices, Stage1, stage_1_of
from pipeline.cohort_table import identifier_problem
from pipeline.errors import ConfigError
from pipeline.phase_roles import phase_roles
from pipeline.run_log import say

COVERAGE = 0.9
"""Of the prediction set, where the user says nothing."""


@dataclass(frozen=True)
class Question:
    """What the user says of one patient.

    Attributes:
        scans: of the patient.
        covariates: column -> cell; empty where it is not known.
        patient_id: as the page calls the patient.
        coverage: of the prediction set.
        machine: where weights lie, and what computes.
        run_code: whether Python files of the package may run.
    """

    scans: GivenScans
    covariates: Mapping[str, str] = field(default_factory=dict)
    patient_id: str = "patient"
    coverage: float = COVERAGE
    machine: MachineChoices = field(default_factory=MachineChoices)
    run_code: bool = False


@dataclass(frozen=True, eq=False)
class OnePatient:
    """All that is known of one patient.

    Attributes:
        package: that was asked.
        answer: of it.
        level: of the prediction set.
        embedded: bags and slices.
        patients: the one patient, as models see it.
        covariates: column -> cell, as given.
        attention: of the models; None where they do not attend.
        shares: what each phase is to the answer.
        measured: of the lesion; None where the slices have no mask of it.
        unlike: where the patient is unlike the training patients, in words.
        n_compared: quantities and distances that were compared for it.
        remarks: on scans, in words.
        seconds: step -> how long it took.
    """

    package: Package
    answer: Answer
    level: SetLevel
    embedded: EmbeddedPatient
    patients: Patients
    covariates: Mapping[str, str]
    attention: Attention | None
    shares: Sequence[PhaseShare]
    measured: MeasuredPatient | None
    unlike: Sequence[str]
    n_compared: int
    remarks: Sequence[str]
    seconds: dict[str, float]

    @property
    def phases_present(self) -> tuple[str, ...]:
        """Phases with slices, in acquisition order."""
        present = {slices.phase for slices in self.embedded.slices.phases}
        return tuple(name for name in self.package.contract.phases if name in present)

    @property
    def phases_missing(self) -> tuple[str, ...]:
        """Phases that the package knows and the patient lacks."""
        return tuple(name for name in self.package.contract.phases if name not in self.phases_present)

    @property
    def n_of_combination(self) -> int | str:
        """How many training patients had just the phases that the model sees of this one; "<5" for one to four."""
        return self.package.contract.combinations.get(self.answer.combination, 0)


def ask(package: Path, question: Question, *, console: Console) -> OnePatient:
    """Ask a package about one patient.

    Args:
        package: folder that `aggregate.py freeze` wrote.
        question: the patient.
        console: receives how scans were read, and what was found of them.

    Raises:
        PhasemilError: the package, the scans or what was said of them cannot be used; the message says what to do.
    """
    seconds: dict[str, float] = {}
    tell = partial(say, console)
    if problem := identifier_problem(question.patient_id):
        raise ConfigError(f"--patient-id: {problem}")
    with _timed(seconds, "package"):
        loaded = load_package(package, run_code=question.run_code)
        level = loaded.level(question.coverage)
        check_covariates(loaded, question.covariates)
        stage_1 = stage_1_of(loaded, question.machine)
        section = stage_1.experiment.config.cohort
        check_given(question.scans, section)
    with _timed(seconds, "encoder"):
        encoders = stage_1.open_encoders(console)
    with TemporaryDirectory(prefix="phasemil-") as scratch:
        with _timed(seconds, "scans"):
            cohort = read_scans(question.scans, section, question.patient_id, Path(scratch), tell)
        with _timed(seconds, "embedding"):
            embedded = stage_1.embed(cohort, encoders)
    with _timed(seconds, "answer"):
        found = _answered(loaded, stage_1, question, embedded, level)
    found.seconds.update(seconds | found.seconds)
    for line in found.remarks:
        tell(line)
    return found


def _answered(
    package: Package, stage_1: Stage1, question: Question, embedded: EmbeddedPatient, level: SetLevel
) -> OnePatient:
    bags = {stage_1.set_of[variant]: bag for variant, bag in embedded.bags.items()}
    patients = patient_in_memory(package, question.patient_id, bags, question.covariates)
    (answer,) = package.predict(patients, coverage=question.coverage)
    attention = attention_of(package, patients)
    config = stage_1.experiment.config
    roles = phase_roles(config.cohort)
    with_measures = next((bag for bag in bags.values() if has_measures(bag.header)), None)
    lesion = None
    if with_measures is not None:
        lesion = measured_in_bag(with_measures, roles)
    elif config.extract.has_lesions:
        lesion = measured(embedded.slices.phases, roles)
    probability = answer.probabilities[answer.predicted]
    unlike, n_compared = _unlike(package, patients, answer.covariates_outside)
    return OnePatient(
        package=package,
        answer=answer,
        level=level,
        embedded=embedded,
        patients=patients,
        covariates=question.covariates,
        attention=attention,
        shares=phase_shares(package, patients, answer.predicted, probability, attention),
        measured=lesion,
        unlike=unlike,
        n_compared=n_compared,
        remarks=tuple(_on_scans(embedded)),
        seconds={},
    )


def _unlike(package: Package, patients: Patients, covariates: Sequence[str]) -> tuple[Sequence[str], int]:
    """Return where the only patient lies outside of the training patients, and how much was compared."""
    ranges = {name: package.cohort.range_of(name) for name in package.contract.covariates}
    given = patients[0].covariates
    compared = [name for name, limits in ranges.items() if limits and isinstance(given.get(name), float)]
    told = [
        f"{name} {given[name]:g}; 90 % of the training patients have {limits[0]:g} to {limits[1]:g}"
        for name, limits in ranges.items()
        if limits and name in covariates
    ]
    if package.distribution is None:
        return told, len(compared)
    rows = list(patient_rows(measure_shift(package.distribution, patients, ("",))))
    outside = [str(row["in_words"]) for row in rows if row["outside"] not in ("", NO)]
    return [*told, *outside], len(compared) + sum(row["outside"] != "" for row in rows)


def _on_scans(embedded: EmbeddedPatient) -> Iterator[str]:
    """Yield what was found of the scans, once for all phases that it holds for."""
    phases: dict[str, list[str]] = {}
    for phase, reason in embedded.remarks:
        phases.setdefault(reason, []).append(phase)
    for reason, of_reason in phases.items():
        yield f"{', '.join(of_reason)}: {reason}"


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - began
