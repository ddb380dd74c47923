"""8-bit images that were cut to a window: where their fat lies, and at which end of them the lungs are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from extract.volumes import VolumeFile

FAT_HU = -100.0
"""HU of fat: its peak lies at -101 and -95 in two public data sets."""
_FAT_RANGE_HU = (-180.0, -40.0)
"""Where the peak is searched for, before the offset is known."""
_NEAR_HU = 12.0
_EVERY = 3
"""Pixels looked at, along rows and columns."""
_END_SHARE = 8
"""An end is this part of the slices."""
_CLEAR = 0.03
"""Difference of the shares of air in the body that tells the end with the lungs."""
_AT_LEAST_PIXELS = 200


@dataclass(frozen=True)
class WindowedLook:
    """What an image shows.

    Attributes:
        fat_hu: peak of fat, with the slope and intercept of the window; None where there is no fat to see.
        lungs_below: whether the end that the header calls inferior holds the lungs; None where neither end clearly does.
    """

    fat_hu: float | None
    lungs_below: bool | None


def is_windowed(volume: VolumeFile) -> bool:
    """Whether an image has 8 bits, too few for CT in HU."""
    return volume.dtype == np.uint8


def look_at(volume: VolumeFile, window: tuple[float, float]) -> WindowedLook:
    """Measure fat and air of an 8-bit image, whose 0 and 255 stand for the ends of a window.

    Raises:
        VolumeError: it is damaged.
    """
    low, high = window
    hu = low + volume.read()[:, ::_EVERY, ::_EVERY].astype(np.float32) * ((high - low) / 255)
    bodies = _bodies(hu, low)
    return WindowedLook(_peak_of_fat(hu[bodies]), _lungs_below(hu, bodies, low))


def _bodies(hu: NDArray[np.float32], air: float) -> NDArray[np.bool_]:
    """Return bool (z, rows, columns): the body on each slice with the air in it."""
    tissue = hu > air + 20
    return np.stack([ndimage.binary_fill_holes(_largest(plane)) for plane in tissue])


def _largest(plane: NDArray[np.bool_]) -> NDArray[Any]:
    parts, n = ndimage.label(plane)
    if n < 2:
        return plane
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(parts == sizes.argmax())


def _peak_of_fat(values: NDArray[np.float32]) -> float | None:
    low, high = _FAT_RANGE_HU
    within = values[(values > low) & (values < high)]
    if len(within) < _AT_LEAST_PIXELS:
        return None
    counts, edges = np.histogram(within, bins=int((high - low) / 2))
    smooth = np.convolve(counts, np.ones(5) / 5, mode="same")
    at = int(smooth.argmax())
    near = np.abs(within - (edges[at] + edges[at + 1]) / 2) <= _NEAR_HU
    # The middle of the peak: the steps of 8 bits are wider than the bins.
    return float(within[near].mean())


def _lungs_below(hu: NDArray[np.float32], bodies: NDArray[np.bool_], air: float) -> bool | None:
    n = max(1, len(hu) // _END_SHARE)
    ends = [
        float((hu[part][bodies[part]] <= air + 1).mean()) if bodies[part].any() else 0.0
        for part in (slice(0, n), slice(-n, None))
    ]
    return None if abs(ends[0] - ends[1]) < _CLEAR else ends[0] > ends[1]
