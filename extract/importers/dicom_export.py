"""A DICOM export as an import: series converted, phases proposed, masks drawn, every file accounted for by a pseudonym."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from extract.dicom.conversion import OrganHistogram, write_mask, write_volume
from extract.dicom.geometry import SeriesError
from extract.dicom.headers import ImageHeader, in_silence, read_tree
from extract.dicom.masks import MaskFile, belonging, is_plain, read_mask_file
from extract.dicom.patients import TWO_PERSONS, Persons, persons_of
from extract.dicom.phase_proposal import Proposal, propose_phases
from extract.dicom.phase_words import phases_given
from extract.dicom.pseudonyms import Pseudonyms, open_key
from extract.dicom.segments import DrawnMask
from extract.dicom.series import Volume, sort_series
from extract.importers.found import Decision, Entry, How, Import, ScanRow, not_used
from extract.importers.layout import ImportRequest
from extract.importers.patients import in_two_spellings
from pipeline.errors import CohortError, Mistakes
from pipeline.files import with_home

_ROLES = ("tumour", "organ")
_EVERY = 10
"""Patients after which progress is told."""


@dataclass(eq=False)
class _Converted:
    """A volume of which a file was written."""

    volume: Volume
    name: str
    image: Path
    liver_hu: float | None
    masks: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _OfFile:
    """What a file of masks has of one role, drawn."""

    file: MaskFile
    volume: Volume
    role: str
    mask: DrawnMask
    numbers: Sequence[int]
    ground: str


def import_export(
    request: ImportRequest, key: Path, tumour: Sequence[str], organ: Sequence[str], *, masks: bool
) -> Import:
    """Import a DICOM export.

    Args:
        request: what every layout is given.
        key: file of the pseudonyms' key.
        tumour: names of segments or regions that are the tumour.
        organ: names of those that are the organ.
        masks: whether segmentations and contours are used.

    Raises:
        CohortError: nothing can be used, or it is to be said which segment is the tumour.
        KeyFileError: the key cannot be used.
    """
    export = _Export(
        request, open_key(Path(with_home(str(key)))), {"tumour": tumour, "organ": organ}, masks=masks
    )
    try:
        with in_silence():
            return export.imported()
    finally:
        # Also for an import that is refused, so that its owner finds the files that the reasons speak of.
        export.names.write_originals()


class _Export:
    def __init__(
        self, request: ImportRequest, names: Pseudonyms, wanted: dict[str, Sequence[str]], *, masks: bool
    ) -> None:
        self.request, self.names, self.wanted, self.with_masks = request, names, wanted, masks
        self.converted_to = request.table.parent / f"{request.table.stem}_nifti"
        self.entries: list[Entry] = []
        self.rows: list[ScanRow] = []

    def imported(self) -> Import:
        own = {path.resolve() for path in (self.names.path, self.names.originals_path)}
        files = [
            path
            for path in self.request.files
            if not path.is_relative_to(self.converted_to) and path.resolve() not in own
        ]
        self._tell_of_the_key()
        self.request.tell(f"{len(files)} files are looked into")
        tree = read_tree(files, self.request.folder, self.request.tell)
        for path, reason in tree.unused.items():
            self._unused(self.names.file(path, self.request.folder), reason)
        persons = persons_of(tree.headers, self.names, self.request.spellings.patient)
        self._refuse_two_spellings(persons)
        mask_files = self._mask_files(persons)
        self._ask(mask_files)
        for i, (patient, headers) in enumerate(persons.headers.items()):
            if i and i % _EVERY == 0:
                self.request.tell(f"{i} of {len(persons.headers)} patients done")
            self._tell_of_identity(patient, persons)
            if patient in persons.in_conflict:
                self._refused(patient, headers, TWO_PERSONS)
            else:
                masks = [mask for mask in mask_files if mask.header.patient == patient]
                self._patient(patient, headers, masks)
        if not self.rows:
            raise CohortError(
                f"expected at least one CT series that can be used, found none in {len(files)} files: {self._reasons()}"
            )
        return Import(
            tuple(self.rows), tuple(self.entries), frozenset(self.request.files), persons.named, persons.near
        )

    def _tell_of_the_key(self) -> None:
        path = self.names.path
        made = "made, for you alone to read" if self.names.is_new else "used"
        self.request.tell(
            f"the key of the pseudonyms, {path}, was {made}; keep it, and what lies beside it, to yourself"
        )

    def _refuse_two_spellings(self, persons: Persons) -> None:
        """Ask whether identifiers that differ in case, zeros or separators only are of one patient.

        Raises:
            CohortError: there are such; they are told by pseudonym.
        """
        mistakes = Mistakes()
        for group in in_two_spellings(persons.identifiers):
            told = " and ".join(persons.named(identifier) for identifier in group)
            mistakes.add(CohortError(
                f"the identifiers of {told} differ in case, zeros or separators only ({self.names.originals_path} has them); if they "
                'are of one patient: --patient "ONE=OTHER"; if not, make them differ: --patient "ONE=ONEx"'
            ))  # fmt: skip
        mistakes.raise_all()

    def _tell_of_identity(self, patient: str, persons: Persons) -> None:
        if patient in persons.by_study:
            what = "no identifier in the headers: its study is taken as a patient of its own"
            self.entries.append(Entry(what, Decision.USED, How.GUESSED, "the study", patient))
        if any(header.by_folder for header in persons.headers[patient]):
            what = "no UID of a series in the headers: the files of a folder are taken as one series"
            self.entries.append(Entry(what, Decision.USED, How.GUESSED, "the folder", patient))

    def _mask_files(self, persons: Persons) -> list[MaskFile]:
        found = []
        for header in (
            header for headers in persons.headers.values() for header in headers if header.is_mask
        ):
            if not self.with_masks:
                self._unused_header(header, "segmentations and contours are left out: masks=false")
                continue
            try:
                found.append(read_mask_file(header))
            except SeriesError as error:
                self._unused_header(header, str(error))
        return found

    def _ask(self, masks: Sequence[MaskFile]) -> None:
        """Ask which segments are the tumour.

        Raises:
            CohortError: nobody said it, or a name that was said is not there.
        """
        if not masks:
            if any(self.wanted.values()):
                raise CohortError(
                    "tumour, organ: expected DICOM-SEG or RTSTRUCT files, found none; leave the settings out"
                )
            return
        listed = self._listed(masks)
        if not any(self.wanted.values()):
            raise CohortError(
                f'segments and regions found: {listed}; say which are the tumour: tumour="NAME" (and organ="NAME"), or masks=false'
            )
        for role, names in self.wanted.items():
            for name in names:
                if not any(mask.numbers([name]) for mask in masks):
                    raise CohortError(f"{role}={name!r}: no segment or region has this name; found {listed}")

    def _listed(self, masks: Sequence[MaskFile]) -> str:
        """Return the names of segments with their number; one that may name somebody by its pseudonym."""
        counts = Counter(self._shown(name) for mask in masks for name in mask.names.values())
        hidden = any(not is_plain(name) for mask in masks for name in mask.names.values())
        note = (
            f" (those of other words than anatomy by pseudonym: {self.names.originals_path} has them)"
            if hidden
            else ""
        )
        return ", ".join(f"{name} ({n} x)" for name, n in sorted(counts.items())) + note

    def _shown(self, name: str) -> str:
        return name if is_plain(name) else self.names.word(name)

    def _patient(self, patient: str, headers: Sequence[ImageHeader], masks: Sequence[MaskFile]) -> None:
        found = sort_series(header for header in headers if not header.is_mask)
        for refused in found.refused:
            self._refused(patient, refused.headers, refused.reason)
        drawn = self._drawn(patient, found.volumes, masks)
        converted = [done for volume in found.volumes if (done := self._convert(patient, volume, drawn))]
        liver_hu = {i: done.liver_hu for i, done in enumerate(converted) if done.liver_hu is not None}
        proposals = propose_phases(
            [done.volume for done in converted], liver_hu, self._given_words(found.volumes)
        )
        for done, proposal in zip(converted, proposals, strict=True):
            self._row(patient, done, proposal)
        if not converted:
            self.entries.append(
                Entry(
                    "no usable CT series: no row of the cohort table", Decision.NOT_USED, patient_id=patient
                )
            )

    def _given_words(self, volumes: Sequence[Volume]) -> dict[str, str]:
        spellings = self.request.spellings
        given = {word: phase for word, phase in spellings.phases.spellings.items() if word in spellings.given}
        for word, phase in given.items():
            if any(phases_given(volume.first.description, {word: phase}) for volume in volumes):
                spellings.ground(word, "")  # so that it is known as one that stands somewhere
        return given

    def _convert(
        self, patient: str, volume: Volume, drawn: dict[tuple[int, str], DrawnMask]
    ) -> _Converted | None:
        name = self._name(volume)
        path = self.converted_to / patient / f"{name}.nii.gz"
        masks = {role: mask for role in _ROLES if (mask := drawn.get((id(volume), role)))}
        on_grid = {role: mask.voxels for role, mask in masks.items() if mask.affine is volume.stack.affine}
        organ = OrganHistogram(on_grid.get("organ"), on_grid.get("tumour"))
        try:
            remarks = write_volume(volume, path, organ)
        except SeriesError as error:
            self._refused(patient, volume.stack.slices, str(error))
            return None
        done = _Converted(volume, name, path, organ.median_hu)
        for role, mask in masks.items():
            done.masks[role] = path.with_name(f"{name}_{role}.nii.gz")
            write_mask(mask, done.masks[role])
        for remark in (*volume.remarks, *remarks):
            self.entries.append(
                Entry(remark, Decision.USED, How.DECIDED, "headers and voxels", patient, file=name)
            )
        return done

    def _row(self, patient: str, done: _Converted, proposal: Proposal) -> None:
        self.rows.append(
            ScanRow(
                patient,
                proposal.cell,
                done.image,
                done.masks.get("tumour"),
                liver_mask=done.masks.get("organ"),
            )
        )
        told = (
            f"phase {proposal.phase}"
            if proposal.decided
            else f"phase {proposal.cell}: to be confirmed in the cohort table"
        )
        why = "; ".join((*proposal.evidence, *proposal.doubts))
        how = How.DECIDED if proposal.decided else How.GUESSED
        gist = "" if proposal.decided else told
        self.entries.append(Entry(told, Decision.USED, how, why, patient, proposal.cell, done.name, gist))

    def _drawn(
        self, patient: str, volumes: Sequence[Volume], masks: Sequence[MaskFile]
    ) -> dict[tuple[int, str], DrawnMask]:
        """Return masks by volume and role; where several files have one, none, since nothing says which is meant."""
        found: dict[tuple[int, str], list[_OfFile]] = {}
        for mask in masks:
            try:
                for one in self._draw(mask, volumes):
                    found.setdefault((id(one.volume), one.role), []).append(one)
            except SeriesError as error:
                self._unused_header(mask.header, f"{mask.kind}: {error}")
        for several in (several for several in found.values() if len(several) > 1):
            for one in several:
                reason = (
                    f"{one.file.kind}: {len(several)} files have a mask of the {one.role} of the same series, and none is used; "
                    "leave out all but one: --skip"
                )
                self._unused_header(one.file.header, reason)
        alone = {key: several[0] for key, several in found.items() if len(several) == 1}
        for one in alone.values():
            self._tell_of_mask(patient, one)
        return {key: one.mask for key, one in alone.items()}

    def _draw(self, mask: MaskFile, volumes: Sequence[Volume]) -> list[_OfFile]:
        numbers = {role: found for role in _ROLES if (found := mask.numbers(self.wanted[role]))}
        if not numbers:
            raise SeriesError("none of its segments or regions is asked for")
        volume, ground = belonging(mask, volumes)
        made = [
            _OfFile(mask, volume, role, mask.draw(own, volume), own, ground) for role, own in numbers.items()
        ]
        for one in made:
            if not one.mask.voxels.any():
                raise SeriesError(f"its mask of the {one.role} is empty")
        return made

    def _tell_of_mask(self, patient: str, one: _OfFile) -> None:
        named = " and ".join(self._shown(one.file.names[number]) for number in one.numbers)
        joined = ", joined" if len(one.numbers) > 1 else ""
        what = "; ".join((f"mask of the {one.role}: {one.file.kind} {named}{joined}", *one.mask.remarks))
        name = self._name(one.volume)
        self.entries.append(Entry(what, Decision.USED, How.DECIDED, one.ground, patient, file=name))
        for doubt in one.mask.doubts:
            self.entries.append(
                Entry(
                    f"mask of the {one.role}: {doubt}",
                    Decision.USED,
                    How.GUESSED,
                    "contours",
                    patient,
                    file=name,
                )
            )

    def _name(self, volume: Volume) -> str:
        return self._series(volume.first, f"\0{volume.part}" if volume.part else "")

    def _series(self, header: ImageHeader, part: str = "") -> str:
        return self.names.series(header.series + part, header.path.relative_to(self.request.folder))

    def _refused(self, patient: str, headers: Iterable[ImageHeader], reason: str) -> None:
        """Tell of images that are not used, series by series."""
        for series, n in Counter(map(self._series, headers)).items():
            files = "1 file" if n == 1 else f"{n} files"
            self._unused(series, f"{reason} ({files})", patient)

    def _unused_header(self, header: ImageHeader, reason: str) -> None:
        self._unused(self.names.file(header.path, self.request.folder), reason, header.patient)

    def _unused(self, name: str, reason: str, patient: str = "") -> None:
        self.entries.append(not_used(name, reason, patient_id=patient))

    def _reasons(self) -> str:
        reasons = Counter(entry.what for entry in self.entries if entry.decision is Decision.NOT_USED)
        return "; ".join(f"{reason} ({n} x)" for reason, n in reasons.most_common(8)) or "no file"
