import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from extract.phantom.cohort import is_written, write_cohort
from extract.phantom.config import PhantomSection
from pipeline.cohort import read_cohort
from pipeline.config import CohortSection
from pipeline.errors import CohortError

TINY = PhantomSection(preset="tiny", patients={"HCC": 1, "iCCA": 1, "cHCC-CCA": 1}, seed=3, jobs=1)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("phantom") / "cohort.csv"
    assert write_cohort(TINY, path)
    return path


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_pipeline_reads_the_cohort_without_exclusions(table):
    cohort = read_cohort(CohortSection(table=table))
    assert not cohort.exclusions
    assert sorted(p.label for p in cohort.patients) == ["HCC", "cHCC-CCA", "iCCA"]
    assert all(p.centre and p.covariates["age"] and p.covariates["sex"] for p in cohort.patients)


def test_each_scan_has_a_tumour_and_a_liver_on_its_own_grid(table):
    for patient in read_cohort(CohortSection(table=table)).patients:
        for scan in patient.scans.values():
            image, mask, liver = (nibabel.load(p) for p in (scan.image, scan.masks[0][1], scan.liver_mask))
            assert image.get_data_dtype() == np.int16
            assert mask.shape == liver.shape == image.shape
            np.testing.assert_array_equal(mask.affine, image.affine)
            tumour, organ = np.asarray(mask.dataobj) > 0, np.asarray(liver.dataobj) > 0
            assert tumour.any()
            assert organ[tumour].all()


def test_phases_of_a_patient_differ_in_slice_count_and_tumour_slices(table):
    counts, tumour_slices = set(), set()
    for patient in read_cohort(CohortSection(table=table)).patients:
        for scan in patient.scans.values():
            mask = np.asarray(nibabel.load(scan.masks[0][1]).dataobj)
            counts.add((patient.patient_id, mask.shape[2]))
            tumour_slices.add((patient.patient_id, int(mask.any(axis=(0, 1)).sum())))
    assert len(counts) > 3
    assert len(tumour_slices) > 3


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_same_seed_gives_the_same_bytes(table, tmp_path, jobs):
    write_cohort(TINY.model_copy(update={"jobs": jobs}), tmp_path / "cohort.csv")
    assert files_in(tmp_path) == files_in(table.parent)


def test_another_seed_gives_other_voxels(table, tmp_path):
    write_cohort(TINY.model_copy(update={"seed": 4}), tmp_path / "cohort.csv")
    assert files_in(tmp_path)["truth.csv"] != files_in(table.parent)["truth.csv"]


def test_a_cohort_of_the_same_section_is_left_alone(table):
    before = {p: p.stat().st_mtime_ns for p in table.parent.rglob("*")}
    assert not write_cohort(TINY.model_copy(update={"jobs": 2}), table)
    assert {p: p.stat().st_mtime_ns for p in table.parent.rglob("*")} == before


def test_another_section_replaces_the_older_phantom_whole(tmp_path):
    table = tmp_path / "cohort.csv"
    write_cohort(TINY, table)
    smaller = TINY.model_copy(update={"patients": {"HCC": 1, "iCCA": 0, "cHCC-CCA": 0}})
    assert write_cohort(smaller, table)
    assert {p.name.split("_")[0] for p in (tmp_path / "images").iterdir()} == {"PH001"}


def test_a_cohort_of_real_patients_is_never_overwritten(tmp_path):
    table = tmp_path / "cohort.csv"
    table.write_text("patient_id,phase,image,mask,label\n007,AP,a.nii.gz,,HCC\n")
    with pytest.raises(CohortError, match="was not written by `phantom`"):
        write_cohort(TINY, table)
    assert "007" in table.read_text()


def test_an_interrupted_run_is_done_again_whole(table, tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    larger = TINY.model_copy(update={"patients": {"HCC": 2, "iCCA": 2, "cHCC-CCA": 2}})
    with pytest.raises(KeyboardInterrupt):
        write_cohort(larger, tmp_path / "cohort.csv", progress=stop)
    assert not (tmp_path / "cohort.csv").exists()
    assert write_cohort(TINY, tmp_path / "cohort.csv")
    assert files_in(tmp_path) == files_in(table.parent)


def test_a_table_without_its_final_marker_is_not_taken_for_whole(table, tmp_path):
    shutil.copytree(table.parent, tmp_path, dirs_exist_ok=True)
    (tmp_path / "phantom.json").write_text('{"sha256": null}')
    assert not is_written(TINY, tmp_path / "cohort.csv")
    assert write_cohort(TINY, tmp_path / "cohort.csv")


def test_a_section_without_patients_leaves_what_is_there(table):
    before = files_in(table.parent)
    with pytest.raises(CohortError, match="at least one patient"):
        write_cohort(TINY.model_copy(update={"patients": {"HCC": 0, "iCCA": 0, "cHCC-CCA": 0}}), table)
    assert files_in(table.parent) == before
