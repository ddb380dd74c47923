"""Match the cohort table with the bag sets of stage 1: the usable patients, and the patients left out with the reason."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from aggregate.cohort.bag_sets import BagFolder, BagSet, Phases, header_in_phases
from aggregate.cohort.slide_bags import SlideFolder, slide_headers
from aggregate.cohort.slide_files import UNKNOWN, SlideFormat
from aggregate.cohort.slide_table import SlideTable, read_slide_table
from pipeline.bags import (
    CT,
    BagHeader,
    Recipe,
    bag_path,
    check_one_recipe,
    how_alike,
    list_bags,
    read_header,
)
from pipeline.cohort import STAGES, Cohort, Exclusion, read_cohort
from pipeline.cohort import Patient as Row
from pipeline.config import CohortSection
from pipeline.errors import BagError, CohortError
from pipeline.exclusions import read_exclusions
from pipeline.names import Translation


@dataclass(frozen=True, eq=False)
class MatchedCohort:
    """The rows of the cohort table with a label and a bag, sorted by identifier.

    Attributes:
        rows: n rows of the cohort table.
        classes: class names.
        bag_sets: name -> bags, restricted to the phases of the configuration.
        headers: name -> header of each patient's bag (n,), None if there is no bag.
        recipes: name -> recipe (encoder and preprocessing) of the set.
        views: name -> the phases used, if not all phases of the bags; a part of every fit's cache key.
        exclusions: patients and phases left out by either stage, with the reason.
        translations: spellings of the cohort table that were read as other words.
        remarks: other decisions made while reading the table, and differences between table and bags.
    """

    rows: tuple[Row, ...]
    classes: tuple[str, ...]
    bag_sets: Mapping[str, BagSet]
    headers: Mapping[str, tuple[BagHeader | None, ...]]
    recipes: Mapping[str, Recipe]
    views: Mapping[str, str] = field(default_factory=dict)
    exclusions: tuple[Exclusion, ...] = ()
    translations: tuple[Translation, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class BagSource:
    """Where the bags of a set come from: a folder of this package's bags, or files of histology features of another program."""

    folder: Path
    format: SlideFormat | None = None
    """What wrote the files; None for bags of this package."""
    slides: Path | None = None
    """Table of the slides of each patient; None where files are named after patients."""

    def content_keys(self, patient_ids: Iterable[str]) -> Mapping[str, str]:
        """Return the content key of the bag of each of these patients who has one.

        Raises:
            BagError: a bag cannot be read.
        """
        if self.format is None:
            paths = {name: bag_path(self.folder, name) for name in patient_ids}
            return {name: read_header(path).content_key for name, path in paths.items() if path.exists()}
        files = read_slide_table(self.folder, self.format, self.slides).files
        asked = {name: files[name] for name in patient_ids if name in files}
        return {name: header.content_key for name, header in slide_headers(asked, self.format).items()}


@dataclass(frozen=True)
class _BagsFound:
    """The bags of a folder, of patients with a label."""

    name: str
    folder: Path
    paths: Mapping[str, Path]
    """Patient identifier -> file, for all bags of the folder."""
    headers: Mapping[str, BagHeader]
    """Patient identifier -> header as stored in the file."""
    phases: Phases | None
    """The phases used; None if the phases of the configuration do not apply to this modality."""
    slides: SlideTable | None = None
    """The files of each patient, where they are those of another program."""
    format: SlideFormat | None = None

    def bag_set(self, rows: Sequence[Row]) -> BagSet:
        """Return the bags of the patients of some rows of the cohort table."""
        if self.slides is not None and self.format is not None:
            files = {name: self.slides.files[name] for name in self.headers}
            return SlideFolder(self.folder, files, [row.patient_id for row in rows], self.format)
        present = [(row.patient_id, self.seen(row.patient_id)) for row in rows]
        return BagFolder(self.folder, present, phases=self.phases)

    @property
    def place(self) -> str:
        """The set's name for the end of a reason; empty if it is the only set."""
        return f" in the set {self.name!r}" if self.name else ""

    def seen(self, patient_id: str) -> Phases:
        """Return the phases of a patient's bag that are used."""
        header = self.headers.get(patient_id)
        present = header.phases_present if header else ()
        return present if self.phases is None else tuple(name for name in self.phases if name in present)


def match_cohort(
    section: CohortSection,
    folders: Mapping[str, Path | BagSource],
    *,
    labelled: Callable[[Cohort], Cohort] | None = None,
) -> MatchedCohort:
    """Match the cohort table with folders of bags; a patient needs a label and a bag in at least one folder.

    The sets of CT come first, whatever the order given: what is told of a patient's scans is told of the first set.

    Args:
        section: [cohort].
        folders: bag set -> folder, or what the bags come from.
        labelled: gives each patient one of the classes of the section in the place of the column `label`, which is not read.

    Raises:
        BagError: a folder holds no bag, bags of different recipes, a bag under another patient's name, or CT bags
            made without a phase of the configuration; or files of histology features cannot be read or told apart.
        LeakError: one slide belongs to two patients.
        CohortError: no patient has both a bag and a label, or only one class is left.
    """
    cohort = read_cohort(section, needs_scans=False, has_labels=labelled is None)
    cohort = cohort if labelled is None else labelled(cohort)
    several = len(folders) > 1
    given = {name: one if isinstance(one, BagSource) else BagSource(one) for name, one in folders.items()}
    found = {name: _bags_of(name if several else "", one, cohort, section) for name, one in given.items()}
    found = dict(sorted(found.items(), key=lambda item: item[1].phases is None))
    exclusions = _exclusions(cohort, list(found.values()), section)
    rows = sorted(
        (row for row in cohort.patients if row.label and any(f.seen(row.patient_id) for f in found.values())),
        key=lambda row: row.patient_id,
    )
    _check_classes(section, cohort, rows, exclusions, is_outcome=labelled is not None)
    headers = {name: [f.headers.get(row.patient_id) for row in rows] for name, f in found.items()}
    return MatchedCohort(
        rows=tuple(rows),
        classes=section.classes,
        bag_sets={name: f.bag_set(rows) for name, f in found.items()},
        headers={
            name: tuple(_shown(header, found[name]) for header in of_set) for name, of_set in headers.items()
        },
        recipes={
            name: check_one_recipe(header for header in of_set if header) for name, of_set in headers.items()
        },
        views={name: _view(f) for name, f in found.items()},
        exclusions=tuple(exclusions),
        translations=cohort.translations,
        remarks=(
            *cohort.remarks,
            *(line for f in found.values() for line in _phases_without_a_row(rows, f)),
            *(line for f in found.values() for line in _told_of_slides(rows, f)),
            *(line for f in found.values() if several for line in _without_a_bag(rows, f)),
        ),
    )


def _bags_of(name: str, source: BagSource, cohort: Cohort, section: CohortSection) -> _BagsFound:
    if source.format is None:
        return _bags_in(name, source.folder, cohort, section)
    everybody = [row.patient_id for row in cohort.patients]
    table = read_slide_table(source.folder, source.format, source.slides, everybody)
    labelled = sorted(
        row.patient_id for row in cohort.patients if row.label and row.patient_id in table.files
    )
    if not labelled:
        raise BagError(
            f"{source.slides or source.folder}: none of the slides of {len(table.files)} patients, such as {next(iter(table.files))}, "
            "belongs to a patient with a label; write the patient_id of the cohort table there, or take the bag set out"
        )
    headers = slide_headers({name: table.files[name] for name in labelled}, source.format)
    paths = {patient_id: files[0] for patient_id, files in table.files.items()}
    return _BagsFound(name, source.folder, paths, headers, None, table, source.format)


def _told_of_slides(rows: Sequence[Row], found: _BagsFound) -> Iterator[str]:
    """Tell what files of other programs leave open."""
    if found.slides is None:
        return
    yield from found.slides.remarks
    files = [found.slides.files[row.patient_id] for row in rows if row.patient_id in found.headers]
    more = sum(len(one) > 1 for one in files)
    yield (
        f"{sum(map(len, files))} slides of {len(files)} patients{found.place}, several of {more}; the tiles of a patient are one bag"
    )
    first = next(iter(found.headers.values()))
    if first.recipe.encoder == UNKNOWN:
        yield f"the files{found.place} do not say which encoder computed their features; that they share one cannot be checked"


def _without_a_bag(rows: Sequence[Row], found: _BagsFound) -> Iterator[str]:
    lacking = [row.patient_id for row in rows if not found.seen(row.patient_id)]
    if lacking:
        yield f"{len(lacking)} of {len(rows)} patients, such as {lacking[0]}, have no bag{found.place}"


def _bags_in(name: str, folder: Path, cohort: Cohort, section: CohortSection) -> _BagsFound:
    paths = list_bags(folder)
    if not paths:
        raise BagError(f"{folder}: no bag here; run `extract.py run` with this configuration first")
    labelled = [row.patient_id for row in cohort.patients if row.label and row.patient_id in paths]
    headers = {patient_id: read_header(paths[patient_id]) for patient_id in sorted(labelled)}
    if name and not headers:
        raise BagError(
            f"{folder}: none of the {len(paths)} bags of the set {name!r} belongs to a patient with a label"
        )
    is_ct = all(header.modality == CT for header in headers.values())
    if is_ct:
        for header in headers.values():
            _check_phases_known(section.phases, header)
    return _BagsFound(name, folder, paths, headers, section.phases if is_ct else None)


def _check_phases_known(phases: Sequence[str], header: BagHeader) -> None:
    """Refuse a phase of the configuration that the bags do not list, such as one renamed after extraction."""
    unknown = [name for name in phases if name not in header.phase_names]
    if unknown:
        raise BagError(
            f"phase {unknown[0]} of the configuration is in no bag: [cohort] phases are {', '.join(phases)}, the phases "
            f"of the bags {', '.join(header.phase_names)}; use the same names, or extract again with this configuration"
        )


def _shown(header: BagHeader | None, found: _BagsFound) -> BagHeader | None:
    if header is None or not found.seen(header.patient_id):
        return None
    return header if found.phases is None else header_in_phases(header, found.phases)


def _view(found: _BagsFound) -> str:
    first = next(iter(found.headers.values()), None)
    if found.phases is None or first is None or first.phase_names == found.phases:
        return ""
    return "+".join(found.phases)


def _phases_without_a_row(rows: Sequence[Row], found: _BagsFound) -> Iterator[str]:
    """Report phases in bags without a usable row in the cohort table, such as a row removed after extraction."""
    if found.phases is None:
        return
    lacking = [
        (row.patient_id, name)
        for row in rows
        for name in found.seen(row.patient_id)
        if row.scans and name not in row.scans
    ]
    if lacking:
        patient_id, name = lacking[0]
        yield (
            f"{len(lacking)} phases in the bags{found.place} have no usable row in the cohort table, such as {name} of "
            f"patient {patient_id}; the bags are used unchanged: to leave these phases out, run `extract.py run` again"
        )


def _exclusions(cohort: Cohort, sets: Sequence[_BagsFound], section: CohortSection) -> list[Exclusion]:
    """Collect what is left out because of the current cohort table, by stage 1 because of the scans, or here.

    The faults of the cohort table that stage 1 wrote down are ignored: the table may have been corrected since.
    """
    of_extract = [exclusion for found in sets for exclusion in _of_stage_1(found)]
    told = [*cohort.exclusions, *(e for e in of_extract if e.stage not in STAGES)]
    excluded = {e.patient_id for e in told if not e.phase}
    for row in cohort.patients:
        if row.patient_id in excluded:
            continue
        if not any(row.patient_id in found.paths for found in sets):
            alike = next(filter(None, (_look_alike(row.patient_id, found, cohort) for found in sets)), "")
            reason = f"no bag: stage 1 wrote no bag for this patient{alike}"
            told.append(Exclusion(row.patient_id, "", "aggregate", reason))
        elif row.label is None:
            told.append(Exclusion(row.patient_id, "", "aggregate", "no label in the cohort table"))
    strangers = dict.fromkeys(name for found in sets for name in _strangers(found, cohort))
    told += [
        Exclusion(name, "", "aggregate", "a bag without a row in the cohort table")
        for name in strangers
        if name not in excluded
    ]
    return [*told, *_unseen_phases(sets, told, section)]


def _of_stage_1(found: _BagsFound) -> list[Exclusion]:
    return [replace(one, reason=f"{one.reason}{found.place}") for one in read_exclusions(found.folder)]


def _strangers(found: _BagsFound, cohort: Cohort) -> list[str]:
    return sorted(set(found.paths) - {row.patient_id for row in cohort.patients})


def _look_alike(patient_id: str, found: _BagsFound, cohort: Cohort) -> str:
    alike = ((name, how) for name in _strangers(found, cohort) if (how := how_alike(patient_id, name)))
    return next((f"; there is a bag of {name}{how}" for name, how in alike), "")


def _unseen_phases(
    sets: Sequence[_BagsFound], exclusions: Sequence[Exclusion], section: CohortSection
) -> Iterator[Exclusion]:
    """List the phases of the bags that the configuration leaves out, and the patients who have no other phase."""
    named = {(e.patient_id, e.phase) for e in exclusions}
    for found in sets:
        for patient_id, header in found.headers.items():
            unseen = set(header.phases_present) - set(found.seen(patient_id))
            for phase in (name for name in header.phases_present if name in unseen):
                if (patient_id, phase) not in named:
                    reason = f"in the bag{found.place}, but not among the phases of the configuration"
                    yield Exclusion(patient_id, phase, "aggregate", reason)
            if not any(f.seen(patient_id) for f in sets) and (patient_id, "") not in named:
                named.add((patient_id, ""))
                expected = ", ".join(section.phases)
                reason = f"the bag has no phase of the configuration; expected one of {expected}"
                yield Exclusion(patient_id, "", "aggregate", reason)


def _check_classes(
    section: CohortSection,
    cohort: Cohort,
    rows: Sequence[Row],
    exclusions: Sequence[Exclusion],
    *,
    is_outcome: bool,
) -> None:
    present = {row.label for row in rows}
    absent = [name for name in section.classes if name not in present]
    if not absent:
        return
    of_class = {row.patient_id for row in cohort.patients if row.label == absent[0]}
    reasons = [f"{e.patient_id} ({e.reason})" for e in exclusions if e.patient_id in of_class and not e.phase]
    more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    left_out = f"; left out: {reasons[0]}{more}" if reasons else ""
    if is_outcome:
        raise CohortError(
            f"{section.table}: no patient with a bag has the outcome {absent[0]!r} ([aggregate.outcome]), of whom folds and models need "
            f"some; expected patients of each of {', '.join(section.classes)}{left_out}"
        )
    raise CohortError(
        f"{section.table}: class {absent[0]} of the configuration has no patient with a bag and a label; "
        f"take it out of [cohort] classes{left_out}"
    )
