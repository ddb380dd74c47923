"""Every table of the explanations, written in one call."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from aggregate.chosen_bags import ChosenBags
from aggregate.explain.associations import (
    PROBE_COLUMNS,
    SCORE_COLUMNS,
    Concepts,
    phase_means,
    probe_rows,
    score_rows,
)
from aggregate.explain.attention import (
    ATTENTION_COLUMNS,
    CHECK_COLUMNS,
    PHASE_SHARE_COLUMNS,
    attention_rows,
    check_rows,
    controls,
    phase_share_rows,
)
from aggregate.explain.choices import CHOICE_COLUMNS, choice_rows, choose_patients
from aggregate.explain.inputs import LabelledBags, OutOfFoldModels, PerInstance, attentions_of, evidence_of
from aggregate.explain.kept import MeasuredPatient, MeasuredPatients, measured
from aggregate.explain.phase_value import (
    SUBSET_COLUMNS,
    VALUE_COLUMNS,
    Evaluate,
    PhaseValues,
    masked_evaluation,
    phase_values,
    subset_rows,
    value_rows,
)
from aggregate.explain.pictures import FIGURES, ReadSlices, draw_pictures
from aggregate.explain.prototypes import (
    CLUSTER_COLUMNS,
    CLUSTER_NUMBERS,
    CLUSTER_PATIENT_COLUMNS,
    PROTOTYPE_COLUMNS,
    TYPICAL_COLUMNS,
    cluster_patient_rows,
    cluster_rows,
    cluster_slices,
    neighbour_checks,
    prototype_rows,
    typical_rows,
)
from aggregate.explain.resampling import Resampling
from aggregate.explain.signs import SIGNS
from aggregate.explain.votes import VOTE_COLUMNS, vote_rows
from aggregate.folds import Fold
from aggregate.predictions import Predictions
from aggregate.tables.twins import write_with_twin
from pipeline.phase_roles import PhaseRoles
from pipeline.slice_measures import MEASURES
from pipeline.tables import TableStyle

PHASES_COLUMNS = (*PHASE_SHARE_COLUMNS, "worth_by", "shapley", "shapley_low", "shapley_high", "auc_alone", "auc_alone_low",
                  "auc_alone_high", "auc_without", "auc_without_low", "auc_without_high")  # fmt: skip
CONCEPT_COLUMNS = ("patient_id", "label", *SIGNS)
CONCEPT_SLICE_COLUMNS = ("patient_id", "phase", "slice_number", *MEASURES)
MASKING, RETRAINING = "masking", "retraining"

Retrain = Callable[[str], Evaluate]
"""Model name -> the evaluation that trains it anew on a subset of the phases."""
Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Sink:
    """Where tables go and how they are written."""

    folder: Path
    style: TableStyle | None = None

    def write(self, name: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Write one table, and its .xlsx twin if clinicians open it."""
        write_with_twin(self.folder / name, columns, rows, style=self.style)


@dataclass(frozen=True)
class Aids:
    """What may be at hand beside the fitted models; without it a part of the explanations is left out."""

    read_slices: ReadSlices | None = None
    """Gives the HU crops of a patient, for the concepts."""
    kept: MeasuredPatients | None = None
    """What was measured of these crops before, and where it is kept; without it every patient is measured."""
    retrain: Retrain | None = None
    """Trains a model anew on fewer phases, for their value by retraining."""
    roles: PhaseRoles = field(default_factory=PhaseRoles)
    """Which phase is the arterial, the portal venous and the delayed one; signs of a role that no phase has are empty."""
    jobs: int = 1
    """Processes that measure patients side by side, as joblib counts them."""


def explain(
    sink: Sink,
    inputs: OutOfFoldModels,
    predictions: Predictions,
    resampling: Resampling,
    *,
    aids: Aids | None = None,
    seed: int = 0,
) -> None:
    """Write every explanation that the inputs allow.

    Args:
        sink: where to, and how the tables are written.
        inputs: fitted models with the patients they did not see; without a model only clusters and concepts.
        predictions: of all models, the baselines too.
        resampling: of the patients of `inputs`.
        aids: None stands for none of them.
        seed: of the clustering.
    """
    aids = aids or Aids()
    patients: Iterable[MeasuredPatient] = ()
    if aids.read_slices is not None:
        # With several jobs, other processes measure while this one does the rest.
        patients = measure_patients(
            inputs.cohort.patient_ids, aids.read_slices, roles=aids.roles, jobs=aids.jobs, kept=aids.kept
        )
    if aids.retrain is not None:
        # Training asks for processes, too: two pools at once can wait for each other.
        patients = list(patients)
    write_clusters(sink, inputs.cohort, seed=seed)
    if inputs.models:
        attentions = attentions_of(inputs)
        write_model_explanations(sink, inputs, attentions, resampling, retrain=aids.retrain)
        first = next(iter(attentions.values()))
        write_choices(sink, inputs.cohort, predictions, first, aids.read_slices)
    if aids.read_slices is not None:
        write_concepts(sink, inputs.cohort, predictions, resampling, list(patients))


def write_model_explanations(
    sink: Sink,
    inputs: OutOfFoldModels,
    attentions: Mapping[str, PerInstance],
    resampling: Resampling,
    *,
    retrain: Retrain | None = None,
) -> None:
    """Write what the out-of-fold models say: attention, phases, votes, prototypes, and their controls.

    Args:
        sink: where to.
        inputs: fitted models with the patients they did not see.
        attentions: of each of these models.
        resampling: of the patients of `inputs`.
        retrain: trains a model on fewer phases; None leaves the values by retraining out.
    """
    tables: dict[str, list[Row]] = {name: [] for name in _MODEL_TABLES}
    cohort = inputs.cohort
    for name in inputs.models:
        attention, evidence = attentions[name], evidence_of(inputs, name)
        _attention(tables, attention, inputs, resampling)
        values = _phase_values(name, attention, inputs, resampling, retrain)
        tables["phase_value.csv"] += [row for v in values for row in value_rows(v, resampling)]
        tables["phase_subsets.csv"] += [row for v in values for row in subset_rows(v, resampling)]
        shares = phase_share_rows(attention, cohort.bags, resampling)
        tables["phases.csv"] += [{**row, **_worth(values, row["phase"], resampling)} for row in shares]
        tables["slice_votes.csv"] += vote_rows(evidence, attention, cohort)
        tables["typical_slices.csv"] += typical_rows(evidence, cohort)
        neighbours = list(prototype_rows(inputs, name))
        tables["prototypes.csv"] += neighbours
        tables["explanation_checks.csv"] += neighbour_checks(neighbours, cohort, resampling)
    for control in controls(cohort.bags, range(len(cohort))):
        tables["explanation_checks.csv"] += check_rows(control, cohort.bags, resampling)
        nothing = dict.fromkeys(PHASES_COLUMNS[len(PHASE_SHARE_COLUMNS) :])
        tables["phases.csv"] += [
            {**row, **nothing} for row in phase_share_rows(control, cohort.bags, resampling)
        ]
    for file, columns in _MODEL_TABLES.items():
        sink.write(file, columns, tables[file])


_MODEL_TABLES: Mapping[str, Sequence[str]] = {
    "attention.csv": ATTENTION_COLUMNS,
    "explanation_checks.csv": CHECK_COLUMNS,
    "phases.csv": PHASES_COLUMNS,
    "phase_value.csv": VALUE_COLUMNS,
    "phase_subsets.csv": SUBSET_COLUMNS,
    "slice_votes.csv": VOTE_COLUMNS,
    "prototypes.csv": PROTOTYPE_COLUMNS,
    "typical_slices.csv": TYPICAL_COLUMNS,
}


def _attention(
    tables: Mapping[str, list[Row]], attention: PerInstance, inputs: OutOfFoldModels, resampling: Resampling
) -> None:
    tables["attention.csv"] += attention_rows(attention, inputs.cohort.bags)
    tables["explanation_checks.csv"] += check_rows(attention, inputs.cohort.bags, resampling)


def _phase_values(
    name: str,
    attention: PerInstance,
    inputs: OutOfFoldModels,
    resampling: Resampling,
    retrain: Retrain | None,
) -> list[PhaseValues]:
    patients = list(attention.values)
    labels, weights = inputs.cohort.labels[patients], resampling.weights[patients]
    phases = [
        p
        for i, p in enumerate(inputs.phase_names)
        if any((bag.phase == i).any() for bag in inputs.cohort.bags)
    ]
    ways = {MASKING: masked_evaluation(inputs, name, patients)}
    if retrain is not None:
        ways[RETRAINING] = retrain(name)
    return [phase_values((name, method), way, phases, labels, weights) for method, way in ways.items()]


def _worth(values: Sequence[PhaseValues], phase: str, resampling: Resampling) -> Row:
    """Return the cells of phases.csv that say what a phase is worth, by the last method that has every subset."""
    told = [v for v in values if not v.reasons][-1]  # masking trains nothing, so that it always has
    cells = {row["measure"]: row for row in value_rows(told, resampling) if row["phase"] == phase}
    found: dict[str, Any] = {"worth_by": told.method}
    for measure in ("shapley", "auc_alone", "auc_without"):
        row = cells.get(measure, {})
        found |= {measure: row.get("estimate"), f"{measure}_low": row.get("ci_low")}
        found[f"{measure}_high"] = row.get("ci_high")
    return found


def write_choices(
    sink: Sink,
    cohort: LabelledBags,
    predictions: Predictions,
    attention: PerInstance,
    read_slices: ReadSlices | None = None,
) -> None:
    """Write who is worth looking at by the model of `attention`, and their pictures where there are slices to draw."""
    chosen = choose_patients(predictions, attention.model)
    sink.write("chosen_patients.csv", CHOICE_COLUMNS, choice_rows(attention.model, chosen))
    if read_slices is not None:
        patients = cohort.index_of([choice.patient_id for choice in chosen])
        whys = dict(zip(patients, chosen, strict=True))
        draw_pictures(sink.folder / FIGURES, cohort.bags, attention, whys, read_slices)


def write_clusters(sink: Sink, cohort: LabelledBags, *, seed: int) -> None:
    """Write the view without labels: clusters of slices and the mixture of classes in each."""
    mixtures: list[Row] = []
    shares: list[Row] = []
    for number in CLUSTER_NUMBERS:
        clusters = cluster_slices(cohort.bags, number, seed=seed)
        mixtures += cluster_rows(cohort, clusters, number)
        shares += cluster_patient_rows(cohort, clusters, number)
    sink.write("clusters.csv", CLUSTER_COLUMNS, mixtures)
    sink.write("cluster_shares.csv", CLUSTER_PATIENT_COLUMNS, shares)


def measure_patients(
    patient_ids: Sequence[str],
    read_slices: ReadSlices,
    *,
    roles: PhaseRoles,
    jobs: int = 1,
    kept: MeasuredPatients | None = None,
) -> Iterator[MeasuredPatient]:
    """Return what is measured of each patient, in order; what is kept already is not measured again.

    With several jobs the measuring begins with the call, and goes on while its results are waited for.
    """
    keys = {} if kept is None else {patient_id: kept.key_of(patient_id, roles) for patient_id in patient_ids}
    found = {patient_id: old for patient_id, key in keys.items() if kept and (old := kept.read(key))}

    def measure(patient_id: str) -> MeasuredPatient:
        patient = measured(read_slices(patient_id), roles)
        if kept is not None:
            kept.write(keys[patient_id], patient)
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
    sink: Sink,
    cohort: LabelledBags,
    predictions: Predictions,
    resampling: Resampling,
    patients: Sequence[MeasuredPatient],
) -> None:
    """Relate what was measured of every patient to the scores of every model and to the features."""
    of_patients = list(zip(cohort.patient_ids, patients, strict=True))
    per_slice = [{"patient_id": name, **row} for name, patient in of_patients for row in patient.slices]
    per_patient: list[Row] = [
        {"patient_id": name, "label": cohort.label(i), **asdict(patient.signs)}
        for i, (name, patient) in enumerate(of_patients)
    ]
    sink.write("concept_slices.csv", CONCEPT_SLICE_COLUMNS, per_slice)
    sink.write("concepts.csv", CONCEPT_COLUMNS, per_patient)
    values = np.array([[row[name] for name in SIGNS] for row in per_patient], dtype=np.float64)
    # The tested patients, in the order of the predictions.
    tested = cohort.index_of(predictions.patient_ids)
    concepts = Concepts(SIGNS, values[tested])
    resampled = Resampling(resampling.weights[tested], resampling.confidence)
    scores = {model: p.mean(axis=0) for model, p in predictions.probabilities.items()}
    rows = score_rows(scores, concepts, predictions.labels, predictions.classes, resampled)
    sink.write("concept_scores.csv", SCORE_COLUMNS, rows)
    features = phase_means(ChosenBags(cohort.bags, np.array(tested, dtype=np.intp)))
    size = predictions.n_slices.astype(np.float64)
    probes = probe_rows(features, size, concepts, _folds_of(predictions), resampled)
    sink.write("concept_probes.csv", PROBE_COLUMNS, probes)


def _folds_of(predictions: Predictions) -> list[Fold]:
    """Return the folds of the first repeat over the patients of the predictions; a probe needs no tuning set."""
    nobody = np.array([], dtype=np.intp)
    fold = predictions.fold[0]
    return [
        Fold(0, int(k), np.flatnonzero(fold != k), nobody, np.flatnonzero(fold == k)) for k in np.unique(fold)
    ]
