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
from pipeline.errors import CohortError, ConfigError, Mistakes, PhasemilError
from pipeline.files import path_hint
from pipeline.names import Vocabulary, folded, phase_vocabulary
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


def check_given(given: GivenScans, section: CohortSection) -> None:
    """Refuse what contradicts itself, names an unknown phase or a file that is not there; no scan is read.

    Raises:
        ConfigError: the options contradict each other, or name a phase that is not one of the package.
        CohortError: a file is not there.
    """
    if (given.folder is None) == (not given.scans):
        raise ConfigError(
            "expected the scans one by one (--scan PHASE=FILE), or a folder that holds all of them, found "
            + ("neither" if given.folder is None else "both")
        )
    if given.folder is None:
        named_scans(given, phase_vocabulary(section))
        return
    if given.masks or given.organ_masks or given.mask_labels:
        raise ConfigError(
            "--mask, --organ-mask and --mask-label go with --scan; in a folder the names of the files say which is a mask"
        )
    if not given.folder.is_dir():
        raise CohortError(f"{given.folder}: expected a folder with the scans of one patient, found none")


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
    check_given(given, section)
    reader = _Reader(given, phase_vocabulary(section), patient_id, scratch, tell)
    rows = reader.named() if given.folder is None else reader.of_folder(given.folder)
    table = UserTable(tuple(Row(line, cells) for line, cells in enumerate(rows, start=1)))
    cohort = cohort_of(section, table)
    mistakes = Mistakes()
    for one in cohort.exclusions:
        mistakes.add(CohortError(f"phase {one.phase}: {one.reason}" if one.phase else one.reason))
    mistakes.raise_all()
    return cohort


def named_scans(given: GivenScans, phases: Vocabulary) -> Mapping[str, Mapping[str, Sequence[str]]]:
    """Return option -> phase -> what was said, of scans that are named one by one.

    Raises:
        ConfigError: options contradict each other, or a phase is unknown or ambiguous.
        CohortError: a file is not there; SeveralMistakesError: several of these.
    """
    options = {
        "--scan": given.scans,
        "--mask": given.masks,
        "--organ-mask": given.organ_masks,
        "--mask-label": given.mask_labels,
    }
    mistakes, said = Mistakes(), dict[str, Mapping[str, Sequence[str]]]()
    for option, texts in options.items():
        with mistakes.gathered():
            said[option] = _by_phase(option, texts, phases)
    mistakes.raise_all()
    for problem in _problems(said):
        mistakes.add(problem)
    has_folder = any(Path(text).is_dir() for texts in said["--scan"].values() for text in texts)
    if given.phases or given.skip or (given.settings and not has_folder):
        mistakes.add(ConfigError("--phase, --skip and --setting are for a folder of scans; leave them out"))
    mistakes.raise_all()
    return said


def _problems(said: Mapping[str, Mapping[str, Sequence[str]]]) -> Iterator[PhasemilError]:
    for option, found in said.items():
        for phase, texts in found.items():
            if phase not in said["--scan"]:
                yield ConfigError(f"{option} {phase}=: there is no --scan of this phase")
            if len(texts) > 1 and option != "--mask":
                yield ConfigError(f"{option} {phase}=: expected once, found {len(texts)} times")
            for text in texts if option != "--mask-label" else ():
                if not Path(text).exists():
                    yield CohortError(f"{option} {phase}={text}: no such file{path_hint(text)}")


def _by_phase(option: str, texts: Sequence[str], phases: Vocabulary) -> Mapping[str, Sequence[str]]:
    """Return phase, by its name -> what was said of it, from PHASE=TEXT."""
    mistakes, found = Mistakes(), dict[str, list[str]]()
    for text in texts:
        spelling, _, value = text.partition("=")
        if not value.strip():
            example = f"{option} {phases.names[0]}=..."
            mistakes.add(ConfigError(f"{option} {text}: expected PHASE=..., such as {example}"))
            continue
        name = phases.find(spelling)
        if name is None:
            mistakes.add(ConfigError(f"{option} {text}: {_why_unknown(spelling, phases)}"))
            continue
        found.setdefault(name, []).append(value.strip())
    mistakes.raise_all()
    return {name: found[name] for name in phases.names if name in found}


def _why_unknown(spelling: str, phases: Vocabulary) -> str:
    meanings = phases.ambiguous.get(folded(spelling))
    if meanings is None:
        return phases.problem(spelling)
    return f"{spelling!r} is ambiguous ({meanings}); the package has {', '.join(phases.names)}"


@dataclass(frozen=True)
class _Reader:
    given: GivenScans
    phases: Vocabulary
    patient_id: str
    scratch: Path
    tell: Callable[[str], None]

    def named(self) -> list[dict[str, str]]:
        """Return cells of the rows of scans that are named one by one; one for each lesion."""
        said = named_scans(self.given, self.phases)
        cells: list[dict[str, str]] = []
        for phase, (text,) in said["--scan"].items():
            row = self._series(phase, Path(text)) if Path(text).is_dir() else ScanRow("", phase, Path(text))
            masks = [Path(mask) for mask in said["--mask"].get(phase, ())]
            if masks and row.mask is not None:
                raise ConfigError(
                    f"--mask {phase}=: the DICOM series has a mask of the tumour already; leave one out"
                )
            for organ in said["--organ-mask"].get(phase, ()):
                row = replace(row, liver_mask=Path(organ))
            for label in said["--mask-label"].get(phase, ()):
                row = replace(row, mask_label=label)
            several = len(masks) > 1
            for number, mask in enumerate(masks or [row.mask], start=1):
                cells.append(self._cells(replace(row, mask=mask, lesion_id=str(number) if several else "")))
        return cells

    def of_folder(self, folder: Path) -> list[dict[str, str]]:
        """Return cells of the rows that an importer finds in a folder of one patient."""
        found = self._imported(folder.resolve())
        rows = [self._in_phases_of_the_package(row) for row in found.rows]
        return [self._cells(row) for row in rows]

    def _imported(self, folder: Path, *, is_series: bool = False) -> Import:
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
        layout = LAYOUTS["dicom" if is_dicom else "patient-folders"]
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
