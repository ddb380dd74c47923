"""Attention of the models, compared with controls that use no image."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from aggregate.explain.inputs import PerInstance
from aggregate.explain.resampling import Resampling
from aggregate.tables.shared_columns import MODEL, PATIENT_ID, PHASE, SCALE, SLICE_NUMBER, interval
from aggregate.tables.table import Column, Kind, Step, Table
from pipeline.bags import Bag

UNIFORM = "control: uniform"
CENTRE = "control: centre slice"
CENTRE_WIDTH = 1 / 6
"""Standard deviation of the centre-slice prior as a share of the slices of a phase: +-3 SD span them."""

_CHECKS = (
    "effective_slices: exp(entropy) of the weights; effective_share: effective_slices divided by the number of slices; rank_stability: "
    "Spearman correlation of the weights of two repeats; area_agreement, centre_agreement: the same with the tumour "
    "area and with the centre-slice control; neighbour_agreement: share of the nearest training patients that have the "
    "patient's class; neighbour_agreement_by_chance: share of that class among all training patients"
)
MODEL_OR_CONTROL = Column("model", "Name of the model; `control: ...` is a rule that uses no image")
ATTENTION = Table(
    "attention.csv",
    "model x patient x phase x slice x scale",
    (
        MODEL,
        PATIENT_ID,
        PHASE,
        SLICE_NUMBER,
        SCALE,
        Column("z_mm", "Patient coordinate of the slice", "mm", Kind.NUMBER),
        Column(
            "weight",
            "Attention of out-of-fold models, mean over the repeats; sums to 1 over the patient's rows",
            "0 to 1",
            Kind.NUMBER,
        ),
        Column("weight_sd", "Standard deviation over the repeats", "0 to 1", Kind.NUMBER),
        Column("rank", "Rank by weight within the patient; 1 for the largest weight", "", Kind.COUNT),
        Column("uniform_weight", "Control: equal weight for every row of the patient", "0 to 1", Kind.NUMBER),
        Column(
            "centre_weight",
            "Control: weight from a normal curve around the middle slice of each phase",
            "0 to 1",
            Kind.NUMBER,
        ),
        Column("tumour_area_mm2", "Tumour area on the slice", "mm2", Kind.NUMBER),
    ),
    place=160,
    step=Step.EXPLANATIONS,
    notes=(
        "Attention shows which slices a model weighted, not why it decided. A bag with several scales has one"
        " row per slice and scale; the weight of a slice is their sum, as in explanation_checks.csv."
    ),
)
EXPLANATION_CHECKS = Table(
    "explanation_checks.csv",
    "model or control x measure",
    (
        MODEL_OR_CONTROL,
        Column("measure", _CHECKS),
        *interval("Mean over the patients", "measure", kind=Kind.NUMBER),
        Column("n", "Patients with a value", "patients", Kind.COUNT),
    ),
    place=170,
    step=Step.EXPLANATIONS,
    notes="A model is more informative than a control only where its values differ from the control's.",
)


def uniform_weights(bag: Bag) -> NDArray[np.float64]:
    """Return equal weights for all slices, (n,)."""
    return np.full(len(bag), 1 / len(bag))


def centre_weights(bag: Bag) -> NDArray[np.float64]:
    """Return the weights of the centre-slice control, (n,): a normal curve over the slices of each phase.

    Each phase keeps its share of the slices; within it the weight falls off with the distance from the middle
    slice. A prior of this kind beat the attention of trained models at finding lesions ("Normal Guidance").
    """
    weights = np.zeros(len(bag))
    for phase in np.unique(bag.phase):
        here = np.flatnonzero(bag.phase == phase)
        positions = bag.slice_index[here].astype(np.float64)
        extent = np.ptp(positions) + 1
        distance = (positions - positions.mean()) / (CENTRE_WIDTH * extent)
        curve = np.exp(-(distance**2) / 2)
        weights[here] = curve / curve.sum() * len(here) / len(bag)
    return weights


def controls(bags: Sequence[Bag], patients: Sequence[int]) -> list[PerInstance]:
    """Return both controls for the same patients as a model, with one repeat."""
    rules: Mapping[str, Callable[[Bag], NDArray[np.float64]]] = {
        UNIFORM: uniform_weights,
        CENTRE: centre_weights,
    }
    return [PerInstance(name, {i: rule(bags[i])[None] for i in patients}) for name, rule in rules.items()]


def attention_rows(attention: PerInstance, bags: Sequence[Bag]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of attention.csv of one model: one per patient and instance, in the order of the bag."""
    for patient, weights in attention.values.items():
        bag, mean = bags[patient], attention.mean(patient)
        rank = np.empty(len(bag), dtype=np.intp)
        rank[np.argsort(-mean, kind="stable")] = np.arange(1, len(bag) + 1)
        uniform, centre = uniform_weights(bag), centre_weights(bag)
        for i in range(len(bag)):
            yield {
                "model": attention.model,
                "patient_id": bag.patient_id,
                "phase": bag.header.phase_names[bag.phase[i]],
                "slice_number": int(bag.slice_index[i]) + 1,
                "scale": bag.header.scale_names[bag.scale[i]],
                "z_mm": float(bag.z_mm[i]),
                "weight": float(mean[i]),
                "weight_sd": float(weights[:, i].std(ddof=1)) if len(weights) > 1 else None,
                "rank": int(rank[i]),
                "uniform_weight": float(uniform[i]),
                "centre_weight": float(centre[i]),
                "tumour_area_mm2": float(bag.tumour_area_mm2[i]),
            }


@dataclass(frozen=True)
class PatientChecks:
    """Attention measures of one patient; NaN if not computable."""

    effective_slices: float
    """exp(entropy) of the weights, mean over the repeats: n slices of equal weight count n."""
    effective_share: float
    """The same divided by the patient's number of slices; 1 means equal weights."""
    rank_stability: float
    """Spearman correlation of the weights between two repeats, mean over the pairs of repeats."""
    area_agreement: float
    """Spearman correlation of the weights with the tumour area of the slices."""
    centre_agreement: float
    """Spearman correlation of the weights with those of the centre-slice prior."""


def check_patient(weights: NDArray[np.float64], bag: Bag) -> PatientChecks:
    """Compute the attention measures from the weights (repeats, n) of one patient, those of a slice's scales summed."""
    weights, area, centre = _of_slices(weights, bag)
    safe = np.where(weights > 0, weights, 1)
    effective = float(np.exp(-np.sum(safe * np.log(safe) * (weights > 0), axis=1)).mean())
    agreement = rank_correlations(np.stack([*weights, weights.mean(axis=0), area, centre]))
    pairs = agreement[np.triu_indices(len(weights), k=1)]
    return PatientChecks(
        effective_slices=effective,
        effective_share=effective / weights.shape[1],
        rank_stability=float(np.mean(pairs)) if len(pairs) else float("nan"),
        area_agreement=float(agreement[-3, -2]),
        centre_agreement=float(agreement[-3, -1]),
    )


def _of_slices(
    weights: NDArray[np.float64], bag: Bag
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (repeats, slices), tumour area and centre-slice control (slices,) of slices, their scales summed."""
    area, centre = bag.tumour_area_mm2.astype(np.float64), centre_weights(bag)
    if len(np.unique(bag.scale)) == 1:
        return weights, area, centre
    places = np.stack([bag.phase, bag.slice_index, bag.lesion], axis=1)
    _, first, place = np.unique(places, axis=0, return_index=True, return_inverse=True)
    is_of = (place.ravel() == np.arange(len(first))[:, None]).astype(np.float64)  # (slices, instances)
    return weights @ is_of.T, area[first], is_of @ centre


def rank_correlations(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Spearman's correlation of each row (k, n) with each, (k, k); NaN for n < 3, or where one is constant."""
    if rows.shape[1] < 3:
        return np.full((len(rows), len(rows)), np.nan)
    is_constant = np.all(np.isclose(rows, rows[:, :1]), axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.corrcoef(rankdata(rows, axis=1))
    return np.where(np.logical_or.outer(is_constant, is_constant), np.nan, correlations)


def check_rows(
    attention: PerInstance, bags: Sequence[Bag], resampling: Resampling
) -> Iterator[Mapping[str, Any]]:
    """Yield a row per check of a model or control, with a patient-bootstrap interval, for explanation_checks.csv."""
    checks = [check_patient(weights, bags[i]) for i, weights in attention.values.items()]
    patients = list(attention.values)
    for name in PatientChecks.__dataclass_fields__:
        values = np.array([getattr(check, name) for check in checks])
        yield {"model": attention.model, "measure": name, **resampling.mean(values, patients)}


def phase_shares(
    attention: PerInstance, bags: Sequence[Bag], phase: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each patient's share of attention and share of slices in a phase; NaN if the phase is missing."""
    shares = np.full((2, len(attention.values)), np.nan)
    for row, patient in enumerate(attention.values):
        here = bags[patient].phase == phase
        if here.any():
            shares[:, row] = attention.mean(patient)[here].sum(), here.mean()
    return shares[0], shares[1]


def phase_share_rows(
    attention: PerInstance, bags: Sequence[Bag], resampling: Resampling
) -> Iterator[Mapping[str, Any]]:
    """Yield a row per phase: the share of attention beside the share of slices, and their ratio (enrichment).

    The mean is over the patients who have the phase; enrichment above 1 means more attention than expected from the
    number of slices.
    """
    patients = list(attention.values)
    for index, phase in enumerate(bags[patients[0]].header.phase_names):
        share, slices = phase_shares(attention, bags, index)
        mean = resampling.mean(share, patients)
        enrichment = resampling.ratio(share, slices, patients)
        yield {
            "model": attention.model,
            "phase": phase,
            "n_patients": int(np.isfinite(share).sum()),
            "attention_share": mean["estimate"],
            "attention_share_low": mean["ci_low"],
            "attention_share_high": mean["ci_high"],
            "slice_share": resampling.mean(slices, patients)["estimate"],
            "enrichment": enrichment["estimate"],
            "enrichment_low": enrichment["ci_low"],
            "enrichment_high": enrichment["ci_high"],
        }
