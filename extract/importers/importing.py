"""One import: a layout finds scans, labels are joined, spellings made names, and every file is accounted for."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from unicodedata import normalize

from extract.importers.found import Entry, How, Import, ScanRow, not_used
from extract.importers.label_table import LabelTable, join_labels, refuse_reserved
from extract.importers.layout import ImportRequest, Layout, LayoutSettings
from extract.importers.patients import in_two_spellings
from extract.importers.volume_files import DETACHED
from pipeline.config import apply_override, read_section
from pipeline.errors import CohortError, Mistakes
from pipeline.files import path_hint
from pipeline.names import count_of_rows
from pipeline.spellings import Spellings, read_spellings

REPORT = "import_report.csv"
_OF_A_SYSTEM = ("Thumbs.db", "desktop.ini", ".*")
"""Files that operating systems leave in folders."""


@dataclass(frozen=True)
class ImportOptions:
    """What the user says beside layout and folder.

    Attributes:
        table: the cohort table to write.
        settings: of the layout, `key=value`.
        spellings: of phases, classes and patients.
        labels: a table of labels; None for none.
        covariates: columns to take from it, or from a table of the layout where there is none.
        skip: patterns of files to leave out, relative to the folder that is looked into.
        tell: prints a line of progress.
        only: a folder below, which alone is looked into, such as that of one patient; None for all.
    """

    table: Path
    settings: Sequence[str] = ()
    spellings: Spellings = field(default_factory=read_spellings)
    labels: LabelTable | None = None
    covariates: tuple[str, ...] = ()
    skip: Sequence[str] = ()
    tell: Callable[[str], None] = field(default=lambda _: None)
    only: Path | None = None


def import_folder(layout: Layout, folder: Path, options: ImportOptions) -> Import:
    """Find the scans of a folder; every file in it is used, or listed with the reason.

    Raises:
        CohortError: the folder does not hold what the layout expects, or something cannot be known: the message names
            the option to give.
        ConfigError: a setting is unknown or not allowed.
    """
    settings = read_settings(layout, options.settings)
    refuse_reserved(options.covariates)
    files, skipped = _files(folder, options)
    own = () if options.labels else options.covariates
    request = ImportRequest(folder, files, options.table, options.spellings, own, options.tell)
    found = layout.find(request, settings)
    if not found.rows:
        raise CohortError(f"{folder}: no scan found as the layout {layout.name!r} expects: {layout.about}")
    _ask(*_patients_twice(found.rows), *_images_twice(found.rows, request))
    rows, joined = found.rows, tuple[Entry, ...]()
    if options.labels:
        rows, joined = join_labels(
            rows, options.labels, replace(options.spellings, pseudonym=found.pseudonym, near=found.near)
        )
    rows, named = _with_classes(rows, options.spellings)
    _ask(*_labels_twice(rows))
    if found.pseudonym and skipped:
        skipped = [not_used("", f"{len(skipped)} files left out by --skip")]
    unheard = tuple(_unheard(options.spellings, is_hidden=found.pseudonym is not None))
    entries = (*found.entries, *joined, *named, *skipped, *unheard)
    left = _left_over(request, replace(found, rows=rows, entries=entries), options)
    return replace(found, rows=rows, entries=(*entries, *left))


def _ask(*questions: str) -> None:
    """Put questions to the user.

    Raises:
        CohortError: there is one; SeveralMistakesError: there are several.
    """
    mistakes = Mistakes()
    for question in questions:
        mistakes.add(CohortError(question))
    mistakes.raise_all()


def read_settings(layout: Layout, given: Sequence[str]) -> LayoutSettings:
    """Return the settings of a layout from `key=value`; paths are relative to the current folder.

    Raises:
        ConfigError: a key is unknown (the nearest is named), or a value not allowed.
    """
    mistakes, values = Mistakes(), dict[str, object]()
    for text in given:
        with mistakes.gathered():
            apply_override(values, text)
    settings = read_section(values, layout.settings, mistakes, path=Path(layout.name), place=())
    mistakes.raise_all()
    assert settings is not None  # there was no mistake
    return settings


def _files(folder: Path, options: ImportOptions) -> tuple[tuple[Path, ...], list[Entry]]:
    """Return the files of a folder, and entries of those that the user leaves out."""
    if not folder.is_dir():
        raise CohortError(f"{folder}: expected a folder with scans, found none{path_hint(str(folder))}")
    written = {options.table.resolve(), options.table.with_name(REPORT).resolve()}
    files, skipped = list[Path](), list[Entry]()
    within = options.only or folder
    for path in sorted(path for path in within.rglob("*") if path.is_file()):
        name = path.relative_to(within).as_posix()
        composed = normalize("NFC", name)
        pattern = next(
            (pattern for pattern in options.skip if fnmatchcase(composed, normalize("NFC", pattern))), None
        )
        if pattern is not None:
            skipped.append(not_used(name, _skipped_by(pattern)))
        elif path.resolve() not in written:
            files.append(path)
    used = {entry.what for entry in skipped}
    _ask(
        *(f"--skip {p!r}: matches no file of the folder" for p in options.skip if _skipped_by(p) not in used)
    )
    return tuple(files), skipped


def _skipped_by(pattern: str) -> str:
    return f"left out by --skip {pattern!r}"


def _patients_twice(rows: Sequence[ScanRow]) -> Iterator[str]:
    for group in in_two_spellings(row.patient_id for row in rows):
        first, *others = group
        told = " ".join(f'--patient "{other}={first}"' for other in others)
        apart = " ".join(f'--patient "{name}={name}x"' for name in others)
        yield (
            f"patients {' and '.join(map(repr, group))} differ in case, zeros or separators only; if they are one: {told}; "
            f"if not, give them other identifiers: {apart}"
        )


def _images_twice(rows: Sequence[ScanRow], request: ImportRequest) -> Iterator[str]:
    images: dict[tuple[str, str], dict[Path, None]] = {}
    for row in rows:
        images.setdefault((row.patient_id, row.phase), {})[row.image] = None
    for (patient_id, phase), paths in images.items():
        if len(paths) > 1 and not phase.endswith("?"):  # a proposal: the user keeps one in the table
            names = [request.named(path) for path in paths]
            yield (
                f"patient {patient_id}, phase {phase}: expected one image, found {', '.join(names)}; leave out all but one: "
                f"--skip {names[-1]!r}"
            )


def _labels_twice(rows: Sequence[ScanRow]) -> Iterator[str]:
    labels: dict[str, dict[str, None]] = {}
    for row in rows:
        labels.setdefault(row.patient_id, {})[row.label] = None
    for patient_id, found in labels.items():
        if len(found) > 1:
            names = " and ".join(repr(label) for label in found)
            yield f"patient {patient_id} has the labels {names}; leave out the files under one of them: --skip"


def _with_classes(
    rows: Sequence[ScanRow], spellings: Spellings
) -> tuple[tuple[ScanRow, ...], tuple[Entry, ...]]:
    """Return rows with labels by their names, and one entry for each spelling."""
    mistakes, entries, names = Mistakes(), [], dict[str, str]()
    for label, n in Counter(row.label for row in rows if row.label).items():
        question = spellings.question(spellings.classes, label)
        if question:
            mistakes.add(CohortError(f"{question} ({count_of_rows(n)})"))
        name = spellings.classes.find(label)
        names[label] = name or label
        if name is None:
            entries.append(
                Entry(f"{label!r} is kept as a class of its own ({count_of_rows(n)})", source="the label")
            )
        elif name != label:
            ground = spellings.ground(label, "known spellings of classes")
            entries.append(Entry(f"label {label!r} read as {name} ({count_of_rows(n)})", source=ground))
    mistakes.raise_all()
    return tuple(replace(row, label=names.get(row.label, "")) for row in rows), tuple(entries)


def _unheard(spellings: Spellings, *, is_hidden: bool) -> Iterator[Entry]:
    """Yield an entry of each spelling of the command that stands nowhere: it may be mistyped."""
    for option, texts in spellings.unheard().items():
        for text in texts:
            which = "a spelling" if is_hidden else f"the spelling {text!r}"
            yield not_used("", f"{which} of {option} is in no name and no table that was read")


def _left_over(request: ImportRequest, found: Import, options: ImportOptions) -> Iterator[Entry]:
    """Yield an entry of each file that nothing speaks of."""
    used = {path for row in found.rows for path in (row.image, row.mask, row.liver_mask) if path}
    named = {entry.file for entry in found.entries}
    labels = options.labels.path.resolve() if options.labels else None
    for path in request.files:
        name = request.named(path)
        if path in used or path in found.accounted or name in named or path.resolve() == labels:
            continue
        yield not_used(name, _why_unused(path))
    if found.pseudonym is None:
        for folder in sorted(path for path in (options.only or request.folder).rglob("*") if path.is_dir()):
            if not any(folder.iterdir()):
                yield not_used(request.named(folder), "an empty folder")


def _why_unused(path: Path) -> str:
    if any(fnmatchcase(path.name, pattern) for pattern in _OF_A_SYSTEM):
        return "written by an operating system"
    if path.suffix.lower() in DETACHED:
        return "a header and its voxels in two files; write them as one: .nii.gz, .nrrd or .mha"
    if path.suffix.lower() in (".dcm", ".ima"):
        return "DICOM; the layout `dicom` reads it"
    return "no part of the layout, or of a scan that is not used"


def guesses(found: Import) -> tuple[Entry, ...]:
    """Return the entries that somebody has to look at."""
    return tuple(entry for entry in found.entries if entry.how is How.GUESSED)
