"""The patients of one experiment: bags with labels, and everybody who had to be left out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from aggregate.configured_phases import bag_in_phases, check_phases_known, header_in_phases
from aggregate.splits import Roster
from pipeline.bags import (
    Bag,
    BagHeader,
    Recipe,
    bag_path,
    check_one_recipe,
    how_alike,
    list_bags,
    read_bag,
    read_header,
)
from pipeline.cohort import STAGES, Cohort, Exclusion, Patient, read_cohort
from pipeline.config import ExperimentConfig
from pipeline.errors import BagError, CohortError
from pipeline.names import Translation
from pipeline.tables import read_table

_FEATURE_BYTES_KEPT = 2**27
"""An eighth of a gigabyte in each worker process: 120 patients of 100 slices and 2,048 features. joblib takes a worker
that has grown by 0.3 GB for one that leaks (where psutil is installed) and starts another, which reads all bags again."""


class BagFolder(Sequence[Bag]):
    """The bags of some patients in a folder, read when asked for, and kept while there is room for them.

    A bag that was kept is not given up for a later one: models go through all bags again and again, and when
    the least recently used one always goes, each is gone by the time it is asked for. With `phases`, no other phase
    of a bag is seen.
    """

    def __init__(
        self,
        folder: Path,
        patient_ids: Sequence[str],
        *,
        phases: tuple[str, ...] | None = None,
        bytes_kept: int = _FEATURE_BYTES_KEPT,
    ) -> None:
        self.folder = folder
        self.patient_ids = tuple(patient_ids)
        self.phases = phases
        self.bytes_kept = bytes_kept
        self._room = bytes_kept
        self._bags: dict[str, Bag] = {}
        self._sizes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.patient_ids)

    @overload
    def __getitem__(self, index: int) -> Bag: ...
    @overload
    def __getitem__(self, index: slice) -> "BagFolder": ...
    def __getitem__(self, index: int | slice) -> "Bag | BagFolder":
        """Return one bag, or the folder of a slice of patients."""
        if isinstance(index, slice):
            return BagFolder(
                self.folder, self.patient_ids[index], phases=self.phases, bytes_kept=self.bytes_kept
            )
        patient_id = self.patient_ids[index]
        return self._bags[patient_id] if patient_id in self._bags else self._read(patient_id)

    def sizes(self) -> NDArray[np.intp]:
        """Return the instances of each bag (n,); a bag that was read before is not read again."""
        sizes = (self._sizes.get(name) or len(self._read(name)) for name in self.patient_ids)
        return np.fromiter(sizes, dtype=np.intp, count=len(self))

    def _read(self, patient_id: str) -> Bag:
        bag = read_bag(bag_path(self.folder, patient_id))
        if self.phases is not None:
            bag = bag_in_phases(bag, self.phases)
        self._sizes[patient_id] = len(bag)
        if bag.features.nbytes <= self._room:
            self._bags[patient_id] = bag
            self._room -= bag.features.nbytes
        return bag

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to a worker as paths; the worker reads the bags itself."""
        return _open_folder, (self.folder, self.patient_ids, self.phases, self.bytes_kept)


@lru_cache(maxsize=2)
def _open_folder(
    folder: Path, patient_ids: tuple[str, ...], phases: tuple[str, ...] | None, bytes_kept: int
) -> BagFolder:
    return BagFolder(folder, patient_ids, phases=phases, bytes_kept=bytes_kept)


def bag_sizes(bags: Sequence[Bag]) -> NDArray[np.intp]:
    """Return the instances of each bag (n,)."""
    return (
        bags.sizes() if isinstance(bags, BagFolder) else np.array([len(bag) for bag in bags], dtype=np.intp)
    )


@dataclass(frozen=True, eq=False)
class Study:
    """Every patient with a bag and a label, sorted by identifier.

    Attributes:
        name: of the experiment.
        bags: n bags.
        headers: n bag headers.
        labels: intp (n,), index into classes.
        classes: class names.
        patients: n rows of the cohort table.
        recipe: what made the features, the same for all.
        exclusions: everybody and every phase left out, by either stage, with the reason.
        view: what of the bags is shown, where it is not all of them; a part of every fit's key.
        translations: spellings of the cohort table that were read as other words.
        remarks: what else was decided in reading it, and what table and bags do not agree in.
    """

    name: str
    bags: Sequence[Bag]
    headers: tuple[BagHeader, ...]
    labels: NDArray[np.intp]
    classes: tuple[str, ...]
    patients: tuple[Patient, ...]
    recipe: Recipe
    exclusions: tuple[Exclusion, ...]
    view: str = ""
    translations: tuple[Translation, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def patient_ids(self) -> tuple[str, ...]:
        """Identifiers in the order of every array."""
        return tuple(patient.patient_id for patient in self.patients)

    @property
    def roster(self) -> Roster:
        """What the splitting may look at."""
        names = sorted({patient.centre or "" for patient in self.patients})
        centres = np.array([names.index(patient.centre or "") for patient in self.patients], dtype=np.intp)
        return Roster(self.patient_ids, self.labels, self.classes, centres, tuple(names))


def load_study(config: ExperimentConfig) -> Study:
    """Match the cohort table with the bags of stage 1, seen through the phases of the configuration.

    Raises:
        BagError: the folder holds no bag, bags of different recipes, a bag under another patient's name, or none
            that knows a phase of the configuration.
        CohortError: no patient has both a bag and a label, or one class is left.
    """
    cohort = read_cohort(config.cohort)
    paths = list_bags(config.bags_folder)
    if not paths:
        raise BagError(
            f"{config.bags_folder}: no bag here; run `extract.py run` with this configuration first"
        )
    labelled = sorted(
        (p for p in cohort.patients if p.label and p.patient_id in paths), key=lambda p: p.patient_id
    )
    of_bags = {p.patient_id: read_header(paths[p.patient_id]) for p in labelled}
    phases = config.cohort.phases
    for header in of_bags.values():
        check_phases_known(phases, header)
    exclusions = _exclusions(config, cohort, paths)
    exclusions += _unseen_phases(of_bags, phases, exclusions)
    kept = [p for p in labelled if set(of_bags[p.patient_id].phases_present) & set(phases)]
    _check_classes(config, cohort, kept, exclusions)
    headers = [of_bags[patient.patient_id] for patient in kept]
    return Study(
        name=config.name,
        bags=BagFolder(config.bags_folder, [patient.patient_id for patient in kept], phases=phases),
        headers=tuple(header_in_phases(header, phases) for header in headers),
        labels=np.array([config.cohort.classes.index(p.label or "") for p in kept], dtype=np.intp),
        classes=config.cohort.classes,
        patients=tuple(kept),
        recipe=check_one_recipe(headers),
        exclusions=tuple(exclusions),
        view="" if headers[0].phase_names == phases else "+".join(phases),
        translations=cohort.translations,
        remarks=(*cohort.remarks, *_phases_without_a_row(kept, of_bags, phases)),
    )


def _phases_without_a_row(
    patients: Sequence[Patient], headers: Mapping[str, BagHeader], phases: Sequence[str]
) -> Iterator[str]:
    """Say which bags hold phases of which the cohort table has no usable row, as when one was taken out since."""
    lacking = [
        (p.patient_id, name)
        for p in patients
        for name in headers[p.patient_id].phases_present
        if name in phases and name not in p.scans
    ]
    if lacking:
        patient_id, name = lacking[0]
        yield (
            f"{len(lacking)} phases in the bags have no usable row in the cohort table, such as {name} of patient "
            f"{patient_id}; they are used as they stand in the bags: run `extract.py run` again if they are not wanted"
        )


def _exclusions(config: ExperimentConfig, cohort: Cohort, paths: Mapping[str, Path]) -> list[Exclusion]:
    """Collect who is left out: by the cohort table as it is now, by stage 1 for its scans, or here.

    Stage 1's own copy of the table's faults is not read: labels may have been mended since.
    """
    table = config.bags_folder / "excluded.csv"
    of_extract = [_exclusion(row) for row in read_table(table)] if table.exists() else []
    found = [*cohort.exclusions, *(e for e in of_extract if e.stage not in STAGES)]
    excluded = {e.patient_id for e in found if not e.phase}
    strangers = sorted(set(paths) - {patient.patient_id for patient in cohort.patients})
    for patient in cohort.patients:
        named = patient.patient_id in excluded
        if patient.patient_id not in paths and not named:
            reason = (
                f"no bag: stage 1 wrote none for this patient{_look_alike(patient.patient_id, strangers)}"
            )
            found.append(Exclusion(patient.patient_id, "", "aggregate", reason))
        elif patient.label is None and not named:
            found.append(Exclusion(patient.patient_id, "", "aggregate", "no label in the cohort table"))
    reason = "a bag without a row in the cohort table"
    found.extend(
        Exclusion(stranger, "", "aggregate", reason) for stranger in strangers if stranger not in excluded
    )
    return found


def _look_alike(patient_id: str, strangers: Sequence[str]) -> str:
    alike = ((name, how) for name in strangers if (how := how_alike(patient_id, name)))
    return next((f"; there is a bag of {name}{how}" for name, how in alike), "")


def _unseen_phases(
    headers: Mapping[str, BagHeader], phases: Sequence[str], exclusions: Sequence[Exclusion]
) -> list[Exclusion]:
    """Name the phases of the bags that the configuration leaves out, and the patients who have no other."""
    named = {(e.patient_id, e.phase) for e in exclusions}
    found = []
    for patient_id, header in headers.items():
        unseen = [phase for phase in header.phases_present if phase not in phases]
        found += [
            Exclusion(patient_id, phase, "aggregate", "in the bag, but no phase of the configuration")
            for phase in unseen
            if (patient_id, phase) not in named
        ]
        if len(unseen) == len(header.phases_present) and (patient_id, "") not in named:
            reason = f"no phase of the configuration in the bag; expected one of {', '.join(phases)}"
            found.append(Exclusion(patient_id, "", "aggregate", reason))
    return found


def _exclusion(row: Mapping[str, str]) -> Exclusion:
    return Exclusion(row["patient_id"], row["phase"], row["stage"], row["reason"])


def _check_classes(
    config: ExperimentConfig, cohort: Cohort, patients: Sequence[Patient], exclusions: Sequence[Exclusion]
) -> None:
    found = {patient.label for patient in patients}
    absent = [name for name in config.cohort.classes if name not in found]
    if not absent:
        return
    of_class = {patient.patient_id for patient in cohort.patients if patient.label == absent[0]}
    reasons = [f"{e.patient_id} ({e.reason})" for e in exclusions if e.patient_id in of_class and not e.phase]
    more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    left_out = f"; left out: {reasons[0]}{more}" if reasons else ""
    raise CohortError(
        f"{config.cohort.table}: class {absent[0]} of the configuration has no patient with a bag and a label; "
        f"take it out of [cohort] classes{left_out}"
    )
