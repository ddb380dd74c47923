"""The sections on explanations."""

import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path

from aggregate.drawing import for_page
from aggregate.explain.associations import CONCEPT_PROBES, CONCEPT_SCORES
from aggregate.explain.attention import EXPLANATION_CHECKS
from aggregate.explain.choices import CHOSEN_PATIENTS
from aggregate.explain.concepts import CONCEPTS
from aggregate.explain.phase_table import PHASES
from aggregate.explain.phase_value import PHASE_VALUE
from aggregate.explain.picture_writing import CLUSTERED, TYPICAL
from aggregate.explain.pictures import FIGURES, window_text
from aggregate.explain.prototypes import CLUSTER_SLICES, CLUSTERS, PROTOTYPES, TYPICAL_SLICES
from aggregate.explain.votes import SLICE_VOTES
from aggregate.report import explanation_figures as figures
from aggregate.report.elements import (
    Element,
    Figure,
    Note,
    Section,
    Table,
    absent,
    cell,
    interval,
    reasons,
    text,
)
from aggregate.report.folder import ResultsFolder, distinct
from aggregate.report.performance_sections import models_of
from aggregate.tables.rows import Row, numeric

NOT_EXPLAINED = "no explanations were written; run `aggregate.py explain` on this folder"
CHECK_TITLES = {
    "effective_slices": "effective number of slices",
    "effective_share": "the same, share of all slices",
    "rank_stability": "rank stability over repeats",
    "area_agreement": "agreement with tumour area",
    "centre_agreement": "agreement with centre-slice prior",
}
TYPICAL_SHOWN = 3
"""Slices per class in the table that stands in for missing pictures."""
NO_PICTURES = (
    "they are drawn from the slice store (slices.zarr), which was missing or lacked patients: run `extract.py run CONFIG` with "
    "`[extract] store = true` and no bags in the way, then `aggregate.py run CONFIG`"
)
_READING_OF_PICTURES = (
    f"Window: {window_text()} HU. R and L are the patient's right and left; below a picture stands the weight of the slice, in "
    "brackets as a multiple of an equal share; slices are counted from 1, inferior to superior, while a viewer that counts in the order of a file stored head "
    "first counts from the other end. "
)
READING_OF_CASES = (
    "Columns: the phases at the height (z) of the slice with most weight, or where no tumour lies there, the nearest slice with "
    "tumour. Top: the slice, with the square cut out for the encoder in blue (of several scales the largest) and the lesion's "
    "outline in yellow; outside of the square it is shown coarser than it is, and an outline that ends at the edge of the square goes on beyond it. Middle: the "
    "lesion, all phases at one scale. Bottom: the weight of every slice with tumour (of several scales their sum) in multiples of "
    "an equal share (dashed), the shown slice in dark blue. Right: measures of the lesion (black line) beside median and quartiles of each class in the "
    "cohort, the patient's own class in bold; wash-in is the lesion's density in the arterial less the non-contrast phase, "
    "washout that in the arterial less the last phase. R and L are the patient's right and left, with a ? where the header of "
    "the scan leaves them in doubt."
)
NO_RETRAINING = (
    "Only by masking: retraining on every subset of the phases was not run, because it takes {n} trainings of a model in every "
    "fold; `aggregate.py explain --retrain` on this folder adds it."
)
NO_SALIENCY = (
    "Saliency maps of the encoder on single slices (occlusion, with a network of random weights as control) were not "
    "drawn. On a machine with the slice store and the encoder's weights, install the extra with `pip install "
    '".[saliency]"`, run `extract.py saliency CONFIG`, then `aggregate.py report` on this folder.'
)


def attention_section(folder: ResultsFolder) -> Section:
    """Return the section on attention with its two controls."""
    elements: list[Element] = [absent("Attention", NOT_EXPLAINED)]
    rows = folder.rows(EXPLANATION_CHECKS)
    if rows:
        models = models_of(folder, folder.rows(EXPLANATION_CHECKS))
        cells = []
        for measure, title in CHECK_TITLES.items():
            of_measure = {row["model"]: row for row in rows if row["measure"] == measure}
            known = {m: r for m, r in of_measure.items() if numeric(r["estimate"]) is not None}
            cells.append([title, *(cell(known.get(model)) for model in models)])
        elements = [
            Table(
                ("figure, mean over patients", *models),
                cells,
                "Attention of out-of-fold models and of two rules that use no image. Agreements are Spearman "
                "correlations within a patient. A model is more informative than a rule only where its values differ. A "
                "dash means: a single repeat has no stability, and equal weights have no ranking.",
                EXPLANATION_CHECKS.file,
            ),
            Note(
                "Attention shows which slices the model weighted, not why it decided. In published work a prior on the "
                "centre slice found lesions better than the attention of trained models."
            ),
        ]
        if folder.rows(PHASES):
            elements.append(figures.enrichment(folder, _in_figures(folder, folder.rows(PHASES))))
    return Section(
        "attention",
        "Where did the model look?",
        "Attention weights of the slices from out-of-fold models, compared with equal weights and with a "
        "centre-slice prior.",
        elements,
    )


def _in_figures(folder: ResultsFolder, rows: Sequence[Row]) -> list[str]:
    """Return the models of the figures: the shown one and those of the primary comparison, else the first."""
    models = models_of(folder, rows)
    return [model for model in folder.compared if model in models] or models[:1]


def phases_section(folder: ResultsFolder) -> Section:
    """Return the section on the contribution of each phase."""
    elements: list[Element] = [absent("The value of the phases", NOT_EXPLAINED)]
    rows = folder.rows(PHASE_VALUE)
    if rows:
        measures = ("shapley", "auc_alone", "auc_without", "loss_without")
        cells = []
        for key in dict.fromkeys((row["model"], row["method"], row["phase"]) for row in rows):
            found = {r["measure"]: r for r in rows if (r["model"], r["method"], r["phase"]) == key}
            cells.append([*key, *(cell(found.get(measure)) for measure in measures)])
        elements = [
            figures.phase_value(folder, _in_figures(folder, rows)),
            Table(
                ("model", "method", "phase", "Shapley value", "AUC of this phase alone", "AUC without it",
                 "loss without it"),
                cells,
                "Macro AUC with phases shown or withheld, every model that weighs slices. All 2^k subsets stand in "
                f"phase_subsets.csv.{reasons(rows)}",
                PHASE_VALUE.file,
            ),
        ]  # fmt: skip
        if not folder.rows(PHASE_VALUE, method="retraining"):
            elements.append(Note(NO_RETRAINING.format(n=2 ** len(distinct(rows, "phase")) - 1)))
    return Section(
        "phases",
        "What is each phase worth?",
        "How much of the performance is due to each contrast phase, and how much is lost without it.",
        elements,
    )


def votes_section(folder: ResultsFolder) -> Section:
    """Return the section on slice votes."""
    model = folder.explained_model
    elements: list[Element] = [absent("Slice votes", NOT_EXPLAINED)]
    if model:
        elements = [_shown(folder, model), figures.slice_votes(folder, model), _vote_table(folder, model)]
    return Section(
        "votes",
        "Which class does each slice support?",
        "The share of a patient's slices with the highest evidence for each class. For mixed tumours these shares, not "
        "the single label, are the finding.",
        elements,
    )


def _shown(folder: ResultsFolder, model: str) -> Note:
    """Return a sentence that names the model a section shows, and the rule of its choice."""
    shown = folder.shown
    if shown and shown.name == model:
        rule = shown.rule
    else:
        other = f", since {shown.name} weighs no slices" if shown else ""
        rule = f"the first model of the configuration with attention{other}"
    return Note(f"Model shown: {model}, {rule}; the tables hold every model with attention.")


def _vote_table(folder: ResultsFolder, model: str) -> Table:
    rows = folder.rows(SLICE_VOTES, model=model)
    cells = []
    for label in folder.classes:
        shares = []
        for name in folder.classes:
            found = [numeric(r["share"]) or 0.0 for r in rows if (r["label"], r["class"]) == (label, name)]
            shares.append(f"{sum(found) / len(found):.2f}" if found else "")
        cells.append([label, *shares])
    everyone = [[numeric(r["share"]) or 0.0 for r in rows if r["class"] == name] for name in folder.classes]
    cells.append(["all patients (control)", *(f"{sum(found) / len(found):.2f}" for found in everyone)])
    return Table(
        ("reference", *(f"votes {name}" for name in folder.classes)),
        cells,
        f"Mean share of votes by reference class, model {model}. A row like the last one is not informative.",
        SLICE_VOTES.file,
    )


def _signs_of_nobody(folder: ResultsFolder) -> list[Element]:
    rows = folder.rows(CONCEPTS)
    empty = [
        title
        for sign, title in figures.SIGN_TITLES.items()
        if all(numeric(row[sign]) is None for row in rows)
    ]
    why = "no phase has the role that they need ([cohort.phase_roles]), or"
    told = f"Measured in no patient: {', '.join(empty)}. Either {why} no slice shows them."
    return [Note(told)] if empty else []


def concepts_section(folder: ResultsFolder) -> Section:
    """Return the section on measured radiological signs, and their correlation with scores and features."""
    elements: list[Element] = []
    if folder.rows(CONCEPTS):
        elements.append(figures.sign_distributions(folder))
        elements += _signs_of_nobody(folder)
    if folder.rows(CONCEPT_SCORES):
        models = _in_figures(folder, folder.rows(CONCEPT_SCORES))
        elements.append(figures.concept_scores(folder, models))
    if folder.rows(CONCEPT_PROBES):
        elements.append(figures.concept_probes(folder))
    if elements:
        elements.append(
            Note(
                "Signs are measured from the HU values inside the contours, against the parenchyma around the "
                "lesion in the same slice; they are not a reader's judgement. A correlation does not prove that the "
                "model used the sign."
            )
        )
    why = "concepts are measured on the slice store, which is missing or was not read"
    return Section(
        "concepts",
        "Do the classes correlate with radiological signs?",
        "Signs measured on the slices, some of them after LI-RADS v2018: do they separate the classes, do the scores correlate with them, "
        "and do the frozen features contain them?",
        elements or [absent("Concepts", why)],
    )


def prototypes_section(folder: ResultsFolder) -> Section:
    """Return the section on typical slices, similar patients, and clusters formed without labels."""
    elements: list[Element] = []
    model = folder.explained_model
    if model:
        elements = [_shown(folder, model), *_typical(folder, model), *_neighbours(folder, model)]
    if folder.rows(CLUSTERS):
        elements += _clusters(folder)
    return Section(
        "prototypes",
        "Typical slices, similar patients, clusters",
        "The slices that are most typical for the model, the most similar training patients, and clusters of slices "
        "formed without the labels.",
        elements or [absent("Prototypes", NOT_EXPLAINED)],
    )


def _typical(folder: ResultsFolder, model: str) -> list[Element]:
    drawn = _drawn(
        folder,
        TYPICAL,
        "The slices most typical of each class for the model, one per patient, each at its own scale (bar) with the lesion's "
        f"outline; written in orange where the reference is another class, an error worth reviewing. {_READING_OF_PICTURES}"
        f"Ten of each class stand in {TYPICAL_SLICES.file}.",
    )
    return [drawn] if drawn else [_typical_table(folder, model), absent("Their pictures", NO_PICTURES)]


def _drawn(folder: ResultsFolder, name: str, caption: str) -> Figure | None:
    """Return a drawing that `explain` made; None where it made none."""
    path = folder.path / FIGURES / f"{name}.svg"
    if not path.exists():
        return None
    return Figure(name, for_page(path.read_text(encoding="utf-8"), name), caption)


def _typical_table(folder: ResultsFolder, model: str) -> Table:
    rows = [r for r in folder.rows(TYPICAL_SLICES, model=model) if r["rank"] <= TYPICAL_SHOWN]
    cells = [
        [r["class"], text(r["rank"]), r["patient_id"], r["label"], r["phase"], text(r["slice_number"])]
        for r in rows
    ]
    return Table(
        ("class", "rank", "patient", "reference", "phase", "slice number"),
        cells,
        "The most typical slices of each class, one per patient; slices counted from 1, inferior to superior. A reference other than "
        "the class is an error worth reviewing.",
        TYPICAL_SLICES.file,
    )


def _neighbours(folder: ResultsFolder, model: str) -> list[Element]:
    """Return the training patients most like each chosen patient, and how often neighbours share the class."""
    found: dict[str, list[str]] = {}
    for row in folder.rows(PROTOTYPES, model=model):
        likeness = numeric(row["similarity"])
        place = f"({row['neighbour_id']},\N{NO-BREAK SPACE}{interval(likeness, None, None)})"
        neighbour = f"{row['neighbour_label']} {place}"
        found.setdefault(row["patient_id"], []).append(neighbour)
    chosen = [r for r in folder.rows(CHOSEN_PATIENTS, model=model) if r["patient_id"] in found]
    if not chosen:
        return []
    most = max(len(found[row["patient_id"]]) for row in chosen)
    cells = [[row["patient_id"], row["label"], row["predicted"], *found[row["patient_id"]]] for row in chosen]
    checks = {r["measure"]: r for r in folder.rows(EXPLANATION_CHECKS, model=model)}
    share, chance = (cell(checks.get(f"neighbour_agreement{end}")) for end in ("", "_by_chance"))
    return [
        Table(
            ("patient", "reference", "predicted", "most similar", *(f"{i}." for i in range(2, most + 1))),
            cells,
            "The training patients most similar to each patient of the pictures below: class (patient, similarity), "
            "where similarity is the cosine of the attention-weighted mean features, at most 1. "
            f"Over all patients a share of {share} of the neighbours has the patient's own class; by chance it "
            f"would be {chance}.",
            PROTOTYPES.file,
        )
    ]


def _clusters(folder: ResultsFolder) -> list[Element]:
    first = folder.rows(CLUSTERS)[0]
    found, chance = (
        numeric(first[c]) or 0.0 for c in ("adjusted_mutual_information", "mutual_information_shuffled")
    )
    caption = (
        "The slices nearest to the centre of each cluster, one per patient: what the slices of a cluster have in common, if "
        f"anything. {_READING_OF_PICTURES}Ten of each cluster stand in {CLUSTER_SLICES.file}."
    )
    drawn = _drawn(folder, CLUSTERED, caption)
    return [
        figures.clusters(folder),
        *([drawn] if drawn else []),
        Note(
            f"With {first['clusters']} clusters the adjusted mutual information of cluster and class is "
            f"{found:.3f}; with shuffled labels it is {chance:.3f}."
        ),
    ]


def cases_section(folder: ResultsFolder) -> Section:
    """Return the pictures of chosen patients that `explain` drew."""
    drawn = folder.path / FIGURES
    paths = sorted(drawn.glob("case_*.svg")) + sorted(drawn.glob("saliency_*.svg"))
    elements: list[Element] = [_case(path) for path in paths]
    if elements:
        shown = [_shown(folder, folder.explained_model)] if folder.explained_model else []
        elements = [*shown, Note(READING_OF_CASES), *elements]
        if not any(path.stem.startswith("saliency_") for path in paths):
            elements.append(Note(NO_SALIENCY))
    return Section(
        "cases",
        "Pictures of chosen patients",
        "Of each class typical right predictions and the surest mistakes, with the phases side by side and the measures of the "
        "lesion beside those of the classes.",
        elements or [absent("Pictures", NO_PICTURES)],
    )


def _case(path: Path) -> Figure:
    svg = path.read_text(encoding="utf-8")
    title = re.search(r"<title>(.*?)</title>", svg)
    who, _, what = (unescape(title.group(1)) if title else path.stem).partition("; ")
    return Figure(path.stem, for_page(svg, path.stem), what, title=who)


SECTIONS = (
    attention_section,
    phases_section,
    votes_section,
    concepts_section,
    prototypes_section,
    cases_section,
)
"""In the order of the page."""
