"""Several modalities of a patient as one bag: the rows of each side by side with those of the others, each in its own columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.patient import Patient
from aggregate.models.samples import MEASURES, RADIOMICS, BagCheck
from aggregate.models.views import Sample, View, as_patient
from pipeline.bags import Bag, BagHeader, FeatureBlock, Recipe
from pipeline.errors import ConfigError, FoldError
from pipeline.names import hint_of_nearest

_BLOCKS_WITH_GAPS = f"{MEASURES} or {RADIOMICS}"
_RECIPE = Recipe("several", "several", "several modalities", "", "float32", {})
_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "bags": str,
    "features": (list, tuple),
    "measures": bool,
    "phases": (list, tuple),
}
"""What a modality may say, as a model of one bag set does, and of what type."""


@dataclass(frozen=True)
class JointView(View):
    """The bags of several modalities of a patient, any of which may be missing, as one bag.

    The number of the modality stands in `phase`, its columns in the feature block of its name; the other columns of its rows
    are 0.

    Attributes:
        parts: modality -> what is seen of its bag set.
        widths: modality -> number of its columns.
    """

    parts: Mapping[str, View] = field(default_factory=dict)
    widths: Mapping[str, int] = field(default_factory=dict)

    def has_bag(self, patient: Patient) -> bool:
        """Return whether a patient has data of any modality, without reading features from a file."""
        return any(view.has_bag(patient) for view in self.parts.values())

    def of(self, patient: Patient) -> Bag | None:
        """Return the bags of all modalities as one; None if the patient has none of them.

        Raises:
            ConfigError: as of `View.of`.
            SampleError: a bag is not as wide as those of other patients, or holds a value that is not finite.
        """
        seen = {name: view.of(patient) for name, view in self.parts.items()}
        bags = {name: BagCheck().checked(bag) for name, bag in seen.items() if bag is not None}
        if not bags:
            return None
        for name, bag in bags.items():
            if bag.features.shape[1] != self.widths[name]:
                raise ConfigError(
                    f"patient {patient.patient_id}: expected {self.widths[name]} features of the modality {name!r} as of the other "
                    f"patients, found {bag.features.shape[1]}"
                )
        return self._joined(patient.patient_id, bags)

    def blocks(self) -> tuple[FeatureBlock, ...]:
        """Return the columns of each modality."""
        stops = np.cumsum(list(self.widths.values())).tolist()
        starts = [0, *stops[:-1]]
        return tuple(FeatureBlock(n, a, b) for n, a, b in zip(self.widths, starts, stops, strict=True))

    def _joined(self, patient_id: str, bags: Mapping[str, Bag]) -> Bag:
        blocks, names = {block.name: block for block in self.blocks()}, list(self.parts)
        n = sum(map(len, bags.values()))
        features = np.zeros((n, sum(self.widths.values())), dtype=np.float32)
        modality, begin = np.zeros(n, dtype=np.int8), 0
        for name, bag in bags.items():
            rows = slice(begin, begin := begin + len(bag))
            features[rows, blocks[name].start : blocks[name].stop] = _without_gaps(bag)
            modality[rows] = names.index(name)
        header = BagHeader(patient_id, tuple(names), {}, ("-",), _RECIPE, {}, "", 1.0, 1, modality="several")
        return Bag(
            header=replace(header, feature_blocks=self.blocks()),
            features=features,
            phase=modality,
            slice_index=np.arange(n, dtype=np.int32),
            z_mm=np.zeros(n, dtype=np.float32),
            tumour_area_mm2=np.zeros(n, dtype=np.float32),
            lesion=np.zeros(n, dtype=np.int16),
            scale=np.zeros(n, dtype=np.int8),
        )


def views_of(modalities: Mapping[str, Mapping[str, Any]], kind: str) -> Mapping[str, View]:
    """Return what is seen of each modality; of the only bag set where none is named.

    Raises:
        ConfigError: a modality has a key that is none of `bags`, `features`, `measures` and `phases`, or a value of another
            type.
    """
    for name, given in modalities.items():
        where = f"model {kind!r}: modalities.{name}"
        for key, value in given.items():
            if key not in _KEYS:
                raise ConfigError(f"{where}: unknown key {key!r}; {hint_of_nearest(key, _KEYS)}")
            if not isinstance(value, _KEYS[key]):
                raise ConfigError(f"{where}.{key}: expected a value as of any model, found {value!r}")
    return {
        name: View(
            str(given.get("bags", "")),
            tuple(given.get("features", ())),
            bool(given.get("measures", False)),
            tuple(given.get("phases", ())),
        )
        for name, given in (modalities or {"bags": {}}).items()
    }


def widths_of(views: Mapping[str, View], patients: Sequence[Sample]) -> Mapping[str, int]:
    """Return the number of features of each modality, of the first patient who has it.

    Raises:
        FoldError: nobody has a modality.
    """
    found: dict[str, int] = {}
    for name, view in views.items():
        who = (as_patient(patients[i]) for i in range(len(patients)))
        bag = next((view.of(patient) for patient in who if view.has_bag(patient)), None)
        if bag is None:
            raise FoldError(
                f"none of the {len(patients)} training patients has a bag of the modality {name!r}; check its `bags` and `phases`"
            )
        found[name] = bag.features.shape[1]
    return found


def unknown_elsewhere(bags: Iterable[Bag]) -> Iterator[Bag]:
    """Mark the columns of other modalities in each row as unknown (NaN), so that a feature is scaled over its own rows."""
    for bag in bags:
        features = np.full_like(bag.features, np.nan)
        for number, block in enumerate(bag.header.feature_blocks):
            rows = np.flatnonzero(bag.phase == number)
            features[rows, block.start : block.stop] = bag.features[rows, block.start : block.stop]
        yield replace(bag, features=features)


def _without_gaps(bag: Bag) -> NDArray[np.float32]:
    """Return the features; refuse measures and radiomics that are unknown, which could not be told from another modality's columns.

    Raises:
        ConfigError: the patient is named.
    """
    if np.isnan(bag.features).any():
        raise ConfigError(
            f"patient {bag.patient_id}: a value of the {_BLOCKS_WITH_GAPS} is unknown of some slices; a model of several modalities "
            f"reads features alone: take the {_BLOCKS_WITH_GAPS} out of it"
        )
    return bag.features
