"""Writes all tables of the explanations."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from aggregate.cohort.chosen import Chosen
from aggregate.cohort.folds import Fold
from aggregate.cohort.patients import Patients
from aggregate.explain.associations import (
    CONCEPT_PROBES,
    CONCEPT_SCORES,
    Concepts,
    phase_means,
    probe_rows,
    score_rows,
)
from aggregate.explain.attention import (
    ATTENTION,
    EXPLANATION_CHECKS,
    attention_rows,
    check_rows,
    controls,
)
from aggregate.explain.choices import CHOSEN_PATIENTS, Choice, choice_rows, choose_patients
from aggregate.explain.concepts import CONCEPT_SLICES, CONCEPTS
from aggregate.explain.inputs import OutOfFoldModels, PerInstance, attentions_of, evidence_of
from aggregate.explain.kinetics import KINETICS, kinetics_rows
from aggregate.explain.measures_cache import MeasuredPatients
from aggregate.explain.patient_measures import MeasuredPatient, measured, measured_in_bag
from aggregate.explain.phase_table import PHASES, phase_rows
from aggregate.explain.phase_value import (
    PHASE_SUBSETS,
    PHASE_VALUE,
    Evaluate,
    PhaseValues,
    masked_evaluation,
    phase_values,
    subset_rows,
    value_rows,
)
from aggregate.explain.picture_writing import ToDraw, draw_pictures
from aggregate.explain.pictures import ReadPatient
from aggregate.explain.prototypes import (
    CLUSTER_NUMBERS,
    CLUSTER_SHARES,
    CLUSTER_SLICES,
    CLUSTERS,
    PROTOTYPES,
    TYPICAL_SLICES,
    cluster_patient_rows,
    cluster_rows,
    cluster_slice_rows,
    cluster_slices,
    neighbour_checks,
    prototype_rows,
    typical_rows,
)
from aggregate.explain.resampling import Resampling
from aggregate.explain.signs import SIGNS
from aggregate.explain.votes import SLICE_VOTES, vote_rows
from aggregate.predictions import Predictions
from aggregate.tables.results import ResultTables
from aggregate.tables.table import Table
from pipeline.phase_roles import PhaseRoles

MASKING, RETRAINING = "masking", "retraining"

Retrain = Callable[[str, Sequence[int]], Evaluate]
"""Model name -> the evaluation that retrains the model on a subset of the phases."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Aids:
    """Optional inputs beside the fitted models; without them some explanations are left out."""

    read_patient: ReadPatient | None = None
    """Gives the stored slices of a patient, for the pictures, and for the concepts where bags hold no measures."""
    measured_in: Sequence[str] = ()
    """Bag set, by patient, whose bag holds the measures of stage 1; empty where not every patient has one."""
    kept: MeasuredPatients | None = None
    """Cache of the measurements of these crops; without it every patient is measured."""
    retrain: Retrain | None = None
    """Retrains a model on fewer phases, for the contribution of the phases by retraining."""
    roles: PhaseRoles = field(default_factory=PhaseRoles)
    """The arterial, portal venous and delayed phase; signs that need a role without a phase are empty."""
    png_dpi: int | None = None
    """Pixels per inch of the pictures as PNG beside SVG; None for SVG alone."""
    jobs: int = 1
    """Number of processes that measure patients in parallel, counted as in joblib."""
    shown_cases: int = 1
    """Right predictions, and as many mistakes, of each class that are shown."""


def explain(
    tables: ResultTables,
    inputs: OutOfFoldModels,
    predictions: Predictions,
    resampling: Resampling,
    *,
    aids: Aids | None = None,
    seed: int = 0,
) -> None:
    """Write every explanation that the inputs allow.

    Args:
        tables: destination and style of the tables.
        inputs: fitted models with their test patients; without a model only clusters and concepts are written.
        predictions: predictions of all models, including the baselines.
        resampling: resamples of the patients of `inputs`.
        aids: optional inputs; None for none.
        seed: seed of the clustering.
    """
    aids = aids or Aids()
    patients = _measured_patients(inputs.patients, aids)
    if aids.retrain is not None and patients is not None:
        # Training asks for processes, too: two pools at once can wait for each other.
        patients = list(patients)
    write_clusters(tables, inputs.patients, seed=seed)
    first, chosen = None, []
    if inputs.models:
        attentions = attentions_of(inputs)
        write_model_explanations(tables, inputs, attentions, resampling, retrain=aids.retrain)
        first = next(iter(attentions.values()))
        chosen = write_choices(tables, predictions, first, aids.shown_cases)
    measured = None if patients is None else list(patients)
    if measured is not None:
        write_concepts(tables, inputs.patients, predictions, resampling, measured)
    if aids.read_patient is not None and measured is not None:
        draw_pictures(tables, inputs, ToDraw(first, chosen, measured, aids.read_patient, aids.png_dpi))


def _measured_patients(patients: Patients, aids: Aids) -> Iterable[MeasuredPatient] | None:
    """Return what is measured of each patient: from the bags, else from the slices; None where neither is at hand."""
    if aids.measured_in:
        return (
            measured_in_bag(patients.bags(name)[i], aids.roles) for i, name in enumerate(aids.measured_in)
        )
    if aids.read_patient is None:
        return None
    # With several jobs, other processes measure while this one does the rest.
    return measure_patients(
        patients.patient_ids, aids.read_patient, roles=aids.roles, jobs=aids.jobs, kept=aids.kept
    )


def write_model_explanations(
    tables: ResultTables,
    inputs: OutOfFoldModels,
    attentions: Mapping[str, PerInstance],
    resampling: Resampling,
    *,
    retrain: Retrain | None = None,
) -> None:
    """Write the tables of the out-of-fold models: attention, phases, votes, prototypes, and their controls.

    Args:
        tables: destination of the tables.
        inputs: fitted models with their test patients.
        attentions: attention of each of these models.
        resampling: resamples of the patients of `inputs`.
        retrain: retrains a model on fewer phases; None leaves out the contributions by retraining.
    """
    rows: dict[Table, list[Row]] = {table: [] for table in _MODEL_TABLES}
    patients = inputs.patients
    for name in inputs.models:
        bags = inputs.bags(name)
        attention, evidence = attentions[name], evidence_of(inputs, name)
        values = _phase_values(name, attention, inputs, resampling, retrain)
        rows[ATTENTION] += attention_rows(attention, bags)
        rows[EXPLANATION_CHECKS] += check_rows(attention, bags, resampling)
        rows[PHASE_VALUE] += [row for v in values for row in value_rows(v, resampling)]
        rows[PHASE_SUBSETS] += [row for v in values for row in subset_rows(v, resampling)]
        rows[PHASES] += phase_rows(attention, values, bags, resampling)
        rows[SLICE_VOTES] += vote_rows(evidence, attention, patients)
        rows[TYPICAL_SLICES] += typical_rows(evidence, patients, bags)
        neighbours = list(prototype_rows(inputs, name))
        rows[PROTOTYPES] += neighbours
        rows[EXPLANATION_CHECKS] += neighbour_checks(neighbours, patients, resampling)
    first = next(iter(inputs.models))
    bags = inputs.bags(first)
    for control in controls(bags, list(attentions[first].values)):
        rows[EXPLANATION_CHECKS] += check_rows(control, bags, resampling)
        rows[PHASES] += phase_rows(control, (), bags, resampling)
    for table, found in rows.items():
        tables.write(table, found)


_MODEL_TABLES = (
    ATTENTION, EXPLANATION_CHECKS, PHASES, PHASE_VALUE, PHASE_SUBSETS, SLICE_VOTES, PROTOTYPES, TYPICAL_SLICES,
)  # fmt: skip


def _phase_values(
    name: str,
    attention: PerInstance,
    inputs: OutOfFoldModels,
    resampling: Resampling,
    retrain: Retrain | None,
) -> list[PhaseValues]:
    patients = list(attention.values)
    labels, weights = inputs.patients.codes[patients], resampling.weights[patients]
    phases = inputs.phase_names(name)
    ways = {MASKING: masked_evaluation(inputs, name, patients)}
    if retrain is not None:
        ways[RETRAINING] = retrain(name, patients)
    return [phase_values((name, method), way, phases, labels, weights) for method, way in ways.items()]


def write_choices(
    tables: ResultTables, predictions: Predictions, attention: PerInstance, n: int = 1
) -> list[Choice]:
    """Write and return the example patients of the model of `attention`: `n` right ones and `n` mistakes of each class."""
    chosen = choose_patients(predictions, attention.model, n)
    tables.write(CHOSEN_PATIENTS, choice_rows(attention.model, chosen))
    return chosen


def write_clusters(tables: ResultTables, patients: Patients, *, seed: int) -> None:
    """Write the clusters of slices of the first bag set, found without labels, and the class mixture of each."""
    first = patients.bags()
    patients = patients.take(
        np.array([i for i in range(len(patients)) if first.phases_present(i)], dtype=np.intp)
    )
    bags = Chosen(patients.bags(), np.arange(len(patients)))
    mixtures: list[Row] = []
    shares: list[Row] = []
    central: list[Row] = []
    for number in CLUSTER_NUMBERS:
        clusters = cluster_slices(bags, number, seed=seed)
        mixtures += cluster_rows(patients, clusters.of_slices, number)
        shares += cluster_patient_rows(patients, clusters.of_slices, number)
        central += cluster_slice_rows(patients, bags, clusters, number)
    tables.write(CLUSTERS, mixtures)
    tables.write(CLUSTER_SHARES, shares)
    tables.write(CLUSTER_SLICES, central)


def measure_patients(
    patient_ids: Sequence[str],
    read_patient: ReadPatient,
    *,
    roles: PhaseRoles,
    jobs: int = 1,
    kept: MeasuredPatients | None = None,
) -> Iterator[MeasuredPatient]:
    """Return the measurements of each patient, in order, from the cache where possible.

    With several jobs, measuring starts with the call and continues in the background.
    """
    keys = {} if kept is None else {patient_id: kept.key_of(patient_id, roles) for patient_id in patient_ids}
    found = {patient_id: old for patient_id, key in keys.items() if kept and (old := kept.read(key))}

    def measure(patient_id: str) -> MeasuredPatient:
        patient = measured(read_patient(patient_id).phases, roles)
        if kept is not None:
            kept.write(keys[patient_id], patient, patient_id=patient_id)
        return patient

    lacking = [patient_id for patient_id in patient_ids if patient_id not in found]
    fresh: Iterator[MeasuredPatient] = iter(())
    if lacking:
        fresh = Parallel(n_jobs=jobs, return_as="generator")(delayed(measure)(name) for name in lacking)
    return _in_order(patient_ids, found, fresh)


def _in_order(
    patient_ids: Sequence[str], found: Mapping[str, MeasuredPatient], fresh: Iterator[MeasuredPatient]
) -> Iterator[MeasuredPatient]:
    for patient_id in patient_ids:
        yield found[patient_id] if patient_id in found else next(fresh)
    yield from fresh  # nothing more, which has to be asked for lest joblib takes its work for cut off


def write_concepts(
    tables: ResultTables,
    cohort: Patients,
    predictions: Predictions,
    resampling: Resampling,
    patients: Sequence[MeasuredPatient],
) -> None:
    """Relate the measured concepts to the scores of every model and to the features."""
    of_patients = list(zip(cohort.patient_ids, patients, strict=True))
    per_slice = [{"patient_id": name, **row} for name, patient in of_patients for row in patient.slices]
    per_patient: list[Row] = [
        {"patient_id": name, "label": cohort.label(i), **asdict(patient.signs)}
        for i, (name, patient) in enumerate(of_patients)
    ]
    tables.write(CONCEPT_SLICES, per_slice)
    tables.write(CONCEPTS, per_patient)
    labels = [cohort.label(i) for i in range(len(cohort))]
    tables.write(KINETICS, kinetics_rows(cohort.patient_ids, labels, [one.kinetics for one in patients]))
    values = np.array([[row[name] for name in SIGNS] for row in per_patient], dtype=np.float64)
    # The tested patients, in the order of the predictions.
    tested = cohort.index_of(predictions.patient_ids)
    concepts = Concepts(SIGNS, values[tested])
    resampled = Resampling(resampling.weights[tested], resampling.confidence)
    scores = {model: p.mean(axis=0) for model, p in predictions.probabilities.items()}
    rows = score_rows(scores, concepts, predictions.labels, predictions.classes, resampled)
    tables.write(CONCEPT_SCORES, rows)
    features = phase_means(cohort.bags(), tested)
    size = predictions.n_slices.astype(np.float64)
    probes = probe_rows(features, size, concepts, _folds_of(predictions), resampled)
    tables.write(CONCEPT_PROBES, probes)


def _folds_of(predictions: Predictions) -> list[Fold]:
    """Return the folds of the first repeat over the patients of the predictions; a probe needs no tuning set."""
    nobody = np.array([], dtype=np.intp)
    fold = predictions.fold[0]
    return [
        Fold(0, int(k), np.flatnonzero(fold != k), nobody, np.flatnonzero(fold == k)) for k in np.unique(fold)
    ]
