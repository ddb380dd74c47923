"""Synthetic biopsies: tied to the drawn share, with the sampling error of a core, in three formats."""

import h5py
import numpy as np
import pytest

from extract.phantom.config import HistologySection
from extract.phantom.histology import (
    SLIDES,
    WARNING,
    core_fraction,
    draw_slides,
    write_histology,
)
from pipeline.errors import CohortError
from pipeline.tables import read_table


def truth_of(label: str, fraction: float, n: int) -> list[dict[str, str]]:
    return [{"patient_id": f"P{i}", "label": label, "hcc_fraction": str(fraction)} for i in range(n)]


def shares(label: str, fraction: float, **settings) -> np.ndarray:
    """Return the share of HCC-like tiles among those of the tumour, of 200 patients."""
    section = HistologySection(without=0, two_slides=0, **settings)
    counts = [slide.counts for slide in draw_slides(section, truth_of(label, fraction, 200), seed=3)]
    return np.array([one["hcc"] / (one["hcc"] + one["cca"]) for one in counts])


def test_a_pure_tumour_is_pure_whatever_its_scans_look_like():
    assert (shares("HCC", 1.0, look_alikes=0) == 1).all()
    assert (shares("iCCA", 1.0, look_alikes=0) == 0).all()


def test_the_cores_of_a_mixed_tumour_scatter_about_its_share():
    found = shares("cHCC-CCA", 0.3, look_alikes=0, one_component=0)
    assert found.mean() == pytest.approx(0.3, abs=0.05)
    assert found.std() > 0.15


def test_a_large_concentration_leaves_the_error_of_counting():
    assert shares("cHCC-CCA", 0.3, look_alikes=0, one_component=0, concentration=1e6).std() < 0.08


def test_a_core_may_hit_one_component_only():
    found = shares("cHCC-CCA", 0.3, look_alikes=0, one_component=1)
    assert set(found.tolist()) == {0.0, 1.0}
    assert found.mean() == pytest.approx(0.3, abs=0.1)
    assert core_fraction(HistologySection(one_component=1), 1.0, np.random.default_rng(0)) == 1


def test_some_patients_have_no_biopsy_and_some_two_slides():
    section = HistologySection(without=0.25, two_slides=0.5)
    slides = list(draw_slides(section, truth_of("HCC", 1.0, 400), seed=1))
    names = [slide.patient_id for slide in slides]
    assert len(set(names)) == pytest.approx(300, abs=30)
    assert len(names) / len(set(names)) == pytest.approx(1.5, abs=0.1)
    assert all(60 <= sum(slide.counts.values()) <= 200 for slide in slides)


@pytest.fixture
def cohort(tmp_path):
    rows = [*truth_of("HCC", 1.0, 3), {"patient_id": "P9", "label": "cHCC-CCA", "hcc_fraction": "0.5"}]
    lines = ["patient_id,label,hcc_fraction", *(",".join(row.values()) for row in rows)]
    (tmp_path / "truth.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "cohort.csv"


FORMATS = {
    "clam": ("features", np.float32, ("patient_id", "file")),
    "trident": ("features", np.float16, ("patient_id", "file")),
    "stamp": ("feats", np.float16, ("PATIENT", "FILENAME")),
}


@pytest.mark.parametrize("how", FORMATS)
def test_the_files_are_as_the_program_writes_them_and_say_that_they_are_synthetic(cohort, how):
    name, dtype, columns = FORMATS[how]
    write_histology(HistologySection(format=how, without=0), cohort, seed=1)
    rows = read_table(cohort.parent / "histology" / SLIDES)
    assert tuple(rows[0]) == columns
    for row in rows:
        with h5py.File(cohort.parent / "histology" / row[columns[1]]) as file:
            assert file[name].dtype == dtype
            assert len(file["coords"]) == len(file[name])
            assert file.attrs["warning"] == WARNING


def test_the_same_section_is_written_once_and_another_anew(cohort):
    def content():
        return {path.name: path.read_bytes() for path in (cohort.parent / "histology").glob("BX*.h5")}

    write_histology(HistologySection(without=0), cohort, seed=1)
    first = content()
    (cohort.parent / "histology" / "BX0001.h5").touch()
    write_histology(HistologySection(without=0), cohort, seed=1)
    assert content() == first
    write_histology(HistologySection(without=0, width=8), cohort, seed=1)
    assert content() != first


def test_the_folder_of_somebody_is_left_alone(cohort):
    (cohort.parent / "histology").mkdir()
    (cohort.parent / "histology" / "slide.h5").write_text("mine")
    with pytest.raises(CohortError, match="holds files that `phantom` did not write"):
        write_histology(HistologySection(), cohort, seed=1)
