"""A small cohort of synthetic scans, and stage 1 run on it as a user runs it."""

import csv
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from extract.commands import main
from pipeline.bags import Bag, bag_path, read_bag

COLUMNS = ("patient_id", "phase", "image", "mask", "label")
SHAPE = (40, 36, 12)
SPACING = (1.0, 1.0, 3.0)


def draw_scan(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """A body of 40 HU in air with a tumour of 100 HU on slices 4 to 8, as (x, y, z) in LPS."""
    rng = np.random.default_rng(seed)
    image = np.full(shape, -1000, dtype=np.int16)
    image[4:-4, 4:-4] = 40
    image += rng.integers(-10, 11, size=shape, dtype=np.int16)
    mask = np.zeros(shape, dtype=np.uint8)
    mask[10:20, 12:22, 4:9] = 1
    image[mask > 0] += 60
    return image, mask


def save(path: Path, voxels: np.ndarray, *, spacing=SPACING, origin=(0.0, 0.0, 0.0)) -> Path:
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = origin
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


@dataclass
class Playground:
    """A folder with scans, a cohort table and a configuration."""

    folder: Path
    rows: list[dict[str, str]] = field(default_factory=list)

    def add(
        self, patient_id: str, phase: str = "PVP", *, seed: int | None = None, label: str = "HCC", **more: str
    ) -> None:
        # Every patient has its own noise: the same pixels under two patients are a fault.
        image, mask = draw_scan(zlib.crc32(f"{patient_id} {phase}".encode()) if seed is None else seed)
        names = {"image": f"{patient_id}_{phase}.nii.gz", "mask": f"{patient_id}_{phase}_mask.nii.gz", **more}
        if "image" not in more:
            save(self.folder / names["image"], image)
        if "mask" not in more:
            save(self.folder / names["mask"], mask)
        self.rows.append({"patient_id": patient_id, "phase": phase, "label": label, **names})

    def configure(self, text: str = "") -> Path:
        columns = list(dict.fromkeys([*COLUMNS, *(key for row in self.rows for key in row)]))
        with (self.folder / "cohort.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        path = self.folder / "test.toml"
        head = 'name = "test"\noutput = "out"\n[cohort]\ntable = "cohort.csv"\n'
        body = '[extract]\nencoder = "squeezenet1_0"\nweights = "random:0"\nprecision = "float32"\ndevice = "cpu"\n'
        body += "" if "[extract.input]" in text else "[extract.input]\nsize_px = 32\n"
        path.write_text(head + (text if "[extract]" in text else body + text))
        return path

    @property
    def bags(self) -> Path:
        return self.folder / "out" / "bags"

    def bag(self, patient_id: str) -> Bag:
        return read_bag(bag_path(self.bags, patient_id))

    def excluded(self) -> dict[tuple[str, str], str]:
        with (self.bags / "excluded.csv").open() as stream:
            return {(row["patient_id"], row["phase"]): row["reason"] for row in csv.DictReader(stream)}


@pytest.fixture
def playground(tmp_path) -> Playground:
    return Playground(tmp_path)


@pytest.fixture
def command(monkeypatch, capsys):
    """Run `extract.py WORDS` in this process; return its exit code and what it printed."""

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["extract.py", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out + printed.err

    return run
