"""The section of the report on the training of the networks."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from aggregate.drawing import COLOURS, GREY, panels
from aggregate.report.elements import Element, Figure, Section, Table, absent
from aggregate.report.folder import ResultsFolder, distinct
from aggregate.report.performance_figures import MOST_MODELS
from aggregate.tables.rows import Row
from aggregate.tables.training_curves import TRAINING_CURVES

_COLUMNS = (("train_loss", "training patients", COLOURS[0]), ("tune_loss", "tuning patients", COLOURS[1]))

_LOSSES = {
    "classification": "weighted cross-entropy",
    "survival": "minus partial log-likelihood per event",
    "regression": "squared error (standardised)",
    "ordinal": "minus log-likelihood",
}
"""Task -> what the networks minimise."""


def training_section(folder: ResultsFolder) -> Section:
    """Return the losses of the networks, epoch by epoch, and where each training stopped."""
    networks = _networks(folder)
    elements: list[Element] = [absent("Training curves", "no model of this run has a network")]
    if networks:
        elements = [_curves(networks, _LOSSES[folder.task]), _stops(networks)]
    return Section(
        "training",
        "How the networks were trained",
        "Did training go on long enough, and did it stop before it learned the training patients by heart? Test patients have "
        "no part in these curves.",
        elements,
    )


Courses = Mapping[tuple[int, int, str], Sequence[Row]]
"""By repeat, fold and member: the epochs of one network."""


def _networks(folder: ResultsFolder) -> Mapping[str, Courses]:
    """Return the courses of each model that has any, those of the configuration first, the best first."""
    rows = folder.rows(TRAINING_CURVES)
    by_model: dict[str, dict[tuple[int, int, str], list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_model[row["model"]][row["repeat"], row["fold"], row["member"]].append(row)
    named = dict.fromkeys((*folder.models, *folder.baselines, *distinct(rows, "model")))
    return {model: by_model[model] for model in named if model in by_model}


def _curves(networks: Mapping[str, Courses], loss: str) -> Figure:
    """Draw one panel per model, with a thin line for every network of the first repeat."""
    shown = list(networks)[:MOST_MODELS]
    canvas, axes = panels(len(shown), height=3.2)
    for panel, model in zip(axes, shown, strict=True):
        for rows in _of_first_repeat(networks[model]):
            epochs = [row["epoch"] for row in rows]
            for column, label, colour in _COLUMNS:
                losses = [row[column] for row in rows]
                if None not in losses:
                    panel.plot(epochs, losses, color=colour, linewidth=0.6, alpha=0.6, label=label)
        panel.axvline(median(_kept(networks[model])), color=GREY, linewidth=0.8, linestyle=(0, (3, 3)))
        panel.set(title=model, xlabel="epoch")
    axes[0].set_ylabel(loss)
    handles, labels = axes[0].get_legend_handles_labels()
    of_label = dict(zip(labels, handles, strict=True))  # one for all lines of a kind
    canvas.legend(of_label.values(), of_label, loc="outside lower center", ncols=2, fontsize=9)
    left_out = (
        f" The other {len(networks) - len(shown)} models are in the table only."
        if len(networks) > len(shown)
        else ""
    )
    return Figure(
        "training_curves",
        canvas,
        "Loss of each network of the first repeat, epoch by epoch: one line per fold, and per member of an ensemble. Dashed: the "
        "median of the epochs whose weights are kept, over all fits. The loss of the training patients is measured with "
        f"dropout, so that it may lie above the other.{left_out}",
    )


def _of_first_repeat(courses: Courses) -> Iterator[Sequence[Row]]:
    first = min(repeat for repeat, _, _ in courses)
    return (rows for (repeat, _, _), rows in courses.items() if repeat == first)


def _kept(courses: Courses) -> list[int]:
    return [row["epoch"] for rows in courses.values() for row in rows if row["kept"]]


def _stops(networks: Mapping[str, Courses]) -> Table:
    cells = []
    for model, courses in networks.items():
        kept = _kept(courses)
        at_end = sum(rows[-1]["kept"] for rows in courses.values())
        cells.append(
            [
                model,
                str(len(courses)),
                f"{median(kept):g} ({min(kept)} to {max(kept)})",
                f"{at_end} of {len(courses)}",
            ]
        )
    return Table(
        ("model", "networks", "epoch kept: median (range)", "kept the last epoch"),
        cells,
        "A network that kept the last epoch was still getting better when its training ended: more epochs may help. Without "
        "tuning patients every network does.",
        TRAINING_CURVES.file,
    )
