"""Draws all pictures of the explanations: typical slices, clusters, chosen patients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from aggregate.explain.case_pictures import draw_cases
from aggregate.explain.choices import Choice
from aggregate.explain.class_ranges import ranged_measures
from aggregate.explain.inputs import OutOfFoldModels, PerInstance
from aggregate.explain.patient_measures import MeasuredPatient
from aggregate.explain.pictures import FIGURES, ReadPatient, weight_text
from aggregate.explain.prototypes import CLUSTER_SLICES, TYPICAL_SLICES
from aggregate.explain.thumbnails import COLUMNS, Thumbnail, draw_thumbnails
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import Row

TYPICAL, CLUSTERED = "typical_slices", "cluster_slices"
"""Names of the drawings."""
_KEPT = 64
"""Patients kept in memory, since many slices are of the same few."""


@dataclass(frozen=True, eq=False)
class ToDraw:
    """What the pictures show.

    Attributes:
        attention: of the model that they show; None without such a model.
        chosen: the example patients.
        measured: what was measured of every patient of the cohort.
        read_patient: returns what the store holds of a patient.
        png_dpi: pixels per inch of a PNG beside each drawing; None for none.
    """

    attention: PerInstance | None
    chosen: Sequence[Choice]
    measured: Sequence[MeasuredPatient]
    read_patient: ReadPatient
    png_dpi: int | None = None


def draw_pictures(tables: ResultTables, inputs: OutOfFoldModels, to_draw: ToDraw) -> None:
    """Draw the slices of typical_slices.csv and cluster_slices.csv, and the patients of chosen_patients.csv."""
    folder = tables.folder / FIGURES
    folder.mkdir(parents=True, exist_ok=True)
    read_patient = lru_cache(_KEPT)(to_draw.read_patient)
    attention, png_dpi = to_draw.attention, to_draw.png_dpi
    if attention is not None:
        rows = [row for row in tables.read(TYPICAL_SLICES) if row["model"] == attention.model]
        headed = _headed(rows, [str(row["class"]) for row in rows], inputs, attention)
        title = f"Slices most typical of each class for model {attention.model}, one per patient"
        draw_thumbnails(folder / f"{TYPICAL}.svg", title, headed, read_patient, png_dpi=png_dpi)
    clustered = tables.read(CLUSTER_SLICES)
    # Pictures of fewer clusters would show the same slices again.
    most = max((row["clusters"] for row in clustered), default=0)
    clustered = [row for row in clustered if row["clusters"] == most]
    headings = [f"cluster {row['cluster']} of {most}" for row in clustered]
    title = "Slices nearest to the centre of each cluster, one per patient"
    headed = _headed(clustered, headings, inputs, attention)
    draw_thumbnails(folder / f"{CLUSTERED}.svg", title, headed, read_patient, png_dpi=png_dpi)
    if attention is not None:
        patients = inputs.patients.index_of([choice.patient_id for choice in to_draw.chosen])
        whys = {i: c for i, c in zip(patients, to_draw.chosen, strict=True) if i in attention.values}
        measures = ranged_measures(inputs.patients, to_draw.measured)
        bags = inputs.bags(attention.model)
        draw_cases(folder, bags, attention, whys, read_patient, measures=measures, png_dpi=png_dpi)


def _headed(
    rows: Sequence[Row], headings: Sequence[str], inputs: OutOfFoldModels, attention: PerInstance | None
) -> Mapping[str, list[Thumbnail]]:
    """Return the first slices under each heading, with the weight that the model gives them."""
    found: dict[str, list[Thumbnail]] = {}
    for heading, row in zip(headings, rows, strict=True):
        row_of = found.setdefault(heading, [])
        if len(row_of) < COLUMNS:
            row_of.append(
                Thumbnail(
                    patient_id=row["patient_id"],
                    phase=row["phase"],
                    slice_number=row["slice_number"],
                    label=row["label"],
                    note="\n".join(filter(None, [_weight(row, inputs, attention), _scale(row, inputs)])),
                    stands_out="class" in row and row["class"] != row["label"],
                )
            )
    return found


def _scale(row: Row, inputs: OutOfFoldModels) -> str:
    """Say at which scale a slice was seen, where the bags of the patient have several; the picture shows no crop."""
    (patient,) = inputs.patients.index_of([row["patient_id"]])
    sets = [bags for bags in inputs.patients.bag_sets.values() if bags.phases_present(patient)]
    has_several = any(len(bags[patient].header.scale_names) > 1 for bags in sets)
    return f"seen at scale {row['scale']}" if has_several else ""


def _weight(row: Row, inputs: OutOfFoldModels, attention: PerInstance | None) -> str:
    if attention is None:
        return ""
    (patient,) = inputs.patients.index_of([row["patient_id"]])
    if patient not in attention.values:
        return ""
    bag = inputs.bags(attention.model)[patient]
    names = np.array(bag.header.phase_names)
    here = (names[bag.phase] == row["phase"]) & (bag.slice_index == row["slice_number"] - 1)
    if not here.any():
        return ""
    n = len(set(zip(bag.phase.tolist(), bag.slice_index.tolist(), strict=True)))
    return weight_text(float(attention.mean(patient)[here].sum()), n)
