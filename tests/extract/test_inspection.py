"""`extract.py inspect`: what is printed of a bag, of a folder, and of what is no bag."""

import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from pipeline.bags import list_bags, read_bag, version_of_file, write_bag

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "bags"


@pytest.fixture
def folder(tmp_path, bags_and_labels) -> Path:
    for bag in bags_and_labels[0][:3]:
        write_bag(tmp_path, bag)
    return tmp_path


def values(printed: str) -> dict[str, str]:
    lines = (line.split("  ", 1) for line in printed.splitlines() if "  " in line)
    return {name: value.strip() for name, value in lines}


def test_a_bag_tells_what_it_holds(command):
    code, printed = command("inspect", GOLDEN / "v2" / "golden.h5")
    told = values(printed)
    assert code == 0
    assert told["patient"] == "golden"
    assert told["instances"] == "4: AP 2, DP 2"
    assert (told["version"], told["modality"], told["d"]) == ("2", "ct", "3")
    assert told["encoder"] == "resnet18, layer penultimate, float32"
    assert told["weights"] == "IMAGENET1K_V1, sha256 333333333333"
    assert told["blocks"] == "whole 0:2, rim 2:3"
    assert told["measures"] == "lesion_median (HU), diameter (mm)"
    assert told["source of AP"] == "golden_AP.nii.gz, mask drawn, 0.7 x 0.7 x 2.5 mm"
    assert told["NC is missing"] == "no scan in the cohort table"
    assert told["extent_mm"] == "2.5 to 5"
    assert told["reference_hu"] == "AP 65.5, DP 98"


def test_a_bag_of_version_1_says_so(command):
    told = values(command("inspect", GOLDEN / "v1" / "golden.h5")[1])
    assert (told["version"], told["blocks"], told["measures"]) == ("1", "whole 0:3", "none")


def test_a_histology_bag_says_that_it_has_no_extent(command):
    path = GOLDEN / "conformance" / "valid-histology.h5"
    told = values(command("inspect", path)[1])
    assert (told["modality"], told["instances"], told["extent_mm"]) == ("histology", "4: - 4", "not known")


def test_a_folder_is_a_line_for_each_bag_and_a_summary(command, folder, bags_and_labels):
    bags = bags_and_labels[0][:3]
    code, printed = command("inspect", folder)
    lines = printed.splitlines()
    assert code == 0
    assert [line.split(" (")[0].split(", ")[0].split(": ")[:2] for line in lines[:3]] == [
        [bag.patient_id, "instances " + str(len(bag))] for bag in bags
    ]
    told = values(printed)
    assert told["patients"] == "3"
    assert told["instances"].startswith(f"{sum(map(len, bags))}: NC ")
    n_ap = sum(int((bag.phase == 1).sum()) for bag in bags)
    assert f"AP {n_ap} (patients: 3)" in told["instances"]
    assert told["blocks"] == "whole 0:16"
    assert told["weights"].endswith("RANDOM WEIGHTS")


def test_what_is_no_bag_is_one_line_each_and_the_rest_is_told(command, folder):
    (folder / "notes.h5").write_text("no HDF5\nat all\n")
    shutil.copy(folder / "p000.h5", folder / "copy.h5")
    code, printed = command("inspect", folder)
    faults = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert code == 2
    assert len(faults) == 2
    assert faults[0].startswith(f"error: {folder / 'copy.h5'}: the file is named after patient 'copy'")
    assert faults[1].startswith(f"error: {folder / 'notes.h5'}: not a readable HDF5 file")
    assert values(printed)["patients"] == "3"


def test_bags_of_two_recipes_in_a_folder_are_counted_and_refused(command, folder):
    bag = read_bag(folder / "p001.h5")
    other = replace(bag.header.recipe, encoder="resnet50")
    write_bag(folder, replace(bag, header=replace(bag.header, recipe=other)))
    code, printed = command("inspect", folder)
    assert code == 2
    expected = "resnet18, layer penultimate, float32 [2 bags]; resnet50, layer penultimate, float32 [1 bags]"
    assert values(printed)["encoder"] == expected
    assert "error: the bags of p000 and p001 differ in encoder: resnet18 against resnet50" in printed


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nowhere.h5", "nowhere.h5: no such bag"),
        (lambda folder: folder, "expected bags named <patient_id>.h5, found none"),
    ],
    ids=["no file", "no bag in the folder"],
)
def test_a_path_that_leads_to_no_bag_is_one_line(command, tmp_path, make, message):
    code, printed = command("inspect", make(tmp_path))
    assert (code, printed.count("\n")) == (2, 1)
    assert message in printed


def as_version_1(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 1
        for name in ("measures", "extent_mm"):
            del file[name]
        for name in ("modality", "feature_blocks", "reference_hu", "measure_names", "measure_units"):
            del file.attrs[name]


def test_a_bag_of_version_1_with_the_same_content_is_not_made_anew(playground, command):
    """As far as its content is that of version 1: without measures, which a mask of the tumour gives."""
    playground.add("p", liver_mask="p_PVP_mask.nii.gz")
    config, of_organ = playground.configure(), "slices.which=organ"
    command("run", config, of_organ)
    (path,) = list_bags(playground.bags).values()
    new = read_bag(path)
    assert version_of_file(path) == 2
    assert new.header.feature_blocks[0].name == "whole"
    assert (new.extent_mm == 3).all()  # the playground's slices are 3 mm apart
    as_version_1(path)
    before = path.read_bytes()
    code, printed = command("run", config, of_organ)
    assert code == 0
    assert "1 done before" in printed
    assert path.read_bytes() == before
    old = read_bag(path)
    assert old.header == new.header
    assert old.extent_mm.tolist() == new.extent_mm.tolist()
