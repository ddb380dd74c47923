"""Scans by the names of their files: a template says which is which, or the words of the names do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unicodedata import normalize

from extract.importers.found import Decision, Entry, How, Import, ScanRow, not_used
from extract.importers.layout import ImportRequest
from extract.importers.mask_contents import MaskSettings, look_into_masks
from extract.importers.name_words import Role, RoleWord, phase_words, role_of
from extract.importers.path_templates import fields_in, read_template
from extract.importers.volume_files import stem_of, volumes_in
from pipeline.errors import CohortError, Mistakes
from pipeline.names import number_of


class NamedFilesSettings(MaskSettings):
    """Settings of layouts in which the names of the files tell phase and role."""

    pattern: str = ""
    """Path of an image below the folder, such as `{patient}/{phase}.nii.gz`; fields: patient, phase, class, centre. Without it
    the words of the names tell, and the report calls that guessed."""
    mask_pattern: str = ""
    """Path of a mask of the tumour, such as `{patient}/{phase}_seg_{lesion}.nii.gz`."""
    liver_pattern: str = ""
    """Path of a mask of the organ."""
    mask_phase: str = ""
    """Phase on which the masks were drawn whose names tell none."""


@dataclass(frozen=True)
class NamedFile:
    """A volume and what its path tells; without a phase it is told by other means or not at all."""

    path: Path
    patient_id: str
    role: Role
    phase: str | None
    label: str = ""
    centre: str = ""
    lesion: str = ""
    how: How = How.GUESSED
    source: str = ""
    phase_word: str = ""
    """The spelling of the phase in its path."""
    role_word: str = ""
    """The word in its path that makes it a mask."""


class _DoubtError(CohortError):
    """A question that many files may have in common."""


def find_named(request: ImportRequest, settings: NamedFilesSettings, levels: tuple[str, ...]) -> Import:
    """Find scans by the names of files in folders of the given levels, such as ("class", "patient").

    Raises:
        CohortError: what a file is, or the value of a mask, cannot be known.
    """
    mistakes, files, doubts = Mistakes(), list[NamedFile](), dict[str, list[str]]()
    for path in volumes_in(request.files):
        with mistakes.gathered():
            try:
                found = (
                    _by_template(path, request, settings)
                    if settings.pattern
                    else _by_words(path, request, levels)
                )
            except _DoubtError as doubt:
                doubts.setdefault(str(doubt), []).append(request.named(path))
                continue
            if found:
                files.append(found)
    for question, names in doubts.items():
        mistakes.add(CohortError(f"{question} ({number_of(len(names), 'file')}, such as {names[0]})"))
    mistakes.raise_all()
    files = _placed_all(files, request, settings)
    rows, looked = look_into_masks(_rows(files, request), request, settings.of_tumour, settings.of_organ)
    told = {entry.file for entry in looked}
    used = {path for row in rows for path in (row.image, row.mask, row.liver_mask)}
    entries = (_entry(file, request, is_used=file.path in used) for file in files)
    kept = (entry for entry in entries if entry.file not in told or entry.decision is Decision.USED)
    return Import(rows, (*kept, *_taken_as_lesions(rows, files), *looked))


def _by_template(path: Path, request: ImportRequest, settings: NamedFilesSettings) -> NamedFile | None:
    """Return what the templates tell of a file; None where none fits."""
    templates = {
        Role.TUMOUR: settings.mask_pattern,
        Role.ORGAN: settings.liver_pattern,
        Role.IMAGE: settings.pattern,
    }
    name = normalize("NFC", request.named(path))
    for role, template in templates.items():
        fields = fields_in(read_template(template), name) if template else None
        if fields is None:
            continue
        return NamedFile(
            path,
            request.spellings.patient(_field(fields, "patient", template)),
            role,
            _phase_of_template(fields.get("phase"), request),
            fields.get("class") or "",
            fields.get("centre") or "",
            fields.get("lesion") or "",
            How.DECIDED,
            f"the template {template}",
        )
    return None


def _field(fields: Mapping[str, str], name: str, template: str) -> str:
    if name not in fields:
        raise CohortError(f"template {template!r}: expected a field {{{name}}}")
    return fields[name]


def _phase_of_template(text: str | None, request: ImportRequest) -> str | None:
    if text is None:
        return None
    question = request.spellings.question(request.spellings.phases, text)
    phase = request.spellings.phases.find(text)
    if question or phase is None:
        raise _DoubtError(question or f'unknown phase {text!r}; say which: --phase "{text}=NAME"')
    return phase


def _by_words(path: Path, request: ImportRequest, levels: tuple[str, ...]) -> NamedFile | None:
    """Return what the folders and the words of its name tell of a file; None where it lies above the patients."""
    parts = path.relative_to(request.folder).parts
    if len(parts) <= len(levels):
        return None
    # Some systems store letters with an accent as two characters; a table of labels has them as one.
    folders = {level: normalize("NFC", part) for level, part in zip(levels, parts, strict=False)}
    names = [*parts[len(levels) : -1], stem_of(path)]
    names[-1] = _without(normalize("NFC", names[-1]), folders["patient"])
    found = [word for name in names for word in phase_words(name, request.spellings)]
    phases = {word.phase for word in found if word.phase}
    if len(phases) > 1:
        told = ", ".join(f"{word.spelling!r}" for word in found)
        raise CohortError(
            f"{request.named(path)}: the words {told} tell several phases; rename it, or --skip it"
        )
    if found and not phases and role_of(names[-1]).role is Role.IMAGE:
        raise _DoubtError(request.spellings.question(request.spellings.phases, found[0].spelling) or "")
    roles = (role_of(name) for name in reversed(names))
    role = next((role for role in roles if role.role is not Role.IMAGE), RoleWord(Role.IMAGE))
    word = next((word for word in found if word.phase), None)
    words = [repr(text) for text in (word.spelling if word else "", role.word) if text]
    return NamedFile(
        path,
        request.spellings.patient(folders["patient"]),
        role.role,
        word.phase if word else None,
        folders.get("class", ""),
        source=f"its path: {' and '.join(words)}" if words else "its name",
        phase_word=word.spelling if word else "",
        role_word=role.word,
    )


def _without(stem: str, patient: str) -> str:
    """Return a name without the identifier at its beginning, whose letters may look like a phase."""
    return stem[len(patient) :] if stem.lower().startswith(patient.lower()) else stem


def _placed_all(
    files: Sequence[NamedFile], request: ImportRequest, settings: NamedFilesSettings
) -> list[NamedFile]:
    """Return the files, masks with the phase that their name does not tell."""
    by_patient = _by_patient(files)
    return [_placed(file, by_patient[file.patient_id], request, settings) for file in files]


def _placed(
    file: NamedFile, own: Sequence[NamedFile], request: ImportRequest, settings: NamedFilesSettings
) -> NamedFile:
    if file.phase or file.role is Role.IMAGE:
        return file
    if settings.mask_phase:
        phase = _phase_of_template(settings.mask_phase, request)
        return replace(file, phase=phase, how=How.DECIDED, source="mask_phase")
    images = {other.phase for other in own if other.role is Role.IMAGE and other.phase}
    if len(images) == 1:
        return replace(file, phase=images.pop(), source=f"{file.source}, and the only image of the patient")
    return file


def _by_patient(files: Sequence[NamedFile]) -> Mapping[str, list[NamedFile]]:
    found: dict[str, list[NamedFile]] = {}
    for file in files:
        found.setdefault(file.patient_id, []).append(file)
    return found


def _rows(files: Sequence[NamedFile], request: ImportRequest) -> list[ScanRow]:
    """Return the rows of all patients.

    Raises:
        CohortError: a patient would have none.
    """
    rows, mistakes = list[ScanRow](), Mistakes()
    for patient_id, own in _by_patient(files).items():
        for question in _organs_twice(patient_id, own, request):
            mistakes.add(CohortError(question))
        of_patient = list(_rows_of(patient_id, own))
        rows += of_patient
        if not of_patient:
            names = ", ".join(request.named(file.path) for file in own[:4])
            mistakes.add(CohortError(
                f"patient {patient_id}: no image with a phase in its name among {names}; say which word is which phase: "
                '--phase "WORD=NAME", or leave the patient out: --skip'
            ))  # fmt: skip
    mistakes.raise_all()
    return rows


def _organs_twice(patient_id: str, own: Sequence[NamedFile], request: ImportRequest) -> Iterator[str]:
    """Yield a question for each phase with several masks of the organ."""
    organs: dict[str, list[str]] = {}
    for file in own:
        if file.role is Role.ORGAN and file.phase:
            organs.setdefault(file.phase, []).append(request.named(file.path))
    for phase, names in organs.items():
        if len(names) > 1:
            yield (
                f"patient {patient_id}, phase {phase}: expected one mask of the organ, found {', '.join(names)}; leave out all but "
                f"one: --skip {names[-1]!r}"
            )


def _taken_as_lesions(rows: Sequence[ScanRow], files: Sequence[NamedFile]) -> Iterator[Entry]:
    """Yield an entry for each phase whose masks nobody called lesions: they may be versions of one."""
    said = {file.path for file in files if file.lesion}
    masks: dict[tuple[str, str], list[Path]] = {}
    for row in rows:
        if row.mask and row.mask not in said:
            masks.setdefault((row.patient_id, row.phase), []).append(row.mask)
    for (patient_id, phase), paths in masks.items():
        if len(paths) > 1:
            gist = "several masks of the tumour on one phase taken as its lesions, and not as versions of one"
            what = f"{len(paths)} masks of the tumour taken as {len(paths)} lesions"
            yield Entry(what, Decision.USED, How.GUESSED, "their number", patient_id, phase, gist=gist)


def _entry(file: NamedFile, request: ImportRequest, *, is_used: bool) -> Entry:
    name, hint = request.named(file.path), '--phase "WORD=NAME"'
    if file.phase is None:
        if file.role is not Role.IMAGE:
            hint = "mask_phase=NAME says on which phase masks were drawn"
        return not_used(name, f"{file.role}: its name tells no phase; {hint}", patient_id=file.patient_id)
    if not is_used:
        why = f"{file.role}: the patient has no image of {file.phase}, or another such file"
        return not_used(name, why, patient_id=file.patient_id, phase=file.phase)
    is_said = file.role is Role.IMAGE and request.spellings.ground(file.phase_word, "") != ""
    how = How.DECIDED if is_said else file.how
    gist = (
        f"{file.role} by the word {file.role_word!r}"
        if file.role_word
        else f"phase {file.phase} by the word {file.phase_word!r}"
    )
    what = f"{file.role} of {file.phase}"
    source = f"{file.source}, and the command" if is_said else file.source
    return Entry(what, Decision.USED, how, source, file.patient_id, file.phase, name, gist)


def _rows_of(patient_id: str, files: Sequence[NamedFile]) -> Iterator[ScanRow]:
    """Yield a row for each image with a phase; for each mask where it has several."""
    of = {role: [file for file in files if file.role is role and file.phase] for role in Role}
    for image in of[Role.IMAGE]:
        masks = [file for file in of[Role.TUMOUR] if file.phase == image.phase]
        organ = next((file.path for file in of[Role.ORGAN] if file.phase == image.phase), None)
        row = ScanRow(
            patient_id,
            image.phase or "",
            image.path,
            label=image.label,
            centre=image.centre,
            liver_mask=organ,
        )
        if len(masks) < 2:
            yield replace(row, mask=masks[0].path if masks else None)
            continue
        for i, mask in enumerate(masks, start=1):
            yield replace(row, mask=mask.path, lesion_id=mask.lesion or str(i))
