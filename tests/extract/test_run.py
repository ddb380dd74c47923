"""Laws of a run: policies, the slice store, what is done stays done."""

import os
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from extract.encoders import load_encoder
from extract.selftest import TOLERANCE, check_precision
from pipeline.bags import read_bag
from pipeline.config import ExperimentConfig, load_config
from pipeline.errors import WeightsError
from pipeline.files import partial_of
from pipeline.store import SliceStore
from tests.extract.conftest import draw_scan, save


def two_phases(playground) -> None:
    playground.add("both", "AP")
    playground.add("both", "PVP")
    playground.add("one", "AP")


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ("'keep'", {"both", "one"}),
        ("{ require = ['AP'] }", {"both", "one"}),
        ("{ require = ['PVP'] }", {"both"}),
    ],
)
def test_the_policy_for_missing_phases_drops_whom_it_says(playground, command, policy, kept):
    two_phases(playground)
    code, _ = command("run", playground.configure(), f"missing_phases={policy}")
    assert {path.stem for path in playground.bags.glob("*.h5")} == kept
    assert code == 0  # a choice of the configuration is no fault
    assert {patient for patient, _ in playground.excluded()} == {"both", "one"} - kept


def test_drop_wants_every_phase_of_the_configuration(playground, command):
    two_phases(playground)
    command("run", playground.configure(), "missing_phases='drop'", 'cohort.phases=["AP", "PVP"]')
    assert [path.stem for path in playground.bags.glob("*.h5")] == ["both"]
    assert (
        "lacks phase PVP (no scan in the cohort table); missing_phases is drop"
        in playground.excluded()["one", ""]
    )


def test_a_bag_of_a_patient_who_is_left_out_now_is_set_aside(playground, command):
    two_phases(playground)
    config = playground.configure()
    command("run", config)
    command("run", config, "missing_phases={ require = ['PVP'] }")
    assert not (playground.bags / "one.h5").exists()
    assert (playground.bags / "one.h5.stale").exists()


def test_a_bag_that_was_set_aside_is_taken_back_when_its_patient_is_wanted_again(playground, command):
    two_phases(playground)
    config = playground.configure()
    command("run", config)
    before = (playground.bags / "one.h5").stat().st_mtime_ns
    command("run", config, "missing_phases={ require = ['PVP'] }")
    _, printed = command("run", config)
    assert "patient one: its bag was set aside and fits again; taken back" in printed
    assert (playground.bags / "one.h5").stat().st_mtime_ns == before
    assert not (playground.bags / "one.h5.stale").exists()


@pytest.mark.parametrize("what", ["drive", "image", "liver"])
def test_a_drive_that_is_not_mounted_stops_the_run_and_changes_no_bag(playground, command, what):
    drive = playground.folder / "drive"
    drive.mkdir()
    for patient in ("p", "q"):
        image, mask = draw_scan(ord(patient))
        files = {"image": image, "mask": mask, "liver_mask": (image > 0).astype(np.uint8)}
        names = {role: f"drive/{patient}_{role}.nii.gz" for role in files}
        for role, voxels in files.items():
            save(playground.folder / names[role], voxels)
        playground.add(patient, **names)
    config = playground.configure()
    command("run", config)
    bags = {path.name: path.read_bytes() for path in playground.bags.glob("*.h5")}
    lost = {"drive": drive, "image": drive / "q_image.nii.gz", "liver": drive / "q_liver_mask.nii.gz"}[what]
    lost.rename(playground.folder / "elsewhere")
    code, printed = command("run", config)
    assert code != 0
    assert "cannot be reached: no file" in printed
    assert "mount the drive" in printed
    assert bags == {path.name: path.read_bytes() for path in playground.bags.glob("*.h5")}
    assert not list(playground.bags.glob("*.stale"))
    (playground.folder / "elsewhere").rename(lost)
    assert "2 done before" in command("run", config)[1]
    lost.rename(playground.folder / "elsewhere")
    code, printed = command("run", config, "unreachable=leave-out")
    assert "cannot be reached" not in printed
    assert (playground.bags / "p.h5").exists() == (what != "drive")


def destroy_scans(playground) -> None:
    """Fill every NIfTI with zeros, behind its old size and time of change."""
    for path in playground.folder.glob("*.nii.gz"):
        stat = path.stat()
        path.write_bytes(bytes(stat.st_size))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_second_encoder_reads_no_nifti(playground, command):
    two_phases(playground)
    config = playground.configure()
    shared = f"slice_store={playground.folder / 'slices.zarr'}"
    command("run", config, "encoder=resnet18", f"output={playground.folder / 'fresh'}", "store=false")
    command("run", config, shared)
    destroy_scans(playground)
    code, _ = command("run", config, shared, "encoder=resnet18", f"output={playground.folder / 'second'}")
    assert code == 0
    for name in ("both.h5", "one.h5"):
        fresh, second = (
            read_features(playground.folder / run / "bags" / name) for run in ("fresh", "second")
        )
        assert fresh.tobytes() == second.tobytes()


def read_features(path) -> np.ndarray:
    return read_bag(path).features


def test_another_window_starts_from_the_store_but_another_crop_does_not(playground, command):
    playground.add("p")
    config = playground.configure()
    command("run", config)
    store = SliceStore(playground.folder / "out" / "slices.zarr")
    key = store.key_of("p")
    command("run", config, "input.windows=[[60, 150]]")
    assert store.key_of("p") == key
    command("run", config, "input.scales_mm={ wide = 30 }")
    assert store.key_of("p") != key
    assert store.read_phases("p")[0].crops_hu.shape == (5, 30, 30)


def test_the_store_says_where_each_crop_lies_in_the_scan(playground, command):
    playground.add("p")
    command("run", playground.configure(), "input.scales_mm={ tight = 12 }")
    (slices,) = SliceStore(playground.folder / "out" / "slices.zarr").read_phases("p")
    scan = np.asarray(
        nib.load(playground.folder / "p_PVP.nii.gz").dataobj
    ).T  # LPS as stored: (z, rows, columns)
    assert len(slices) == 5
    for crop, z, (row, column) in zip(slices.crops_hu, slices.slice_index, slices.corner, strict=True):
        np.testing.assert_array_equal(crop, scan[z, row : row + len(crop), column : column + crop.shape[1]])


@pytest.mark.parametrize("codes", ["LPS", "RAS", "LPI", "SAR"])
def test_slices_are_counted_from_the_feet_however_the_file_is_stored(playground, command, codes):
    playground.add("p")
    for name in ("p_PVP.nii.gz", "p_PVP_mask.nii.gz"):
        volume = nib.load(playground.folder / name)  # LPS: the tumour on slices 4 to 8 of 12, 3 mm apart
        to = nib.orientations.axcodes2ornt(codes)
        turn = nib.orientations.ornt_transform(nib.orientations.io_orientation(volume.affine), to)
        nib.save(volume.as_reoriented(turn), playground.folder / name)
    command("run", playground.configure(), "encoder=resnet18")
    (slices,) = SliceStore(playground.folder / "out" / "slices.zarr").read_phases("p")
    assert slices.slice_index.tolist() == [4, 5, 6, 7, 8]
    assert slices.z_mm.tolist() == [12, 15, 18, 21, 24]  # superior is up


def test_a_store_that_was_damaged_is_made_anew(playground, command):
    playground.add("p")
    config = playground.configure()
    command("run", config)
    expected = playground.bag("p").features
    (playground.bags / "p.h5").unlink()
    for shard in (playground.folder / "out" / "slices.zarr" / "p").rglob("c/**/*"):
        if shard.is_file():
            shard.write_bytes(b"rubbish")
    code, printed = command("run", config)
    assert code == 0
    assert "damaged slices" in printed
    assert playground.bag("p").features.tobytes() == expected.tobytes()


def test_slices_that_are_gone_are_prepared_again_for_patients_whose_bags_are_done(playground, command):
    playground.add("p")
    playground.add("q")
    config = playground.configure()
    command("run", config)
    bags = {path.name: path.stat().st_mtime_ns for path in playground.bags.glob("*.h5")}
    store = SliceStore(playground.folder / "out" / "slices.zarr")
    expected = store.content_of("q")
    shutil.rmtree(store.folder / "q")
    code, printed = command("run", config)
    assert code == 0
    assert "1 patients done before lack their slices in the store; preparing them again" in printed
    assert store.content_of("q") == expected
    assert bags == {path.name: path.stat().st_mtime_ns for path in playground.bags.glob("*.h5")}
    assert "preparing them again" not in command("run", config)[1]


def test_the_same_image_under_two_patients_is_refused_unless_allowed(playground, command):
    playground.add("p", seed=1)
    playground.add("q", seed=1)
    playground.add("r", seed=2)
    config = playground.configure()
    code, printed = command("run", config)
    assert code == 2
    assert "the same pixels occur under patient q, phase PVP" in printed
    assert [path.stem for path in playground.bags.glob("*.h5")] == ["r"]
    assert command("run", config, "shared_images=allow")[0] == 0


def test_a_bag_that_cannot_be_read_is_written_again(playground, command):
    playground.add("p")
    config = playground.configure()
    command("run", config)
    (playground.bags / "p.h5").write_bytes(b"half a bag")
    command("run", config)
    assert len(playground.bag("p")) == 5


def test_the_self_test_passes_in_bfloat16_and_stops_a_drift(monkeypatch):
    encoder = load_encoder("resnet18", "random:0", precision="bfloat16", device="cpu")
    assert 0 < check_precision(encoder, 64) < TOLERANCE["bfloat16"]
    monkeypatch.setitem(TOLERANCE, "bfloat16", 1e-9)
    with pytest.raises(WeightsError, match="expected bfloat16 within 1e-09 of float32"):
        check_precision(encoder, 64)


def test_bfloat16_features_lie_within_the_tolerance_of_float32(playground, command):
    playground.add("p")
    config = playground.configure()
    command("run", config, "encoder=resnet18")
    exact = playground.bag("p").features
    command("run", config, "encoder=resnet18", "precision=bfloat16")
    rounded = playground.bag("p").features
    apart = np.linalg.norm(exact - rounded, axis=1) / np.linalg.norm(exact, axis=1)
    assert apart.max() < TOLERANCE["bfloat16"]
    assert not np.array_equal(exact, rounded)


def twins(playground) -> None:
    """p and q share the pixels of PVP in files of other compression and with other masks; p has an AP of its own."""
    image, mask = draw_scan(5)
    save(playground.folder / "p.nii", image)
    save(playground.folder / "q.nii.gz", image)
    less = mask.copy()
    less[:, :, 6:] = 0
    playground.add("p", "AP")
    playground.add("p", image="p.nii")
    playground.add("q", image="q.nii.gz", mask=save(playground.folder / "less.nii.gz", less).name)
    playground.add("r")


def test_the_same_pixels_in_another_compression_are_refused_as_soon_as_they_are_decoded(playground, command):
    twins(playground)
    config = playground.configure()
    for _ in range(2):  # the second run knows before it decodes
        code, printed = command("run", config)
        assert code == 2
        assert "patient q, phase PVP: the same pixels occur under patient p, phase PVP" in printed
        assert set(playground.excluded()) == {("p", "PVP"), ("q", "PVP"), ("q", "")}
        assert [path.stem for path in sorted(playground.bags.glob("*.h5"))] == ["p", "r"]
        assert playground.bag("p").header.phases_present == ("AP",)


def test_a_twin_that_comes_later_takes_back_the_bag_that_is_there(playground, command):
    twins(playground)
    playground.rows, later = playground.rows[:2], playground.rows[2:]
    command("run", playground.configure())
    assert playground.bag("p").header.phases_present == ("AP", "PVP")
    playground.rows += later
    assert command("run", playground.configure())[0] == 2
    assert playground.bag("p").header.phases_present == ("AP",)


def test_the_same_pixels_are_a_warning_where_they_are_allowed(playground, command):
    twins(playground)
    code, printed = command("run", playground.configure(), "shared_images=allow")
    assert code == 0
    assert "warning: patient q, phase PVP: the same pixels occur under patient p" in printed
    assert len(list(playground.bags.glob("*.h5"))) == 3


def test_run_warns_of_identifiers_and_files_in_the_words_of_check(playground, command):
    playground.add("P1", image=save(playground.folder / "P10_x.nii.gz", draw_scan(1)[0]).name)
    playground.add("P10")
    playground.add("P01")
    playground.add("MRN_20190301")
    config = playground.configure()
    warnings = [
        {line for line in command(word, config)[1].splitlines() if line.startswith("warning: ")}
        for word in ("check", "run")
    ]
    assert warnings[0] == warnings[1]
    assert len(warnings[0]) == 3
    assert "warning: patient P1, phase PVP: P10_x.nii.gz contains the identifier of patient P10" in str(
        warnings
    )


def test_a_run_sweeps_what_killed_runs_left_beside_bags_and_store(playground, command):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    config = playground.configure()
    out, left = playground.folder / "out", []
    for path in (out / "bags" / "p.h5", out / "slices.zarr", out / "slices.zarr" / "zarr.json"):
        name = partial_of(path).name.replace(f"-{os.getpid()}-", f"-{dead.pid}-")
        left.append(path.with_name(name))
        left[-1].parent.mkdir(parents=True, exist_ok=True)
        left[-1].touch()
    playground.add("p")
    playground.configure()
    assert command("run", config)[0] == 0
    assert not [path for path in left if path.exists()]


def test_stage_2_finds_a_store_that_was_moved(playground):
    playground.add("p")
    config = load_config(playground.configure(), ExperimentConfig, overrides=["slice_store=shared/s.zarr"])
    assert config.store_path == playground.folder / "shared" / "s.zarr"
    default = load_config(playground.configure(), ExperimentConfig)
    assert default.store_path == playground.folder / "out" / "slices.zarr"
