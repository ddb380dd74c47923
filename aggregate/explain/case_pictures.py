"""A patient as a reading room shows one: the phases side by side at one height, and the lesion beside its classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.figure import SubFigure
from numpy.typing import NDArray

from aggregate.drawing import COLOURS, GREY, STYLE, WIDTH_IN, save_picture
from aggregate.explain.choices import Choice
from aggregate.explain.class_ranges import RangedMeasure
from aggregate.explain.inputs import PerInstance
from aggregate.explain.pictures import (
    MARGIN_MM,
    WEIGHT,
    ReadPatient,
    draw_close_up,
    draw_missing,
    draw_whole,
    reach_mm,
    safe_name,
    side_marks,
    weight_text,
    weights_of_slices,
    window_text,
)
from pipeline.bags import Bag
from pipeline.slices import PhaseSlices
from pipeline.store import StoredPatient

NO_WHOLE_SLICES = (
    "The whole slices are not shown: the slice store was written by an earlier release. Remove the slice store and the bags, "
    "run `extract.py run CONFIG`, then `aggregate.py run CONFIG`"
)
LEAST_COLUMNS = 4
"""With fewer phases a panel would fill the page."""
_MEASURES_IN = 2.0
_PROFILE_IN, _TITLE_IN = 0.7, 0.75
_BODY = 0.72
"""Height of a body on a slice as a share of its width."""
_SAME_HEIGHT = 0.5
"""Slices further apart than this share of their thickness do not lie at one height."""


@dataclass(frozen=True, eq=False)
class ShownPhase:
    """The slice of a phase that is shown.

    Attributes:
        slices: of the phase.
        i: which of them.
        weights: float64 (n,), of each; NaN where a slice has no feature.
        off_mm: how far above (below zero: below) the height of the picture it lies.
    """

    slices: PhaseSlices
    i: int
    weights: NDArray[np.float64]
    off_mm: float

    def heading(self, n: int) -> str:
        """Return what stands above the picture; `n` slices of the patient have a weight."""
        slices, i = self.slices, self.i
        z_mm = f"{slices.z_mm[i]:.0f}".replace("-", "\N{MINUS SIGN}")
        height = f"z {z_mm} mm"
        if abs(self.off_mm) > _SAME_HEIGHT * slices.source.spacing_mm[2]:
            height += f" ({abs(self.off_mm):.0f} mm {'higher' if self.off_mm > 0 else 'lower'})"
        weight = self.weights[i]
        told = weight_text(float(weight), n) if np.isfinite(weight) else "no weight"
        return f"{slices.phase}, slice {int(slices.slice_index[i]) + 1}\n{told}\n{height}"


def draw_cases(
    folder: Path,
    bags: Sequence[Bag],
    attention: PerInstance,
    chosen: Mapping[int, Choice],
    read_patient: ReadPatient,
    *,
    measures: Sequence[RangedMeasure] = (),
    png_dpi: int | None = None,
) -> None:
    """Write case_<number>_<patient>.svg for each chosen patient, numbered in their order.

    Args:
        folder: destination; pictures of an earlier run are deleted.
        bags: bags of all patients.
        attention: attention of the model that the pictures show.
        chosen: index of the patient -> why the patient is shown.
        read_patient: returns what the store holds of a patient.
        measures: of all patients, with the ranges of the classes.
        png_dpi: pixels per inch of a PNG beside each; None for none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("case_*.*"):
        old.unlink()
    for number, (patient, choice) in enumerate(chosen.items(), start=1):
        bag = bags[patient]
        stored = read_patient(bag.patient_id)
        case = Case(
            stored=stored,
            phase_names=bag.header.phase_names,
            shown=shown_phases(bag, attention.mean(patient), stored.phases),
            n_slices=len(set(zip(bag.phase.tolist(), bag.slice_index.tolist(), strict=True))),
            label=choice.label,
            measures=[(measure, float(measure.values[patient])) for measure in measures],
        )
        title = f"{bag.patient_id}: {choice.title}; weights of model {attention.model}, out of fold"
        with mpl.rc_context(STYLE):
            save_picture(
                _drawn(case),
                folder / f"case_{number:02}_{safe_name(bag.patient_id)}.svg",
                title=title if case.has_whole_slices else f"{title}. {NO_WHOLE_SLICES}",
                description=case.in_words(),
                png_dpi=png_dpi,
            )


@dataclass(frozen=True, eq=False)
class Case:
    """All that is drawn of one patient.

    Attributes:
        stored: what the slice store holds.
        phase_names: of the cohort, in order.
        shown: phase -> its slice; a phase that the patient lacks is not in it.
        n_slices: slices of the patient that have a weight.
        label: reference class.
        measures: with the value of the patient.
    """

    stored: StoredPatient
    phase_names: Sequence[str]
    shown: Mapping[str, ShownPhase]
    n_slices: int
    label: str
    measures: Sequence[tuple[RangedMeasure, float]]

    @property
    def has_whole_slices(self) -> bool:
        """Whether the store holds whole slices and where the crops lie in them."""
        slices = [one.slices for one in self.shown.values()]
        return all(s.context_hu is not None and s.corner is not None for s in slices)

    def in_words(self) -> str:
        """Return the text alternative."""
        parts = [f"Window {window_text()}; the patient's right is on the left"]
        for phase in self.phase_names:
            one = self.shown.get(phase)
            parts.append(one.heading(self.n_slices).replace("\n", ", ") if one else f"{phase}: none")
        for measure, value in self.measures:
            own = f"{value:.0f} HU" if np.isfinite(value) else "not measurable"
            known = {name: r for name, r in measure.ranges.items() if r.n}
            medians = [f"{name} {r.median:.0f} ({r.low:.0f} to {r.high:.0f})" for name, r in known.items()]
            parts.append(f"{measure.title} {own}; median and quartiles of {', '.join(medians) or 'no class'}")
        return ". ".join(parts)


def shown_phases(
    bag: Bag, weights: NDArray[np.float64], phases: Sequence[PhaseSlices]
) -> dict[str, ShownPhase]:
    """Choose the slice with most weight of the patient, and of every other phase the stored slice nearest to its height.

    Height is the patient coordinate along z, as linked viewers scroll; breath-holds that differ move the organ against it.
    """
    found = {s.phase: (s, weights_of_slices(bag, weights, s)) for s in phases if len(s)}
    if not found:
        return {}
    top, of_top = max(found.values(), key=lambda one: float(np.nan_to_num(one[1], nan=-1.0).max()))
    z_mm = float(top.z_mm[int(np.nan_to_num(of_top, nan=-1.0).argmax())])
    shown = {}
    for phase, (slices, of_slices) in found.items():
        i = int(np.abs(slices.z_mm - z_mm).argmin())
        shown[phase] = ShownPhase(slices, i, of_slices, float(slices.z_mm[i]) - z_mm)
    return shown


def _drawn(case: Case) -> Canvas:
    columns = max(LEAST_COLUMNS, len(case.phase_names))
    side = (WIDTH_IN - _MEASURES_IN) / columns
    rows = (_BODY * side, side, _PROFILE_IN) if case.has_whole_slices else (side, _PROFILE_IN)
    canvas = Canvas(figsize=(WIDTH_IN, sum(rows) + _TITLE_IN), layout="constrained")
    ratios = (WIDTH_IN - _MEASURES_IN, _MEASURES_IN)
    left, right = canvas.subfigures(1, 2, squeeze=False, width_ratios=ratios)[0]
    grid = left.subplots(len(rows), columns, squeeze=False, height_ratios=rows)
    half_mm = max([reach_mm(one.slices) for one in case.shown.values()], default=0.0) + MARGIN_MM
    highest = max([float(np.nan_to_num(one.weights).max()) for one in case.shown.values()], default=0.0)
    for column, phase in zip(grid.T, case.phase_names, strict=False):
        one = case.shown.get(phase)
        if one is None:
            _draw_lack(column, phase, case.stored.faults.get(phase))
            continue
        column[0].set_title(one.heading(case.n_slices), fontsize=7.5, pad=3)
        marks = side_marks(case.stored, phase)
        if case.has_whole_slices:
            draw_whole(column[0], one.slices, one.i, marks)
        draw_close_up(column[-2], one.slices, one.i, half_mm, marks)
        _draw_profile(column[-1], one, case.n_slices, highest)
    for panel in grid[:, len(case.phase_names) :].flat:
        panel.set_axis_off()
    _draw_measures(right, case)
    return canvas


def _draw_lack(column: Sequence[Axes], phase: str, fault: str | None) -> None:
    column[0].set_title(f"{phase}\n\n", fontsize=7.5, pad=3)
    for panel in column[:-1]:
        draw_missing(panel, f"{phase} scan\nnot usable" if fault else f"no {phase} scan")
    column[-1].set_axis_off()


def _draw_profile(panel: Axes, one: ShownPhase, n: int, highest: float) -> None:
    """Draw the weight of every slice of a phase as a multiple of an equal share, the shown one in colour."""
    numbers = one.slices.slice_index + 1
    heights = np.nan_to_num(one.weights) * n
    colours = [WEIGHT if i == one.i else "#b8c4ce" for i in range(len(numbers))]
    panel.bar(numbers, heights, width=0.85 * _step(numbers), color=colours)
    panel.axhline(1.0, color=GREY, linewidth=0.7, linestyle=(0, (3, 3)))
    panel.set_ylim(0, max(1.2, highest * n * 1.05))
    ends = sorted({int(numbers[0]), int(numbers[-1])})
    panel.set_xticks(ends, [f"slice {end}" if end == ends[0] else str(end) for end in ends])
    # The numbers above the pictures tell the height; an axis would take width from these.
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)
    panel.tick_params(labelsize=7, length=2)


def _step(numbers: NDArray[np.int32]) -> float:
    return float(np.diff(np.sort(numbers)).min()) if len(numbers) > 1 else 1.0


def _draw_measures(right: SubFigure, case: Case) -> None:
    if not case.measures:
        return
    axes = right.subplots(len(case.measures), 1, squeeze=False)[:, 0]
    for panel, (measure, value) in zip(axes, case.measures, strict=True):
        for row, found in enumerate(measure.ranges.values()):
            colour = COLOURS[row % len(COLOURS)]
            if found.n:
                panel.plot(
                    [found.low, found.high],
                    [row, row],
                    color=colour,
                    linewidth=6,
                    alpha=0.45,
                    solid_capstyle="butt",
                )
                panel.plot(found.median, row, "|", color=colour, markersize=11, markeredgewidth=2.2)
        names = [f"{name} (n = {found.n})" for name, found in measure.ranges.items()]
        panel.set_yticks(range(len(names)), names, fontsize=7)
        for text, name in zip(panel.get_yticklabels(), measure.ranges, strict=True):
            text.set_fontweight("bold" if name == case.label else "normal")
        panel.set_ylim(len(names) - 0.4, -0.6)
        panel.tick_params(labelsize=7, length=2)
        panel.margins(x=0.12)
        own = f"{value:.0f}".replace("-", "\N{MINUS SIGN}") if np.isfinite(value) else ""
        if own:
            panel.axvline(value, color="black", linewidth=1.1)
        told = f"{own} HU" if own else "not measurable"
        panel.set_title(f"{measure.title}: {told}", fontsize=8, loc="right", pad=3)
    axes[-1].set_xlabel("HU", fontsize=7)
