"""Figures at the width of one or of both columns of a journal."""

from collections.abc import Iterator
from dataclasses import replace

from matplotlib.figure import Figure as Canvas

from aggregate.drawing import WIDTH_IN
from aggregate.paper.declared import banners, declared_models
from aggregate.report import performance_figures as figures
from aggregate.report.elements import Figure
from aggregate.report.folder import ResultsFolder
from aggregate.tables.performance import CONFUSION

SINGLE_MM, DOUBLE_MM = 85.0, 174.0
"""Widths of one column, and of two with the space between."""
_MM_PER_INCH = 25.4
ROC, CONFUSIONS = "figure_1_roc", "figure_2_confusion"
"""File names without ending."""


def figures_of(folder: ResultsFolder) -> Iterator[Figure]:
    """Yield the ROC curves and the confusion of the declared models, as the report draws them; none of a study."""
    predictions, models = folder.predictions, declared_models(folder)
    known = [model for model in models if predictions is not None and model in predictions.probabilities]
    if predictions is not None and known:
        roc = figures.roc_curves(folder, predictions, known)
        yield _at_width(
            roc, ROC, len(predictions.classes), folder, height=DOUBLE_MM / _MM_PER_INCH / WIDTH_IN
        )
    confused = [model for model in models if folder.rows(CONFUSION, model=model)]
    if confused:
        yield _at_width(figures.confusion(folder, confused), CONFUSIONS, len(confused), folder, height=1.0)


def _at_width(figure: Figure, name: str, n_panels: int, folder: ResultsFolder, *, height: float) -> Figure:
    """Make a figure that is not yet drawn as wide as the column, `height` times as high; text keeps its size in points."""
    if isinstance(figure.drawing, Canvas):
        width_mm = SINGLE_MM if n_panels == 1 else DOUBLE_MM
        figure.drawing.set_size_inches(width_mm / _MM_PER_INCH, height * figure.drawing.get_size_inches()[1])
        if told := ", ".join(banners(folder)):
            figure.drawing.suptitle(told, fontsize=8)
    return replace(figure, name=name)
