"""Rows of small pictures: the typical slices of each class, and those in the middle of each cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from aggregate.drawing import COLOURS, STYLE, WIDTH_IN, save_picture
from aggregate.explain.pictures import (
    MARGIN_MM,
    ReadPatient,
    draw_close_up,
    reach_on_slice_mm,
    side_marks,
    window_text,
)
from pipeline.store import StoredPatient

COLUMNS = 5
"""Pictures in a row."""
_MARGIN_MM, _LEAST_MM = MARGIN_MM / 2, 20.0
"""Tissue around the tumour, and half the side of a picture at least: a few bright pixels alone show nothing."""
_LABEL_IN, _TEXT_IN = 0.75, 0.5


@dataclass(frozen=True)
class Thumbnail:
    """A slice to be drawn, and what is written below it."""

    patient_id: str
    phase: str
    slice_number: int
    label: str
    """Reference class of the patient."""
    note: str
    """Such as the weight of the slice."""
    stands_out: bool = False
    """Whether the reference is another class than that of the row, which a reader should see."""

    @property
    def place(self) -> str:
        """Patient, phase and slice in one line."""
        return f"{self.patient_id}, {self.phase}, slice {self.slice_number}"


def draw_thumbnails(
    path: Path,
    title: str,
    rows: Mapping[str, Sequence[Thumbnail]],
    read_patient: ReadPatient,
    *,
    png_dpi: int | None = None,
) -> None:
    """Write one drawing with a row of pictures per class or cluster, the first `COLUMNS` of each.

    Args:
        path: of the SVG.
        title: what the drawing shows, its text alternative.
        rows: heading -> pictures, the most typical first.
        read_patient: returns what the store holds of a patient.
        png_dpi: pixels per inch of a PNG beside it; None for none.
    """
    shown = {heading: list(row)[:COLUMNS] for heading, row in rows.items()}
    side = (WIDTH_IN - _LABEL_IN) / COLUMNS
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=(WIDTH_IN, len(shown) * (side + _TEXT_IN)), layout="constrained")
        grid = canvas.subplots(len(shown), COLUMNS, squeeze=False)
        for axes, (heading, row) in zip(grid, shown.items(), strict=True):
            for panel, thumbnail in zip(axes, row, strict=False):
                _draw(panel, thumbnail, read_patient(thumbnail.patient_id))
            for panel in axes[len(row) :]:
                panel.set_axis_off()
            axes[0].set_ylabel(heading, fontsize=9.5, fontweight="bold")
        told = "; ".join(f"{h}: {', '.join(_told(t) for t in row)}" for h, row in shown.items())
        described = f"Window {window_text()}. {told}."
        save_picture(canvas, path, title=title, description=described, png_dpi=png_dpi)


def _told(thumbnail: Thumbnail) -> str:
    return f"{thumbnail.place} (reference {thumbnail.label}, {thumbnail.note})"


def _draw(panel: Axes, thumbnail: Thumbnail, patient: StoredPatient) -> None:
    colour = COLOURS[5] if thumbnail.stands_out else "black"
    panel.set_xlabel(
        f"{thumbnail.place}\nreference {thumbnail.label}\n{thumbnail.note}",
        fontsize=7.5, color=colour, labelpad=3, linespacing=1.25,
    )  # fmt: skip
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)
    for slices in patient.phases:
        numbers = slices.slice_index.tolist()
        if slices.phase == thumbnail.phase and thumbnail.slice_number - 1 in numbers:
            i = numbers.index(thumbnail.slice_number - 1)
            half_mm = max(_LEAST_MM, reach_on_slice_mm(slices, i) + _MARGIN_MM)
            draw_close_up(panel, slices, i, half_mm, side_marks(patient, slices.phase))
            return
    panel.text(0.5, 0.5, "not in the store", ha="center", va="center", fontsize=8)
