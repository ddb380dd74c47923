"""Checks of the bags and labels given to models; each error is one line that names the patient and the numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.bags import PER_PHASE, Bag
from pipeline.errors import SampleError

MEASURES = "measures"
"""Name of the feature block that holds the measures."""
RADIOMICS = "radiomics"
"""Name of the feature block that holds the radiomics of the phase of each instance."""


@dataclass(frozen=True)
class BagShape:
    """The format shared by all bags of one model."""

    n_features: int
    phase_names: tuple[str, ...]
    blocks: tuple[str, ...] = ()
    """Feature blocks with their columns."""
    scale_names: tuple[str, ...] = ()
    """Empty in a model that was saved by a release that did not keep them."""

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "BagShape":
        """Restore the shape that a saved model tells; an earlier release told no scales."""
        phases, blocks, scales = (tuple(record.get(k, ())) for k in ("phase_names", "blocks", "scale_names"))
        return cls(record["n_features"], phases, blocks, scales)

    def fits(self, other: "BagShape") -> bool:
        """Return whether a bag of another shape may stand beside one of this shape."""
        return self == (other if self.scale_names else replace(other, scale_names=()))


class BagCheck:
    """Checks bags one by one against `shape`, or against the first bag if no shape is given.

    Attributes:
        shape: required format of every bag; None before the first bag.
    """

    def __init__(self, shape: BagShape | None = None) -> None:
        self.shape = shape

    def checked(self, bag: Bag) -> Bag:
        """Check a bag and return it.

        Raises:
            SampleError: the bag has no instance, arrays of different lengths, a value that is not finite, or another
                number of features or other phase or scale names than the other bags of this model.
        """
        _check_alone(bag)
        found = BagShape(
            bag.features.shape[1],
            bag.header.phase_names,
            tuple(map(str, bag.header.feature_blocks)),
            bag.header.scale_names,
        )
        wanted = self.shape = self.shape or found
        if not wanted.fits(found):
            told, other = _told(wanted, found), _told(found, wanted)
            raise SampleError(
                f"patient {bag.patient_id}: expected {told} as in the other bags of this model, found {other}; extract "
                "all bags with one configuration"
            )
        return bag


class _HasPatient(Protocol):
    @property
    def patient_id(self) -> str: ...


def check_any(bags: Sequence[_HasPatient], *, role: str = "") -> None:
    """Refuse an object that is no sequence, or an empty sequence.

    Raises:
        SampleError: there is no bag.
    """
    if not (hasattr(bags, "__len__") and hasattr(bags, "__getitem__")):
        raise SampleError(f"expected a sequence of {role}bags, found {type(bags).__name__}")
    if not len(bags):
        raise SampleError(f"expected at least one {role}bag, found none")


def checked_labels(bags: Sequence[_HasPatient], labels: NDArray[Any], *, role: str = "") -> NDArray[Any]:
    """Return the labels of some bags as an array (n,).

    Raises:
        SampleError: there is no bag, bags and labels differ in number, a label is missing, or labels have mixed types.
    """
    check_any(bags, role=role)
    cells = np.asarray(labels, dtype=object)  # numpy would turn None and NaN among words into words
    if cells.shape != (len(bags),):
        found = f"{len(cells)} labels" if cells.ndim == 1 else f"labels of shape {cells.shape}"
        raise SampleError(f"expected one label for each of the {len(bags)} {role}bags, found {found}")
    missing = np.flatnonzero(pd.isna(cells))
    if len(missing):
        first = int(missing[0])
        raise SampleError(
            f"patient {bags[first].patient_id}: expected a label, found {cells[first]}; {len(missing)} of the "
            f"{len(cells)} {role}bags have none: leave them out"
        )
    kinds = sorted({type(cell).__name__ for cell in cells})
    if len(kinds) > 1:
        raise SampleError(f"expected {role}labels of one type, found {' and '.join(kinds)}")
    return np.asarray(labels)


def _check_alone(bag: Bag) -> None:
    features = bag.features
    if features.ndim != 2 or features.dtype != np.float32 or not features.size:
        raise SampleError(
            f"patient {bag.patient_id}: expected features as float32 (slices, features) of at least one slice, found "
            f"{features.dtype} {features.shape}"
        )
    for name in (f.name for f in fields(bag) if f.name not in ("header", "features", *PER_PHASE)):
        values = getattr(bag, name)
        lengths = (
            values.shape[:1] if name == "measures" else values.shape
        )  # the only one with a row for each slice
        if lengths != (len(bag),):
            raise SampleError(
                f"patient {bag.patient_id}: expected {name} of {len(bag)} slices, found {values.shape}"
            )
    n_measured = len(bag.radiomics_phase)
    if bag.radiomics_phase.ndim != 1 or bag.radiomics.shape != (n_measured, len(bag.header.radiomics_names)):
        raise SampleError(
            f"patient {bag.patient_id}: expected radiomics of {n_measured} phases and {len(bag.header.radiomics_names)} features, "
            f"found {bag.radiomics.shape}"
        )
    for name in ("features", "tumour_area_mm2"):
        values = getattr(bag, name)
        if not np.isfinite(values).all():
            n_bad = int((~np.isfinite(values)).sum()) - (_n_missing(bag) if name == "features" else 0)
            if not n_bad:
                continue
            raise SampleError(
                f"patient {bag.patient_id}: expected finite {name}, found {n_bad} of {values.size} values NaN or "
                "infinite; extract the bag again"
            )


def _n_missing(bag: Bag) -> int:
    """Count the missing measures and radiomics (NaN) among the features."""
    return sum(
        int(np.isnan(bag.features[:, block.start : block.stop]).sum())
        for block in bag.header.feature_blocks
        if block.name in (MEASURES, RADIOMICS)
    )


def _told(shape: BagShape, other: BagShape) -> str:
    """Describe the format of a bag, with its blocks or scales if nothing else differs."""
    is_alike = (shape.n_features, shape.phase_names) == (other.n_features, other.phase_names)
    blocks = f" ({', '.join(shape.blocks)})" if is_alike and shape.blocks != other.blocks else ""
    scales = f" at the scales {', '.join(shape.scale_names)}" if is_alike and not blocks else ""
    return f"{shape.n_features} features{blocks}{scales} and the phases {', '.join(shape.phase_names)}"
