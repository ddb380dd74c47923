"""The data of a patient that a model uses: bag set, feature blocks, measures, radiomics, phases, scales and covariates."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.bag_sets import bag_in_phases
from aggregate.cohort.patient import ONLY_SET, Patient
from aggregate.cohort.scales import at_scale, bag_in_scales, with_scales_joined
from aggregate.models.samples import MEASURES, RADIOMICS, BagCheck
from pipeline.bags import Bag, FeatureBlock
from pipeline.covariates import Value
from pipeline.errors import ConfigError, SampleError
from pipeline.names import hint_of_nearest

Sample = Patient | Bag
"""A sample of an estimator: a patient, or a bag that is used as a patient with this one bag."""


def as_patient(sample: Sample) -> Patient:
    """Return the patient of a sample.

    Raises:
        SampleError: the sample is neither a patient nor a bag.
    """
    if isinstance(sample, Patient):
        return sample
    if isinstance(sample, Bag):
        if not len(sample):
            raise SampleError(
                f"patient {sample.patient_id}: expected features as float32 (slices, features) of at least one slice, "
                f"found {sample.features.dtype} {sample.features.shape}"
            )
        return Patient(sample.patient_id, {ONLY_SET: sample})
    raise SampleError(f"expected patients, or bags as read_bag returns them, found {type(sample).__name__}")


@dataclass(frozen=True)
class View:
    """The part of a patient's bags that a model uses.

    Attributes:
        bags: name of the bag set; "" where there is one only.
        features: names of the feature blocks, side by side in this order; none for all. `measures` among them stands for
            the measures, so that ("measures",) is the measures alone, and `radiomics` for the radiomics of the instance's phase.
        measures: whether the measures follow as further columns, NaN where one cannot be had.
        phases: the only phases seen, in this order; none for all.
        scales: the only scales seen, in this order; none for all.
        join_scales: whether the scales of a slice stand side by side as one instance. A feature block then names that block
            at every scale, and `lesion@tight` the block lesion at the scale tight.
    """

    bags: str = ""
    features: tuple[str, ...] = ()
    measures: bool = False
    phases: tuple[str, ...] = ()
    scales: tuple[str, ...] = ()
    join_scales: bool = False

    def has_bag(self, patient: Patient) -> bool:
        """Return whether a patient has data for the model, without reading features from a file.

        Raises:
            ConfigError: there is no such bag set, or there are several and `bags` is empty.
        """
        present = patient.phases_present(self._bag_set(patient))
        return bool(set(present) & set(self.phases)) if self.phases else bool(present)

    def of(self, patient: Patient) -> Bag | None:
        """Return the bag as the model uses it; None if the patient has no data for it.

        Raises:
            ConfigError: the bag set, block, phase, scale or measures do not exist; the message gives the nearest name.
            SampleError: scales are joined, and a slice does not have each scale once.
        """
        bag = patient.bags[self._bag_set(patient)]
        if bag is None:
            return None
        if self.phases:
            for name in self.phases:
                _check_name(name, bag.header.phase_names, "phase", bag)
            bag = bag_in_phases(bag, self.phases)
        if self.scales:
            for name in self.scales:
                _check_name(name, bag.header.scale_names, "scale", bag)
            bag = bag_in_scales(bag, self.scales)
        if not len(bag):
            return None
        scales = bag.header.scale_names if self.join_scales else ()
        if self.join_scales:
            bag = with_scales_joined(bag)
        return _with_columns(bag, _at_scales(self.features, bag, scales), measures=self.measures)

    def _bag_set(self, patient: Patient) -> str:
        names = list(patient.bags)
        if not self.bags and len(names) == 1:
            return names[0]
        if self.bags not in names:
            if self.bags:
                raise ConfigError(f"no bag set {self.bags!r}; {hint_of_nearest(self.bags, names)}")
            raise ConfigError(
                "there are several bag sets and none is named: set `bags` of the model to one of "
                f"{', '.join(names)}"
            )
        return self.bags


def _at_scales(blocks: Sequence[str], bag: Bag, scales: Sequence[str]) -> list[str]:
    """Return the names of blocks with each that is named without a scale once for every joined scale."""
    known = {block.name for block in bag.header.feature_blocks}
    found: list[str] = []
    for name in blocks:
        joined = [at_scale(name, scale) for scale in scales]
        found += joined if joined and set(joined) <= known else [name]
    return found


def _with_columns(bag: Bag, blocks: Sequence[str], *, measures: bool) -> Bag:
    """Return the bag with the features of some blocks, and its measures as the last block."""
    if not blocks and not measures:
        return bag
    known = {block.name: bag.features[:, block.start : block.stop] for block in bag.header.feature_blocks}
    names = [*(blocks or known), *([MEASURES] if measures and MEASURES not in blocks else [])]
    if MEASURES in names and not bag.header.measure_names:
        raise ConfigError(
            f"patient {bag.patient_id}: a model reads measures, and the bag holds none; extract it again"
        )
    known[MEASURES] = bag.measures
    if RADIOMICS in blocks:
        known[RADIOMICS] = _radiomics_of_instances(bag)
    for name in names:
        _check_name(name, list(dict.fromkeys((*known, RADIOMICS))), "feature block", bag)
    parts = [(name, known[name]) for name in names]
    stops = np.cumsum([part.shape[1] for _, part in parts]).tolist()
    starts = [0, *stops[:-1]]
    seen = tuple(
        FeatureBlock(name, start, stop) for (name, _), start, stop in zip(parts, starts, stops, strict=True)
    )
    features = np.concatenate([part for _, part in parts], axis=1)
    return replace(bag, header=replace(bag.header, feature_blocks=seen), features=features)


def _radiomics_of_instances(bag: Bag) -> NDArray[np.float32]:
    """Return the radiomics of the phase of each instance (n, k), NaN where the phase has none.

    Raises:
        ConfigError: the bag was made without radiomics.
    """
    if not bag.header.radiomics_names:
        raise ConfigError(
            f"patient {bag.patient_id}: a model reads the block radiomics, and the bag holds none; add the table "
            "[extract.radiomics] to the configuration and extract the bags again"
        )
    by_phase = np.full((len(bag.header.phase_names), bag.radiomics.shape[1]), np.nan, dtype=np.float32)
    by_phase[bag.radiomics_phase] = bag.radiomics
    rows: NDArray[np.float32] = by_phase[bag.phase]
    return rows


def _check_name(name: str, known: Sequence[str], what: str, bag: Bag) -> None:
    if name not in known:
        raise ConfigError(
            f"patient {bag.patient_id}: no {what} {name!r} in the bag; {hint_of_nearest(name, known)}"
        )


class SeenBags(Sequence[Bag]):
    """Bags as a model uses them, each read and checked on demand and not kept.

    Attributes:
        patients: the samples, each with data for the model.
    """

    def __init__(self, patients: Sequence[Sample], view: View, check: BagCheck) -> None:
        self.patients = patients
        self.view = view
        self.check = check

    def __len__(self) -> int:
        return len(self.patients)

    @overload
    def __getitem__(self, index: int) -> Bag: ...
    @overload
    def __getitem__(self, index: slice) -> "SeenBags": ...
    def __getitem__(self, index: int | slice) -> "Bag | SeenBags":
        """Return one bag, or the bags of a Python slice."""
        if isinstance(index, slice):
            return SeenBags(self.patients[index], self.view, self.check)
        patient = as_patient(self.patients[index])
        bag = self.view.of(patient)
        if bag is None:
            at = f" at the scales {', '.join(self.view.scales)}" if self.view.scales else ""
            raise SampleError(
                f"patient {patient.patient_id}: expected a bag with at least one slice{at}, found none"
            )
        return self.check.checked(bag)


@dataclass(frozen=True)
class CovariateColumns:
    """Covariates as numeric columns: numbers and dates unchanged, categories one-hot encoded.

    Attributes:
        words: covariate -> words among the training patients, None for a number or a date.
    """

    words: Mapping[str, Sequence[str] | None] = field(default_factory=dict)

    @classmethod
    def learned(cls, names: Sequence[str], patients: Sequence[Sample]) -> "CovariateColumns":
        """Collect the words of each category from training patients.

        Raises:
            SampleError: a patient has no such covariate, or a covariate mixes numbers and words.
        """
        rows = list(_values(names, patients))
        return cls({name: _words(name, [row[i] for row in rows]) for i, name in enumerate(names)})

    def columns(self, patients: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the columns (patients, k): NaN for a missing number, 0 for a missing or unknown word."""
        rows = list(_values(list(self.words), patients))
        blocks = [np.zeros((len(rows), 0))]
        for i, words in enumerate(self.words.values()):
            cells = [row[i] for row in rows]
            if words is None:
                told = [[cell if isinstance(cell, float | int) else np.nan] for cell in cells]
            else:
                told = [[float(cell == word) for word in words] for cell in cells]
            width = 1 if words is None else len(words)
            blocks.append(np.array(told, dtype=np.float64).reshape(len(rows), width))
        return np.hstack(blocks)

    def is_told(self, patients: Sequence[Sample]) -> NDArray[np.bool_]:
        """Return which patients have a number, or a word known from the training patients (patients,)."""
        columns = self.columns(patients)
        is_word = np.array(
            [
                words is not None
                for words in self.words.values()
                for _ in (words if words is not None else [0])
            ],
            dtype=np.bool_,
        )
        told = np.where(is_word, columns > 0, np.isfinite(columns))
        return np.asarray(told.any(axis=1), dtype=np.bool_)

    def as_array(self) -> NDArray[np.uint8]:
        """Return the words as JSON in bytes, saved among a model's arrays."""
        return np.frombuffer(json.dumps(self.words).encode(), dtype=np.uint8)

    @classmethod
    def of_array(cls, array: NDArray[Any]) -> "CovariateColumns":
        """Restore the encoding that `as_array` returned."""
        return cls(json.loads(array.tobytes()))


def _values(names: Sequence[str], patients: Sequence[Sample]) -> Iterator[list[Value]]:
    if not names:
        yield from ([] for _ in range(len(patients)))
        return
    for i in range(len(patients)):
        patient = as_patient(patients[i])
        for name in names:
            if name not in patient.covariates:
                found = ", ".join(patient.covariates) or "none"
                raise SampleError(
                    f"patient {patient.patient_id}: expected a covariate {name!r}, found {found}"
                )
        yield [patient.covariates[name] for name in names]


def _words(name: str, cells: Sequence[Value]) -> list[str] | None:
    words = sorted({cell for cell in cells if isinstance(cell, str)})
    if words and any(isinstance(cell, float | int) for cell in cells):
        raise SampleError(f"covariate {name!r}: expected numbers or words, found both, such as {words[0]!r}")
    return words or None
