"""How a slice is drawn: window, outline of the lesion, marks of the sides, scale bar.

Rows of a slice run from anterior to posterior and columns from the patient's right to left, as `pipeline.slices` says, so
the patient's right is on the left of every picture.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pipeline.bags import Bag
from pipeline.slices import PhaseSlices
from pipeline.store import StoredPatient

WINDOW_HU = (-60.0, 200.0)
"""Soft-tissue window, low and high, usual for contrast-enhanced abdominal CT."""
MARGIN_MM = 20.0
"""Tissue shown around the tumour in a close-up."""
OUTLINE, FRAME, WEIGHT = "#F0E442", "#56B4E9", "#0072B2"
FIGURES = "figures"
"""Subfolder of a results folder for figures; the report shows the pictures in it."""
ReadPatient = Callable[[str], StoredPatient]
"""Patient identifier -> what the slice store holds of the patient, in HU."""

_PIXELS = 96
"""A close-up has up to twice as many pixels a side: enough to see the lesion, small enough for a page of many."""
_GREYS = 64
"""Steps of 4 HU, less than the noise of a CT; a picture of 256 greys takes a third more bytes."""
_BARS_MM = (50, 20, 10, 5)
_TISSUE_HU = -300
"""Air and lung are below this."""
_WRITTEN: dict[str, Any] = {
    "color": "white",
    "fontsize": 7,
    "bbox": {"facecolor": "black", "edgecolor": "none", "alpha": 0.55, "pad": 0.8},
}


def window_text() -> str:
    """Return the window as viewers write it."""
    low, high = WINDOW_HU
    return f"W {high - low:g} L {(low + high) / 2:g}"


def weights_of_slices(bag: Bag, weights: NDArray[np.float64], slices: PhaseSlices) -> NDArray[np.float64]:
    """Return the weight of each stored slice (n,), summed over the scales; NaN for a slice without a feature."""
    here = bag.phase == bag.header.phase_names.index(slices.phase)
    found = np.full(len(slices), np.nan)
    for i, index in enumerate(slices.slice_index):
        of_slice = here & (bag.slice_index == index)
        if of_slice.any():
            found[i] = weights[of_slice].sum()
    return found


def weight_text(weight: float, n: int) -> str:
    """Return the weight of a slice of `n`, and how many times an equal share it is."""
    return f"weight {weight:.3f} ({weight * n:.1f}\N{MULTIPLICATION SIGN})"


def side_marks(patient: StoredPatient, phase: str) -> tuple[str, str]:
    """Return the marks of the left and the right side of a picture, with a ? where the header of the scan is in doubt."""
    doubt = "?" if patient.is_place_doubtful(phase) else ""
    return f"R{doubt}", f"L{doubt}"


def reach_mm(slices: PhaseSlices) -> float:
    """Return half the side of the largest lesion box of a phase."""
    sides = [0.0]
    for axis, spacing in enumerate(slices.spacing_mm):
        used = np.flatnonzero(slices.masks.any(axis=2 - axis).any(axis=0))
        sides.append(float(np.ptp(used) + 1) * spacing if len(used) else 0.0)
    return max(sides) / 2


def reach_on_slice_mm(slices: PhaseSlices, i: int) -> float:
    """Return half the side of the lesion box of one slice."""
    used = [np.flatnonzero(slices.masks[i].any(axis=1 - axis)) for axis in (0, 1)]
    sides = [
        float(np.ptp(u) + 1) * mm if len(u) else 0.0 for u, mm in zip(used, slices.spacing_mm, strict=True)
    ]
    return max(sides) / 2


def draw_close_up(
    panel: Axes, slices: PhaseSlices, i: int, half_mm: float, marks: tuple[str, str] = ("R", "L")
) -> None:
    """Draw a square of `2 half_mm` around the tumour of one slice, no larger than the crop, with the outline."""
    rows, columns = _around_lesion(slices, i, half_mm)
    row_mm, column_mm = slices.spacing_mm
    step = max(1, int(np.ceil(half_mm / min(slices.spacing_mm) / _PIXELS)))
    place = (columns.start * column_mm, columns.stop * column_mm, rows.stop * row_mm, rows.start * row_mm)
    _show(panel, slices.crops_hu[i][rows, columns][::step, ::step], place)
    _outline(panel, slices, i, (0.0, 0.0))
    panel.set(xlim=place[:2], ylim=place[2:])
    _annotate(panel, marks)


def draw_whole(panel: Axes, slices: PhaseSlices, i: int, marks: tuple[str, str] = ("R", "L")) -> None:
    """Draw a whole slice but for the air around the body: coarse, with the crop as it is, in its frame.

    The slices must have a context and corners.
    """
    assert slices.context_hu is not None
    assert slices.corner is not None
    row_mm, column_mm = slices.spacing_mm
    context = slices.context_hu[i]
    block_mm = slices.context_step * row_mm, slices.context_step * column_mm
    _show(panel, context, (0.0, context.shape[1] * block_mm[1], context.shape[0] * block_mm[0], 0.0))
    crop = slices.crops_hu[i]
    top, left = float(slices.corner[i, 0] * row_mm), float(slices.corner[i, 1] * column_mm)
    down, across = crop.shape[0] * row_mm, crop.shape[1] * column_mm
    step = max(1, max(crop.shape) // (2 * _PIXELS))
    _show(panel, crop[::step, ::step], (left, left + across, top + down, top))
    panel.add_patch(Rectangle((left, top), across, down, fill=False, edgecolor=FRAME, linewidth=0.9))
    _outline(panel, slices, i, (top, left))
    (low_y, high_y), (low_x, high_x) = (
        _body(context, axis, mm) for axis, mm in zip((0, 1), block_mm, strict=True)
    )
    panel.set(xlim=(low_x, high_x), ylim=(high_y, low_y))
    _annotate(panel, marks)
    panel.text(0.02, 0.02, window_text(), ha="left", va="bottom", transform=panel.transAxes, **_WRITTEN)


def _body(context: NDArray[np.int16], axis: int, block_mm: float) -> tuple[float, float]:
    """Return where the body begins and ends along an axis, in mm from the edge of the image; the image without one."""
    used = np.flatnonzero((context > _TISSUE_HU).any(axis=1 - axis))
    if not len(used):
        return 0.0, context.shape[axis] * block_mm
    low, high = int(used[0]) - 1, int(used[-1]) + 2
    return max(0, low) * block_mm, min(context.shape[axis], high) * block_mm


def draw_missing(panel: Axes, text: str) -> None:
    """Draw an empty panel that says why it is empty."""
    panel.set(xlim=(0, 1), ylim=(0, 1))
    panel.add_patch(Rectangle((0, 0), 1, 1, fill=False, edgecolor="#999999", linestyle=(0, (3, 3))))
    panel.text(0.5, 0.5, text, ha="center", va="center", color="#57606a", fontsize=8)
    _bare(panel)


def safe_name(patient_id: str) -> str:
    """Return an identifier as part of a file name."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", patient_id)


def _around_lesion(slices: PhaseSlices, i: int, half_mm: float) -> tuple[slice, slice]:
    cut = []
    for axis, spacing in enumerate(slices.spacing_mm):
        mask = slices.masks[i]
        n = mask.shape[axis]
        used = np.flatnonzero(mask.any(axis=1 - axis))
        middle = (used[0] + used[-1]) // 2 if len(used) else (n - 1) // 2
        side = min(n, 2 * round(half_mm / spacing) + 1)
        start = int(np.clip(middle - side // 2, 0, n - side))
        cut.append(slice(start, start + side))
    return cut[0], cut[1]


def _show(panel: Axes, hu: NDArray[np.int16], extent: tuple[float, float, float, float]) -> None:
    low, high = WINDOW_HU
    share = np.clip((hu.astype(np.float32) - low) / (high - low), 0.0, 1.0)
    grey = (np.rint(share * (_GREYS - 1)) * (255 / (_GREYS - 1))).astype(np.uint8)
    panel.imshow(grey, cmap="gray", vmin=0, vmax=255, interpolation="none", aspect="equal", extent=extent)


def _outline(panel: Axes, slices: PhaseSlices, i: int, corner_mm: tuple[float, float]) -> None:
    mask = slices.masks[i]
    if mask.any():
        y, x = (
            at + (np.arange(n) + 0.5) * mm
            for at, n, mm in zip(corner_mm, mask.shape, slices.spacing_mm, strict=True)
        )
        panel.contour(x, y, mask, levels=[0.5], colors=OUTLINE, linewidths=0.9)


def _annotate(panel: Axes, marks: Sequence[str]) -> None:
    """Write what every picture of a reading room has: the sides and a scale bar."""
    x, y = panel.get_xlim(), panel.get_ylim()
    width, height = x[1] - x[0], y[0] - y[1]
    on_panel: dict[str, Any] = {"transform": panel.transAxes, "va": "center", "fontweight": "bold"}
    panel.text(0.02, 0.5, marks[0], ha="left", **on_panel, **_WRITTEN)
    panel.text(0.98, 0.5, marks[1], ha="right", **on_panel, **_WRITTEN)
    bar_mm = next((mm for mm in _BARS_MM if mm <= 0.45 * width), _BARS_MM[-1])
    end, at = x[1] - 0.03 * width, y[0] - 0.04 * height
    panel.plot([end - bar_mm, end], [at, at], color="white", linewidth=1.8, solid_capstyle="butt")
    panel.text(end, at - 0.03 * height, f"{bar_mm} mm", ha="right", va="bottom", **_WRITTEN)
    _bare(panel)


def _bare(panel: Axes) -> None:
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)
