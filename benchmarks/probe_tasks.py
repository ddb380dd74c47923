"""The images and splits of the probes of `probe_encoders.py`, which describes them."""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import skimage
from skimage import io as image_io
from skimage.color import rgb2gray
from skimage.transform import resize
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedShuffleSplit

WINDOW = (40.0, 400.0)
PHOTOGRAPHS = ("brick", "grass", "gravel", "camera", "coins", "moon", "page", "text", "clock_motion", "cell",
               "chelsea", "coffee", "astronaut", "ihc", "hubble_deep_field", "retina", "rocket", "motorcycle_left")  # fmt: skip
PATCH = 64
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Task:
    """Images with labels and the parts to train and test on."""

    name: str
    images: np.ndarray
    labels: np.ndarray
    splits: Sequence[tuple[np.ndarray, np.ndarray]]


def windowed(hu: np.ndarray) -> np.ndarray:
    centre, width = WINDOW
    return np.clip((hu - centre) / width + 0.5, 0, 1).astype(np.float32)


def canonical(path: Path) -> tuple[np.ndarray, float]:
    image = nibabel.as_closest_canonical(nibabel.load(path))
    return np.asarray(image.dataobj, dtype=np.float32), float(image.header.get_zooms()[0])


def crops(
    volume: np.ndarray, mask: np.ndarray, spacing: float, seed: int, per_slice: int = 3
) -> tuple[list, list]:
    """Cut squares of 96 mm around random pixels of the mask; rows anterior to posterior; and their slices."""
    chance = np.random.default_rng(seed)
    half = 16
    found, where = [], []
    for z in np.flatnonzero(mask.any((0, 1))):
        plane, organ = volume[:, :, z].T[::-1, ::-1], mask[:, :, z].T[::-1, ::-1].astype(np.float32)
        if spacing < 2.9:
            shape = tuple(round(s * spacing / 3) for s in plane.shape)
            plane, organ = resize(plane, shape, order=1, anti_aliasing=True), resize(organ, shape, order=1)
        pixels = np.argwhere(organ > 0.5)
        if len(pixels) < 4:
            continue
        padded = np.pad(plane, half, constant_values=-1000)
        for r, c in pixels[chance.choice(len(pixels), min(per_slice, len(pixels)), replace=False)]:
            found.append(windowed(padded[r : r + 2 * half, c : c + 2 * half]))
            where.append(z)
    return found, where


def organ_tasks() -> list[Task]:
    folder = SHARED / "totalsegmentator"
    volume, spacing = canonical(folder / "example_ct_sm.nii.gz")
    images, labels, slices, names = [], [], [], []
    for path in sorted((folder / "example_ct_sm_masks").glob("*.nii.gz")):
        mask = canonical(path)[0] > 0
        if mask.any():
            cut, where = crops(volume, mask, spacing, seed=len(names))
            images += cut
            slices += where
            labels += [len(names)] * len(cut)
            names.append(path.name.removesuffix(".nii.gz"))
    block = np.array(slices) // 10
    splits = [(np.flatnonzero(block != b), np.flatnonzero(block == b)) for b in range(3)]
    within = Task("organs_blocks", np.stack(images), np.array(labels), splits)
    shared = {"liver": 0, "vertebrae_L1": 1, "aorta": 2}
    train = [i for i, k in enumerate(labels) if names[k] in shared]
    cross_images, cross_labels = [images[i] for i in train], [shared[names[labels[i]]] for i in train]
    n_train = len(train)
    for k, (other, mask, step, per_slice) in enumerate(_other_scans(folder)):
        cut, _ = crops(other, mask, step, seed=100 + k, per_slice=per_slice)
        cross_images += cut
        cross_labels += [k] * len(cut)
    everything = np.arange(len(cross_images))
    split = [(everything[:n_train], everything[n_train:])]
    return [within, Task("organs_scans", np.stack(cross_images), np.array(cross_labels), split)]


def read_nrrd(path: Path) -> np.ndarray:
    """Read a little-endian int16 NRRD, raw or gzip; the first axis runs fastest."""
    header, _, data = path.read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in header.decode().splitlines() if ": " in line)
    data = gzip.decompress(data) if fields["encoding"].startswith("gz") else data
    shape = tuple(map(int, fields["sizes"].split()))
    return np.frombuffer(data, "<i2").reshape(shape, order="F")


def _other_scans(folder: Path) -> list[tuple[np.ndarray, np.ndarray, float, int]]:
    dcmqi = SHARED / "dcmqi"
    sets = [pydicom.dcmread(path) for path in (dcmqi / "ct-3slice").glob("*.dcm")]
    sets.sort(key=lambda d: float(d.ImagePositionPatient[2]))
    # DICOM's columns run to the left and rows to the back: flipped, both axes are canonical.
    ct = np.stack([d.pixel_array.T * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in sets], -1)[
        ::-1, ::-1
    ]
    ct = np.clip(ct, -1024, None)
    masks = [(read_nrrd(dcmqi / f"{name}_seg.nrrd") > 0)[::-1, ::-1] for name in ("liver", "spine")]
    step = float(sets[0].PixelSpacing[0])
    aorta, aorta_step = canonical(folder / "aorta_crop" / "ct.nii.gz")
    lumen = canonical(folder / "aorta_crop" / "aorta_true_lumen.nii.gz")[0] > 0
    return [
        (ct, masks[0], step, 40),
        (ct, masks[1], step, 40),
        (aorta[:, :, ::4], lumen[:, :, ::4], aorta_step, 3),
    ]


def photograph_task() -> Task:
    images, labels, right = [], [], []
    folder = Path(skimage.__file__).parent / "data"
    for label, name in enumerate(PHOTOGRAPHS):
        (path,) = folder.glob(f"{name}.*")
        photo = image_io.imread(path)
        photo = rgb2gray(photo[..., :3]) if photo.ndim == 3 else photo / 255
        middle = photo.shape[1] // 2
        for half, part in enumerate((photo[:, :middle], photo[:, middle:])):
            spots = [(r, c) for r in range(0, part.shape[0] - PATCH + 1, PATCH)
                     for c in range(0, part.shape[1] - PATCH + 1, PATCH)]  # fmt: skip
            keep = np.random.default_rng(label).permutation(len(spots))[:32]
            images += [part[r : r + PATCH, c : c + PATCH] for r, c in (spots[k] for k in keep)]
            labels += [label] * len(keep)
            right += [half] * len(keep)
    half = np.array(right)
    split = [(np.flatnonzero(half == 0), np.flatnonzero(half == 1))]
    return Task("photographs", np.stack(images).astype(np.float32), np.array(labels), split)


def digit_task() -> Task:
    digits = load_digits()
    splits = StratifiedShuffleSplit(10, train_size=100, test_size=1000, random_state=0)
    parts = list(splits.split(digits.target, digits.target))
    return Task("digits", (digits.images / 16).astype(np.float32), digits.target, parts)
