"""torchmil: a folder each of features, coordinates and labels, with one .npy per bag."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.exporters.exported import Contents, Item, Target
from extract.exporters.hdf5_files import single


def _write(item: Item, folder: Path, contents: Contents) -> None:
    arrays: dict[str, NDArray[Any]] = {"features": single(item.bag.features), "coords": item.places}
    if item.label is not None:
        # Without an axis: torchmil pads arrays that have one as if they were instances.
        arrays["labels"] = np.array(contents.classes.index(item.label), dtype=np.int64)
    for name, values in arrays.items():
        (folder / name).mkdir(exist_ok=True)
        np.save(folder / name / f"{item.name}.npy", values)


def _finish(contents: Contents, folder: Path) -> None:
    """Write nothing: torchmil reads no table."""


def _advice(contents: Contents) -> Iterator[str]:
    labels = (
        ' labels_path="labels", bag_keys=["X", "Y", "coords"]'
        if contents.classes
        else ' bag_keys=["X", "coords"]'
    )
    yield f'ProcessedMILDataset(features_path="features", coords_path="coords",{labels})'
    if contents.classes:
        yield f"labels are {', '.join(f'{i} {name}' for i, name in enumerate(contents.classes))}"
    if len(contents.classes) > 2:
        yield "torchmil's models have one logit: train one for each class, or put a layer of several behind one"
    if any(one.phase for one in contents.made):
        yield "each phase of a patient is a bag of its own: split by patient; instances.csv says whose a file is"


TARGET = Target(
    "torchmil",
    "features, coords and labels, one .npy per bag",
    _write,
    _finish,
    lacks=(
        "coords are column and row: a column for each phase and scale, the index of the slice as row",
        "there are no labels of instances (inst_labels): leave y_inst out of bag_keys",
    ),
    advice=lambda contents: tuple(_advice(contents)),
    keeps_names=True,
)
