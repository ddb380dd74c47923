"""Patients that a package is asked about: their bags and columns, held against its contract; nobody is left out without a reason."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.bag_sets import BagFolder, BagSet
from aggregate.cohort.matching import BagSource
from aggregate.cohort.patients import Patients
from aggregate.cohort.slide_bags import SlideFolder, slide_headers
from aggregate.cohort.slide_table import read_slide_table
from aggregate.package.bag_contract import BagContract, PackageContract
from aggregate.package.loaded_package import Package
from aggregate.planning.leaks import check_no_shared_images
from pipeline.bags import BagHeader, list_bags, read_header
from pipeline.cohort import Exclusion, read_cohort
from pipeline.cohort import Patient as Row
from pipeline.config import CohortSection, PhaseRolesSection
from pipeline.covariates import Covariate, read_covariate
from pipeline.errors import BagError, CohortError, ConfigError
from pipeline.exclusions import read_exclusions
from pipeline.names import hint_of_nearest, number_of

STAGE = "predict"
"""Of exclusions that are made here."""
UNLABELLED = -1
"""Class number of a patient whose label is not known."""


@dataclass(frozen=True, eq=False)
class NewPatients:
    """Who is predicted, who is not, and what there is to tell.

    Attributes:
        patients: sorted by identifier; the code of a patient without a label is -1.
        rows: of the cohort table, in the order of the patients; without a table each is empty.
        headers: bag set -> header of each patient's bag as the model reads it, None where there is none.
        exclusions: everybody who is not predicted, and phases that are not seen, each with the reason.
        remarks: how the cohort table was read, and what is new in it.
    """

    patients: Patients
    rows: tuple[Row, ...]
    headers: Mapping[str, tuple[BagHeader | None, ...]]
    exclusions: tuple[Exclusion, ...]
    remarks: tuple[str, ...] = ()

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """Whose class is known (n,)."""
        return np.asarray(self.patients.codes != UNLABELLED)

    @property
    def bag_keys(self) -> dict[str, dict[str, str]]:
        """Bag set -> patient -> content key of the bag."""
        return {
            name: {header.patient_id: header.content_key for header in of_set if header}
            for name, of_set in self.headers.items()
        }

    @property
    def left_out(self) -> frozenset[str]:
        """Who is not predicted; a patient whose label alone cannot be used is."""
        return frozenset(e.patient_id for e in self.exclusions if not e.phase) - {*self.patients.patient_ids}

    def of(self, chosen: NDArray[np.bool_]) -> "NewPatients":
        """Return the patients that a boolean array (n,) chooses."""
        numbers = np.flatnonzero(chosen)
        return replace(
            self,
            patients=self.patients.take(numbers),
            rows=tuple(self.rows[i] for i in numbers),
            headers={name: tuple(of_set[i] for i in numbers) for name, of_set in self.headers.items()},
        )


@dataclass(frozen=True)
class _Found:
    """The bags of one set."""

    source: BagSource
    contract: BagContract
    headers: Mapping[str, BagHeader]
    """Patient -> header as the model reads it."""
    files: Mapping[str, tuple[Path, ...]]
    """Patient -> files; one each of bags."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Patient -> what is wrong with the file."""
    unread_phases: tuple[tuple[str, str], ...] = ()
    """Patient and phase that the package has not."""

    def bag_set(self, patient_ids: Sequence[str]) -> BagSet:
        """Return the bags of some patients, read when they are asked for."""
        if self.source.format is not None:
            files = {name: self.files[name] for name in self.headers}
            return SlideFolder(self.source.folder, files, patient_ids, self.source.format)
        present = [(p, self.headers[p].phases_present if p in self.headers else ()) for p in patient_ids]
        phases = self.contract.phase_names if self.contract.is_in_phases else None
        return BagFolder(self.source.folder, present, phases=phases)


def sources_of(
    contract: PackageContract, given: Sequence[str], slides: Sequence[str] = ()
) -> Mapping[str, BagSource]:
    """Return what the bags of each set come from, as said on the command line: FOLDER, or NAME=FOLDER for each set.

    Args:
        contract: of the package.
        given: the folders.
        slides: NAME=TABLE, for histology features of other programs.

    Raises:
        ConfigError: a set of the package is not given, or a set is unknown.
    """
    names = list(contract.bag_sets)
    folders = _named(given, names, "BAGS")
    tables = _named(slides, names, "--slides")
    missing = [name for name in names if name not in folders]
    if missing:
        found = ", ".join(folders) or "none"
        raise ConfigError(
            f"the model reads the bags {', '.join(names)}; expected {missing[0]}=FOLDER, found {found}"
            if len(names) > 1
            else "the model reads bags; expected their folder after the package, found none"
        )
    return {
        name: BagSource(folders[name], one.format, tables.get(name))
        for name, one in contract.bag_sets.items()
    }


def read_new_patients(
    package: Package,
    sources: Mapping[str, BagSource],
    table: Path | None,
    label_aliases: Mapping[str, str] | None = None,
) -> NewPatients:
    """Read the patients that a package is asked about.

    Args:
        package: whose contract their bags must keep.
        sources: bag set -> what its bags come from.
        table: a cohort table, with the columns that the model reads and perhaps labels; None without one.
        label_aliases: further spellings of the classes -> class.

    Raises:
        BagError: there is no bag, or one of another encoder, weights or preprocessing; both values are named.
        LeakError: two patients have the same image; both are named.
        CohortError: the table cannot be used, or lacks a column that the model reads.
        ConfigError: the model reads columns, and there is no table.
    """
    contract = package.contract
    found = {name: _bags_of(one, contract.bag_sets[name]) for name, one in sources.items()}
    _check_differences(found)
    rows, excluded, remarks = _rows_of(contract, found, table, label_aliases or {})
    covariates, told = covariates_of(contract, rows, table)
    new = _matched(contract, found, rows, covariates)
    check_no_shared_images([header for of_set in new.headers.values() for header in of_set if header])
    excluded += _without_bag(found, rows, table, excluded)
    excluded += _phases_left_out(found)
    new = replace(new, exclusions=tuple(excluded), remarks=(*remarks, *told))
    return _that_can_be_seen(package, found, new)


def _named(given: Sequence[str], names: Sequence[str], what: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or (name not in names and len(names) == 1 and Path(text).exists()):
            name, path = (names[0] if len(names) == 1 else ""), text
        if name not in names:
            expected = ", ".join(f"{one}=PATH" for one in names) or "none, since the model reads no bags"
            raise ConfigError(f"{what} {text!r}: expected {expected}")
        if name in found:
            raise ConfigError(f"{what} {text!r}: {name} is given twice")
        found[name] = Path(path)
    return found


def _bags_of(source: BagSource, contract: BagContract) -> _Found:
    if source.format is not None:
        return _slides_of(source, contract)
    paths = list_bags(source.folder)
    if not paths:
        raise BagError(
            f"{source.folder}: expected a folder of bags (.h5), found none; `extract.py run` writes them"
        )
    headers: dict[str, BagHeader] = {}
    unreadable: dict[str, str] = {}
    for patient_id, path in paths.items():
        try:
            headers[patient_id] = read_header(path)
        except BagError as error:
            unreadable[patient_id] = str(error)
    files = {patient_id: (path,) for patient_id, path in paths.items()}
    return _Found(source, contract, headers, files, unreadable)


def _slides_of(source: BagSource, contract: BagContract) -> _Found:
    assert source.format is not None
    files = read_slide_table(source.folder, source.format, source.slides).files
    headers: dict[str, BagHeader] = {}
    unreadable: dict[str, str] = {}
    for patient_id, paths in files.items():
        try:
            headers |= slide_headers({patient_id: paths}, source.format)
        except BagError as error:
            unreadable[patient_id] = str(error)
    return _Found(source, contract, headers, files, unreadable)


def _check_differences(found: dict[str, _Found]) -> None:
    """Refuse bags that break the contract, and put headers as the model reads them in the place of the others.

    Raises:
        BagError: the first bag is named, with both values, and how many there are.
    """
    for name, one in found.items():
        shown: dict[str, BagHeader] = {}
        unread: list[tuple[str, str]] = []
        broken: list[str] = []
        for patient_id, header in one.headers.items():
            try:
                shown[patient_id] = one.contract.shown(
                    header, f"patient {patient_id}, {one.files[patient_id][0]}"
                )
            except BagError as error:
                broken.append(str(error))
                continue
            unread += [
                (patient_id, p) for p in header.phases_present if p not in shown[patient_id].phase_names
            ]
        if broken:
            more = f" ({len(broken)} of {len(one.headers)} bags differ)" if len(one.headers) > 1 else ""
            raise BagError(f"{broken[0]}{more}")
        found[name] = replace(one, headers=shown, unread_phases=tuple(unread))


def _rows_of(
    contract: PackageContract, found: Mapping[str, _Found], table: Path | None, aliases: Mapping[str, str]
) -> tuple[dict[str, Row], list[Exclusion], list[str]]:
    """Return the rows of everybody who may be predicted, who cannot be for the table's sake, and how it was read."""
    if table is None:
        everybody = sorted({name for one in found.values() for name in one.files})
        return {name: Row(name, {}, None) for name in everybody}, [], []
    unknown = [name for name in aliases.values() if name not in contract.classes]
    if unknown:
        raise ConfigError(
            f"--class: {unknown[0]!r} is no class of the package; {hint_of_nearest(unknown[0], contract.classes)}"
        )
    section = CohortSection(
        table=table,
        phases=contract.phases,
        classes=contract.classes,
        phase_roles=PhaseRolesSection(**contract.phase_roles),
        phase_aliases=contract.phase_aliases,
        label_aliases={**contract.label_aliases, **aliases},
    )
    cohort = read_cohort(section, needs_scans=False)
    return {row.patient_id: row for row in cohort.patients}, list(cohort.exclusions), list(cohort.notices)


def covariates_of(
    contract: PackageContract, rows: Mapping[str, Row], table: Path | str | None
) -> tuple[dict[str, Covariate], list[str]]:
    """Type the columns that the model reads, as they were with the training patients.

    Raises:
        ConfigError: the model reads columns, and there is no table.
        CohortError: a column is missing, says two things of one patient, or is of another type.
    """
    if contract.covariates and table is None:
        raise ConfigError(
            f"the model reads the columns {', '.join(contract.covariates)} of the cohort table; name it with --cohort TABLE"
        )
    known = dict.fromkeys(name for row in rows.values() for name in row.covariates)
    found, told = {}, []
    for name, wanted in contract.covariates.items():
        if name not in known:
            raise CohortError(
                f"{table}: the model reads a column {name!r}; {hint_of_nearest(name, known)}; where it is not known of anybody, add it "
                "with empty cells"
            )
        for row in rows.values():
            if name in row.contradictions:
                raise CohortError(f"{table}: patient {row.patient_id}: {row.contradictions[name]}")
        cells = {who: row.covariates.get(name, "") for who, row in rows.items()}
        column = read_covariate(name, cells, wanted.words)
        is_told = any(value is not None for value in column.values.values())
        if column.doubt or (is_told and column.kind is not wanted.kind):
            why = (
                column.doubt or f"expected a {wanted.kind} as of the training patients, found a {column.kind}"
            )
            raise CohortError(f"{table}: column {name!r}: {why}")
        found[name] = column
        told += _told_of(column, wanted.words)
    return found, told


def _told_of(column: Covariate, words: Sequence[str]) -> list[str]:
    """Tell which cells say nothing to the model."""
    lines = [column.describe()] if column.misfits else []
    missing = [who for who, value in column.values.items() if value is None]
    if missing:
        lines.append(
            f"covariate {column.name!r} is missing of {number_of(len(missing), 'patient')}, such as {missing[0]}"
        )
    strange = {who: word for who, word in column.words.items() if word and word not in words} if words else {}
    if strange:
        who, word = next(iter(strange.items()))
        lines.append(
            f"covariate {column.name!r}: {word!r} of patient {who} is no word of the training patients ({', '.join(words)}) and counts "
            f"as missing ({number_of(len(strange), 'patient')})"
        )
    return lines


def _matched(
    contract: PackageContract,
    found: Mapping[str, _Found],
    rows: Mapping[str, Row],
    covariates: Mapping[str, Covariate],
) -> NewPatients:
    """Return everybody with a row and a readable bag, or with a row alone where the model reads no bags."""
    broken = {name for one in found.values() for name in one.unreadable}
    ids = sorted(
        name
        for name in rows
        if name not in broken and (not found or any(name in one.headers for one in found.values()))
    )
    codes = [
        UNLABELLED if (label := rows[name].label) is None else contract.classes.index(label) for name in ids
    ]
    patients = Patients(
        patient_ids=tuple(ids),
        codes=np.array(codes, dtype=np.intp),
        classes=contract.classes,
        centres=tuple(rows[name].centre or "" for name in ids),
        bag_sets={name: one.bag_set(ids) for name, one in found.items()},
        covariates=covariates,
    )
    headers = {name: tuple(one.headers.get(p) for p in ids) for name, one in found.items()}
    return NewPatients(patients, tuple(rows[name] for name in ids), headers, ())


def _without_bag(
    found: Mapping[str, _Found], rows: Mapping[str, Row], table: Path | None, told: Sequence[Exclusion]
) -> list[Exclusion]:
    """List everybody who has no readable bag, or a bag and no row."""
    left_out: list[Exclusion] = []
    named = {one.patient_id for one in told if not one.phase}
    for one in found.values():
        left_out += [Exclusion(p, "", STAGE, why) for p, why in one.unreadable.items() if p not in named]
    with_bag = {name for one in found.values() for name in one.files}
    of_stage_1 = [
        e for one in found.values() if one.source.format is None for e in read_exclusions(one.source.folder)
    ]
    left_out += [e for e in of_stage_1 if e.patient_id not in with_bag and e.patient_id not in named]
    named |= {one.patient_id for one in left_out if not one.phase}
    if not found:
        return left_out
    lacking = sorted(name for name in rows if name not in with_bag and name not in named)
    left_out += [Exclusion(p, "", STAGE, "no bag of this patient in the folder") for p in lacking]
    if table is not None:
        strangers = sorted(with_bag - set(rows) - named)
        left_out += [Exclusion(p, "", STAGE, "a bag without a row in the cohort table") for p in strangers]
    return left_out


def _phases_left_out(found: Mapping[str, _Found]) -> Iterable[Exclusion]:
    return [
        Exclusion(patient_id, phase, STAGE, "in the bag, but not among the phases of the package")
        for one in found.values()
        for patient_id, phase in one.unread_phases
    ]


def _that_can_be_seen(package: Package, found: Mapping[str, _Found], new: NewPatients) -> NewPatients:
    """Return those whose bags can be read as a whole and of whom the model sees something; the others are left out."""
    reasons: dict[str, str] = {}
    for i, patient_id in enumerate(new.patients.patient_ids):
        try:
            for bags in new.patients.bag_sets.values():
                if bags.phases_present(i):
                    bags[i]
        except BagError as error:
            reasons[patient_id] = str(error)
    readable = new.of(np.array([p not in reasons for p in new.patients.patient_ids], dtype=np.bool_))
    seen = package.sees(readable.patients) if len(readable.patients) else np.ones(0, dtype=np.bool_)
    for i in np.flatnonzero(~seen).tolist():
        reasons[readable.patients.patient_ids[i]] = package.why_unseen(readable.patients[i])
    more = [Exclusion(p, "", STAGE, why) for p, why in sorted(reasons.items())]
    if not seen.any():
        first = f"; {more[0].patient_id}: {more[0].reason}" if more else ""
        folders = ", ".join(str(one.source.folder) for one in found.values()) or "the cohort table"
        raise CohortError(f"{folders}: nobody can be predicted{first}")
    return replace(readable.of(seen), exclusions=(*new.exclusions, *more))
