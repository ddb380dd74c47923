"""The scans of one patient as the user names them: file by file, or a folder that an importer reads; nothing is guessed in silence."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from extract.importers.found import Decision, Entry, How, Import, ScanRow
from extract.importers.importing import ImportOptions, import_folder
from extract.importers.registry import LAYOUTS
from extract.importers.volume_files import volumes_in
from extract.importers.written import optional_cells
from pipeline.cohort import Cohort, cohort_of
from pipeline.cohort_table import Row, UserTable
from pipeline.config import CohortSection
from pipeline.errors import CohortError, ConfigError, Mistakes
from pipeline.files import path_hint
from pipeline.names import Vocabulary, phase_vocabulary
from pipeline.spellings import read_spellings

_DICOM_SUFFIXES = (".dcm", ".ima")
_SHOWN = 24


@dataclass(frozen=True)
class GivenScans:
    """What the user says of the scans.

    Attributes:
        folder: with all scans of the patient; None where each is named.
        scans: PHASE=FILE, or PHASE=FOLDER of one DICOM series.
        masks: PHASE=FILE of the tumour; a phase may have several, one for each lesion.
        organ_masks: PHASE=FILE of the organ.
        mask_labels: PHASE=VALUES that are the tumour in a map of labels, such as PVP=2.
        phases: SPELLING=NAME, as in `extract.py import`.
        settings: key=value of the layout that reads the folder.
        skip: patterns of files in the folder to leave out.
    """

    folder: Path | None = None
    scans: Sequence[str] = ()
    masks: Sequence[str] = ()
    organ_masks: Sequence[str] = ()
    mask_labels: Sequence[str] = ()
    phases: Sequence[str] = ()
    settings: Sequence[str] = ()
    skip: Sequence[str] = ()


def read_scans(
    given: GivenScans, section: CohortSection, patient_id: str, scratch: Path, tell: Callable[[str], None]
) -> Cohort:
    """Return the patient as a cohort of one, as if a cohort table had these scans.

    Args:
        given: by the user.
        section: phases and their spellings, of the package.
        patient_id: as the user calls the patient.
        scratch: an empty folder, for what is converted from DICOM.
        tell: receives what was decided about the files.

    Raises:
        ConfigError: the options contradict each other, or name a phase that is not one of the package.
        CohortError: a file is not there, or it cannot be known what it is.
    """
    if (given.folder is None) == (not given.scans):
        raise ConfigError(
            "expected the scans one by one (--scan PHASE=FILE), or a folder that holds all of them, "
            + ("found neither" if given.folder is None else "found both")
        )
    reader = _Reader(given, phase_vocabulary(section), patient_id, scratch, tell)
    rows = reader.named() if given.folder is None else reader.of_folder(given.folder)
    table = UserTable(tuple(Row(line, cells) for line, cells in enumerate(rows, start=1)))
    cohort = cohort_of(section, table)
    mistakes = Mistakes()
    for one in cohort.exclusions:
        mistakes.add(CohortError(f"phase {one.phase}: {one.reason}" if one.phase else one.reason))
    mistakes.raise_all()
    return cohort


@dataclass(frozen=True)
class _Reader:
    given: GivenScans
    phases: Vocabulary
    patient_id: str
    scratch: Path
    tell: Callable[[str], None]

    def named(self) -> list[dict[str, str]]:
        """Return cells of the rows of scans that are named one by one; one for each lesion."""
        scans = self._by_phase("--scan", self.given.scans)
        masks, organs, labels = (
            self._by_phase(option, texts)
            for option, texts in (
                ("--mask", self.given.masks),
                ("--organ-mask", self.given.organ_masks),
                ("--mask-label", self.given.mask_labels),
            )
        )
        mistakes = Mistakes()
        for option, found in (("--mask", masks), ("--organ-mask", organs), ("--mask-label", labels)):
            for phase in found:
                if phase not in scans:
                    mistakes.add(ConfigError(f"{option} {phase}=: there is no --scan of this phase"))
        for option, found in (("--scan", scans), ("--organ-mask", organs), ("--mask-label", labels)):
            for phase, texts in found.items():
                if len(texts) > 1:
                    mistakes.add(ConfigError(f"{option} {phase}=: expected once, found {len(texts)} times"))
        for option, found in (("--scan", scans), ("--mask", masks), ("--organ-mask", organs)):
            for phase, texts in found.items():
                for text in texts:
                    if not Path(text).exists():
                        mistakes.add(CohortError(f"{option} {phase}={text}: no such file{path_hint(text)}"))
        if (
            self.given.phases
            or self.given.skip
            or (self.given.settings and not any(map(_is_folder, self.given.scans)))
        ):
            mistakes.add(
                ConfigError("--phase, --skip and --setting are for a folder of scans; leave them out")
            )
        mistakes.raise_all()
        found_rows: list[dict[str, str]] = []
        for phase, (text,) in scans.items():
            row = self._series(phase, Path(text)) if Path(text).is_dir() else ScanRow("", phase, Path(text))
            own = [Path(mask) for mask in masks.get(phase, ())]
            if own and row.mask is not None:
                raise ConfigError(
                    f"--mask {phase}=: the DICOM series has a mask of the tumour already; leave one out"
                )
            row = replace(
                row,
                liver_mask=Path(organs[phase][0]) if phase in organs else row.liver_mask,
                mask_label=labels[phase][0] if phase in labels else row.mask_label,
            )
            several = len(own) > 1
            for number, mask in enumerate(own or [row.mask], start=1):
                found_rows.append(
                    self._cells(replace(row, mask=mask, lesion_id=str(number) if several else ""))
                )
        return found_rows

    def of_folder(self, folder: Path) -> list[dict[str, str]]:
        """Return cells of the rows that an importer finds in a folder of one patient."""
        if self.given.masks or self.given.organ_masks or self.given.mask_labels:
            raise ConfigError(
                "--mask, --organ-mask and --mask-label go with --scan; in a folder the names of the files say which is a mask"
            )
        folder = folder.resolve()
        found = self._imported(folder)
        rows = [self._in_phases_of_the_package(row) for row in found.rows]
        return [self._cells(row) for row in rows]

    def _imported(self, folder: Path, *, is_series: bool = False) -> Import:
        if not folder.is_dir():
            raise CohortError(f"{folder}: expected a folder with the scans of one patient, found none")
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        has_volumes = any(True for _ in volumes_in(files))
        has_dicom = any(path.suffix.lower() in _DICOM_SUFFIXES for path in files)
        if has_volumes and has_dicom and not self.given.skip:
            raise CohortError(
                f"{folder}: holds volumes (such as NIfTI) and DICOM files; say which are meant with --scan PHASE=FILE, or leave the others "
                "out with --skip"
            )
        is_dicom = not has_volumes
        settings = [*self.given.settings, *([f"key={self.scratch / 'key'}"] if is_dicom else [])]
        options = ImportOptions(
            self.scratch / "cohort.csv",
            tuple(settings),
            read_spellings(self.given.phases),
            skip=tuple(self.given.skip),
            only=None if is_dicom else folder,
        )
        layout = LAYOUTS["dicom" if is_dicom else "patient_folders"]
        found = import_folder(layout, folder if is_dicom else folder.parent, options)
        for line in _told(found.entries):
            self.tell(line)
        patients = dict.fromkeys(row.patient_id for row in found.rows)
        if len(patients) > 1:
            raise CohortError(f"{folder}: expected the scans of one patient, found {len(patients)} patients")
        if not is_series:
            _refuse_proposals(found)
        return found

    def _series(self, phase: str, folder: Path) -> ScanRow:
        """Return the only volume of a folder with a DICOM series, whose phase the user has said."""
        if any(True for _ in volumes_in(path for path in folder.rglob("*") if path.is_file())):
            raise CohortError(
                f"--scan {phase}={folder}: a folder must hold one DICOM series; name a volume by its file"
            )
        reader = replace(self, scratch=self.scratch / phase)
        reader.scratch.mkdir()
        rows = reader._imported(folder.resolve(), is_series=True).rows
        if len(rows) != 1:
            raise CohortError(
                f"--scan {phase}={folder}: expected one series, found {len(rows)}; name the folder of one"
            )
        return replace(rows[0], phase=phase)

    def _in_phases_of_the_package(self, row: ScanRow) -> ScanRow:
        name = self.phases.find(row.phase)
        if name is None:
            raise CohortError(f"{row.image.name}: {self.phases.problem(row.phase)}; leave it out: --skip")
        return replace(row, phase=name)

    def _cells(self, row: ScanRow) -> dict[str, str]:
        paths = {"image": row.image, "mask": row.mask, "liver_mask": row.liver_mask}
        return {
            "patient_id": self.patient_id,
            "phase": row.phase,
            **{name: "" if path is None else str(path.resolve()) for name, path in paths.items()},
            "label": "",
            **optional_cells(row),
        }

    def _by_phase(self, option: str, texts: Sequence[str]) -> dict[str, list[str]]:
        """Return phase, by its name -> what was said of it, from PHASE=TEXT."""
        mistakes, found = Mistakes(), dict[str, list[str]]()
        for text in texts:
            spelling, equals, value = text.partition("=")
            if not equals or not value.strip():
                mistakes.add(
                    ConfigError(
                        f"{option} {text}: expected PHASE=..., such as {option} {self.phases.names[0]}=..."
                    )
                )
                continue
            name = self.phases.find(spelling)
            if name is None:
                meanings = self.phases.ambiguous.get(spelling.strip().lower())
                why = (
                    f"{spelling!r} is ambiguous ({meanings}); the package has {', '.join(self.phases.names)}"
                    if meanings
                    else self.phases.problem(spelling)
                )
                mistakes.add(ConfigError(f"{option} {text}: {why}"))
                continue
            found.setdefault(name, []).append(value.strip())
        mistakes.raise_all()
        return {name: found[name] for name in self.phases.names if name in found}


def _is_folder(text: str) -> bool:
    return Path(text.partition("=")[2]).is_dir()


def _refuse_proposals(found: Import) -> None:
    """Ask for the phases of series that their headers do not tell for certain.

    Raises:
        CohortError: each such series is named, with what speaks for and against a phase.
    """
    mistakes = Mistakes()
    for entry in found.entries:
        if entry.how is How.GUESSED and entry.phase.endswith("?"):
            mistakes.add(
                CohortError(
                    f'series {entry.file}: its phase is not certain ({entry.phase}: {entry.source}); say which: --phase "WORD=NAME" '
                    "with a word of its description, or name each series: --scan PHASE=FOLDER"
                )
            )
    mistakes.raise_all()


def _told(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield a line for each file that is used or not, as far as a terminal shows them."""
    lines = list(_lines(entries))
    yield from lines[:_SHOWN]
    if len(lines) > _SHOWN:
        yield f"and {len(lines) - _SHOWN} more such lines"


def _lines(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        if entry.decision is Decision.TO_SET:
            continue  # the settings are those of the package
        name = f"{entry.file}: " if entry.file else ""
        ground = f" ({entry.source})" if entry.source else ""
        not_used = "not used: " if entry.decision is Decision.NOT_USED else ""
        guessed = ", guessed" if entry.how is How.GUESSED and entry.decision is Decision.USED else ""
        yield f"{name}{not_used}{entry.what}{ground}{guessed}"


def spellings_of(texts: Sequence[str], option: str, example: str) -> Mapping[str, str]:
    """Return NAME -> VALUE of options such as `--covariate age=61`; a value may be empty.

    Raises:
        ConfigError: one is not of this form, or a name is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"{option} {text}: expected NAME=VALUE, such as {option} {example}")
        if name.strip() in found:
            raise ConfigError(f"{option} {text}: {name.strip()} is given twice")
        found[name.strip()] = value.strip()
    return found
