"""Stage 1 as a user meets it: bags, faults in one line, exit codes."""

import gzip
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from extract.encoders import load_encoder
from pipeline.run_log import LOG
from tests.extract.conftest import draw_scan, save

ROOT = Path(__file__).resolve().parents[2]


def truncated(folder: Path) -> str:
    (folder / "cut.nii.gz").write_bytes((folder / "good_PVP.nii.gz").read_bytes()[:-2000])
    return "cut.nii.gz"


def with_nan(folder: Path) -> str:
    voxels = draw_scan()[0].astype(np.float32)
    voxels[12, 14, 6] = np.nan
    return save(folder / "nan.nii.gz", voxels).name


def like_mr(folder: Path) -> str:
    return save(folder / "mr.nii.gz", np.abs(draw_scan()[0])).name


def four_dimensional(folder: Path) -> str:
    return save(folder / "4d.nii.gz", np.stack([draw_scan()[0]] * 2, axis=3)).name


IMAGE_FAULTS = {
    "missing": (
        lambda folder: "nowhere.nii.gz",
        "nowhere.nii.gz: expected an image file, found: No such file",
    ),
    "truncated": (truncated, "cut.nii.gz: truncated: expected"),
    "NaN": (with_nan, "nan.nii.gz: expected finite voxels, found 1 NaN"),
    "MR": (like_mr, "mr.nii.gz: expected CT in HU"),
    "4-D": (four_dimensional, "4d.nii.gz: expected a 3-D volume, found shape 40 x 36 x 12 x 2"),
    "text": (lambda folder: "cohort.csv", "cohort.csv: expected a NIfTI file"),
}


def empty_mask(folder: Path) -> str:
    return save(folder / "empty.nii.gz", np.zeros_like(draw_scan()[1])).name


def far_mask(folder: Path) -> str:
    return save(folder / "far.nii.gz", draw_scan()[1], origin=(0, 0, 500)).name


MASK_FAULTS = {
    "missing": (lambda folder: "nowhere.nii.gz", "nowhere.nii.gz: expected a mask file, found: No such file"),
    "empty": (empty_mask, "empty.nii.gz: expected a mask with at least one voxel, found an empty one"),
    "outside": (
        far_mask,
        "far.nii.gz: the mask lies outside of the image: expected it within x -39 to 0 mm, y -35 to 0 mm, z 0 to 33 mm",
    ),
    "no cell": (lambda folder: "", "line 3 of the cohort table has no mask"),
}


def assert_only_the_bad_one_is_left_out(playground, command, message):
    code, printed = command("run", playground.configure())
    assert code == 2
    lines = [line for line in printed.splitlines() if message in line]
    assert len(lines) == 1, printed
    assert lines[0].startswith("patient bad, phase PVP: ")
    assert message in playground.excluded()["bad", "PVP"]
    assert ("bad", "") in playground.excluded()
    assert len(playground.bag("good")) == 5
    assert not (playground.bags / "bad.h5").exists()


@pytest.mark.parametrize("name", IMAGE_FAULTS)
def test_a_bad_image_is_named_and_the_others_go_on(playground, command, name):
    make, message = IMAGE_FAULTS[name]
    playground.add("good")
    playground.add("bad", image=make(playground.folder))
    assert_only_the_bad_one_is_left_out(playground, command, message)


@pytest.mark.parametrize("name", MASK_FAULTS)
def test_a_bad_mask_is_named_and_the_others_go_on(playground, command, name):
    make, message = MASK_FAULTS[name]
    playground.add("good")
    playground.add("bad", mask=make(playground.folder))
    assert_only_the_bad_one_is_left_out(playground, command, message)


def test_an_unknown_phase_and_label_and_a_duplicate_are_recorded(playground, command):
    playground.add("good")
    playground.add("p2", "PVP", label="cancer")
    playground.add("p3", "lunch")
    playground.add("p4", "AP")
    playground.add("p4", "art")
    code, printed = command("run", playground.configure())
    reasons = playground.excluded()
    assert code == 2
    for who in ("patient p2", "patient p3, phase lunch", "patient p4, phase AP"):
        (line,) = (line for line in printed.splitlines() if line.startswith(f"{who}: "))
        assert "cohort.csv" in line
    assert "unknown label 'cancer'" in reasons["p2", ""]
    assert "unknown phase 'lunch'" in reasons["p3", "lunch"]
    assert "name the same patient and phase" in reasons["p4", "AP"]
    assert len(playground.bag("p2")) == 5  # a bag holds no label, so a wrong one costs no bag


def test_a_fault_in_one_phase_leaves_the_others_and_is_told_again_by_the_next_run(playground, command):
    playground.add("good", "AP")
    playground.add("good", "PVP", mask=empty_mask(playground.folder))
    config = playground.configure()
    codes = [command("run", config)[0] for _ in range(2)]
    assert codes == [2, 2]
    assert playground.bag("good").header.phases_present == ("AP",)
    assert "empty one" in playground.bag("good").header.phases_missing["PVP"]
    assert "empty one" in playground.excluded()["good", "PVP"]


def test_an_unknown_key_is_told_the_nearest(playground, command):
    code, printed = command("run", playground.configure("[extract]\nencodr = 'resnet18'\n"))
    assert code == 2
    assert "unknown key 'extract.encodr'; nearest valid key: 'encoder'" in printed


def test_a_wrong_weights_file_stops_the_run_with_its_keys(playground, command):
    playground.add("good")
    torch.save({"odd": torch.zeros(1)}, playground.folder / "w.pth")
    code, printed = command("run", playground.configure(), "weights=w.pth")
    assert code == 2
    assert "weights w.pth do not fit squeezenet1_0" in printed
    assert "1 keys unexpected: odd" in printed
    assert not playground.bags.exists()


def test_weights_that_are_not_there_say_what_to_put_where(playground, command):
    playground.add("good")
    code, printed = command("run", playground.configure(), "encoder=convnext_small", "weights=embedded")
    assert code == 2
    assert "no embedded weights for convnext_small" in printed


def test_the_log_holds_what_was_printed_the_bags_and_what_stopped_a_run(playground, command):
    playground.add("good")
    _, printed = command("run", playground.configure(), "--verbose")
    command("run", playground.configure(), "weights=w.pth")
    lines = (playground.folder / "out" / LOG).read_text(encoding="utf-8").splitlines()
    said = [line.partition(" ")[2] for line in lines]
    first = said[: said.index("INFO  begin: extract.py run", 1)]
    assert printed.splitlines() == [line[6:] for line in first[1:-1]]
    assert "DEBUG bag 1 written: 5 slices" in first
    assert said[-1].startswith("ERROR ")
    assert "w.pth" in said[-1]


def test_random_weights_are_announced(playground, command):
    playground.add("good")
    code, printed = command("run", playground.configure())
    assert code == 0
    assert "RANDOM WEIGHTS" in printed


def test_a_second_run_embeds_nothing_and_a_changed_mask_embeds_again(playground, command):
    playground.add("a", seed=1)
    playground.add("b", seed=2)
    config = playground.configure()
    command("run", config)
    before = {p.name: p.read_bytes() for p in playground.bags.glob("*.h5")}
    _, printed = command("run", config)
    assert "0 bags written (0 slices), 2 done before" in printed
    mask = draw_scan()[1]
    mask[:, :, 4] = 0
    save(playground.folder / "a_PVP_mask.nii.gz", mask)
    command("run", config)
    assert len(playground.bag("a")) == 4
    assert (playground.bags / "b.h5").read_bytes() == before["b.h5"]


def test_a_bag_holds_the_features_of_its_slices(playground, command):
    """The feature of a slice is that of its hand-made image."""
    playground.add("good", seed=0)
    text = "[extract.input]\nscales_mm = { tight = 12.0 }\nsize_px = 32\nwindows = [[40, 400]]\n"
    command("run", playground.configure(text))
    bag = playground.bag("good")
    image = draw_scan()[0].astype(np.float32)
    # Tumour x 10..19, y 12..21; 12 px around its middle; LPS array, so rows are y and columns x.
    crops = np.stack([image[9:21, 11:23, z].T for z in range(4, 9)])
    shown = torch.from_numpy(np.clip((crops + 160) / 400, 0, 1)).unsqueeze(1)
    shown = torch.nn.functional.interpolate(shown, (32, 32), mode="bilinear", antialias=True)
    encoder = load_encoder("squeezenet1_0", "random:0", precision="float32", device="cpu")
    expected = encoder.embed(shown.expand(-1, 3, -1, -1)).numpy()
    np.testing.assert_allclose(bag.features, expected, atol=1e-5)
    np.testing.assert_array_equal(bag.slice_index, [4, 5, 6, 7, 8])
    np.testing.assert_allclose(bag.z_mm, [12, 15, 18, 21, 24])
    np.testing.assert_allclose(bag.tumour_area_mm2, 100)


@pytest.mark.parametrize("change", ["batch_size=1", "batch_size=7", "workers=4"])
def test_the_bytes_do_not_depend_on_batches_or_workers(playground, command, change):
    for i in range(4):
        playground.add(f"p{i}", seed=i)
    config = playground.configure()
    command("run", config)
    command("run", config, change, f"output={playground.folder / 'other'}")
    for i in range(4):
        with (
            h5py.File(playground.bags / f"p{i}.h5") as a,
            h5py.File(playground.folder / "other" / "bags" / f"p{i}.h5") as b,
        ):
            assert a["features"][()].tobytes() == b["features"][()].tobytes()


def test_a_truncated_file_is_found_although_the_tumour_lies_before_the_cut(playground, command):
    voxels = np.concatenate([draw_scan()[0], np.full((40, 36, 200), -1000, np.int16)], axis=2)
    mask = np.zeros(voxels.shape, np.uint8)
    mask[10:20, 12:22, 4] = 1
    save(playground.folder / "mask.nii.gz", mask)
    whole = gzip.compress(gzip.decompress(save(playground.folder / "x.nii.gz", voxels).read_bytes()))
    (playground.folder / "x.nii.gz").write_bytes(whole[:-9])
    playground.add("bad", image="x.nii.gz", mask="mask.nii.gz")
    code, printed = command("run", playground.configure())
    assert code == 2
    assert "x.nii.gz: truncated" in printed


def test_the_script_runs_as_a_user_runs_it(playground):
    playground.add("good")
    words = [sys.executable, str(ROOT / "extract.py"), "run", "test.toml"]
    playground.configure()
    done = subprocess.run(words, cwd=playground.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 bags written (5 slices)" in done.stderr
