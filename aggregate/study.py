"""The patients of one experiment: bags with labels, and everybody who had to be left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from aggregate.splits import Roster
from pipeline.bags import Bag, BagHeader, Recipe, bag_path, check_one_recipe, list_bags, read_bag, read_header
from pipeline.cohort import STAGES, Cohort, Exclusion, Patient, read_cohort
from pipeline.config import ExperimentConfig
from pipeline.errors import BagError, CohortError
from pipeline.tables import read_table

_FEATURE_BYTES_KEPT = 2**29
"""Half a gigabyte in each worker process: 120 patients of 100 slices and 2,048 features five times over."""


class BagFolder(Sequence[Bag]):
    """The bags of some patients in a folder, read when asked for, and kept while there is room for them.

    A bag that was kept is not given up for a later one: models go through all bags again and again, and when
    the least recently used one always goes, each is gone by the time it is asked for.
    """

    def __init__(
        self, folder: Path, patient_ids: Sequence[str], *, bytes_kept: int = _FEATURE_BYTES_KEPT
    ) -> None:
        self.folder = folder
        self.patient_ids = tuple(patient_ids)
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
            return BagFolder(self.folder, self.patient_ids[index], bytes_kept=self.bytes_kept)
        patient_id = self.patient_ids[index]
        return self._bags[patient_id] if patient_id in self._bags else self._read(patient_id)

    def sizes(self) -> NDArray[np.intp]:
        """Return the instances of each bag (n,); a bag that was read before is not read again."""
        sizes = (self._sizes.get(name) or len(self._read(name)) for name in self.patient_ids)
        return np.fromiter(sizes, dtype=np.intp, count=len(self))

    def _read(self, patient_id: str) -> Bag:
        bag = read_bag(bag_path(self.folder, patient_id))
        self._sizes[patient_id] = len(bag)
        if bag.features.nbytes <= self._room:
            self._bags[patient_id] = bag
            self._room -= bag.features.nbytes
        return bag

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to a worker as paths; the worker reads the bags itself."""
        return _open_folder, (self.folder, self.patient_ids, self.bytes_kept)


@lru_cache(maxsize=2)
def _open_folder(folder: Path, patient_ids: tuple[str, ...], bytes_kept: int) -> BagFolder:
    return BagFolder(folder, patient_ids, bytes_kept=bytes_kept)


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
    """Match the cohort table with the bags of stage 1.

    Raises:
        BagError: the folder holds no bag, or bags of different recipes.
        CohortError: no patient has both a bag and a label, or one class is left.
    """
    cohort = read_cohort(config.cohort)
    paths = list_bags(config.bags_folder)
    if not paths:
        raise BagError(
            f"{config.bags_folder}: no bag here; run `extract.py run` with this configuration first"
        )
    exclusions = _exclusions(config, cohort, paths)
    kept = sorted(
        (p for p in cohort.patients if p.label and p.patient_id in paths), key=lambda p: p.patient_id
    )
    _check_classes(config, kept)
    headers = tuple(read_header(paths[patient.patient_id]) for patient in kept)
    return Study(
        name=config.name,
        bags=BagFolder(config.bags_folder, [patient.patient_id for patient in kept]),
        headers=headers,
        labels=np.array([config.cohort.classes.index(p.label or "") for p in kept], dtype=np.intp),
        classes=config.cohort.classes,
        patients=tuple(kept),
        recipe=check_one_recipe(headers),
        exclusions=tuple(exclusions),
    )


def _exclusions(config: ExperimentConfig, cohort: Cohort, paths: Mapping[str, Path]) -> list[Exclusion]:
    """Collect who is left out: by the cohort table as it is now, by stage 1 for its scans, or here.

    Stage 1's own copy of the table's faults is not read: labels may have been mended since.
    """
    table = config.bags_folder / "excluded.csv"
    of_extract = [_exclusion(row) for row in read_table(table)] if table.exists() else []
    found = [*cohort.exclusions, *(e for e in of_extract if e.stage not in STAGES)]
    excluded = {e.patient_id for e in found if not e.phase}
    for patient in cohort.patients:
        named = patient.patient_id in excluded
        if patient.patient_id not in paths and not named:
            found.append(
                Exclusion(patient.patient_id, "", "aggregate", "no bag: stage 1 wrote none for this patient")
            )
        elif patient.label is None and not named:
            found.append(Exclusion(patient.patient_id, "", "aggregate", "no label in the cohort table"))
    strangers = sorted(set(paths) - {patient.patient_id for patient in cohort.patients})
    reason = "a bag without a row in the cohort table"
    found.extend(Exclusion(stranger, "", "aggregate", reason) for stranger in strangers)
    return found


def _exclusion(row: Mapping[str, str]) -> Exclusion:
    return Exclusion(row["patient_id"], row["phase"], row["stage"], row["reason"])


def _check_classes(config: ExperimentConfig, patients: Sequence[Patient]) -> None:
    found = {patient.label for patient in patients}
    absent = [name for name in config.cohort.classes if name not in found]
    if absent:
        raise CohortError(
            f"{config.cohort.table}: class {absent[0]} of the configuration has no patient with a bag and a label; "
            "take it out of [cohort] classes, or see excluded.csv for who was left out"
        )
