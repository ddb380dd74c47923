"""Checks of a bag against the specification in `bag_format`; each failure is an error of one line."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.bag_format import COLUMNS, CT, Bag, BagHeader
from pipeline.errors import BagError

_MAX_NAMES = 127
"""Names that an int8 can count."""
_LARGEST_FEATURE = 1e9
"""No encoder gives more, and the sum of squares of some millions of such values still fits a float32."""


class Shaped(Protocol):
    """An array, in memory or in a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""


def check_shapes(arrays: Mapping[str, Shaped], where: object) -> None:
    """Check types and shapes of the arrays of a bag, before any of their data are read.

    Args:
        arrays: dataset name -> array, without the datasets that this version of the format does not have.
        where: the file, for the message.

    Raises:
        BagError: the array, what was expected and what was found are named.
    """
    features = arrays["features"]
    if len(features.shape) != 2 or features.dtype != np.float32 or not all(features.shape):
        found = f"{features.dtype} {features.shape}"
        raise BagError(
            f"{where}: expected features as float32 (n, d) with n and d at least 1, found {found}; extract it again"
        )
    n = features.shape[0]
    expected = {name: (dtype, (n,)) for name, dtype in COLUMNS.items()} | {"coords": (np.int64, (n, 2))}
    for name, (dtype, shape) in expected.items():
        if name in arrays and (arrays[name].dtype != dtype or arrays[name].shape != shape):
            found = f"{arrays[name].dtype} {arrays[name].shape}"
            raise BagError(f"{where}: expected {name} as {np.dtype(dtype)} {shape}, found {found}")


def check_measures(measures: Shaped, header: BagHeader, n: int, where: object) -> None:
    """Check that each measure of n instances has a name and a unit.

    Raises:
        BagError: the numbers of columns, names and units differ, or a name is empty or given twice.
    """
    names, units = header.measure_names, header.measure_units
    if measures.dtype != np.float32 or len(measures.shape) != 2 or measures.shape[0] != n:
        found = f"{measures.dtype} {measures.shape}"
        raise BagError(f"{where}: expected measures as float32 ({n}, m), found {found}")
    if not len(names) == len(units) == measures.shape[1]:
        raise BagError(
            f"{where}: expected a name and a unit for each of the {measures.shape[1]} measures, "
            f"found {len(names)} names and {len(units)} units"
        )
    _check_names(names, "measure_names", where)


def check_radiomics(radiomics: Shaped, phase: Shaped, header: BagHeader, where: object) -> None:
    """Check types and shapes of the radiomics, before any of their data are read, and that each column has a name.

    Raises:
        BagError: the array, what was expected and what was found are named.
    """
    n, k = phase.shape[0] if phase.shape else 0, len(header.radiomics_names)
    expected = {"radiomics_phase": (phase, np.int8, (n,)), "radiomics": (radiomics, np.float32, (n, k))}
    for name, (array, dtype, shape) in expected.items():
        if array.dtype != dtype or array.shape != shape:
            found = f"{array.dtype} {array.shape}"
            raise BagError(f"{where}: expected {name} as {np.dtype(dtype)} {shape}, found {found}")
    if n > _MAX_NAMES:
        raise BagError(f"{where}: expected radiomics of at most {_MAX_NAMES} phases, found {n} rows")


def check_header(header: BagHeader, n_features: int, where: object) -> None:
    """Check that a header is consistent in itself and with the width of the features.

    Raises:
        BagError: a name is empty or given twice, feature blocks overlap or do not cover the features exactly, a
            source, reason or reference belongs to no phase, or a spacing or reference is not a number.
    """
    _check_blocks(header, n_features, where)
    for names, what in ((header.phase_names, "phase_names"), (header.scale_names, "scale_names")):
        if not 0 < len(names) <= _MAX_NAMES:
            raise BagError(f"{where}: expected 1 to {_MAX_NAMES} {what}, found {len(names)}")
        _check_names(names, what, where)
    _check_names(header.radiomics_names, "radiomics_names", where)
    if bool(header.radiomics_names) != bool(header.radiomics_settings):
        raise BagError(
            f"{where}: expected radiomics_names and radiomics_settings together, found one of them"
        )
    for what in ("sources", "phases_missing", "reference_hu"):
        unknown = sorted(set(getattr(header, what)) - set(header.phase_names))
        if unknown:
            known = ", ".join(header.phase_names)
            raise BagError(f"{where}: {what} names the phase {unknown[0]!r}; phase_names are {known}")
    both = [name for name in header.phase_names if name in header.sources and name in header.phases_missing]
    if both:
        raise BagError(f"{where}: phase {both[0]} has a source and is named in phases_missing too")
    if header.modality == CT:
        _check_spacing(header, where)
    if not all(np.isfinite(hu) for hu in header.reference_hu.values()):
        raise BagError(f"{where}: reference_hu holds a value that is not finite")


def check_bag(bag: Bag, where: object) -> None:
    """Check a bag against the specification.

    Raises:
        BagError: the array or attribute, what was expected and what was found are named.
    """
    check_shapes({name: getattr(bag, name) for name in ("features", *COLUMNS)}, where)
    check_header(bag.header, bag.features.shape[1], where)
    check_measures(bag.measures, bag.header, len(bag), where)
    check_radiomics(bag.radiomics, bag.radiomics_phase, bag.header, where)
    _check_numbers(bag, where)
    _check_values(bag, where)
    order = np.lexsort((bag.slice_index, bag.scale, bag.phase))
    if not np.array_equal(order, np.arange(len(bag))):
        raise BagError(f"{where}: expected instances sorted by phase, scale and slice index")


def check_coords(coords: NDArray[np.int64], bag: Bag, where: object) -> None:
    """Check that the coordinates (n, 2) are phase and slice index of each instance.

    Raises:
        BagError: the first instance that differs is named.
    """
    expected = np.stack([bag.phase, bag.slice_index], axis=1)
    wrong = np.flatnonzero((coords != expected).any(axis=1))
    if len(wrong):
        first = int(wrong[0])
        raise BagError(
            f"{where}: coords and phase, slice_index disagree at instance {first}: "
            f"{coords[first].tolist()} against {expected[first].tolist()}"
        )


def _check_blocks(header: BagHeader, n_features: int, where: object) -> None:
    blocks = header.feature_blocks
    starts, stops = [block.start for block in blocks], [block.stop for block in blocks]
    is_chain = starts == [0, *stops[:-1]] and stops[-1:] == [n_features]
    if not is_chain or any(block.start >= block.stop for block in blocks):
        found = ", ".join(map(str, blocks)) or "none"
        raise BagError(
            f"{where}: expected feature_blocks that follow one another from 0 to {n_features}, found {found}"
        )
    _check_names([block.name for block in blocks], "feature_blocks", where)


def _check_names(names: Sequence[str], what: str, where: object) -> None:
    wrong = [name for name in names if not name or names.count(name) > 1]
    if wrong:
        raise BagError(f"{where}: {what} holds {wrong[0]!r}: expected names that are not empty, each once")


def _check_spacing(header: BagHeader, where: object) -> None:
    for phase, source in header.sources.items():
        spacing = np.array(source.spacing_mm)
        if not (np.isfinite(spacing) & (spacing > 0)).all():
            raise BagError(
                f"{where}: phase {phase}: expected spacing_mm as three lengths above 0, found {spacing.tolist()}"
            )


def _check_numbers(bag: Bag, where: object) -> None:
    """Refuse an index that names no phase, scale or slice, and a phase of CT without a source."""
    header = bag.header
    for name, n in (("phase", len(header.phase_names)), ("scale", len(header.scale_names))):
        column = getattr(bag, name)
        if column.min() < 0 or column.max() >= n:
            found = f"{column.min()} to {column.max()}"
            raise BagError(f"{where}: expected {name} from 0 to {n - 1}, found {found}")
    for name in ("slice_index", "lesion", "tumour_area_mm2"):
        if getattr(bag, name).min() < 0:
            raise BagError(f"{where}: expected {name} from 0, found {getattr(bag, name).min()}")
    _check_slices_are_in_volume(bag, where)
    in_arrays = [header.phase_names[number] for number in np.unique(bag.phase)]
    for phase in in_arrays:
        if phase in header.phases_missing:
            raise BagError(f"{where}: phase {phase} has instances and is named in phases_missing")
    lacking = [phase for phase in in_arrays if phase not in header.sources]
    if header.modality == CT and lacking:
        raise BagError(
            f"{where}: expected sources of the phases in the arrays ({', '.join(in_arrays)}), found none of "
            f"{', '.join(lacking)}; extract it again"
        )


def _check_slices_are_in_volume(bag: Bag, where: object) -> None:
    for number, phase in enumerate(bag.header.phase_names):
        of_phase = bag.slice_index[bag.phase == number]
        source = bag.header.sources.get(phase)
        if bag.header.modality == CT and source is not None and (of_phase >= source.n_slices).any():
            raise BagError(
                f"{where}: phase {phase}: expected slice_index below {source.n_slices}, the slices of its volume, "
                f"found {of_phase.max()}"
            )


def _check_values(bag: Bag, where: object) -> None:
    for name in ("features", "z_mm", "tumour_area_mm2"):
        if not np.isfinite(getattr(bag, name)).all():
            raise BagError(f"{where}: {name} holds a value that is not finite")
    largest = float(np.abs(bag.features).max())
    if largest > _LARGEST_FEATURE:
        raise BagError(f"{where}: expected features of at most {_LARGEST_FEATURE:g}, found {largest:.3g}")
    if np.isinf(bag.measures).any():
        raise BagError(
            f"{where}: measures holds an infinite value; expected NaN where a measure is not available"
        )
    _check_radiomics_values(bag, where)
    is_unknown = np.isnan(bag.extent_mm) & (bag.header.modality != CT)
    if not (is_unknown | (np.isfinite(bag.extent_mm) & (bag.extent_mm > 0))).all():
        raise BagError(f"{where}: expected extent_mm above 0, found a value that is not")


def _check_radiomics_values(bag: Bag, where: object) -> None:
    numbers = bag.radiomics_phase
    if (np.diff(numbers.astype(np.intp)) <= 0).any() or not np.isin(numbers, bag.phase).all():
        raise BagError(
            f"{where}: expected radiomics_phase ascending, of phases in the arrays, each once; found {numbers.tolist()}"
        )
    if np.isinf(bag.radiomics).any():
        raise BagError(
            f"{where}: radiomics holds an infinite value; expected NaN where a feature is not available"
        )
