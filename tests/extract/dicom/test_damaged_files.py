"""Damage to a file leaves a reason, and never a traceback or a warning that quotes the file."""

import random
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from extract.dicom.conversion import OrganHistogram, write_volume
from extract.dicom.geometry import SeriesError
from extract.dicom.headers import read_tree
from extract.dicom.masks import belonging, read_mask_file
from extract.dicom.series import sort_series
from tests.extract.conftest import draw_scan
from tests.extract.dicom.scanner import write_segmentation, write_series, write_structures

HU = draw_scan(shape=(16, 16, 4))[0]
MASK = np.zeros(HU.shape, dtype=np.uint8)
MASK[5:9, 5:9, 1:3] = 1
TRIANGLE = [(5.5, 5.5, 6.0), (9.5, 5.5, 6.0), (9.5, 9.5, 6.0)]
_FIRST_TAG = 132


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with some changed, most of them in the header, or cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 3, 10])):
        end = min(len(data), 1400) if rng.random() < 0.8 else len(data)
        changed[rng.randrange(_FIRST_TAG, end)] = rng.randrange(256)
    return bytes(changed[: rng.randrange(200, len(data))] if rng.random() < 0.2 else changed)


def read_all(folder: Path, out: Path) -> None:
    tree = read_tree([path for path in folder.rglob("*") if path.is_file()], folder)
    volumes = sort_series(header for header in tree.headers if not header.is_mask).volumes
    for volume in volumes:
        write_volume(volume, out, OrganHistogram())
    for header in (header for header in tree.headers if header.is_mask):
        mask = read_mask_file(header)
        mask.draw(list(mask.names), belonging(mask, volumes)[0])


@pytest.mark.parametrize("which", ["image", "segmentation", "structures"])
def test_damage_costs_a_reason(tmp_path, which):
    images = write_series(tmp_path / "scans" / "ct", HU)
    files = {
        "image": images[0],
        "segmentation": write_segmentation(tmp_path / "scans" / "seg", images, {"Tumor": MASK}),
        "structures": write_structures(tmp_path / "scans" / "rt", images[0], {"GTV": [TRIANGLE]}),
    }
    path, rng = files[which], random.Random(1)
    whole = path.read_bytes()
    for _ in range(40):
        path.write_bytes(damaged(whole, rng))
        with suppress(SeriesError):
            read_all(tmp_path / "scans", tmp_path / "out.nii.gz")
    path.write_bytes(whole)
    read_all(tmp_path / "scans", tmp_path / "out.nii.gz")
