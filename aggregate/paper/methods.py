"""The methods of a run in sentences, with the numbers of its record and of its tables.

A sentence stands here only if it is true whatever the configuration says, or is made from what run.json and the tables say.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aggregate.paper.declared import SYNTHETIC_BANNER, declared_models
from aggregate.paper.model_parameters import method_of
from aggregate.paper.statistical_methods import comparisons, intervals, permutations, thresholds
from aggregate.paper.study_methods import study_sentences
from aggregate.report.folder import ResultsFolder
from aggregate.report.overview_sections import analysed, left_out, model_rows, moment, synthetic
from aggregate.report.settings_in_words import described
from aggregate.tables.rows import Row
from aggregate.tables.splits import SPLITS
from pipeline.bags import RANDOM_BANNER

_VERSIONS = ("reading", "measures")
"""Of a recipe's preprocessing: versions of code, which the version of phasemil tells."""
_SCHEMES = {
    "stratified": "cross-validation stratified by class and balanced by centre",
    "leave-one-centre-out": "leave-one-centre-out cross-validation",
    "file": "cross-validation with folds given in a file",
}
_BY_THE_AUTHORS = (
    "[By the authors: ethics approval and consent; dates and places of recruitment; criteria of inclusion; reference standard "
    "and time between it and imaging; scanners, protocol and contrast medium; who drew the contours, and how; sample size.]"
)
Paragraphs = Sequence[tuple[str, str]]
"""(heading, text)."""


def methods_of(folder: ResultsFolder) -> Paragraphs:
    """Return the methods of a run or of a study; a paragraph of which nothing is known is left out."""
    told = {
        "Patients": _patients(folder),
        "Features": _features(folder),
        "Models": [*_models(folder), *study_sentences(folder)],
        "Validation": _validation(folder),
        "Statistical analysis": [
            *intervals(folder), *comparisons(folder), *thresholds(folder), *permutations(folder)
        ],
        "Software": _software(folder),
    }  # fmt: skip
    return [(heading, text) for heading, sentences in told.items() if (text := " ".join(sentences))]


def _patients(folder: ResultsFolder) -> Iterator[str]:
    yield from _warnings(folder)
    rows = analysed(folder)
    labels = Counter(row["label"] for row in rows)
    classes = ", ".join(f"{name} (n = {labels[name]})" for name in folder.classes)
    centres = {row["centre"] for row in rows} - {"", None}
    places = f" from {len(centres)} centres" if len(centres) > 1 else ""
    yield f"{len(rows)} patients{places} were analysed: {classes}. The patient is the unit of every split and statistic."
    if len(folder.phases) > 1:
        lacking = sum(bool(row["phases_missing"]) for row in rows)
        yield (
            f"Images were of the phases {', '.join(folder.phases)}; {_counted(lacking, 'patient')} lacked at least one phase, and no "
            "image was made up for it."
        )
    elif folder.phases:
        yield f"Images were of the phase {folder.phases[0]}."
    excluded = left_out(folder)
    whole = {row["patient_id"] for row in excluded if not row["phase"]}
    phases = sum(bool(row["phase"]) and row["patient_id"] not in whole for row in excluded)
    if excluded:
        yield (
            f"Left out were {_counted(len(whole), 'patient')} and {_counted(phases, 'single phase')} of others (reasons: excluded.csv)."
        )
    else:
        yield "No patient was left out."
    yield _BY_THE_AUTHORS


def _warnings(folder: ResultsFolder) -> Iterator[str]:
    if told := synthetic(folder):
        yield f"{SYNTHETIC_BANNER}: {told}"
    untrained = [name for name, recipe in folder.recipes.items() if recipe.get("random_weights")]
    if untrained:
        sets = f" of the sets {', '.join(untrained)}" if len(folder.recipes) > 1 else ""
        yield f"{RANDOM_BANNER}: the weights of the encoder{sets} are random, and what its models reach says nothing about patients."


def _features(folder: ResultsFolder) -> Iterator[str]:
    for name, recipe in folder.recipes.items():
        if not recipe.get("encoder"):
            continue
        which = f" of the set {name}" if len(folder.recipes) > 1 else ""
        precision = f", computed in {recipe['precision']}" if recipe.get("precision") else ""
        yield (
            f"The features{which} are outputs of the encoder {recipe['encoder']} (layer {recipe.get('layer', '')}; weights "
            f"{recipe.get('weights_name', '')}, SHA-256 {recipe.get('weights_sha256', '')}){precision}. Its weights were "
            "fixed: no model changes them."
        )
        made = {key: value for key, value in recipe.get("preprocessing", {}).items() if key not in _VERSIONS}
        if text := described(made):
            yield f"Preprocessing{which}: {text}."


def _models(folder: ResultsFolder) -> Iterator[str]:
    configured = model_rows(folder)
    if not configured or folder.settings("aggregate", "study"):
        return  # the configurations of a study are told as a grid
    declared, sections = declared_models(folder), folder.settings("aggregate", "model")
    told = "; ".join(
        f"{name} ({method_of(sections[name])}; set: {settings})" if name in declared else f"{name} ({kind})"
        for name, kind, settings in configured
    )
    yield f"{_counted(len(configured), 'model')} of the configuration: {told}. table_4_models gives the parameters of each."
    if folder.plain:
        yield f"Plain comparators on the same images: {', '.join(folder.plain)}."
    if folder.baselines:
        yield f"Baselines that see no images: {', '.join(folder.baselines)}."


def _validation(folder: ResultsFolder) -> Iterator[str]:
    rows = folder.rows(SPLITS)
    settings = folder.settings("aggregate", "splits")
    if not rows:
        return
    scheme = str(settings.get("scheme", ""))
    repeats, folds = ({row[name] for row in rows} for name in ("repeat", "fold"))
    how = _SCHEMES.get(scheme, "cross-validation")
    yield (
        f"Performance was estimated by {how}, with {_counted(len(folds), 'fold')} and {_counted(len(repeats), 'repeat')}; all "
        "images of a patient have one role in a fold."
    )
    yield _roles(rows, settings, scheme)
    yield (
        "Early stopping, the choice of parameters, scaling and class weights use training and tuning patients only. In each repeat every "
        "patient is predicted once, by models that were not trained on that patient, and results are means over the repeats."
    )


def _roles(rows: Sequence[Row], settings: Mapping[str, Any], scheme: str) -> str:
    counts: dict[str, Counter[tuple[int, int]]] = {}
    for row in rows:
        counts.setdefault(str(row["role"]), Counter())[row["repeat"], row["fold"]] += 1
    sizes = []
    for role, of_folds in counts.items():
        low, high = min(of_folds.values()), max(of_folds.values())
        sizes.append(f"{low if low == high else f'{low} to {high}'} {role}")
    share = settings.get("tune_share")
    why = (
        f"; tuning patients are about {100 * share:g} % of those not tested"
        if share and scheme != "file"
        else ""
    )
    return f"Patients in a fold: {', '.join(sizes)}{why}."


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _software(folder: ResultsFolder) -> Iterator[str]:
    run = folder.run
    versions = ", ".join(f"{name} {of}" for name, of in run.get("software", {}).items())
    if versions:
        yield f"Software: {versions}."
    seeds = {
        "splits and models": folder.settings("aggregate").get("seed"),
        "resamples": folder.settings("aggregate", "statistics").get("seed"),
    }
    told = "; ".join(f"{seed} ({what})" for what, seed in seeds.items() if seed is not None)
    if told:
        yield f"Seeds: {told}."
    yield f"The run was finished on {moment(run)}; run.json holds its configuration, and the SHA-256 of its bags and splits."
