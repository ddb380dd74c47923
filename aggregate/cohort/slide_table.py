"""Which files of histology features belong to which patient: by a table of slides, or by the file's name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aggregate.cohort.slide_files import H5, PT, SUFFIXES, SlideFormat
from pipeline.errors import BagError
from pipeline.names import hint_of_nearest
from pipeline.tables import read_columns, read_lines

_COLUMNS = (("patient_id", "file"), ("PATIENT", "FILENAME"), ("case_id", "slide_id"))
"""Ours, those of STAMP's table of slides, and those of CLAM's table of a data set."""
_FOLDERS_OF_CLAM = {H5: "h5_files", PT: "pt_files"}
_LISTED = 3


@dataclass(frozen=True)
class SlideTable:
    """The slides of each patient.

    Attributes:
        files: patient -> files, in the order of the table.
        remarks: files that belong to nobody.
    """

    files: Mapping[str, tuple[Path, ...]]
    remarks: tuple[str, ...] = ()


def read_slide_table(
    folder: Path, how: SlideFormat, slides: Path | None, patient_ids: Sequence[str] | None = None
) -> SlideTable:
    """Find the slides of each patient.

    Args:
        folder: holds the files, for CLAM also in its folders h5_files and pt_files.
        how: what wrote them.
        slides: CSV with one row per slide: patient_id and file, or PATIENT and FILENAME; None if every file is named after its
            patient.
        patient_ids: of the cohort table, to which the names of files are compared; None where they were before.

    Raises:
        BagError: there is no file, a file is named twice or missing, or its name is that of no patient; the nearest is named.
        ResultsError: the table of slides is no CSV.
    """
    found = _files_in(folder, how)
    if not found:
        inside = sorted(path.name for path in folder.glob("*/") if any(path.glob(f"*{H5}")))
        hint = f"; folders with {H5} files inside it: {', '.join(inside[:_LISTED])}" if inside else ""
        wanted = " or ".join(SUFFIXES[how])
        raise BagError(f"{folder}: expected files {wanted} with histology features ({how}), found none{hint}")
    if slides is not None:
        return _of_table(slides, found, folder)
    for stem in found:
        if patient_ids is not None and stem not in patient_ids:
            raise BagError(
                f"{found[stem]}: {stem!r} is no patient_id of the cohort table; {hint_of_nearest(stem, patient_ids)}; where files "
                "are named after slides, write a CSV with the columns patient_id and file, and name it as `slides` of the bag set"
            )
    return SlideTable({stem: (path,) for stem, path in found.items()})


def _files_in(folder: Path, how: SlideFormat) -> Mapping[str, Path]:
    """Return every file by its name without suffix; of a slide in both forms of CLAM the .h5, which says more."""
    found: dict[str, Path] = {}
    for suffix in SUFFIXES[how]:
        places = [folder, *([folder / _FOLDERS_OF_CLAM[suffix]] if how == "clam" else [])]
        for path in (one for place in places for one in sorted(place.glob(f"*{suffix}"))):
            known = found.setdefault(path.name.removesuffix(suffix), path)
            if known != path and known.suffix == path.suffix:
                raise BagError(f"{known} and {path}: two files of one name; leave one folder out")
    return dict(sorted(found.items()))


def _of_table(slides: Path, found: Mapping[str, Path], folder: Path) -> SlideTable:
    patient_column, file_column = _columns_of(slides)
    by_name = {**found, **{path.name: path for path in found.values()}}
    owners: dict[Path, str] = {}
    files: dict[str, tuple[Path, ...]] = {}
    for line in read_lines(slides):
        patient_id, name = line.cells[patient_column].strip(), line.cells[file_column].strip()
        where = f"{slides}, line {line.number}"
        if not patient_id or not name:
            raise BagError(f"{where}: expected {patient_column} and {file_column}, found an empty cell")
        path = by_name.get(name)
        if path is None:
            raise BagError(f"{where}: no file {name!r} in {folder}; {_hint(name, by_name)}")
        if path in owners:
            raise BagError(
                f"{where}: the slide {name!r} of patient {patient_id} is named before, as one of patient {owners[path]}"
            )
        owners[path] = patient_id
        files[patient_id] = (*files.get(patient_id, ()), path)
    if not files:
        raise BagError(
            f"{slides}: expected a row for each slide, found none; fill it in, or take the bag set out"
        )
    unnamed = [path.name for path in found.values() if path not in owners]
    told = (
        f"{len(unnamed)} files in {folder}, such as {unnamed[0]}, are not in {slides.name} and are not used"
        if unnamed
        else ""
    )
    return SlideTable(files, (told,) if told else ())


def _columns_of(slides: Path) -> tuple[str, str]:
    there = read_columns(slides)
    pair = next((pair for pair in _COLUMNS if set(pair) <= set(there)), None)
    if pair is None:
        raise BagError(
            f"{slides}: expected the columns patient_id and file (or PATIENT and FILENAME of STAMP, case_id and slide_id of CLAM), found {', '.join(there)}"
        )
    return pair


def _hint(name: str, known: Iterable[str]) -> str:
    hint = hint_of_nearest(name, known)
    return hint if hint.startswith("nearest") else "none is named alike"
