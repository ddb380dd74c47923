"""Montages of the slices with the highest and lowest attention per phase, with the contour that was used."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from aggregate.drawing import STYLE, WIDTH_IN, save_png, save_svg
from aggregate.explain.choices import Choice
from aggregate.explain.inputs import PerInstance
from pipeline.bags import Bag
from pipeline.slices import PhaseSlices

WINDOW_HU = (-60.0, 200.0)
"""Soft-tissue window, low and high, usual for contrast-enhanced abdominal CT."""
TOP, BOTTOM = 3, 2
"""Slices shown per phase: those with most and with least weight."""
MARGIN_MM = 20.0
"""Tissue shown around the tumour."""
CONTOUR, WEIGHT = "#F0E442", "#0072B2"
_PIXELS = 144
"""A drawn crop has up to twice as many pixels a side: enough to see the lesion, small enough for a page of many crops."""


FIGURES = "figures"
"""Subfolder of a results folder for figures; the report shows the montages in it."""
ReadSlices = Callable[[str], Sequence[PhaseSlices]]
"""Patient identifier -> the slices of its phases, in HU."""


def draw_pictures(
    folder: Path,
    bags: Sequence[Bag],
    attention: PerInstance,
    chosen: Mapping[int, Choice],
    read_slices: ReadSlices,
    *,
    png_dpi: int | None = None,
) -> None:
    """Write montage_<number>_<patient>.svg for each chosen patient, numbered in their order.

    Args:
        folder: destination; montages of an earlier run are deleted.
        bags: bags of all patients.
        attention: attention of the model that the pictures show.
        chosen: index of the patient -> why the patient is shown.
        read_slices: returns the HU crops of a patient.
        png_dpi: pixels per inch of a PNG beside each; None for none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("montage_*.*"):
        old.unlink()
    for number, (patient, choice) in enumerate(chosen.items(), start=1):
        bag = bags[patient]
        path = folder / f"montage_{number}_{re.sub(r'[^A-Za-z0-9_-]', '_', bag.patient_id)}.svg"
        title = f"{bag.patient_id}: {choice.title}; weights of model {attention.model}, out of fold"
        with mpl.rc_context(STYLE):
            canvas = _montage(bag, attention.mean(patient), read_slices(bag.patient_id))
            save_svg(canvas, path, title=title)
            if png_dpi is not None:
                save_png(canvas, path.with_suffix(".png"), dpi=png_dpi)


def _montage(bag: Bag, weights: NDArray[np.float64], phases: Sequence[PhaseSlices]) -> Canvas:
    order = {name: i for i, name in enumerate(bag.header.phase_names)}
    shown = sorted((s for s in phases if len(s)), key=lambda s: order[s.phase])
    columns = TOP + BOTTOM
    side = WIDTH_IN / (columns + 0.35)
    half_mm = max([_reach_mm(slices) for slices in shown], default=0.0) + MARGIN_MM
    canvas = Canvas(figsize=(WIDTH_IN, max(1, len(shown)) * (side + 0.22)), layout="constrained")
    axes = canvas.subplots(max(1, len(shown)), columns, squeeze=False)
    highest = float(weights.max())
    for column, heading in ((0, "most weight"), (TOP, "least weight")):
        axes[0, column].annotate(
            heading,
            (0, 1),
            (0, 20),
            "axes fraction",
            textcoords="offset points",
            fontsize=10,
            fontweight="bold",
        )
    for row, slices in zip(axes, shown, strict=False):
        of_slice = _weight_per_slice(bag, weights, order[slices.phase], slices)
        for panel, i in zip(row, _extremes(of_slice), strict=True):
            panel.set_xticks([])
            panel.set_yticks([])
            panel.spines[:].set_visible(False)
            if i is not None:
                _draw(panel, slices, i, (float(of_slice[i]), highest), half_mm)
        row[0].set_ylabel(slices.phase, fontsize=11, fontweight="bold", rotation=0, ha="right", va="center")
    return canvas


def _weight_per_slice(
    bag: Bag, weights: NDArray[np.float64], phase: int, slices: PhaseSlices
) -> NDArray[np.float64]:
    """Return the weight of each stored slice, summed over the scales; NaN for a slice without a feature."""
    here = bag.phase == phase
    found = np.full(len(slices), np.nan)
    for i, index in enumerate(slices.slice_index):
        of_slice = here & (bag.slice_index == index)
        if of_slice.any():
            found[i] = weights[of_slice].sum()
    return found


def _extremes(weights: NDArray[np.float64]) -> list[int | None]:
    """Return the slices with most weight, then those with least, padded with None; no slice twice."""
    ranked = [int(i) for i in np.argsort(-weights, kind="stable") if np.isfinite(weights[i])]
    top = ranked[:TOP]
    bottom = ranked[max(len(top), len(ranked) - BOTTOM) :]
    padding: list[int | None] = [None] * (TOP - len(top))
    return [*top, *padding, *([None] * (BOTTOM - len(bottom))), *bottom]


def _draw(panel: Axes, slices: PhaseSlices, i: int, weight: tuple[float, float], half_mm: float) -> None:
    """Draw one slice; `weight` is the slice's weight and the largest weight of the patient."""
    crop, mask = _close_up(slices, i, half_mm)
    low, high = WINDOW_HU
    grey = np.clip((crop - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    panel.imshow(grey, cmap="gray", vmin=0, vmax=255, interpolation="none", aspect="equal")
    if mask.any():
        panel.contour(mask, levels=[0.5], colors=CONTOUR, linewidths=0.9)
    panel.set_title(f"slice {int(slices.slice_index[i]) + 1}, weight {weight[0]:.3f}", fontsize=8, pad=3)
    # A bar under the picture: the weight as a share of the patient's largest.
    length = weight[0] / weight[1] if weight[1] > 0 else 0.0
    panel.axhline(len(grey) - 1.5, 0, length, color=WEIGHT, linewidth=4, solid_capstyle="butt")


def _reach_mm(slices: PhaseSlices) -> float:
    """Return half the side of the largest lesion box of a phase."""
    sides = [0.0]
    for axis, spacing in enumerate(slices.spacing_mm):
        used = np.flatnonzero(slices.masks.any(axis=2 - axis).any(axis=0))
        sides.append(float(np.ptp(used) + 1) * spacing if len(used) else 0.0)
    return max(sides) / 2


def _close_up(slices: PhaseSlices, i: int, half_mm: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Cut a square around the tumour of one slice, subsampled to at most 2 x _PIXELS a side."""
    mask = slices.masks[i]
    cut = []
    for axis, spacing in enumerate(slices.spacing_mm):
        used = np.flatnonzero(mask.any(axis=1 - axis))
        middle = (used[0] + used[-1]) / 2 if len(used) else (mask.shape[axis] - 1) / 2
        half = half_mm / spacing
        cut.append(slice(max(0, round(middle - half)), min(mask.shape[axis], round(middle + half) + 1)))
    step = max(1, int(np.ceil(half_mm / min(slices.spacing_mm) / _PIXELS)))
    thinned = (slice(cut[0].start, cut[0].stop, step), slice(cut[1].start, cut[1].stop, step))
    return slices.crops_hu[i][thinned].astype(np.float64), mask[thinned]
