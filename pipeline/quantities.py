"""One formula per quantity: tumour volume, diameters and slice thickness, for both stages.

Volume is the sum over slices of tumour area times the height that the slice stands for (midpoint rule):

    V [ml] = sum of A_i [mm2] * h_i [mm] / 1000

`extract.py check` sums over every slice of the mask, before thinning: the whole-mask volume. cohort.csv, the baseline
`tumour_size` and the sign `volume_ml` sum over the kept slices of a bag or of the slice store. The rule is exact for
constant area whatever was thinned out. Drawn ellipsoids of 12 to 80 mm in slices of 1 to 5 mm come within 6 % of the
whole mask from five kept slices on; three give up to a fifth too little, one up to nearly twice. Slices below
`minimum_area_mm2` count in the whole-mask volume only.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from pipeline.bags import Bag, Source
from pipeline.slices import PhaseSlices

_MM3_PER_ML = 1000.0


def volume_ml(areas_mm2: NDArray[np.floating], heights_mm: NDArray[np.floating] | float) -> float:
    """Return the volume in ml: the sum of area (mm2) times height (mm) of each slice, over 1000.

    Args:
        areas_mm2: (n,), all tumour of each slice, each slice once.
        heights_mm: (n,), what each slice stands for along z; one number where every slice is there.
    """
    return float(np.sum(np.asarray(areas_mm2, dtype=np.float64) * heights_mm)) / _MM3_PER_ML


def slice_heights_mm(
    slice_index: NDArray[np.integer], thickness_mm: float, n_before_thinning: int | None = None
) -> NDArray[np.float64]:
    """Return the height along z that each kept slice stands for, in mm, float64 (n,).

    A slice reaches half-way to the next kept one. What is left of the slices before thinning is shared out equally over
    the ends, where a lesion begins or stops: two slices apart by two steps or more have no tumour between them, a step
    being the number of slices before thinning over the number kept. So all heights together are those of the slices
    before thinning, and without thinning every height is the slice thickness.

    Args:
        slice_index: (n,), rising, each slice once.
        thickness_mm: distance of neighbouring slices of the scan.
        n_before_thinning: slices that the kept ones stand for; None where it was not recorded: the step is then the
            usual distance of three kept slices or more, and one slice where there are fewer.
    """
    n = len(slice_index)
    if n == 0:
        return np.empty(0)
    gaps = np.diff(slice_index).astype(np.float64)
    step = _usual_step(gaps) if n_before_thinning is None else max(n_before_thinning, n) / n
    is_inside = gaps < 2 * step
    end = step / 2
    if n_before_thinning is not None:
        n_ends = 2 * (1 + np.count_nonzero(~is_inside))
        end = max(0.5, (step * n - gaps[is_inside].sum()) / n_ends)
    reach = np.concatenate([[end], np.where(is_inside, gaps / 2, end), [end]])
    heights = reach[:-1] + reach[1:]
    if n_before_thinning is not None:
        heights *= step * n / heights.sum()  # other than 1 only where a gap within two steps holds no tumour
    return np.asarray(heights * thickness_mm, dtype=np.float64)


def _usual_step(gaps: NDArray[np.float64]) -> float:
    if len(gaps) < 2:
        return 1.0  # two slices do not tell thinning from two lesions
    return float(gaps[gaps <= 2 * np.median(gaps)].mean())


def tumour_volume_ml(slices: PhaseSlices) -> float:
    """Return the volume in ml of all tumour of a phase, from its kept slices; 0 where none was drawn."""
    return _kept_volume_ml(slices.slice_index, slices.tumour_area_mm2, slices.source)


def tumour_volumes_ml(bag: Bag) -> Mapping[str, float]:
    """Return phase -> volume in ml of all tumour, from the kept slices; phases without tumour are left out.

    A slice counts once, whatever the number of its scales and lesions. Phases without a spacing, as of histology, are
    left out too.
    """
    found = {}
    for number in np.unique(bag.phase):
        phase, is_here = bag.header.phase_names[number], bag.phase == number
        source = bag.header.sources.get(phase)
        if source is None or not math.isfinite(source.spacing_mm[2]):
            continue
        found[phase] = _kept_volume_ml(bag.slice_index[is_here], bag.tumour_area_mm2[is_here], source)
    return {phase: volume for phase, volume in found.items() if volume > 0}


def _kept_volume_ml(
    slice_index: NDArray[np.integer], areas_mm2: NDArray[np.floating], source: Source
) -> float:
    kept, first = np.unique(slice_index, return_index=True)
    thickness_mm = slice_thickness_mm([source.spacing_mm])
    return volume_ml(areas_mm2[first], slice_heights_mm(kept, thickness_mm, source.n_before_thinning))


def median_of_phases(values: Iterable[float]) -> float:
    """Return the size of a patient's tumour: the median over the phases that show any; NaN where none does.

    Args:
        values: volume of each phase, 0 where no tumour was drawn.
    """
    known = [value for value in values if value > 0]
    return float(np.median(known)) if known else float("nan")


def slice_thickness_mm(spacings_mm: Iterable[tuple[float, float, float]]) -> float:
    """Return the distance in mm of neighbouring slice planes, the greatest of several scans.

    It is the scan's own, whatever was thinned out. Overlapping or spaced reconstructions have another nominal
    thickness, which NIfTI does not hold.

    Args:
        spacings_mm: (x, y, z) of each scan, at least one.
    """
    return max(z for _, _, z in spacings_mm)


def greatest_diameter_mm(mask: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> float:
    """Return the greatest in-plane distance in mm of two points of the outline (Feret's diameter); NaN without a pixel.

    The outline runs half a pixel around the pixels' centres. Only the ends of each row can be the two points;
    scikit-image draws the convex hull as an image first, which takes ten times longer.

    Args:
        mask: bool (rows, columns).
        spacing_mm: (row, column) pixel spacing.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return float("nan")
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    ends = []
    for columns, outwards in ((first, -0.5), (last, 0.5)):
        ends += [(rows - 0.5, columns), (rows + 0.5, columns), (rows, columns + outwards)]
    points = np.concatenate([np.stack(end, axis=1) for end in ends]) * spacing_mm
    return float(pdist(points).max())
