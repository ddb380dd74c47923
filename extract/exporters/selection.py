"""Which bags an export takes, under which names and labels, and why it leaves out the others."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from extract.exporters.exported import Item, Made, Target, file_name
from pipeline.bags import Bag, BagHeader, FeatureBlock, check_one_recipe, list_bags, read_bag
from pipeline.cohort import read_cohort
from pipeline.cohort_facts import section_of
from pipeline.errors import BagError, CohortError, ConfigError
from pipeline.exclusions import read_exclusions
from pipeline.names import nearest
from pipeline.spellings import Spellings
from pipeline.tables import TableStyle, format_cell

_PREFIX = "patient_"
"""Put before identifiers that a program would read as numbers or as missing."""


@dataclass(frozen=True)
class Wish:
    """What the user asks for.

    Attributes:
        phases: only these; empty for all.
        blocks: only these blocks of the features; empty for all.
        is_per_phase: whether each phase is a file.
        cohort: table of the labels; None for none.
        spellings: of classes.
    """

    phases: tuple[str, ...]
    blocks: tuple[str, ...]
    is_per_phase: bool
    cohort: Path | None
    spellings: Spellings


@dataclass(frozen=True)
class NotExported:
    """A patient, or a phase of one, that no file holds."""

    patient_id: str
    phase: str
    reason: str


@dataclass(frozen=True)
class Labels:
    """The classes of the patients.

    Attributes:
        classes: in their order; empty without a cohort table.
        of: patient -> class.
        reasons: patient of the table -> why there is no class.
        notices: how the table was read.
    """

    classes: tuple[str, ...] = ()
    of: Mapping[str, str] | None = None
    reasons: Mapping[str, str] | None = None
    notices: tuple[str, ...] = ()


def read_bags(folder: Path) -> tuple[Mapping[str, BagHeader], list[NotExported]]:
    """Read every bag of a folder once; return the headers of the good ones by patient, and the others with the reason.

    Raises:
        BagError: there is none, or two differ in their recipe.
    """
    paths = list_bags(folder)
    if not paths:
        inside = sorted(path.name for path in folder.glob("*/") if list_bags(path))
        hint = f"; folders with bags inside it: {', '.join(inside[:3])}" if inside else ""
        raise BagError(f"{folder}: expected a folder of bags (.h5), found none{hint}")
    headers, left = dict[str, BagHeader](), list[NotExported]()
    for patient_id in sorted(paths):
        try:
            headers[patient_id] = read_bag(paths[patient_id]).header
        except BagError as error:
            left.append(NotExported(patient_id, "", f"the file is no bag: {_without_folder(error, folder)}"))
    if not headers:
        raise BagError(f"{folder}: none of the {len(paths)} files is a bag; the first: {left[0].reason}")
    check_one_recipe(headers.values())
    return headers, left


def _without_folder(error: BagError, folder: Path) -> str:
    return " ".join(str(error).replace(f"{folder}/", "").split())


def read_labels(wish: Wish, phases: Sequence[str]) -> Labels:
    """Read the class of each patient of the cohort table.

    Raises:
        CohortError: the table cannot be read, or a spelling is ambiguous.
    """
    if wish.cohort is None:
        return Labels()
    section = section_of(wish.cohort, wish.spellings, phases=phases)
    cohort = read_cohort(section, needs_scans=False)
    reasons = {e.patient_id: e.reason for e in cohort.exclusions if not e.phase}
    labels = {row.patient_id: row.label for row in cohort.patients if row.label}
    reasons |= {
        row.patient_id: reasons.get(row.patient_id, "no label in the cohort table")
        for row in cohort.patients
        if not row.label
    }
    found = set(labels.values())
    classes = tuple(name for name in section.classes if name in found)
    return Labels(classes, labels, reasons, cohort.notices)


def take(
    headers: Mapping[str, BagHeader], labels: Labels, folder: Path
) -> tuple[list[str], list[NotExported]]:
    """Return the patients to export, and the others with the reason."""
    left = [
        NotExported(e.patient_id, e.phase, e.reason)
        for e in read_exclusions(folder)
        if e.patient_id not in headers
    ]
    if labels.of is None or labels.reasons is None:
        return list(headers), left
    taken = [patient_id for patient_id in headers if patient_id in labels.of]
    for patient_id in headers:
        if patient_id not in labels.of:
            reason = labels.reasons.get(patient_id, "no row in the cohort table")
            left.append(NotExported(patient_id, "", reason))
    told = {one.patient_id for one in left}
    left += [
        NotExported(name, "", "no bag")
        for name in (*labels.of, *labels.reasons)
        if name not in {*headers, *told}
    ]
    if not taken:
        raise CohortError(
            f"none of the {len(headers)} bags belongs to a patient with a label; compare the identifiers"
        )
    return taken, left


def check_wish(wish: Wish, header: BagHeader) -> None:
    """Refuse phases and blocks that the bags do not have.

    Raises:
        ConfigError: one is unknown; the nearest is named.
    """
    blocks = [block.name for block in header.feature_blocks]
    for option, asked, known in (
        ("--phases", wish.phases, header.phase_names),
        ("--features", wish.blocks, blocks),
    ):
        for name in (name for name in asked if name not in known):
            near = nearest(name, known)
            hint = f"; did you mean {near!r}?" if near else ""
            raise ConfigError(f"{option} {name!r}: the bags have {', '.join(known)}{hint}")


@dataclass(frozen=True)
class Items:
    """The items of an export, read from the bags whenever they are gone through.

    Attributes:
        folder: of the bags.
        patient_ids: those to export.
        wish: what the user asks for.
        labels: the classes.
        is_per_phase: whether each phase is an item.
        cases: patient -> name in tables and files.
        in_folders: whether phases lie in folders of their own, so that names need not tell them apart.
        skipped: names of items to leave out.
    """

    folder: Path
    patient_ids: Sequence[str]
    wish: Wish
    labels: Labels
    is_per_phase: bool
    cases: Mapping[str, str]
    in_folders: bool
    skipped: frozenset[tuple[str, str]] = frozenset()

    def __iter__(self) -> Iterator[Item]:
        paths = list_bags(self.folder)
        for patient_id in self.patient_ids:
            bag = self.chosen(read_bag(paths[patient_id]))
            phases = [name for name, n in bag.slices_per_phase().items() if n]
            for phase in phases if self.is_per_phase else [""] if phases else []:
                if (patient_id, phase) not in self.skipped:
                    yield self._item(bag.in_phases([phase]) if phase else bag, phase)

    def _item(self, bag: Bag, phase: str) -> Item:
        case = self.cases[bag.patient_id]
        name = f"{case}__{file_name(phase)}" if phase and not self.in_folders else case
        label = self.labels.of[bag.patient_id] if self.labels.of is not None else None
        return Item(name, case, phase, label, bag)

    def chosen(self, bag: Bag) -> Bag:
        """Return a bag in the phases and blocks that were asked for."""
        if self.wish.phases:
            bag = bag.in_phases([name for name in bag.header.phase_names if name in self.wish.phases])
        return in_blocks(bag, self.wish.blocks) if self.wish.blocks else bag

    def without(self, skipped: set[tuple[str, str]]) -> "Items":
        """Return the items but some, by patient and phase."""
        return replace(self, skipped=frozenset(skipped))


def in_blocks(bag: Bag, names: Sequence[str]) -> Bag:
    """Return a bag with some blocks of its features, in the order of the bag."""
    kept = [block for block in bag.header.feature_blocks if block.name in names]
    stops = np.cumsum([block.stop - block.start for block in kept]).tolist()
    blocks = tuple(
        FeatureBlock(block.name, stop - (block.stop - block.start), stop)
        for block, stop in zip(kept, stops, strict=True)
    )
    features = np.concatenate([bag.features[:, block.start : block.stop] for block in kept], axis=1)
    return replace(bag, header=replace(bag.header, feature_blocks=blocks), features=features)


def cases_of(patient_ids: Sequence[str], target: Target) -> Mapping[str, str]:
    """Return patient -> name in the tables of a target: the identifier, or with a prefix where one would not be read as it stands."""
    if target.keeps_names or _comes_back(patient_ids, as_text=target.reads_text):
        return {name: name for name in patient_ids}
    return {name: f"{_PREFIX}{name}" for name in patient_ids}


def check_labels(classes: Sequence[str], target: Target) -> None:
    """Refuse names of classes that a table would not bring back.

    Raises:
        CohortError: one is read as missing, or as another text.
    """
    for name in classes:
        if not target.keeps_names and not _comes_back([name], as_text=True):
            raise CohortError(
                f"class {name!r} is read as another text, or as missing, by programs that open a table; name it anew: --class "
                f'"{name}=NAME"'
            )


def _comes_back(names: Sequence[str], *, as_text: bool) -> bool:
    """Return whether pandas reads a column of a table as it was written."""
    # A second column, as in every table of a target; of one column pandas would pass over empty lines.
    lines = [f'"{format_cell(name, TableStyle()).replace(chr(34), chr(34) * 2)}",x' for name in names]
    text = "\n".join(["name,other", *lines])
    read = pd.read_csv(io.StringIO(text), dtype=str if as_text else None)["name"]
    return [str(value) for value in read.tolist()] == list(names)


def missing_phases(
    headers: Mapping[str, BagHeader], made: Sequence[Made], wish: Wish, patient_of: Callable[[str], str]
) -> Iterator[NotExported]:
    """List the phases of exported patients that no file holds."""
    for patient_id in dict.fromkeys(patient_of(one.case) for one in made):
        header = headers[patient_id]
        for phase, reason in header.phases_missing.items():
            yield NotExported(patient_id, phase, reason)
        for phase in header.phases_present:
            if wish.phases and phase not in wish.phases:
                yield NotExported(patient_id, phase, "not among --phases")
