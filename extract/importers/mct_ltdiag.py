"""Layout `mct-ltdiag`: the data set MCT-LTDiag (Sci Data 2026;13:31), as archives, as their folders, or as its benchmark has it.

    CASE.tar, or CASE/NIFTI/{nc,art,pvp,delay}.nii.gz with mask_pvp.nii.gz and liver_mask_pvp.nii.gz
    volume/TYPE/CASE/{nc,art,pvp,delay}.nii.gz and mask/TYPE/CASE/mask_pvp.nii.gz

Masks were drawn on the portal venous phase, on whose grid the others were registered. Labels stand in meta_info_patient.csv; a copy
of the data set without it has no diagnosis, and the table that has it is given by --labels.
"""

import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from extract.importers.found import Entry, Import, ScanRow, not_used, to_set
from extract.importers.layout import ImportRequest, Layout
from extract.importers.mask_contents import MaskSettings, look_into_masks
from extract.importers.tables_of_sets import covariates_of, not_taken, read_set_table
from extract.importers.volume_files import stem_of, volumes_in
from pipeline.cohort_table import Row
from pipeline.config import ConfigPath
from pipeline.errors import CohortError

PHASES: Mapping[str, str] = {"nc": "NC", "art": "AP", "pvp": "PVP", "delay": "DP"}
COLUMNS = ("ID", "type")
_MASK, _LIVER = "mask_pvp", "liver_mask_pvp"
_TABLES = ("meta_info_patient.csv", "meta_info_patient.tab")
_DESCRIPTION = "the description of the data set"


class MctLtdiagSettings(MaskSettings):
    """Settings of the layout mct-ltdiag."""

    unpack: ConfigPath | None = None
    """Folder to which archives (CASE.tar) are unpacked; those that lie there already are not unpacked again."""


def find(request: ImportRequest, settings: MctLtdiagSettings) -> Import:
    """Find cases with their phases, the mask of the portal venous phase, and the type."""
    files, entries = _unpacked(request, settings)
    cases: dict[str, dict[str, Path]] = {}
    for path in volumes_in(files):
        if stem_of(path) in (*PHASES, _MASK, _LIVER):
            cases.setdefault(_case_of(path), {})[stem_of(path)] = path
    table, told = _table(request)
    rows, told_of_cases = list[ScanRow](), list[Entry]()
    for case, own in cases.items():
        rows += _rows(case, own, table.get(case), request)
        if table and case not in table:
            told_of_cases.append(
                Entry("no row of the table names this case", source=_TABLES[0], patient_id=case)
            )
        if (
            table
            and case in table
            and own
            and _type_of(next(iter(own.values()))) not in ("", table[case]["type"])
        ):
            raise CohortError(
                f"case {case}: the table says {table[case]['type']!r}, its folder {_type_of(next(iter(own.values())))!r}"
            )
    missing = [
        not_used(_TABLES[0], f"line {row.line}: no scan of case {case}", patient_id=case)
        for case, row in table.items() if case not in cases
    ]  # fmt: skip
    folds = [
        not_used(request.named(path), "lists tumours, of which a patient has several: folds by it would leak; stage 2 splits by patient")
        for path in request.files if path.suffix == ".txt" and _lists_tumours(path)
    ]  # fmt: skip
    looked_into, looked = look_into_masks(rows, request, settings.of_tumour, settings.of_organ)
    drawn = to_set("extract.masks.propagate_from", '["PVP"]', f"masks are drawn on pvp, says {_DESCRIPTION}")
    return Import(looked_into, (*entries, *told, *told_of_cases, *missing, *folds, drawn, *looked))


def _unpacked(request: ImportRequest, settings: MctLtdiagSettings) -> tuple[Sequence[Path], list[Entry]]:
    """Return all files, those of archives too.

    Raises:
        CohortError: there are archives, and no folder to unpack them to.
    """
    archives = [path for path in request.files if path.name.lower().endswith((".tar", ".tar.gz", ".tgz"))]
    if not archives:
        return request.files, []
    if settings.unpack is None:
        raise CohortError(
            f"{len(archives)} archives, such as {request.named(archives[0])}: say where to unpack them: unpack=FOLDER"
        )
    files, entries = list(request.files), list[Entry]()
    for archive in archives:
        target = settings.unpack / archive.name.split(".")[0]
        try:
            if not target.exists():
                with tarfile.open(archive) as content:
                    content.extractall(target, filter="data")
            entries.append(Entry(f"unpacked to {target}", source="the command", file=request.named(archive)))
        except (tarfile.TarError, OSError, EOFError) as error:
            entries.append(not_used(request.named(archive), f"a damaged archive: {error}"))
        files += sorted(path for path in target.rglob("*") if path.is_file())
    return files, entries


def _case_of(path: Path) -> str:
    """Return the case: the folder of the file, or that above it where it is called NIFTI."""
    folder = path.parent
    return (folder.parent if folder.name.upper() == "NIFTI" else folder).name


def _type_of(path: Path) -> str:
    """Return the type that a folder of the benchmark names: volume/TYPE/CASE; empty elsewhere."""
    parts = path.parts
    return parts[-3] if len(parts) > 3 and parts[-4] in ("volume", "mask") else ""


def _table(request: ImportRequest) -> tuple[Mapping[str, Row], list[Entry]]:
    found = [path for path in request.files if path.name in _TABLES]
    if not found:
        return {}, []
    table = read_set_table(found[0], COLUMNS, request)
    others = ", ".join(not_taken(table, COLUMNS, request)) or "none"
    read = ", ".join((*COLUMNS, *request.covariates))
    told = [Entry(f"columns {read}; not read: {others}", source="--covariates", file=request.named(found[0]))]
    for name in request.covariates:
        ages = [row for row in table.rows if row[name] != covariates_of(row, request)[name]]
        if ages:
            told.append(
                Entry(
                    f"{name}: {len(ages)} cells such as {ages[0][name]!r} read as years",
                    source="the form of DICOM",
                )
            )
    return {row["ID"]: row for row in table.rows}, told


def _rows(case: str, own: Mapping[str, Path], row: Row | None, request: ImportRequest) -> list[ScanRow]:
    label = row["type"] if row else next((_type_of(path) for path in own.values()), "")
    return [
        ScanRow(
            request.spellings.patient(case),
            phase,
            own[name],
            own.get(_MASK) if phase == "PVP" else None,
            label,
            liver_mask=own.get(_LIVER) if phase == "PVP" else None,
            covariates=covariates_of(row, request) if row else dict.fromkeys(request.covariates, ""),
        )
        for name, phase in PHASES.items()
        if name in own
    ]


def _lists_tumours(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as stream:
        return "_tumor_" in stream.readline()


LAYOUT = Layout(
    "mct-ltdiag",
    "the data set MCT-LTDiag: CASE.tar or CASE/NIFTI/{nc,art,pvp,delay}.nii.gz, or the folders of its benchmark",
    MctLtdiagSettings,
    find,
)
