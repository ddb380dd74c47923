"""TRIDENT: the folder of a job, with the features of one encoder and the places of the patches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from extract.exporters.exported import Contents, Item, Target, file_name
from extract.exporters.hdf5_files import Arrays, single, write_h5
from pipeline.tables import write_table


def _folders(contents: Contents) -> tuple[str, str]:
    """Return the folders of magnification and features."""
    size = max(contents.tile_size_px, 1)
    return f"1x_{size}px_0px_overlap", f"features_{file_name(contents.recipe.encoder)}"


def _write(item: Item, folder: Path, contents: Contents) -> None:
    job, of_features = _folders(contents)
    size = max(contents.tile_size_px, 1)
    places = item.places * size
    width, height = (np.max(places, axis=0) + size).tolist()
    said: dict[str, Any] = {
        "patch_size": size,
        "patch_size_level0": size,
        "level0_magnification": 1,
        "target_magnification": 1,
        "overlap": 0,
        "name": item.name,
        "savetodir": job,
        "level0_width": width,
        "level0_height": height,
    }
    told = {"name": item.name, "savetodir": f"{job}/{of_features}", "encoder": contents.recipe.encoder}
    arrays: Arrays = {"features": (single(item.bag.features), told), "coords": (places, said)}
    write_h5(folder / job / of_features / f"{item.name}.h5", arrays, rows_of_a_chunk=1)
    patches = folder / job / "patches" / f"{item.name}_patches.h5"
    write_h5(patches, {"coords": (places, said)}, rows_of_a_chunk=1)


def _finish(contents: Contents, folder: Path) -> None:
    if contents.classes:
        rows = ({"case_id": one.case, "slide_id": one.name, "label": one.label} for one in contents.made)
        write_table(folder / "labels.csv", ("case_id", "slide_id", "label"), rows)


def _advice(contents: Contents) -> Iterator[str]:
    job, of_features = _folders(contents)
    yield f"the features are in {job}/{of_features}"
    if contents.classes:
        yield "TRIDENT itself reads no labels; labels.csv has one row per file, for Patho-Bench or a loop of one's own"


TARGET = Target(
    "trident",
    "the folders of a job: features of the encoder, and patches",
    _write,
    _finish,
    lacks=(
        "coords are pixels of a made-up sheet at magnification 1: a column for each phase and scale, a row for each slice",
        "there is no picture of that sheet, so that TRIDENT cannot draw heatmaps on it",
    ),
    advice=lambda contents: tuple(_advice(contents)),
)
