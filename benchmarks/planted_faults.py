"""Plant faults in a phantom cohort and let `extract.py check` find and name each.

usage: python benchmarks/planted_faults.py [--table results/reference/planted_faults.csv]

The `tiny` phantom is written with three patients per class, one fault is planted into each of a dozen scans, and the
cohort is checked. The command fails unless every fault stands in its row with its status and its reason.
"""

import argparse
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
from extract.checks import ScanReport
from extract.config import load_extract_config
from extract.phantom.cohort import write_cohort
from extract.phantom.config import PhantomSection
from pipeline.tables import write_table

CONFIG = 'name = "faults"\noutput = "out"\n[cohort]\ntable = "cohort.csv"\n'
COLUMNS = ("fault", "patient_id", "phase", "expected_status", "status", "reason")
Row = dict[str, str]
Change = Callable[[Path, Row], None]


@dataclass(frozen=True)
class Fault:
    """One planted fault: into which phase of which patient (by number), and what must be said of it."""

    name: str
    patient: int
    phase: str
    status: str
    reason: str
    plant: Change


def alter(path: Path, change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
    """Write a volume anew with other voxels or another affine."""
    image = nib.load(path)
    voxels, affine = change(np.asanyarray(image.dataobj), image.affine.copy())
    nib.save(nib.Nifti1Image(voxels, affine), path)


def voxels_of(column: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda folder, row: alter(folder / row[column], lambda voxels, affine: (change(voxels), affine))


def affine_of(column: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda folder, row: alter(folder / row[column], lambda voxels, affine: (voxels, change(affine)))


def shifted(mm: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda affine: affine + np.array([[0] * 4, [0] * 4, [0, 0, 0, mm], [0] * 4])


def truncate(folder: Path, row: Row) -> None:
    path = folder / row["image"]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def with_nan(voxels: np.ndarray) -> np.ndarray:
    odd = voxels.astype(np.float32)
    odd[::7, ::7, ::2] = np.nan
    return odd


def windowed(voxels: np.ndarray) -> np.ndarray:
    return np.rint((np.clip(voxels, -100, 200) + 100) / 300 * 255).astype(np.uint8)


FAULTS: Sequence[Fault] = (
    Fault("missing file", 0, "AP", "error", "expected an image file, found: No such file",
          lambda folder, row: (folder / row["image"]).unlink()),
    Fault("truncated .nii.gz", 0, "PVP", "error", "truncated", truncate),
    Fault("empty mask", 1, "AP", "error", "found an empty one", voxels_of("mask", np.zeros_like)),
    Fault("mask outside of the image", 1, "PVP", "error", "the mask lies outside of the image",
          affine_of("mask", shifted(2000))),
    Fault("NaN voxels", 2, "AP", "error", "NaN or infinite", voxels_of("image", with_nan)),
    Fault("8-bit windowed image", 2, "PVP", "error", "expected CT in HU", voxels_of("image", windowed)),
    Fault("4-D array", 3, "AP", "error", "expected a 3-D volume",
          voxels_of("image", lambda voxels: np.stack([voxels, voxels], axis=3))),
    Fault("wrong spacing in the header", 3, "PVP", "error", "expected a spacing of 0.3 to 10 mm",
          affine_of("image", lambda affine: affine @ np.diag([0.01, 0.01, 1, 1]))),
    Fault("mask on a shifted grid", 5, "AP", "warning", "the mask lies on another grid",
          affine_of("mask", shifted(4))),
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
              f"the same pixels stand under patient {ids[4]}, phase PVP", nothing),
        Fault("phases AP and PVP swapped", 6, "AP", "warning", "are the phases mixed up?", nothing),
        Fault("P1/P10 mix-up", 7, "AP", "warning", f"bears the identifier of patient {ids[8]}", nothing),
        Fault("identifier with a date", 8, "AP", "warning", "looks like a date", nothing),
    ]  # fmt: skip


def check_planted(folder: Path) -> list[dict[str, object]]:
    """Write the cohort, plant, check; return one row per fault."""
    table = folder / "cohort.csv"
    section = PhantomSection(preset="tiny", seed=1, jobs=1, missing={"NC": 1, "AP": 0, "PVP": 0, "DP": 1})
    write_cohort(section, table)
    with table.open(newline="") as stream:
        read = list(csv.DictReader(stream))
    old = list(dict.fromkeys(row["patient_id"] for row in read))
    ids = [f"P{i + 1}" for i in range(7)] + ["P8", "P80-20190301"]
    rows = {(old.index(row["patient_id"]), row["phase"]): row for row in read}
    for row in read:
        row["patient_id"] = ids[old.index(row["patient_id"])]
    faults = [*FAULTS, *plant_across(folder, rows, ids)]
    for fault in faults:
        fault.plant(folder, rows[fault.patient, fault.phase])
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(read[0]))
        writer.writeheader()
        writer.writerows(read)
    config = folder / "faults.toml"
    config.write_text(CONFIG)
    reports = check_cohort(load_extract_config(config, ()), Console(quiet=True))
    found = {(report.patient_id, report.phase): report for report in reports}
    return [_outcome(fault, found[ids[fault.patient], fault.phase], folder) for fault in faults]


def _outcome(fault: Fault, report: ScanReport, folder: Path) -> dict[str, object]:
    if report.status != fault.status or fault.reason not in report.reason:
        raise SystemExit(
            f"{fault.name}: expected {fault.status} with {fault.reason!r}, found {report.status}: {report.reason}"
        )
    reason = report.reason.replace(f"{folder}/", "")
    cells = (fault.name, report.patient_id, report.phase, fault.status, report.status, reason)
    return dict(zip(COLUMNS, cells, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, default=Path("results/reference/planted_faults.csv"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        outcome = check_planted(Path(name).resolve())
    write_table(options.table, COLUMNS, outcome)
    print(f"{len(outcome)} planted faults, each found and named: {options.table}")


if __name__ == "__main__":
    main()
