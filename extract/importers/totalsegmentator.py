"""Layout `totalsegmentator`: scans beside what TotalSegmentator made of them.

    PATIENT/SCAN/ct.nii.gz
    PATIENT/SCAN/segmentations/liver.nii.gz, liver_lesions.nii.gz, ...
    PATIENT/SCAN/phase.json

SCAN is a folder for each phase, named as one or not; a patient with one scan needs none. The JSON is that of `totalseg_get_phase`;
it is measured from the image, so what it says is told as guessed, and asked about where the name of the folder says otherwise.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extract.importers.found import Entry, How, Import, ScanRow, not_used
from extract.importers.layout import ImportRequest, Layout
from extract.importers.mask_contents import MaskSettings, look_into_masks
from extract.importers.name_words import phase_words
from extract.importers.volume_files import stem_of, volumes_in
from pipeline.errors import CohortError, Mistakes
from pipeline.names import folded

LIVER, LESIONS = "liver", "liver_lesions"
PHASES = {"native": "NC", "arterial_late": "AP", "portal_venous": "PVP", "delayed": "DP"}
"""What `totalseg_get_phase` calls the phases; arterial_early has no name here, and is asked about."""
_OTHER = "the mask of another organ, written by TotalSegmentator"
_EARLY = "an early arterial phase is no late one; --phase arterial_early=AP takes it as such"


class TotalSegmentatorSettings(MaskSettings):
    """Settings of the layout totalsegmentator."""

    lesions: str = LESIONS
    """Name of the mask of the tumour without its suffix, such as a corrected one."""
    trust_phase: bool = False
    """Where folder and JSON disagree about the phase, take the JSON's."""


@dataclass(frozen=True)
class _Scan:
    """An image with the masks and the JSON beside it."""

    patient_id: str
    folder: Path
    image: Path
    liver: Path | None
    lesions: Path | None
    phase_file: Path | None


def find(request: ImportRequest, settings: TotalSegmentatorSettings) -> Import:
    """Find scans with masks of TotalSegmentator."""
    mistakes, entries, rows = Mistakes(), list[Entry](), list[ScanRow]()
    for scan in _scans(request, settings, mistakes):
        others = _other_organs(scan, request)
        entries += [not_used(request.named(p), _OTHER, patient_id=scan.patient_id) for p in others]
        with mistakes.gathered():
            phase, entry = _phase(scan, request, settings)
            entries.append(entry)
            rows.append(ScanRow(scan.patient_id, phase, scan.image, scan.lesions, liver_mask=scan.liver))
            if scan.phase_file:
                name = request.named(scan.phase_file)
                entries.append(
                    Entry("read for the phase", patient_id=scan.patient_id, phase=phase, file=name)
                )
    mistakes.raise_all()
    looked_into, looked = look_into_masks(rows, request, settings.of_tumour, settings.of_organ)
    return Import(looked_into, (*entries, *looked))


def _scans(request: ImportRequest, settings: TotalSegmentatorSettings, mistakes: Mistakes) -> Iterator[_Scan]:
    volumes = [path for path in volumes_in(request.files) if path.parent != request.folder]
    masks = [path for path in volumes if stem_of(path) in (LIVER, settings.lesions)]
    of_masks = {path.parent for path in masks}
    for image in (path for path in volumes if path.parent not in of_masks and not _is_below(path, of_masks)):
        folder = image.parent
        own = [path for path in masks if path.parent.parent == folder]
        beside = [p for p in volumes if p.parent == folder]
        if len(beside) > 1:
            named = ", ".join(path.name for path in beside[:3]) + (" ..." if len(beside) > 3 else "")
            mistakes.add(CohortError(
                f"{request.named(folder)}: expected one image in the folder of a scan, found {named}; --skip the others"
            ))  # fmt: skip
            continue
        phase_files = [
            path
            for path in request.files
            if path.parent == folder and path.suffix == ".json" and "phase" in path.stem
        ]
        yield _Scan(
            request.spellings.patient(image.relative_to(request.folder).parts[0]),
            folder,
            image,
            next((path for path in own if stem_of(path) == LIVER), None),
            next((path for path in own if stem_of(path) == settings.lesions), None),
            phase_files[0] if len(phase_files) == 1 else None,
        )


def _is_below(path: Path, folders: set[Path]) -> bool:
    return any(parent in folders for parent in path.parents)


def _other_organs(scan: _Scan, request: ImportRequest) -> Sequence[Path]:
    """Return the masks of other organs beside those that are read."""
    folders = {path.parent for path in (scan.liver, scan.lesions) if path}
    read = {scan.liver, scan.lesions}
    return [path for path in volumes_in(request.files) if path.parent in folders and path not in read]


def _phase(scan: _Scan, request: ImportRequest, settings: TotalSegmentatorSettings) -> tuple[str, Entry]:
    """Return the phase of a scan and the entry that says why.

    Raises:
        CohortError: neither the folder nor the JSON tells it, or they disagree.
    """
    where = request.named(scan.folder)
    words = phase_words("_".join(scan.folder.relative_to(request.folder).parts[1:]), request.spellings)
    by_folder = {word.phase for word in words if word.phase}
    measured, told = _measured(scan, request) if scan.phase_file else (None, "")
    named = by_folder.pop() if len(by_folder) == 1 else None
    if named and measured and named != measured and not settings.trust_phase:
        raise CohortError(
            f"{where}: the folder says {named}, {told}; which is right? --phase, another name of the folder, or trust_phase=true"
        )
    phase = measured if settings.trust_phase and measured else named or measured
    if phase is None:
        raise CohortError(
            f"{where}: neither the folder nor the JSON of totalseg_get_phase tells the phase{f' ({told})' if told else ''}; name "
            "the folder by it, or run totalseg_get_phase -o phase.json"
        )
    source = f"the word {words[0].spelling!r} of the folder" if phase == named else told
    how = How.DECIDED if phase == named == measured else How.GUESSED
    source = f"{source}; {told}" if how is How.DECIDED else source
    entry = Entry(f"image of {phase}", how=how, source=source, patient_id=scan.patient_id, phase=phase, file=request.named(scan.image))  # fmt: skip
    return phase, entry


def _measured(scan: _Scan, request: ImportRequest) -> tuple[str | None, str]:
    """Return the phase of the JSON, and what it says in words."""
    path = scan.phase_file
    assert path is not None
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        name = str(content["phase"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, f"{path.name} is no output of totalseg_get_phase"
    certain = content.get("probability")
    told = f"{path.name} says {name}, {content.get('pi_time')} s after injection, probability {certain}"
    phase = (
        request.spellings.phases.find(name)
        if request.spellings.ground(name, "")
        else PHASES.get(folded(name))
    )
    return phase, told if phase else f"{told}: {_EARLY}"


LAYOUT = Layout(
    "totalsegmentator",
    "PATIENT/SCAN/ct.nii.gz with segmentations/liver.nii.gz and liver_lesions.nii.gz, and the JSON of totalseg_get_phase",
    TotalSegmentatorSettings,
    find,
)
