"""Synthetic histology features of a core biopsy of each patient, tied to the share of HCC-like tissue that was drawn.

No tissue is drawn, only what an encoder might say of its tiles: each kind of tile (HCC-like, CCA-like, stroma, liver) has a fixed
direction in the space of the features, to which noise is added. A core samples the tumour with error: of a mixed tumour it may
hit one component only, and otherwise its share of HCC-like tumour scatters about that of the whole tumour. So a biopsy tells HCC
from iCCA and misses part of the combined tumours, as published (Gigante 2019: biopsy or imaging alone finds about half of them).
All rates are assumptions, set by [phantom.histology].
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from extract.phantom.cohort import TRUTH
from extract.phantom.config import HistologySection
from pipeline.errors import CohortError
from pipeline.files import written_whole
from pipeline.provenance import sha256_of_file, sha256_of_json
from pipeline.tables import read_table, write_table

SLIDES = "slides.csv"
SLIDES_TRUTH = "slides_truth.csv"
ENCODER = "synthetic-histology"
WARNING = "SYNTHETIC: features drawn by formula, no tissue"
"""Attribute of every file."""
KINDS = ("hcc", "cca", "stroma", "liver")
_MARKER = "histology.json"
_DIRECTIONS_SEED = 31544304
"""The encoder is the same in every cohort: its directions do not hang on the cohort's seed."""
_TUMOUR_SHARE = (0.4, 0.8)
_SHIFT = 0.2
"""Spread over the slides of what staining adds to every feature, in standard deviations of a tile's noise."""
_TILE_PX, _TILE_UM = 224, 256.0


@dataclass(frozen=True, eq=False)
class Slide:
    """One slide as drawn.

    Attributes:
        name: of the file, without suffix.
        patient_id: whose it is.
        core_fraction: share of HCC-like tissue in the part of the tumour that the core hit.
        counts: kind of tile -> tiles.
        features: float32 (tiles, width).
        coords: int64 (tiles, 2), pixels.
    """

    name: str
    patient_id: str
    core_fraction: float
    counts: Mapping[str, int]
    features: NDArray[np.float32]
    coords: NDArray[np.int64]


def write_histology(section: HistologySection, table: Path, *, seed: int) -> str:
    """Write the biopsies of a cohort that stands at `table`, unless they exist already; return in words what is there.

    Raises:
        CohortError: the folder holds files that this function did not write.
    """
    folder, truth = table.parent / section.folder, table.with_name(TRUTH)
    identity = {
        "generator": sha256_of_file(Path(__file__)),
        "section": section.model_dump(mode="json"),
        "truth": sha256_of_file(truth),
        "seed": seed,
    }
    sha256 = sha256_of_json(identity)
    marker = _read_marker(folder)
    if marker.get("sha256") != sha256:
        _clear(folder, marker)
        slides = list(draw_slides(section, read_table(truth), seed=seed))
        for slide in slides:
            _write(folder / f"{slide.name}.h5", slide, section.format)
        _write_tables(folder, slides, section.format)
        _write_marker(folder, {"warning": WARNING, "sha256": sha256, **identity})
    n_slides = len(read_table(folder / SLIDES))
    return f"{n_slides} slides as {section.format} writes them, in {folder}; {SLIDES} says whose"


def draw_slides(
    section: HistologySection, truth: Sequence[Mapping[str, str]], *, seed: int
) -> Iterator[Slide]:
    """Draw the slides of every patient who has a biopsy.

    Args:
        section: what to draw.
        truth: rows of truth.csv, of which patient_id, label and hcc_fraction are used.
        seed: of the cohort.
    """
    directions = _directions(section.width) * section.contrast
    number = 0
    for i, row in enumerate(truth):
        rng = np.random.default_rng((seed, i, 3))  # the first two serve the patient's scans
        has_biopsy, has_two = rng.random(2) < (1 - section.without, section.two_slides)
        for _ in range((1 + has_two) * has_biopsy):
            number += 1
            yield _draw_slide(section, f"BX{number:04d}", row, directions, rng)


def core_fraction(section: HistologySection, fraction: float, rng: np.random.Generator) -> float:
    """Draw the share of HCC-like tissue in a core of a tumour with this share."""
    if not 0 < fraction < 1:
        return fraction
    if rng.random() < section.one_component:
        return float(rng.random() < fraction)
    return float(rng.beta(section.concentration * fraction, section.concentration * (1 - fraction)))


def _fraction(row: Mapping[str, str]) -> float:
    """Return the share of HCC-like tissue under the microscope.

    The drawn share says what scans show: an iCCA that looks like HCC on them has a share of 1. Under the microscope an HCC or an
    iCCA is what its label says.
    """
    return {"HCC": 1.0, "iCCA": 0.0}.get(row["label"], float(row["hcc_fraction"]))


def _draw_slide(
    section: HistologySection,
    name: str,
    row: Mapping[str, str],
    directions: NDArray[np.float64],
    rng: np.random.Generator,
) -> Slide:
    core = core_fraction(section, _fraction(row), rng)
    mistaken = rng.beta(1, 1 / section.look_alikes - 1) if section.look_alikes else 0.0
    hcc_like = core * (1 - mistaken) + (1 - core) * mistaken
    n = int(rng.integers(section.tiles[0], section.tiles[1] + 1))
    tumour, stroma = rng.uniform(*_TUMOUR_SHARE), rng.random()
    shares = [tumour * hcc_like, tumour * (1 - hcc_like), (1 - tumour) * stroma, (1 - tumour) * (1 - stroma)]
    kinds = np.sort(rng.choice(len(KINDS), size=n, p=shares))
    kinds = kinds[rng.permutation(n)]
    staining = _SHIFT * rng.standard_normal(section.width)
    features = directions[kinds] + staining + rng.standard_normal((n, section.width))
    side = int(np.ceil(np.sqrt(n)))
    places = np.stack([np.arange(n) % side, np.arange(n) // side], axis=1) * _TILE_PX
    counts = {kind: int(np.sum(kinds == k)) for k, kind in enumerate(KINDS)}
    return Slide(name, row["patient_id"], core, counts, features.astype(np.float32), places.astype(np.int64))


def _directions(width: int) -> NDArray[np.float64]:
    """Return a unit vector of each kind of tile (kinds, width)."""
    drawn = np.random.default_rng(_DIRECTIONS_SEED).standard_normal((len(KINDS), width))
    unit: NDArray[np.float64] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def _write(path: Path, slide: Slide, how: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as sibling, h5py.File(sibling, "w") as file:
        file.attrs["warning"] = WARNING
        _WRITERS[how](file, slide)


def _write_as_clam(file: h5py.File, slide: Slide) -> None:
    features = file.create_dataset(
        "features",
        data=slide.features,
        chunks=(1, slide.features.shape[1]),
        maxshape=(None, slide.features.shape[1]),
    )
    features.attrs["encoder"] = ENCODER
    file.create_dataset("coords", data=slide.coords)


def _write_as_trident(file: h5py.File, slide: Slide) -> None:
    features = file.create_dataset("features", data=slide.features.astype(np.float16))
    features.attrs.update({"name": slide.name, "encoder": ENCODER, "savetodir": ""})
    coords = file.create_dataset("coords", data=slide.coords)
    coords.attrs.update({"patch_size": _TILE_PX, "patch_size_level0": _TILE_PX, "level0_magnification": 20})
    coords.attrs.update({"target_magnification": 20, "overlap": 0, "name": slide.name, "savetodir": ""})


def _write_as_stamp(file: h5py.File, slide: Slide) -> None:
    file.create_dataset("feats", data=slide.features.astype(np.float16))
    file.create_dataset("coords", data=(slide.coords * (_TILE_UM / _TILE_PX)).astype(np.float32))
    file.attrs.update(
        {"extractor": ENCODER, "unit": "um", "tile_size_um": _TILE_UM, "tile_size_px": _TILE_PX}
    )
    file.attrs.update({"feat_type": "tile", "code_hash": "synthetic"})


_WRITERS: Mapping[str, Callable[[h5py.File, Slide], None]] = {
    "clam": _write_as_clam,
    "trident": _write_as_trident,
    "stamp": _write_as_stamp,
}


def _write_tables(folder: Path, slides: Sequence[Slide], how: str) -> None:
    columns = ("PATIENT", "FILENAME") if how == "stamp" else ("patient_id", "file")
    rows = [dict(zip(columns, (s.patient_id, f"{s.name}.h5"), strict=True)) for s in slides]
    write_table(folder / SLIDES, columns, rows)
    truth = [
        {"patient_id": s.patient_id, "file": f"{s.name}.h5", "core_fraction": s.core_fraction, **_tiles(s)}
        for s in slides
    ]
    write_table(
        folder / SLIDES_TRUTH, ("patient_id", "file", "core_fraction", *(f"{k}_tiles" for k in KINDS)), truth
    )


def _tiles(slide: Slide) -> Mapping[str, Any]:
    return {f"{kind}_tiles": count for kind, count in slide.counts.items()}


def _read_marker(folder: Path) -> Mapping[str, Any]:
    try:
        marker = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return marker if isinstance(marker, dict) else {}


def _write_marker(folder: Path, content: Mapping[str, Any]) -> None:
    with written_whole(folder / _MARKER) as sibling:
        sibling.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _clear(folder: Path, marker: Mapping[str, Any]) -> None:
    """Remove older synthetic slides; refuse files that are somebody's.

    The marker stays without a hash until all slides are written, so that an interrupted run is known as ours.
    """
    if folder.exists() and any(folder.iterdir()) and not marker:
        raise CohortError(
            f"{folder}: holds files that `phantom` did not write; name another folder in [phantom.histology]"
        )
    folder.mkdir(parents=True, exist_ok=True)
    _write_marker(folder, {"warning": WARNING, "sha256": None})
    for file in folder.glob("BX*.h5"):
        file.unlink()
