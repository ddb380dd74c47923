from dataclasses import replace

import numpy as np
import pytest

from aggregate.cohort.patient_facts import CohortFacts, PatientFacts, describe_patient
from pipeline.bags import Bag, BagHeader, Recipe, Source
from pipeline.cohort import Patient
from pipeline.errors import ResultsError

PHASES = ("NC", "AP", "PVP")


def bag_of(slices, *, spacing_mm=5.0, area_mm2=200.0, scales=1, n_before=None):
    """A bag with the given slices per phase; a phase without slices is missing."""
    present = [p for p in PHASES if slices.get(p)]
    phase = np.concatenate([np.full(len(slices[p]) * scales, PHASES.index(p)) for p in present])
    index = np.concatenate([np.tile(slices[p], scales) for p in present])
    sources = {
        p: Source(f"{p}.nii.gz", "i", "m", "drawn", (1.0, 1.0, spacing_mm), 40, n_before) for p in present
    }
    recipe = Recipe("resnet18", "penultimate", "imagenet", "0" * 64, "float32", {})
    missing = {p: "no scan" for p in PHASES if p not in present}
    header = BagHeader("p1", PHASES, missing, ("a", "b"), recipe, sources, "key", 1.0, 224)
    n = len(phase)
    return Bag(
        header=header,
        features=np.zeros((n, 4), dtype=np.float32),
        phase=phase.astype(np.int8),
        slice_index=index.astype(np.int32),
        z_mm=(index * spacing_mm).astype(np.float32),
        tumour_area_mm2=np.full(n, area_mm2, dtype=np.float32),
        lesion=np.ones(n, dtype=np.int16),
        scale=np.zeros(n, dtype=np.int8),
    )


PATIENT = Patient("p1", {}, "HCC", centre="Nord", covariates={"age": "61"})


def test_a_patient_by_hand():
    """Four slices of 200 mm2, 5 mm apart, are 4 ml; in PVP three are 3 ml; the median is 3.5 ml."""
    found = describe_patient(bag_of({"AP": [7, 8, 9, 10], "PVP": [7, 8, 9]}), PATIENT)
    assert found == PatientFacts(
        patient_id="p1",
        label="HCC",
        centre="Nord",
        tumour_volume_ml=pytest.approx(3.5),
        slice_thickness_mm=5.0,
        slices_per_phase={"NC": 0, "AP": 4, "PVP": 3},
        covariates={"age": "61"},
    )
    assert found.phases_missing == ("NC",)
    assert found.phases_present == ("AP", "PVP")


def test_left_out_slices_do_not_shrink_the_tumour():
    every = describe_patient(bag_of({"AP": list(range(4, 13))}), PATIENT)
    every_second = describe_patient(bag_of({"AP": list(range(4, 13, 2))}, n_before=9), PATIENT)
    assert every_second.tumour_volume_ml == pytest.approx(every.tumour_volume_ml)


def test_a_slice_at_two_scales_counts_once():
    once, twice = (describe_patient(bag_of({"AP": [3, 4]}, scales=s), PATIENT) for s in (1, 2))
    assert once == twice


def test_without_masks_there_is_no_volume():
    assert describe_patient(bag_of({"AP": [3, 4]}, area_mm2=0.0), PATIENT).tumour_volume_ml is None


def test_the_facts_of_chosen_patients_come_in_the_order_asked_for():
    facts = describe_patient(bag_of({"AP": [1]}), PATIENT)
    cohort = CohortFacts(tuple(replace(facts, patient_id=name) for name in ("a", "b", "c")))
    assert [p.patient_id for p in cohort.of(["c", "a"]).patients] == ["c", "a"]
    with pytest.raises(ResultsError, match="patient x has predictions"):
        cohort.of(["x"])
