"""Leaks are found before anything is trained."""

import numpy as np
import pytest

from aggregate.planning.leaks import check_no_label_among_covariates, check_no_shared_images
from pipeline.bags import BagHeader, Recipe, Source
from pipeline.cohort import Patient
from pipeline.errors import CohortError, LeakError

LABELS = np.array([0, 1, 2] * 10)


def header(patient_id: str, image_sha256: str) -> BagHeader:
    source = Source(f"{patient_id}.nii.gz", image_sha256, "m", "drawn", (1.0, 1.0, 1.0), 10)
    recipe = Recipe("r", "l", "w", "s", "float32", {})
    return BagHeader(patient_id, ("AP",), {}, ("tight",), recipe, {"AP": source}, "k", 1.0, 1)


def patients(values) -> list[Patient]:
    return [Patient(f"p{i}", {}, None, covariates={"x": str(v)}) for i, v in enumerate(values)]


def test_one_image_under_two_patients_aborts_and_names_both():
    with pytest.raises(LeakError, match=r"patient b, phase AP .* same image as patient a, phase AP"):
        check_no_shared_images([header("a", "same"), header("b", "same")])


def test_different_images_pass():
    check_no_shared_images([header("a", "one"), header("b", "two")])


@pytest.mark.parametrize("values", [LABELS, ["HCC", "icc", "mixed"] * 10, np.array(["a", "b", "c"])[LABELS]])
def test_a_covariate_that_is_the_label_aborts(values):
    with pytest.raises(LeakError, match="covariate 'x' tells the label"):
        check_no_label_among_covariates({"x": "[aggregate] covariates"}, patients(values), LABELS)


@pytest.mark.parametrize("values", [["F", "M"] * 15, range(30), [""] * 30])
def test_an_ordinary_covariate_passes(values):
    check_no_label_among_covariates({"x": "[aggregate] covariates"}, patients(values), LABELS)


def test_a_covariate_that_contradicts_itself_is_named_with_its_patient():
    torn = Patient("p7", {}, None, covariates={"x": ""}, contradictions={"x": "column 'x' says 1 and 2"})
    with pytest.raises(CohortError, match="patient p7: column 'x' says 1 and 2"):
        check_no_label_among_covariates({"x": "[aggregate] covariates"}, [*patients(range(29)), torn], LABELS)
