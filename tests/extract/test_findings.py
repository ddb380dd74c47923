"""One set of findings, told by `check` and `run` in the same words, grouped on the screen, each in its table."""

import csv

import nibabel as nib
import numpy as np
import pytest

from extract.findings import Finding, Kind, Severity, reason_of, warning_lines
from extract.plausibility import check_hounsfield
from extract.volumes import VolumeError, open_volume
from tests.extract.conftest import draw_scan, save
from tests.extract.test_check import read as read_check


def read_run(playground) -> dict[tuple[str, str], set[str]]:
    with (playground.bags / "findings.csv").open() as stream:
        found: dict[tuple[str, str], set[str]] = {}
        for row in csv.DictReader(stream):
            found.setdefault((row["patient_id"], row["phase"]), set()).add(row["reason"])
        return found


def test_a_kind_has_one_severity():
    assert Kind.MASK.severity is Severity.ERROR
    assert Kind.RESAMPLED.severity is Severity.WARNING


def test_errors_come_first_and_nothing_twice():
    found = [Finding(Kind.PADDING, "a"), Finding(Kind.MASK, "b"), Finding(Kind.PADDING, "a")]
    assert reason_of(found) == "b; a"


def test_a_remark_about_24_scans_is_one_line_with_the_count_and_an_example():
    found = [((f"p{i}", "AP"), Finding(Kind.LESIONS, f"{i} separate lesions")) for i in range(2, 26)]
    (line,) = warning_lines(found, "findings.csv")
    assert line == (
        "warning: 24 scans: several lesions; such as patient p2, phase AP: 2 separate lesions (each in findings.csv)"
    )


def test_a_remark_about_three_scans_is_three_lines_and_errors_are_for_others_to_tell():
    found = [((f"p{i}", "AP"), Finding(Kind.LESIONS, "2 separate lesions")) for i in range(3)]
    lines = list(warning_lines([*found, (("q", "AP"), Finding(Kind.MASK, "bad"))], "t.csv"))
    assert lines == [f"warning: patient p{i}, phase AP: 2 separate lesions" for i in range(3)]


@pytest.fixture
def remarked(playground):
    """Five scans with a mask on another grid, one of them with padding, and a scan without a usable mask."""
    mask = draw_scan()[1]
    for i in range(5):
        coarse = save(playground.folder / f"m{i}.nii.gz", mask[::2, ::2], spacing=(2, 2, 3))
        playground.add(f"p{i}", mask=coarse.name)
    image = draw_scan(8)[0]
    image[:3] = -3024
    save(playground.folder / "p0_PVP.nii.gz", image)
    playground.add("bad", mask=save(playground.folder / "empty.nii.gz", mask * 0).name)
    return playground


def test_check_and_run_say_the_same_and_every_scan_has_its_rows(remarked, command):
    config = remarked.configure()
    printed = {word: command(word, config)[1] for word in ("check", "run")}
    by_check = {key: set(row["reason"].split("; ")) for key, row in read_check(remarked).items()}
    assert read_run(remarked) == by_check
    assert len(by_check["p0", "PVP"]) == 2
    for word, table in (("check", "cohort_check.csv"), ("run", "findings.csv")):
        lines = [line for line in printed[word].splitlines() if "mask is on another grid" in line]
        assert len(lines) == 1, lines
        assert lines[0].startswith("warning: 5 scans: mask on another grid; such as patient p0, phase PVP: ")
        assert lines[0].endswith(f"(each in {table})")
        assert "warning: patient p0, phase PVP: padding of -3024 HU is taken as air" in printed[word]


def test_the_next_run_and_a_run_from_the_store_tell_them_again(remarked, command):
    config = remarked.configure()
    command("run", config)
    first = read_run(remarked)
    _, again = command("run", config)
    assert read_run(remarked) == first
    assert "5 scans: mask on another grid" in again
    for path in remarked.folder.glob("p*_PVP.nii.gz"):
        path.touch()
    command("run", config, "input.windows=[[60, 150]]")
    assert read_run(remarked) == first


def shifted_hu(intercept: int) -> np.ndarray:
    """The scan with an intercept too many or too few, and padding of -2000 at its sides."""
    image = draw_scan(6)[0] + np.int16(intercept)
    image[:2], image[-2:] = -2000, -2000
    return image


@pytest.mark.parametrize(
    ("intercept", "message"),
    [
        (-1024, "an intercept applied twice"),
        (1024, "air or fat below -50 HU on every slice; found voxels from 1"),
    ],
)
@pytest.mark.parametrize("word", ["check", "run"])
def test_an_intercept_too_many_or_too_few_is_refused_beside_padding(
    playground, command, intercept, message, word
):
    playground.add("p", image=save(playground.folder / "i.nii.gz", shifted_hu(intercept)).name)
    code, printed = command(word, playground.configure())
    assert code == 2
    assert message in printed


def test_padding_alone_is_refused(tmp_path):
    with pytest.raises(VolumeError, match="found nothing above -1500 HU"):
        check_hounsfield(tmp_path, np.full((2, 3, 3), -2000, dtype=np.float32))


def test_padding_that_looks_like_air_does_not_hide_a_missing_intercept(tmp_path):
    """A third of the voxels are -1024, air is 24, tissue 1064."""
    hu = np.repeat(np.array([-1024, 24, 1064], dtype=np.float32), 100).reshape(1, 20, 15)
    with pytest.raises(VolumeError, match="most of the body below 700 HU"):
        check_hounsfield(tmp_path, hu)


@pytest.mark.parametrize("hu", [(-1000, 0, 40, 510), (-3024, -100, 40, 60), (-1000, -800, -700, 30)])
def test_real_mixtures_pass(tmp_path, hu):
    """Contrast medium in the heart; padding; lung with little tissue."""
    check_hounsfield(tmp_path, np.repeat(np.array(hu, dtype=np.float32), 100).reshape(1, 20, 20))


def test_an_organ_mask_in_the_air_beside_the_body_is_an_error(playground, command):
    organ = np.zeros_like(draw_scan()[1])
    organ[20:, 14:] = 1
    image = draw_scan(3)[0]
    image[22:] = -700
    save(playground.folder / "o.nii.gz", organ)
    save(playground.folder / "i.nii.gz", image)
    playground.add("p", image="i.nii.gz", liver_mask="o.nii.gz")
    code, printed = command("check", playground.configure())
    assert code == 2
    assert "expected -100 to 300 HU in the mask of the organ, found a median of -700 HU" in printed


def test_features_that_are_the_same_on_all_slices_are_an_error_by_name(playground, command):
    """A window above all HU shows nothing; a patient's other phases and patients go on."""
    playground.add("p")
    playground.add("q")
    blank = draw_scan(1)
    save(playground.folder / "q_PVP.nii.gz", np.where(blank[0] > 0, blank[0] + 1500, blank[0]))
    code, printed = command(
        "run", playground.configure(), "input.windows=[[1500, 1000]]", "input.scales_mm={ t = 8 }"
    )
    assert code == 2
    assert (
        "patient p, phase PVP: expected features that differ between slices, found the same on all 5"
        in printed
    )
    assert "patient p, phase PVP" in printed
    assert ("p", "") in playground.excluded()
    assert not (playground.bags / "p.h5").exists()


def with_forms(playground, sform: tuple[float, int], qform: tuple[float, int]) -> None:
    """Write image and mask of a patient whose two affines lie at given z with given codes."""
    for name, voxels in zip(("i.nii.gz", "m.nii.gz"), draw_scan(2), strict=True):
        path = save(playground.folder / name, voxels)
        image = nib.load(path)
        changed = nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine)
        for (z, code), put in ((sform, changed.set_sform), (qform, changed.set_qform)):
            affine = image.affine.copy()
            affine[2, 3] = z
            put(affine, code)
        nib.save(changed, path)
    playground.add("p", image="i.nii.gz", mask="m.nii.gz")


@pytest.mark.parametrize("word", ["check", "run"])
def test_two_affines_that_differ_are_told_with_both_extents_and_which_was_used(playground, command, word):
    with_forms(playground, (0, 1), (12, 1))
    code, printed = command(word, playground.configure())
    assert code == 0
    assert (
        "sform and qform differ by up to 12.0 mm: sform x -39 to 0 mm, y -35 to 0 mm, z 0 to 33 mm; qform"
        in printed
    )
    assert "z 12 to 45 mm; the sform was used" in printed


@pytest.mark.parametrize("word", ["check", "run"])
def test_a_header_that_places_its_volume_nowhere_is_told(playground, command, word):
    with_forms(playground, (0, 0), (0, 0))
    code, printed = command(word, playground.configure())
    assert code == 0
    assert "i.nii.gz: the header gives no position (sform and qform have code 0); assumed to be" in printed
    assert "m.nii.gz: the header gives no position" in printed


@pytest.mark.parametrize(("sform", "qform"), [((0, 1), (0.2, 1)), ((0, 2), (99, 0)), ((99, 0), (0, 1))])
def test_affines_within_the_tolerance_or_without_a_code_say_nothing(playground, sform, qform):
    with_forms(playground, sform, qform)
    # 0.2 mm is more than a tenth of a pixel of 1 mm.
    doubt = open_volume(playground.folder / "i.nii.gz").doubt
    assert (doubt is None) == (qform != (0.2, 1))
