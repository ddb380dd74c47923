"""STAMP: a file of `feats` per slide, the clinical table and the table of slides, which is sorted by patient."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from extract.exporters.exported import Contents, Item, Target
from extract.exporters.hdf5_files import Arrays, single, write_h5
from pipeline.tables import write_table

_UM_PER_MM = 1000.0


def _problem(item: Item) -> str:
    size = item.bag.header.tile_size_um
    if math.isfinite(size) and size > 0:
        return ""
    return "the bag does not say how large its squares are (tile_size_um), without which STAMP stops"


def _write(item: Item, folder: Path, contents: Contents) -> None:
    size = item.bag.header.tile_size_um  # of whole slices, that of the patient
    heights = np.nan_to_num(item.bag.z_mm) * _UM_PER_MM
    places = np.stack([item.columns * size, heights], axis=1).astype(np.float32)
    # No stamp_version: STAMP refuses files of a later version than its own.
    said = {
        "feat_type": "tile",
        "extractor": contents.recipe.encoder,
        "unit": "um",
        "tile_size_um": size,
        "tile_size_px": item.bag.header.tile_size_px,
    }
    arrays: Arrays = {"feats": (single(item.bag.features), {}), "coords": (places, {})}
    write_h5(folder / "features" / f"{item.name}.h5", arrays, rows_of_a_chunk=32, attributes=said)


def _finish(contents: Contents, folder: Path) -> None:
    slides = sorted((one.case, f"{one.name}.h5") for one in contents.made)
    rows = ({"PATIENT": case, "FILENAME": name} for case, name in slides)
    write_table(folder / "slide.csv", ("PATIENT", "FILENAME"), rows)
    if contents.classes:
        clinical = ({"PATIENT": case, "label": label} for case, label in sorted(contents.label_of.items()))
        write_table(folder / "clini.csv", ("PATIENT", "label"), clinical)


def _advice(contents: Contents) -> Iterator[str]:
    yield "in config.yaml: slide_table slide.csv, feature_dir features, patient_label PATIENT, filename_label FILENAME"
    if contents.classes:
        yield "clini_table clini.csv, ground_truth_label label"
    yield "keep slide.csv sorted by PATIENT: STAMP loses slides of patients whose rows do not follow one another"


TARGET = Target(
    "stamp",
    "features, slide.csv and clini.csv",
    _write,
    _finish,
    lacks=(
        "coords are micrometres: the column of phase and scale times the size of a square, and the height z",
    ),
    advice=lambda contents: tuple(_advice(contents)),
    problem=_problem,
)
