"""Find the voxels of a structure in a mask by their true values (slope and intercept applied), without guessing.

A mask of two values is taken as it is: the larger is the structure, whatever the numbers are. A map of labels needs
the labels of the structure, and a mask of fractions, such as a probability, a threshold.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.volumes import VolumeError, VolumeFile

AT_MOST_LABELS = 200
"""Maps of organs have up to about 130 labels; an image has thousands of values, or all 256 values of 8 bit."""
LEAST_LABEL = -1
"""Some tools write this for the background; lower values are HU."""
_NOISE = 0.01
"""Smaller differences between true values are rounding of a mask that is stored scaled."""
_SHARE_OF_NOISE = 1e-3
_SHOWN = 12
_COUNTED = 1 << 16
"""Values within this range are counted, which is quicker than sorting them."""


@dataclass(frozen=True)
class MaskRule:
    """What the configuration and the cohort table say about the values of a mask.

    Attributes:
        labels: the values of the structure; empty if not given.
        threshold: the least value of the structure in a mask of fractions.
        structure: `tumour` or `organ`, the key of [extract.masks] labels.
    """

    labels: tuple[int, ...] = ()
    threshold: float | None = None
    structure: str = "tumour"


PLAIN = MaskRule()


@dataclass(frozen=True, eq=False)
class Structure:
    """The structure that a mask shows.

    Attributes:
        voxels: bool, of the shape of the mask.
        remark: how the values were interpreted, if they are not 0 and one value above.
    """

    voxels: NDArray[np.bool_]
    remark: str | None = None


def structure_in(mask: VolumeFile, stored: NDArray[Any], rule: MaskRule = PLAIN) -> Structure:
    """Find which of the stored voxels of a mask are the structure.

    Args:
        mask: the file, which says what stored numbers mean.
        stored: any shape, as `VolumeFile.read` gives them.
        rule: what is known about the values.

    Raises:
        VolumeError: the values are not those of a mask, or their meaning is not given.
    """
    low, high = stored.min(), stored.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        return _beside_nan(mask, stored, rule)
    if low == high:
        return _of_one_value(mask, stored, rule)
    noise = _noise_of(mask, stored.dtype, float(high) - float(low))
    upper: NDArray[np.bool_] = stored >= high - noise if noise else stored == high
    is_certain = not noise and int(high) - int(low) == 1
    if not is_certain and np.count_nonzero(upper) + np.count_nonzero(stored <= low + noise) < stored.size:
        return _of_many_values(mask, stored, rule)
    ends = mask.true_values(np.array([low, high]))
    if mask.slope < 0:
        upper, ends = ~upper, ends[::-1]
    if not rule.labels:
        return Structure(upper, _unusual(mask, rule, float(ends[0]), float(ends[1])))
    named = [np.abs(end - np.array(rule.labels)).min() <= _NOISE for end in ends]
    if not any(named):
        raise VolumeError(_lacks_labels(mask, rule, ends.tolist()))
    # Both values named is the whole image; what covers too much is told where it is placed.
    return Structure(np.ones_like(upper) if all(named) else upper if named[1] else ~upper)


def _noise_of(mask: VolumeFile, dtype: np.dtype[Any], span: float) -> float:
    """Return by how much stored numbers of one value differ: the rounding of scaled or float storage."""
    if dtype.kind in "iu" and mask.slope == 1:
        return 0.0
    return min(_SHARE_OF_NOISE * span, _NOISE / abs(mask.slope))


def _unusual(mask: VolumeFile, rule: MaskRule, background: float, value: float) -> str | None:
    """Say what two values were taken for, unless they are what a mask has: 0 and one above, as they are stored."""
    if background == 0 and mask.slope == 1:
        return None
    how = (
        ""
        if mask.slope == 1
        else f", stored with a slope of {mask.slope:g} and an intercept of {mask.intercept:g}"
    )
    return (
        f"{mask.path}: the values of the mask are {background:.4g} and {value:.4g}{how}; {value:.4g} is taken for the "
        f"{rule.structure}"
    )


def _near(mask: VolumeFile, stored: NDArray[Any], value: Any) -> NDArray[np.bool_]:  # noqa: ANN401
    """Return which stored numbers are a value, but for the rounding of scaled or float storage."""
    if stored.dtype.kind in "iu" and mask.slope == 1:
        exact: NDArray[np.bool_] = stored == value
        return exact
    span = float(stored.max()) - float(stored.min())
    noise = min(_SHARE_OF_NOISE * span, _NOISE / abs(mask.slope))
    near: NDArray[np.bool_] = stored >= value - noise if value > stored.min() else stored <= value + noise
    return near


def _beside_nan(mask: VolumeFile, stored: NDArray[Any], rule: MaskRule) -> Structure:
    """Take NaN for the background beside exactly one value."""
    finite: NDArray[np.bool_] = np.isfinite(stored)
    values = mask.true_values(stored[finite])
    n_odd = stored.size - len(values)
    if np.isinf(stored).any() or not len(values) or values.max() - values.min() > _NOISE or values.max() == 0:
        found = f" beside values from {values.min():g} to {values.max():g}" if len(values) else " alone"
        raise VolumeError(
            f"{mask.path}: expected a mask of finite values, or of NaN around one value, found {n_odd} NaN or "
            f"infinite voxels{found}"
        )
    if rule.labels and np.abs(values[0] - np.array(rule.labels)).min() > _NOISE:
        raise VolumeError(_lacks_labels(mask, rule, [float(values[0])]))
    value = float(values[0])
    return Structure(
        finite,
        f"{mask.path}: the values of the mask are NaN and {value:.4g}; {value:.4g} is taken for the {rule.structure}",
    )


def _of_one_value(mask: VolumeFile, stored: NDArray[Any], rule: MaskRule) -> Structure:
    value = float(mask.true_values(stored[:1].reshape(-1)[:1])[0])
    if abs(value) > _NOISE:
        raise VolumeError(
            f"{mask.path}: expected a mask of the {rule.structure}, found the value {value:g} in every voxel"
        )
    return Structure(np.zeros(stored.shape, dtype=np.bool_))


def _of_many_values(mask: VolumeFile, stored: NDArray[Any], rule: MaskRule) -> Structure:
    values = _labels_in(mask, stored)
    if values is None:
        return _of_fractions(mask, stored, rule)
    if len(values) > AT_MOST_LABELS or values[0] < LEAST_LABEL:
        raise VolumeError(
            f"{mask.path}: expected a mask, found {len(values)} values from {values[0]} to {values[-1]}, as of an image"
        )
    if not rule.labels:
        raise VolumeError(
            f"{mask.path}: expected a mask of two values, found the labels {_listed(values)}; say which are the "
            f"{rule.structure}: [extract.masks] labels = {{ {rule.structure} = [2] }}"
            + (", or a column mask_label of the cohort table" if rule.structure == "tumour" else "")
        )
    if not set(rule.labels) & set(values):
        raise VolumeError(_lacks_labels(mask, rule, [float(v) for v in values]))
    parts = [np.isin(_rounded(part), rule.labels) for part in _slices(mask, stored)]
    return Structure(np.stack(parts).reshape(stored.shape))


def _of_fractions(mask: VolumeFile, stored: NDArray[Any], rule: MaskRule) -> Structure:
    low, high = sorted(mask.true_values(np.array([stored.min(), stored.max()])).tolist())
    if high - low > AT_MOST_LABELS:
        raise VolumeError(
            f"{mask.path}: expected a mask, found fractional values from {low:g} to {high:g}, as of an image"
        )
    if rule.threshold is None:
        raise VolumeError(
            f"{mask.path}: expected a mask of two values, found fractions from {low:g} to {high:g}, as of a probability "
            "or of a mask resampled linearly; set [extract.masks] threshold = 0.5 if that is where the structure begins"
        )
    if not low < rule.threshold <= high:
        raise VolumeError(
            f"{mask.path}: expected values on both sides of [extract.masks] threshold = {rule.threshold:g}, found "
            f"fractions from {low:g} to {high:g}"
        )
    parts = [part >= rule.threshold for part in _slices(mask, stored)]
    return Structure(
        np.stack(parts).reshape(stored.shape),
        f"{mask.path}: the values of the mask are fractions from {low:.4g} to {high:.4g}; {rule.threshold:g} and above is "
        f"taken for the {rule.structure}",
    )


def _labels_in(mask: VolumeFile, stored: NDArray[Any]) -> list[int] | None:
    """Return the whole numbers that stand in a mask, ascending; None where there are fractions."""
    found: set[int] = set()
    for part in _slices(mask, stored):
        whole = _rounded(part)
        if part.dtype.kind == "f" and np.abs(part - whole).max() > _NOISE:
            return None
        found.update(_distinct(whole))
    return sorted(found)


def _distinct(whole: NDArray[Any]) -> list[int]:
    low, high = int(whole.min()), int(whole.max())
    if high - low >= _COUNTED:
        return [int(value) for value in np.unique(whole)]
    counts = np.bincount((whole.ravel() - whole.min()).astype(np.intp))
    return [low + int(place) for place in np.flatnonzero(counts)]


def _slices(mask: VolumeFile, stored: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the true values slice by slice, so that no volume of float64 is made."""
    return (mask.true_values(part) for part in stored)


def _rounded(part: NDArray[Any]) -> NDArray[Any]:
    return np.rint(part) if part.dtype.kind == "f" else part


def _lacks_labels(mask: VolumeFile, rule: MaskRule, values: list[float]) -> str:
    return (
        f"{mask.path}: expected the label {_listed(rule.labels)} of the {rule.structure}, found the values "
        f"{_listed(values)}"
    )


def _listed(values: tuple[int, ...] | list[int] | list[float]) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:_SHOWN])
    return shown if len(values) <= _SHOWN else f"{shown} and {len(values) - _SHOWN} more"
