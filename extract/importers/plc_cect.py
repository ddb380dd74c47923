"""Layout `plc-cect`: the data set PLC-CECT (Sci Data, doi:10.1038/s41597-025-05125-2) as it is shared.

A long CSV with one row per patient and phase, images and masks flat in three folders. What its headers lack is asked for:
the spacing is 1 x 1 x 1 mm in all of them, images are 8-bit of a window, and the slices lie superior first although the
headers say otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from extract.importers.found import Entry, How, Import, ScanRow, not_used
from extract.importers.layout import ImportRequest, Layout
from extract.importers.mask_contents import MaskSettings, look_into_masks
from extract.importers.spacing_table import HEADER, Spacing, Spacings, read_spacings
from extract.importers.tables_of_sets import (
    cell_of,
    covariates_of,
    file_of,
    not_taken,
    read_set_table,
    the_table,
)
from extract.importers.windowed_images import FAT_HU, WindowedLook, is_windowed, look_at
from extract.volumes import VolumeError, VolumeFile, open_volume
from pipeline.cohort_table import Row
from pipeline.config import ConfigPath
from pipeline.errors import CohortError, Mistakes
from pipeline.scan_cells import HeaderOverrides

COLUMNS = ("patient_id", "phase", "cancer_type", "ct_path", "mask_path", "liver_mask_path")
PHASES: Mapping[str, str] = {"P": "NC", "C1": "AP", "C2": "PVP", "C3": "DP"}
CLASSES: Mapping[str, str] = {"CHCC": "cHCC-CCA"}
"""What the data set means by a spelling that means two things elsewhere."""
_DESCRIPTION = "the description of the data set"


class PlcCectSettings(MaskSettings):
    """Settings of the layout plc-cect."""

    table: ConfigPath | None = None
    """The long CSV; by default patient_data.csv in the folder."""
    spacing: str = ""
    """True spacing, which the files do not hold: a CSV with patient_id, phase, spacing_x, spacing_y, spacing_z; one value for
    all, such as `0.8,0.8,5`; or `header`, to take 1 x 1 x 1 mm as it stands."""
    hu_offset: float | None = None
    """HU to add to what the window gives, so that fat lies near -100 HU; the images are measured, and the value is asked for."""
    window: tuple[float, float] = (-200.0, 200.0)
    """HU that 0 and 255 of the 8-bit images stand for, before the offset."""
    slices: Literal["by_lungs", "superior_first", "inferior_first"] = "by_lungs"
    """Order of the stored slices; `by_lungs`: superior first, but for images that show the lungs at the other end."""


@dataclass(frozen=True)
class _Image:
    """An image with its row of the table."""

    row: Row
    patient_id: str
    phase: str
    path: Path
    volume: VolumeFile
    look: WindowedLook | None
    """None for an image of more than 8 bits."""

    @property
    def lacks_spacing(self) -> bool:
        """Whether the header says 1 x 1 x 1 mm, which no CT of a liver has."""
        return all(abs(mm - 1) < 1e-6 for mm in self.volume.grid.spacing_mm)


def find(request: ImportRequest, settings: PlcCectSettings) -> Import:
    """Find the scans that the long CSV names, with overrides for what their headers say wrongly."""
    path = the_table(request, settings.table, ("patient_data.csv",))
    table = read_set_table(path, COLUMNS, request, paths=("ct_path", "mask_path", "liver_mask_path"))
    read = ", ".join((*COLUMNS, *request.covariates))
    others = ", ".join(not_taken(table, COLUMNS, request)) or "none"
    entries = [Entry(f"columns {read}; not read: {others}", source="--covariates", file=request.named(path))]
    images = _images(table.rows, request, settings, entries)
    spacings = _known(images, settings, entries)
    mistakes, rows = Mistakes(), list[ScanRow]()
    for image in images:
        with mistakes.gathered():
            rows.append(_row(image, spacings, settings, request, entries))
    mistakes.raise_all()
    looked_into, looked = look_into_masks(rows, request, settings.of_tumour, settings.of_organ)
    own = {
        Path(settings.spacing).resolve()
    }  # listed as no part of the data set otherwise, where it lies in the folder
    of_user = frozenset(path for path in request.files if path.resolve() in own)
    return Import(looked_into, (*entries, *looked), of_user)


def _images(
    rows: Sequence[Row], request: ImportRequest, settings: PlcCectSettings, entries: list[Entry]
) -> list[_Image]:
    found, mistakes = list[_Image](), Mistakes()
    for n, row in enumerate(rows, start=1):
        patient_id = request.spellings.patient(row["patient_id"])
        path, phase = file_of(row["ct_path"], request), ""
        with mistakes.gathered():
            phase = _phase(row, request)
        if path is None:
            entries.append(not_used(row["ct_path"], "no such image", patient_id=patient_id, phase=phase))
            continue
        try:
            volume = open_volume(path)
            look = look_at(volume, settings.window) if is_windowed(volume) else None
            found.append(_Image(row, patient_id, phase, path, volume, look))
        except VolumeError as error:
            why = str(error).removeprefix(f"{path}: ")
            entries.append(not_used(request.named(path), why, patient_id=patient_id, phase=phase))
        if n % 50 == 0:
            request.tell(f"{n} of {len(rows)} images looked at")
    mistakes.raise_all()
    return found


def _phase(row: Row, request: ImportRequest) -> str:
    """Return the phase of a row: as the user says, else as the data set means it."""
    text = row["phase"]
    is_given = request.spellings.ground(text, "") != ""
    phase = PHASES.get(text.upper()) if not is_given else None
    phase = phase or request.spellings.phase(text)
    if phase is None:
        raise CohortError(f'line {row.line}: unknown phase {text!r}; say which: --phase "{text}=NAME"')
    return phase


def _known(images: Sequence[_Image], settings: PlcCectSettings, entries: list[Entry]) -> Spacings:
    """Return the true spacings.

    Raises:
        CohortError: spacing or offset are not known; both are asked for at once.
    """
    mistakes, spacings = Mistakes(), Spacings()
    with mistakes.gathered():
        spacings = read_spacings(settings.spacing)
    n = sum(image.lacks_spacing for image in images)
    if n and not settings.spacing:
        mistakes.add(CohortError(
            f"spacing: {n} of {len(images)} headers say 1 x 1 x 1 mm, which no CT of a liver has, and no file of the data set "
            "holds the true one: spacing=FILE (patient_id, phase, spacing_x, spacing_y, spacing_z), or spacing=0.8,0.8,5"
        ))  # fmt: skip
    looks = [image.look for image in images if image.look]
    if looks and settings.hu_offset is None:
        mistakes.add(CohortError(_question_of_offset(looks, settings.window)))
    mistakes.raise_all()
    if looks:
        entries.append(
            Entry(f"offset of {settings.hu_offset:g} HU; without it {_fat(looks)}", source="the command")
        )
    return spacings


def _question_of_offset(looks: Sequence[WindowedLook], window: tuple[float, float]) -> str:
    peaks = [look.fat_hu for look in looks if look.fat_hu is not None]
    proposal = f"hu_offset={FAT_HU - median(peaks):.0f} brings it to {FAT_HU:.0f} HU, and " if peaks else ""
    return (
        f"hu_offset: {len(looks)} images have 8 bits of a window from {window[0]:g} to {window[1]:g} HU, in which {_fat(looks)}: "
        f"{proposal}hu_offset=0 takes the window as it is"
    )


def _fat(looks: Sequence[WindowedLook]) -> str:
    peaks = [look.fat_hu for look in looks if look.fat_hu is not None]
    if not peaks:
        return "no fat is seen"
    return f"fat lies at {median(peaks):.0f} HU ({min(peaks):.0f} to {max(peaks):.0f}, {len(peaks)} images)"


def _row(
    image: _Image, spacings: Spacings, settings: PlcCectSettings, request: ImportRequest, entries: list[Entry]
) -> ScanRow:
    row, label = image.row, cell_of(image.row, "cancer_type")
    low, high = settings.window
    spacing: Spacing = (None, None, None)
    source = f"line {row.line}, phase {row['phase']!r}"
    entries.append(_entry(image, request, f"image of {image.phase}", source))
    if image.lacks_spacing and settings.spacing != HEADER:
        spacing = spacings.of(image.patient_id, image.phase, row["phase"])
        what = f"spacing of {' x '.join(f'{mm:g}' for mm in spacing if mm)} mm"
        entries.append(_entry(image, request, what, spacings.source))
    flip, how, source = _order(image, settings)
    what = "slices turned round: they are stored superior first" if flip else "slices left as they are"
    entries.append(_entry(image, request, what, source, how))
    slope, intercept = (1.0, 0.0)
    if image.look:
        slope, intercept = (high - low) / 255, low + (settings.hu_offset or 0.0)
    return ScanRow(
        image.patient_id,
        image.phase,
        image.path,
        _mask(image, "mask_path", request, entries),
        label if request.spellings.ground(label, "") else CLASSES.get(label.upper(), label),
        liver_mask=_mask(image, "liver_mask_path", request, entries),
        overrides=HeaderOverrides(spacing, flip, slope, intercept),
        covariates=covariates_of(row, request),
    )


def _entry(image: _Image, request: ImportRequest, what: str, source: str, how: How = How.DECIDED) -> Entry:
    return Entry(
        what,
        how=how,
        source=source,
        patient_id=image.patient_id,
        phase=image.phase,
        file=request.named(image.path),
    )


def _order(image: _Image, settings: PlcCectSettings) -> tuple[bool, How, str]:
    """Return whether the header has the slices the wrong way round, and on what that rests."""
    if settings.slices != "by_lungs":
        return settings.slices == "superior_first", How.DECIDED, "the command"
    if image.look is None or image.look.lungs_below is None:
        return True, How.GUESSED, _DESCRIPTION
    end = "inferior" if image.look.lungs_below else "superior"
    return image.look.lungs_below, How.GUESSED, f"air within the body at the end that the header calls {end}"


def _mask(image: _Image, column: str, request: ImportRequest, entries: list[Entry]) -> Path | None:
    cell = cell_of(image.row, column)
    path = file_of(cell, request) if cell else None
    if not cell:
        entries.append(_entry(image, request, f"no {column} is given", "the table"))
    elif path is None:
        why = f"{column}: no such file"
        entries.append(not_used(cell, why, patient_id=image.patient_id, phase=image.phase))
    return path


LAYOUT = Layout(
    "plc-cect",
    "the data set PLC-CECT: patient_data.csv, ct_files, mask_files, liver_mask_files",
    PlcCectSettings,
    find,
)
