"""The drawings of the page: the lesion in every phase, and measures beside those of the training patients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from aggregate.drawing import COLOURS, WIDTH_IN
from aggregate.explain.case_pictures import LEAST_COLUMNS, ShownPhase, shown_phases
from aggregate.explain.pictures import (
    MARGIN_MM,
    draw_close_up,
    draw_missing,
    draw_whole,
    reach_mm,
    side_marks,
)
from aggregate.package.training_cohort import NumberGroup
from aggregate.package.training_measures import LESION_MEASURES, LesionMeasure
from phasemil.one_patient import OnePatient
from pipeline.bags import Bag
from pipeline.slices import PhaseSlices

_BODY = 0.72
"""Height of a body on a slice as a share of its width."""
_TITLE_IN, _ROW_IN, _COLUMNS = 0.45, 0.62, 4
OUTER, INNER = ("q05", "q95"), ("q25", "q75")


@dataclass(frozen=True)
class Beside:
    """One measure of the patient beside the training patients.

    Attributes:
        measure: what is measured.
        value: of the patient; NaN where it cannot be had.
        groups: class -> spread.
    """

    measure: LesionMeasure
    value: float
    groups: Mapping[str, NumberGroup]

    @property
    def text(self) -> str:
        """The value with its unit."""
        if not np.isfinite(self.value):
            return "not measurable"
        return f"{number(self.value, self.measure.digits)} {self.measure.unit}".strip()

    def outside(self) -> list[str]:
        """Return the classes of which 5 to 95 % are told, and the value lies outside."""
        told = {name: group.quantiles for name, group in self.groups.items() if OUTER[0] in group.quantiles}
        low, high = OUTER
        return [name for name, q in told.items() if self.value < q[low] or self.value > q[high]]


def beside_training(one: OnePatient) -> list[Beside]:
    """Return the measures of the patient; none where the slices have no mask of the lesion."""
    if one.measured is None:
        return []
    return [Beside(m, m.of(one.measured), one.package.measures.groups(m)) for m in LESION_MEASURES]


def span_of(group: NumberGroup) -> tuple[float, float] | None:
    """Return the widest range that is told of a group: 5 to 95 %, else the quartiles, else none."""
    for low, high in (OUTER, INNER):
        if low in group.quantiles:
            return group.quantiles[low], group.quantiles[high]
    return None


def number(value: float, digits: int) -> str:
    """Return a number with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def shown_slices(one: OnePatient) -> Mapping[str, ShownPhase]:
    """Choose the slices that are shown: by attention, or by the area of the lesion where the models do not attend."""
    slices = one.embedded.slices.phases
    if one.attention is not None:
        return shown_phases(one.attention.bag, one.attention.weights, slices)
    bag = next(iter(one.embedded.bags.values()))
    return shown_phases(bag, _by_area(bag), slices)


def _by_area(bag: Bag) -> NDArray[np.float64]:
    area = bag.tumour_area_mm2.astype(np.float64)
    return area / area.sum() if area.sum() > 0 else np.full(len(bag), 1 / len(bag))


def draw_montage(one: OnePatient) -> Canvas:
    """Draw the lesion in every phase at one height: the whole slice above, close up below."""
    phases, shown = one.package.contract.phases, shown_slices(one)
    columns = max(LEAST_COLUMNS, len(phases))
    side = WIDTH_IN / columns
    canvas = Canvas(figsize=(WIDTH_IN, (1 + _BODY) * side + _TITLE_IN), layout="constrained")
    grid = canvas.subplots(2, columns, squeeze=False, height_ratios=(_BODY, 1))
    half_mm = max([reach_mm(one_phase.slices) for one_phase in shown.values()], default=0.0) + MARGIN_MM
    for column, phase in zip(grid.T, phases, strict=False):
        found = shown.get(phase)
        if found is None:
            column[0].set_title(f"{phase}\n", fontsize=8, pad=3)
            for panel in column:
                draw_missing(panel, f"no {phase} scan")
            continue
        column[0].set_title(_heading(found), fontsize=8, pad=3)
        marks = side_marks(one.embedded.slices, phase)
        draw_whole(column[0], found.slices, found.i, marks)
        draw_close_up(column[1], found.slices, found.i, half_mm, marks)
    for panel in grid[:, len(phases) :].flat:
        panel.set_axis_off()
    return canvas


def _heading(found: ShownPhase) -> str:
    slices: PhaseSlices = found.slices
    n_slices = slices.source.n_slices
    return f"{slices.phase}\nslice {int(slices.slice_index[found.i]) + 1} of {n_slices}, z {number(float(slices.z_mm[found.i]), 0)} mm"


def draw_measures(beside: Sequence[Beside], classes: Sequence[str]) -> Canvas:
    """Draw each measure of the patient as a line across the ranges of the classes."""
    rows = -(-len(beside) // _COLUMNS)
    height = _TITLE_IN + _ROW_IN * len(classes) / 3
    canvas = Canvas(figsize=(WIDTH_IN, rows * height), layout="constrained")
    grid = canvas.subplots(rows, _COLUMNS, squeeze=False)
    for panel, one in zip(grid.flat, beside, strict=False):
        _draw_measure(panel, one, classes, names_classes=panel in grid[:, 0])
    for panel in grid.flat[len(beside) :]:
        panel.set_axis_off()
    return canvas


def _draw_measure(panel: Axes, one: Beside, classes: Sequence[str], *, names_classes: bool) -> None:
    for row, name in enumerate(classes):
        group = one.groups.get(name)
        if group is None or not group.quantiles:
            continue
        colour, q = COLOURS[row % len(COLOURS)], group.quantiles
        if OUTER[0] in q:
            panel.plot(
                [q[OUTER[0]], q[OUTER[1]]],
                [row, row],
                color=colour,
                linewidth=2,
                alpha=0.6,
                solid_capstyle="butt",
            )
        panel.plot(
            [q[INNER[0]], q[INNER[1]]],
            [row, row],
            color=colour,
            linewidth=7,
            alpha=0.45,
            solid_capstyle="butt",
        )
        panel.plot(q["median"], row, "|", color=colour, markersize=11, markeredgewidth=2.2)
    if np.isfinite(one.value):
        panel.axvline(one.value, color="black", linewidth=1.2)
    panel.set_yticks(range(len(classes)), classes if names_classes else [""] * len(classes), fontsize=7.5)
    panel.set_ylim(len(classes) - 0.4, -0.6)
    panel.tick_params(labelsize=7, length=2)
    panel.margins(x=0.1)
    panel.set_title(f"{one.measure.title}: {one.text}", fontsize=7.5, loc="left", pad=3)
