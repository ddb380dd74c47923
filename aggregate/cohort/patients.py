"""The table of patients: identifiers, labels, centres, covariates, and the bags of every bag set.

    patients = Patients.read("out/bags", cohort="cohort.csv")
    model = PhasePooling().fit(patients, patients.labels)

A `Patient` is the sample of every estimator, so `patients` goes into scikit-learn's searches and cross-validations as X.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aggregate.cohort.bag_sets import BagList, BagSet, BagsInPhases, Phases
from aggregate.cohort.chosen import Chosen
from aggregate.cohort.fewer_slices import BagsWithFewerSlices
from aggregate.cohort.matching import BagSource, MatchedCohort, match_cohort
from aggregate.cohort.memory_bags import bags_of_arrays
from aggregate.cohort.patient import ONLY_SET, BagsByName, Patient
from pipeline.bags import ONLY_PHASE, Bag
from pipeline.cohort import Exclusion
from pipeline.config import CohortSection
from pipeline.covariates import Covariate, read_covariate
from pipeline.errors import SampleError


@dataclass(frozen=True, eq=False)
class Patients(Sequence[Patient]):
    """Patients in a fixed order: the samples of estimators, and the table that the rest of stage 2 uses.

    Attributes:
        patient_ids: n identifiers.
        codes: intp (n,), index of the label into classes.
        classes: class names.
        centres: name of the centre of each patient, "" if unknown.
        bag_sets: name -> bags of one recipe, in the order of the patients.
        covariates: column -> typed values of the patients.
        exclusions: everybody and every phase of the cohort table left out, with the reason.
        unreadable: column that no model may use -> reason: its type is unclear, or rows of one patient disagree.
    """

    patient_ids: tuple[str, ...]
    codes: NDArray[np.intp]
    classes: tuple[str, ...]
    centres: tuple[str, ...] = ()
    bag_sets: Mapping[str, BagSet] = field(default_factory=dict)
    covariates: Mapping[str, Covariate] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    exclusions: tuple[Exclusion, ...] = ()

    def __post_init__(self) -> None:
        if not self.centres:
            object.__setattr__(self, "centres", ("",) * len(self.patient_ids))
        lengths = {
            "labels": len(self.codes),
            "centres": len(self.centres),
            **{f"bags of the set {name!r}": len(bags) for name, bags in self.bag_sets.items()},
        }
        for what, length in lengths.items():
            if length != len(self.patient_ids):
                raise SampleError(f"expected {len(self.patient_ids)} {what}, found {length}")

    @classmethod
    def read(
        cls,
        bags: str | Path | Mapping[str, str | Path | BagSource],
        *,
        cohort: str | Path,
        phases: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
    ) -> "Patients":
        """Read the patients who have a label in a cohort table and a bag in at least one folder, sorted by identifier.

        Args:
            bags: folder of the bags, or name of the bag set -> folder, or a `BagSource` of histology features.
            cohort: the cohort table.
            phases: the phases to use, in this order; by default NC, AP, PVP, DP.
            classes: class names, in the order of the codes; by default HCC, iCCA, cHCC-CCA.

        Raises:
            PhasemilError: as for `match_cohort`.
        """
        named = {ONLY_SET: bags} if isinstance(bags, str | Path) else bags
        given: dict[str, Any] = {"phases": phases, "classes": classes}
        section = CohortSection(
            table=Path(cohort), **{k: tuple(v) for k, v in given.items() if v is not None}
        )
        sources = {n: one if isinstance(one, BagSource) else Path(one) for n, one in named.items()}
        return cls.of(match_cohort(section, sources))

    @classmethod
    def of(cls, matched: MatchedCohort) -> "Patients":
        """Make the table of patients from a cohort table matched with its bags."""
        rows = matched.rows
        columns = dict.fromkeys(name for row in rows for name in row.covariates)
        typed = {
            name: read_covariate(name, {row.patient_id: row.covariates.get(name, "") for row in rows})
            for name in columns
        }
        unreadable = {name: column.doubt for name, column in typed.items() if column.doubt}
        for row in rows:
            unreadable |= {
                name: f"patient {row.patient_id}: {why}" for name, why in row.contradictions.items()
            }
        return cls(
            patient_ids=tuple(row.patient_id for row in rows),
            codes=np.array([matched.classes.index(row.label or "") for row in rows], dtype=np.intp),
            classes=matched.classes,
            centres=tuple(row.centre or "" for row in rows),
            bag_sets=matched.bag_sets,
            covariates={name: column for name, column in typed.items() if name not in unreadable},
            unreadable=unreadable,
            exclusions=matched.exclusions,
        )

    @classmethod
    def from_arrays(
        cls,
        features: NDArray[np.float32],
        bag_index: NDArray[np.integer[Any]],
        labels: Sequence[str],
        *,
        phase: Sequence[str] | None = None,
        patient_ids: Sequence[str] | None = None,
    ) -> "Patients":
        """Make patients from features in memory, one bag each, in a bag set named "bags".

        Args:
            features: float32 (rows, d), finite; the rows of all bags.
            bag_index: int (rows,), index of the patient of each row, from 0.
            labels: class name of each patient (n,).
            phase: phase name of each row (rows,); by default a single phase, "-".
            patient_ids: identifier of each patient (n,); by default "0", "1", ...

        Raises:
            SampleError: the shapes of the arrays do not match.
        """
        missing = np.flatnonzero(pd.isna(np.asarray(labels, dtype=object)))
        if len(missing):
            raise SampleError(f"expected a label for every patient, found none for number {missing[0]}")
        names = tuple(map(str, range(len(labels)) if patient_ids is None else patient_ids))
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise SampleError(f"expected every patient_id once, found {twice[0]!r} several times")
        classes = tuple(dict.fromkeys(sorted(map(str, labels))))
        return cls(
            patient_ids=names,
            codes=np.array([classes.index(str(label)) for label in labels], dtype=np.intp),
            classes=classes,
            bag_sets={ONLY_SET: BagList(bags_of_arrays(features, bag_index, names, phase))},
        )

    def __len__(self) -> int:
        return len(self.patient_ids)

    @overload
    def __getitem__(self, index: int) -> Patient: ...
    @overload
    def __getitem__(self, index: slice) -> "Patients": ...
    def __getitem__(self, index: int | slice) -> "Patient | Patients":
        """Return one patient, or the table of a Python slice of the patients."""
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        index = range(len(self))[index]
        patient_id = self.patient_ids[index]
        covariates = {name: column.values[patient_id] for name, column in self.covariates.items()}
        return Patient(patient_id, BagsByName(self.bag_sets, index), covariates)

    @property
    def labels(self) -> NDArray[np.str_]:
        """Class name of each patient (n,)."""
        return np.array(self.classes)[self.codes]

    @cached_property
    def centre_names(self) -> tuple[str, ...]:
        """Names of all centres, sorted."""
        return tuple(sorted(set(self.centres)))

    @cached_property
    def centre_codes(self) -> NDArray[np.intp]:
        """Index of each patient's centre into centre_names, intp (n,)."""
        return np.array([self.centre_names.index(centre) for centre in self.centres], dtype=np.intp)

    def label(self, patient: int) -> str:
        """Return the class name of one patient."""
        return self.classes[int(self.codes[patient])]

    def index_of(self, patient_ids: Iterable[str]) -> list[int]:
        """Return the indices of patients in the table."""
        index = {patient_id: i for i, patient_id in enumerate(self.patient_ids)}
        return [index[patient_id] for patient_id in patient_ids]

    def bags(self, name: str | None = None) -> BagSet:
        """Return one bag set; by default the first."""
        return self.bag_sets[next(iter(self.bag_sets)) if name is None else name]

    def first_bag(self, patient: int) -> Bag:
        """Return the first bag of a patient, in the order of the bag sets.

        Raises:
            SampleError: the patient has no bag.
        """
        return self._first_set(patient)[patient]

    def bag_sizes(self) -> NDArray[np.intp]:
        """Return the number of slices in each patient's first bag (n,); 0 for a patient without phases where others have some.

        So the tiles of a biopsy are never counted among the slices of scans.
        """
        shown = [self._first_set(i).phases_present(i) for i in range(len(self))]
        has_scans = any(phases != (ONLY_PHASE,) for phases in shown)
        sizes = (
            0 if has_scans and phases == (ONLY_PHASE,) else self._first_set(i).size(i)
            for i, phases in enumerate(shown)
        )
        return np.fromiter(sizes, dtype=np.intp, count=len(self))

    def _first_set(self, patient: int) -> BagSet:
        found = (bags for bags in self.bag_sets.values() if bags.phases_present(patient))
        first = next(found, None)
        if first is None:
            raise SampleError(f"patient {self.patient_ids[patient]} has no bag")
        return first

    def take(self, numbers: NDArray[np.intp]) -> "Patients":
        """Return the table of the patients at the given indices, in that order."""
        return replace(
            self,
            patient_ids=tuple(self.patient_ids[i] for i in numbers),
            codes=self.codes[numbers],
            centres=tuple(self.centres[i] for i in numbers),
            bag_sets={name: _Taken(bags, numbers) for name, bags in self.bag_sets.items()},
        )

    def in_phases(self, phases: Iterable[str]) -> "Patients":
        """Return the same patients with the instances of these phases only; the phase names stay unchanged.

        Bags of a modality without phases, such as histology, stay whole.
        """
        shown = frozenset({*phases, ONLY_PHASE})
        return replace(self, bag_sets={k: BagsInPhases(bags, shown) for k, bags in self.bag_sets.items()})

    def with_fewer_slices(self, share: float, *, seed: Sequence[int]) -> "Patients":
        """Return the same patients with a random share of the slices of each phase, at least one; histology stays whole."""
        fewer = {name: BagsWithFewerSlices(bags, share, seed) for name, bags in self.bag_sets.items()}
        return replace(self, bag_sets=fewer)


class _Taken(Chosen[Bag]):
    """The bags of some patients of another bag set."""

    samples: BagSet

    def phases_present(self, index: int) -> Phases:
        return self.samples.phases_present(int(self.numbers[index]))

    def size(self, index: int) -> int:
        return self.samples.size(int(self.numbers[index]))
