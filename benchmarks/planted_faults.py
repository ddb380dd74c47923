"""Plant faults in a phantom cohort and let `extract.py check` and `extract.py run` find and name each alike.

usage: python benchmarks/planted_faults.py [--table results/reference/planted_faults.csv]

The `tiny` phantom is written with three patients per class in four phases, something is planted into nearly every scan, and
the cohort is checked and run (with an untrained encoder). The command fails unless every fault stands in its row with its
status and its reason, in the same words from both commands; what is unusual but right must be `ok` in both.
"""

import argparse
import bz2
import csv
import gzip
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from rich.console import Console

from extract.check import check_cohort
from extract.config import ExtractConfig, load_extract_config
from extract.findings import TABLE
from extract.phantom.cohort import write_cohort
from extract.phantom.config import PhantomSection
from extract.run import run_extraction
from pipeline.tables import read_table, write_table

CONFIG = """name = "faults"
output = "out"
[cohort]
table = "cohort.csv"
[extract]
encoder = "squeezenet1_0"
weights = "random:0"
precision = "float32"
device = "cpu"
store = false
[extract.input]
size_px = 32
"""
COLUMNS = ("fault", "patient_id", "phase", "expected", "check", "run", "check_reason", "run_reason")
Row = dict[str, str]
Change = Callable[[Path, Row], None]
Voxels = np.ndarray
Key = tuple[str, str]


@dataclass(frozen=True)
class Fault:
    """One planted fault: into which phase of which patient (by number), and what must be said of it."""

    name: str
    patient: int
    phase: str
    status: str
    reason: str
    plant: Change


@dataclass(frozen=True)
class Told:
    """What a command says of a scan."""

    status: str
    reason: str


def read(path: Path) -> tuple[Voxels, np.ndarray]:
    image = nib.load(path)
    return np.asanyarray(image.dataobj), image.affine.copy()


def write(path: Path, voxels: Voxels, affine: np.ndarray, *, codes: tuple[int, int] = (2, 0)) -> None:
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, codes[0])
    image.set_qform(affine, codes[1])
    nib.save(image, path)


def voxels_of(column: str, change: Callable[[Voxels], Voxels]) -> Change:
    def plant(folder: Path, row: Row) -> None:
        voxels, affine = read(folder / row[column])
        write(folder / row[column], change(voxels), affine)

    return plant


def affine_of(column: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    def plant(folder: Path, row: Row) -> None:
        voxels, affine = read(folder / row[column])
        write(folder / row[column], voxels, change(affine))

    return plant


def shifted(mm: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda affine: affine + np.array([[0] * 4, [0] * 4, [0, 0, 0, mm], [0] * 4])


def renamed(column: str, suffix: str, pack: Callable[[bytes], bytes]) -> Change:
    """Give a file another suffix, and the compression that goes with it."""

    def plant(folder: Path, row: Row) -> None:
        old = folder / row[column]
        row[column] = row[column].removesuffix(".nii.gz") + suffix
        (folder / row[column]).write_bytes(pack(gzip.decompress(old.read_bytes())))

    return plant


def names(column: str, other: str) -> Change:
    return lambda folder, row: row.update({column: row[other]})


def names_a_copy(folder: Path, row: Row) -> None:
    """Let the mask cell name the image under another name."""
    row["mask"] = row["image"].replace("images/", "masks/copy_")
    shutil.copy(folder / row["image"], folder / row["mask"])


def truncate(folder: Path, row: Row) -> None:
    path = folder / row["image"]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def with_nan(voxels: Voxels) -> Voxels:
    odd = voxels.astype(np.float32)
    odd[::7, ::7, ::2] = np.nan
    return odd


def windowed(voxels: Voxels) -> Voxels:
    return np.rint((np.clip(voxels, -100, 200) + 100) / 300 * 255).astype(np.uint8)


def beside_padding(intercept: int) -> Callable[[Voxels], Voxels]:
    """Move all HU and pad the sides, as where an intercept was applied once too often or never."""

    def change(voxels: Voxels) -> Voxels:
        moved = voxels.astype(np.int16) + np.int16(intercept)
        moved[:8], moved[-8:] = -2000, -2000
        return moved

    return change


def of_body(folder: Path, row: Row) -> None:
    voxels, affine = read(folder / row["image"])
    write(folder / row["mask"], (voxels > -300).astype(np.uint8), affine)


def map_of_labels(folder: Path, row: Row) -> None:
    organ, affine = read(folder / row["liver_mask"])
    tumour, _ = read(folder / row["mask"])
    write(folder / row["mask"], np.where(tumour > 0, 2, organ > 0).astype(np.uint8), affine)


def labelled(folder: Path, row: Row) -> None:
    map_of_labels(folder, row)
    row["mask_label"] = "2"


def probability(voxels: Voxels) -> Voxels:
    blurred = voxels.astype(np.float32)
    for axis in (0, 1):
        blurred = (blurred + np.roll(blurred, 1, axis) + np.roll(blurred, -1, axis)) / 3
    return blurred


def scaled(folder: Path, row: Row) -> None:
    """Store the mask with the header of the CT, so that nibabel scales it to int16."""
    ct = nib.load(folder / row["image"])
    mask = np.asanyarray(nib.load(folder / row["mask"]).dataobj).astype(np.float64)
    nib.save(nib.Nifti1Image(mask, ct.affine, ct.header), folder / row["mask"])


def between_slices(folder: Path, row: Row) -> None:
    """Draw the lesion on one slice of 1 mm half way between two slices of the image."""
    voxels, affine = read(folder / row["mask"])
    z = int(np.flatnonzero(voxels.any(axis=(0, 1)))[0])
    thin = affine.copy()
    thin[:3, 2] /= np.linalg.norm(affine[:3, 2])
    thin[:3, 3] += affine[:3, 2] * (z + 0.5)
    write(folder / row["mask"], np.ascontiguousarray(voxels[:, :, z : z + 1]), thin)


def two_places(folder: Path, row: Row) -> None:
    """Let the qform of the image say 40 mm above its sform."""
    path = folder / row["image"]
    image = nib.load(path)
    changed = nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine)
    changed.set_sform(image.affine, 1)
    changed.set_qform(shifted(40)(image.affine), 1)
    nib.save(changed, path)


def nowhere(folder: Path, row: Row) -> None:
    for column in ("image", "mask", "liver_mask"):
        voxels, affine = read(folder / row[column])
        write(folder / row[column], voxels, affine, codes=(0, 0))


def tilted(folder: Path, row: Row) -> None:
    """Shear the grid of the scan and its masks as a gantry tilt of 20 degrees does."""
    for column in ("image", "mask", "liver_mask"):
        voxels, affine = read(folder / row[column])
        affine[1, 2] = np.tan(np.deg2rad(20)) * abs(affine[2, 2])
        write(folder / row[column], voxels, affine)


def padded(voxels: Voxels) -> Voxels:
    voxels = voxels.astype(np.int16)
    voxels[:6] = -3024
    return voxels


def in_two_parts(voxels: Voxels) -> Voxels:
    parts = np.zeros_like(voxels)
    z = np.flatnonzero(voxels.any(axis=(0, 1)))
    parts[40:44, 40:44, z[0]] = parts[40:44, 60:64, z[0]] = 1
    return parts


FAULTS: Sequence[Fault] = (
    Fault("missing file", 0, "AP", "error", "expected an image file, found: No such file",
          lambda folder, row: (folder / row["image"]).unlink()),
    Fault("truncated .nii.gz", 0, "PVP", "error", "truncated", truncate),
    Fault("image named .NII.GZ", 0, "NC", "ok", "", renamed("image", ".NII.GZ", gzip.compress)),
    Fault("image stored as .nii.bz2", 0, "DP", "ok", "", renamed("image", ".nii.bz2", bz2.compress)),
    Fault("empty mask", 1, "AP", "error", "found an empty one", voxels_of("mask", np.zeros_like)),
    Fault("mask outside of the image", 1, "PVP", "error", "the mask lies outside of the image",
          affine_of("mask", shifted(2000))),
    Fault("full mask", 1, "NC", "error", "found the value 1 in every voxel", voxels_of("mask", np.ones_like)),
    Fault("inverted mask", 1, "DP", "error", "is it inverted?", voxels_of("mask", lambda voxels: 1 - voxels)),
    Fault("NaN voxels", 2, "AP", "error", "NaN or infinite", voxels_of("image", with_nan)),
    Fault("8-bit windowed image", 2, "PVP", "error", "expected CT in HU", voxels_of("image", windowed)),
    Fault("mask cell names the image", 2, "NC", "error", "found the image itself", names("mask", "image")),
    Fault("mask cell names a copy of the image", 2, "DP", "error", "as of an image", names_a_copy),
    Fault("4-D array", 3, "AP", "error", "expected a 3-D volume",
          voxels_of("image", lambda voxels: np.stack([voxels, voxels], axis=3))),
    Fault("wrong spacing in the header", 3, "PVP", "error", "expected a spacing of 0.3 to 10 mm",
          affine_of("image", lambda affine: affine @ np.diag([0.01, 0.01, 1, 1]))),
    Fault("map of labels, none named", 3, "NC", "error", "found the labels 0, 1, 2", map_of_labels),
    Fault("probability as mask", 3, "DP", "error", "found fractions from 0 to 1", voxels_of("mask", probability)),
    Fault("mask scaled to int16", 4, "AP", "warning", "1 is taken for the tumour", scaled),
    Fault("mask of -1 and 1", 4, "NC", "warning", "the values of the mask are -1 and 1",
          voxels_of("mask", lambda voxels: np.where(voxels > 0, 1, -1).astype(np.int16))),
    Fault("mask of NaN and 1", 4, "DP", "warning", "the values of the mask are NaN and 1",
          voxels_of("mask", lambda voxels: np.where(voxels > 0, 1, np.nan).astype(np.float32))),
    Fault("mask on a shifted grid", 5, "AP", "warning", "the mask is on another grid",
          affine_of("mask", shifted(4))),
    Fault("map of labels, one named in the table", 5, "NC", "ok", "", labelled),
    Fault("lesion between two slices", 5, "DP", "error", "the mask lies between the slices", between_slices),
    Fault("padding of -3024", 6, "NC", "warning", "padding of -3024 HU is taken as air", voxels_of("image", padded)),
    Fault("liver mask missing", 6, "DP", "warning", "no such file",
          lambda folder, row: (folder / row["liver_mask"]).unlink()),
    Fault("no intercept beside padding", 7, "NC", "error", "expected CT in HU, with air or fat",
          voxels_of("image", beside_padding(1024))),
    Fault("intercept twice beside padding", 7, "PVP", "error", "an intercept applied twice",
          voxels_of("image", beside_padding(-1024))),
    Fault("sform and qform 40 mm apart", 7, "DP", "warning", "sform and qform differ by up to 40.0 mm", two_places),
    Fault("sform and qform with code 0", 8, "NC", "warning", "the header gives no position", nowhere),
    Fault("mask of the body", 8, "PVP", "error", "of the body on its slices; found 100%", of_body),
    Fault("liver mask full", 8, "DP", "warning", "found the value 1 in every voxel",
          voxels_of("liver_mask", np.ones_like)),
    # This patient has several lesions, which is all that is said.
    Fault("gantry tilt of 20 degrees", 9, "NC", "warning", "separate lesions", tilted),
    Fault("mask of 0 and 255", 9, "AP", "warning", "separate lesions", voxels_of("mask", lambda voxels: voxels * 255)),
    Fault("two lesions in one mask", 9, "PVP", "warning", "2 separate lesions", voxels_of("mask", in_two_parts)),
    Fault("infinity in the mask", 9, "DP", "error", "NaN or infinite voxels",
          voxels_of("mask", lambda voxels: np.where(voxels > 0, np.inf, 0).astype(np.float32))),
)  # fmt: skip


def plant_across(folder: Path, rows: Mapping[tuple[int, str], Row], ids: Sequence[str]) -> list[Fault]:
    """Plant what takes two rows: a copy recompressed, phases swapped, and identifiers of another or of a person."""
    nothing: Change = lambda _folder, _row: None  # noqa: E731
    source, copy = rows[4, "PVP"], rows[5, "PVP"]
    content = gzip.decompress((folder / source["image"]).read_bytes())
    (folder / copy["image"]).write_bytes(gzip.compress(content, compresslevel=9, mtime=0))
    copy["mask"], copy["liver_mask"] = source["mask"], source["liver_mask"]
    early, late = rows[6, "AP"], rows[6, "PVP"]
    for column in ("image", "mask", "liver_mask"):
        early[column], late[column] = late[column], early[column]
    path = folder / rows[7, "AP"]["image"]
    rows[7, "AP"]["image"] = f"images/{ids[8]}_ap.nii.gz"
    shutil.copy(path, folder / rows[7, "AP"]["image"])
    return [
        Fault("same pixels under another patient, recompressed", 5, "PVP", "error",
              f"the same pixels occur under patient {ids[4]}, phase PVP", nothing),
        Fault("phases AP and PVP swapped", 6, "AP", "warning", "are the phases mixed up?", nothing),
        Fault("P1/P10 mix-up", 7, "AP", "warning", f"contains the identifier of patient {ids[8]}", nothing),
        Fault("identifier with a date", 8, "AP", "warning", "looks like a date", nothing),
    ]  # fmt: skip


def plant_all(folder: Path) -> tuple[ExtractConfig, list[tuple[Fault, Key]]]:
    """Write the cohort and plant; return the configuration, and the faults with where they lie."""
    table = folder / "cohort.csv"
    patients = {"HCC": 4, "iCCA": 3, "cHCC-CCA": 3}
    complete = dict.fromkeys(("NC", "AP", "PVP", "DP"), 0)
    section = PhantomSection(preset="tiny", seed=1, jobs=1, patients=patients, missing=complete)
    write_cohort(section, table)
    with table.open(newline="") as stream:
        read_rows = [{**row, "mask_label": ""} for row in csv.DictReader(stream)]
    old = list(dict.fromkeys(row["patient_id"] for row in read_rows))
    ids = [f"P{i + 1}" for i in range(7)] + ["P8", "P80-20190301", "P9"]
    rows = {(old.index(row["patient_id"]), row["phase"]): row for row in read_rows}
    for row in read_rows:
        row["patient_id"] = ids[old.index(row["patient_id"])]
    faults = [*FAULTS, *plant_across(folder, rows, ids)]
    for fault in faults:
        fault.plant(folder, rows[fault.patient, fault.phase])
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(read_rows[0]))
        writer.writeheader()
        writer.writerows(read_rows)
    config = folder / "faults.toml"
    config.write_text(CONFIG)
    return load_extract_config(config, ()), [(fault, (ids[fault.patient], fault.phase)) for fault in faults]


def told_by_check(config: ExtractConfig, folder: Path) -> dict[Key, Told]:
    reports = check_cohort(config, Console(quiet=True))
    return {
        (report.patient_id, report.phase): Told(report.status, report.reason.replace(f"{folder}/", ""))
        for report in reports
    }


def told_by_run(config: ExtractConfig, folder: Path) -> dict[Key, Told]:
    """Join the rows of findings.csv as cohort_check.csv does: errors first."""
    run_extraction(config, Console(quiet=True))
    by_scan: dict[Key, list[Row]] = {}
    for row in read_table(config.bags_folder / TABLE):
        by_scan.setdefault((row["patient_id"], row["phase"]), []).append(row)
    told = {}
    for key, rows in by_scan.items():
        ordered = sorted(rows, key=lambda row: row["severity"] != "error")
        reason = "; ".join(row["reason"] for row in ordered).replace(f"{folder}/", "")
        told[key] = Told(ordered[0]["severity"], reason)
    return told


def compare(folder: Path) -> list[dict[str, object]]:
    """Write the cohort, plant, check, run; return one row per fault.

    Raises:
        SystemExit: a fault is not told as expected, or the commands differ on any scan.
    """
    config, faults = plant_all(folder)
    by_check, by_run = told_by_check(config, folder), told_by_run(config, folder)
    by_run = {key: by_run.get(key, Told("ok", "")) for key in by_check} | by_run
    differing = {
        key: (by_check.get(key), by_run[key]) for key in by_run if not is_same(by_check.get(key), by_run[key])
    }
    if differing:
        raise SystemExit("\n".join(f"{key}: check {a}, run {b}" for key, (a, b) in differing.items()))
    for fault, key in faults:
        found = by_check[key]
        if found.status != fault.status or fault.reason not in found.reason:
            raise SystemExit(
                f"{fault.name}: expected {fault.status} with {fault.reason!r}, found {found.status}: {found.reason}"
            )
    return [
        dict(zip(COLUMNS, (fault.name, *key, fault.status, by_check[key].status, by_run[key].status,
                           by_check[key].reason, by_run[key].reason), strict=True))
        for fault, key in faults
    ]  # fmt: skip


def is_same(a: Told | None, b: Told) -> bool:
    """Whether two commands say the same, in whatever order."""
    return (
        a is not None
        and a.status == b.status
        and sorted(a.reason.split("; ")) == sorted(b.reason.split("; "))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, default=Path("results/reference/planted_faults.csv"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        outcome = compare(Path(name).resolve())
    write_table(options.table, COLUMNS, outcome)
    print(f"{len(outcome)} planted faults, each found and named alike by check and run: {options.table}")


if __name__ == "__main__":
    main()
