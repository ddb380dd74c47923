"""CLAM: h5_files and pt_files of a slide each, and the table of a data set."""

from collections.abc import Iterator
from pathlib import Path

from extract.exporters.exported import Contents, Item, Target
from extract.exporters.hdf5_files import Arrays, single, write_h5
from pipeline.tables import write_table

_B = 8
"""Instances that CLAM takes for its instance loss by default."""


def _write(item: Item, folder: Path, contents: Contents) -> None:
    import torch  # noqa: PLC0415 - --help answers without it

    features = single(item.bag.features)
    places = item.places * max(contents.tile_size_px, 1)
    arrays: Arrays = {"features": (features, {}), "coords": (places, {})}
    write_h5(folder / "h5_files" / f"{item.name}.h5", arrays, rows_of_a_chunk=32)
    (folder / "pt_files").mkdir(exist_ok=True)
    torch.save(torch.from_numpy(features), folder / "pt_files" / f"{item.name}.pt")


def _finish(contents: Contents, folder: Path) -> None:
    columns = ("case_id", "slide_id", "label") if contents.classes else ("case_id", "slide_id")
    rows = ({"case_id": one.case, "slide_id": one.name, "label": one.label} for one in contents.made)
    write_table(folder / "dataset.csv", columns, ({name: row[name] for name in columns} for row in rows))


def _advice(contents: Contents) -> Iterator[str]:
    if contents.classes:
        numbers = {name: number for number, name in enumerate(contents.classes)}
        yield f"csv_path is dataset.csv, data_dir this folder, label_dict {numbers}"
    if any(one.phase for one in contents.made):
        yield (
            "each phase of a patient is a slide of its own: split by patient (patient_strat=True), or phases of one patient "
            "train and test the same model"
        )
    if contents.smallest < _B:
        yield (
            f"the smallest file has {contents.smallest} instances, and CLAM stops at files of fewer than its option --B, "
            f"{_B} by default: --B {contents.smallest}, or --no_inst_cluster"
        )


TARGET = Target(
    "clam",
    "h5_files, pt_files and dataset.csv",
    _write,
    _finish,
    lacks=("coords are pixels of a made-up sheet: a column for each phase and scale, a row for each slice",),
    advice=lambda contents: tuple(_advice(contents)),
    reads_text=False,
)
