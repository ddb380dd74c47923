"""slideflow: a folder of bags for each phase, which it reads as modes of one slide, and annotations."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from extract.exporters.exported import Contents, Item, Target, file_name
from extract.exporters.hdf5_files import single
from pipeline.tables import write_table


def _write(item: Item, folder: Path, contents: Contents) -> None:
    import torch  # noqa: PLC0415 - --help answers without it

    place = folder / file_name(item.phase)
    place.mkdir(exist_ok=True)
    torch.save(torch.from_numpy(single(item.bag.features)), place / f"{item.name}.pt")
    np.savez(place / f"{item.name}.index.npz", item.places * max(contents.tile_size_px, 1))


def _finish(contents: Contents, folder: Path) -> None:
    config = {
        "extractor": {"class": contents.recipe.encoder, "kwargs": {}},
        "normalizer": None,
        "num_features": contents.n_features,
        "tile_px": contents.tile_size_px,
        "tile_um": contents.tile_size_um,
    }
    for phase in _phases(contents):
        path = folder / file_name(phase) / "bags_config.json"
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if contents.classes:
        rows = ({"patient": case, "slide": case, "label": label} for case, label in contents.label_of.items())
        write_table(folder / "annotations.csv", ("patient", "slide", "label"), rows)


def _phases(contents: Contents) -> Sequence[str]:
    return list(dict.fromkeys(one.phase for one in contents.made))


def _advice(contents: Contents) -> Iterator[str]:
    phases = _phases(contents)
    of_case: dict[str, set[str]] = {}
    for one in contents.made:
        of_case.setdefault(one.case, set()).add(one.phase)
    yield f"bags are {', '.join(file_name(phase) for phase in phases)}; several are modes of one slide"
    sizes = {item.bag.header.tile_size_um for item in contents.items()}
    if len(sizes) > 1:
        yield (
            f"tile_um of bags_config.json is that of the first patient, {contents.tile_size_um:g}; the squares of the patients have "
            f"sides of {min(sizes):g} to {max(sizes):g} micrometres"
        )
    lacking = [case for case, own in of_case.items() if len(own) < len(phases)]
    if lacking:
        yield (
            f"of several modes slideflow takes the slides that have all of them, and drops {len(lacking)} of {len(of_case)} "
            f"patients, such as {lacking[0]}, without a word"
        )


TARGET = Target(
    "slideflow",
    "a folder of bags for each phase, and annotations.csv",
    _write,
    _finish,
    lacks=(
        "the index has pixels of a made-up sheet: a column for each phase and scale, a row for each slice",
    ),
    advice=lambda contents: tuple(_advice(contents)),
    by_phase=True,
)
