"""The page about one patient: one file that needs no network, for a radiologist to read from the top."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from aggregate.drawing import COLOURS, STYLE, to_svg
from aggregate.explain.pictures import window_text
from aggregate.package.training_cohort import NumberGroup
from aggregate.report.elements import NOTHING, cell
from aggregate.statistics.measures import MACRO
from aggregate.tables.performance import PERFORMANCE
from aggregate.tables.results import ResultTables
from phasemil import in_words
from phasemil.one_patient import OnePatient
from phasemil.pictures import OUTER, Beside, beside_training, draw_measures, draw_montage, number, span_of
from pipeline.files import written_whole
from pipeline.provenance import software_versions, utc_now

_TEMPLATE = "patient.html.j2"
_HEX = 16
"""Digits of a hash that are shown; the JSON has all."""


def write_page(one: OnePatient, path: Path, *, file_names: bool = False) -> None:
    """Write the page.

    Args:
        one: the patient.
        path: of the file.
        file_names: whether the names of the image files are on the page.
    """
    html = page(one, file_names=file_names)
    with written_whole(path) as sibling:
        sibling.write_text(html, encoding="utf-8")


def page(one: OnePatient, *, file_names: bool = False) -> str:
    """Return the page as HTML; it names nobody but by the identifier that the user gave."""
    environment = Environment(
        loader=PackageLoader("phasemil"),
        autoescape=select_autoescape(default_for_string=True, default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    beside = beside_training(one)
    with mpl.rc_context(STYLE):
        montage = to_svg(draw_montage(one), "montage")
        measures = to_svg(draw_measures(beside, one.package.classes), "measures") if beside else ""
    return environment.get_template(_TEMPLATE).render(
        one=one,
        made=utc_now().replace("T", " ").replace("+00:00", " UTC"),
        research_only=in_words.RESEARCH_ONLY,
        bars=list(_bars(one)),
        predicted_percent=in_words.percent(one.answer.probabilities[one.answer.predicted]),
        decision=in_words.decision(one),
        details=[
            in_words.thresholds(one),
            in_words.covered(one),
            in_words.calibrated(one),
            _expected(one),
        ],
        missing=list(in_words.missing(one)),
        unlike=in_words.unlike(one),
        montage=montage,
        chosen_by="most attention" if one.attention is not None else "the largest area of the lesion",
        window=window_text(),
        phase_columns=_phase_columns(one, file_names=file_names),
        phase_rows=list(_phase_rows(one, file_names=file_names)),
        measures=measures,
        measure_rows=[_measure_row(row, one.package.classes) for row in beside],
        facts=list(_facts(one)),
    )


def _expected(one: OnePatient) -> str:
    """Return how the model did in the cross-validation."""
    tables = ResultTables(one.package.folder, confidence=one.package.record.confidence)
    rows = tables.read(PERFORMANCE)
    row = next((row for row in rows if (row["class"], row["metric"]) == (MACRO, "auc")), None)
    n = one.package.cohort.n_patients
    return f"In its cross-validation on {n} patients the model had a macro AUC of {cell(row)}; in another hospital expect less."


def _bars(one: OnePatient) -> Iterator[Mapping[str, object]]:
    limits = one.package.decisions.thresholds
    for number_of_class, (name, p) in enumerate(one.answer.probabilities.items()):
        limit = limits.get(name)
        yield {
            "name": name,
            "percent": in_words.percent(p),
            "width": f"{100 * p:.1f}",
            "limit": None if limit is None else f"{min(100.0, 100 * limit):.1f}",
            "limit_text": "" if limit is None else in_words.percent(limit),
            "colour": COLOURS[number_of_class % len(COLOURS)],
            "in_set": name in (one.answer.prediction_set or ()),
            "called": one.answer.called.get(name),
        }


def _phase_columns(one: OnePatient, *, file_names: bool) -> Sequence[str]:
    columns = [
        "phase",
        "slices of the lesion (share) / of the scan",
        "spacing in mm",
        "liver HU",
        "attention",
        f"{one.answer.predicted} without it",
        "change",
    ]
    return [*columns, "file"] if file_names else columns


def _phase_rows(one: OnePatient, *, file_names: bool) -> Iterator[Sequence[str]]:
    """Yield a row for each phase of the package: the scan, and what the phase carries."""
    of_phase = {slices.phase: slices for slices in one.embedded.slices.phases}
    shares = {share.phase: share for share in one.shares}
    total = sum(share.n_slices for share in one.shares)
    for phase in one.package.contract.phases:
        slices, share = of_phase.get(phase), shares.get(phase)
        if slices is None or share is None:
            yield [phase, "no scan", *[""] * (6 if file_names else 5)]
            continue
        source = slices.source
        row = [
            phase,
            f"{share.n_slices} ({in_words.percent(share.n_slices / total)}) / {source.n_slices}",
            " \N{MULTIPLICATION SIGN} ".join(f"{mm:.3g}" for mm in source.spacing_mm),
            NOTHING if slices.liver_hu is None else number(slices.liver_hu, 0),
            NOTHING if share.attention is None else in_words.percent(share.attention),
            "nothing left to see" if share.without is None else in_words.percent(share.without),
            NOTHING if share.change is None else _points(share.change),
        ]
        yield [*row, source.file] if file_names else row


def _points(change: float) -> str:
    """Return a change of a probability in percentage points, with its sign."""
    told = number(100 * change, 0)
    return f"+{told}" if change > 0 and told != "0" else told.replace("\N{MINUS SIGN}0", "0")


def _measure_row(beside: Beside, classes: Sequence[str]) -> Mapping[str, object]:
    return {
        "title": beside.measure.title,
        "text": beside.text,
        "ranges": [_range(beside.groups.get(name), beside.measure.digits) for name in classes],
        "outside": ", ".join(beside.outside()),
    }


def _range(group: NumberGroup | None, digits: int) -> str:
    span = None if group is None else span_of(group)
    if group is None or span is None:
        return "too few to tell"
    kind = "" if OUTER[0] in group.quantiles else " (quartiles)"
    return f"{number(span[0], digits)} to {number(span[1], digits)}{kind}, n = {group.n_known}"


def _facts(one: OnePatient) -> Iterator[tuple[str, str]]:
    record, contract = one.package.record, one.package.contract
    yield (
        "package",
        f"{record.experiment}, model {record.model} ({record.kind}, {len(record.models)} fitted); SHA-256 {one.package.sha256[:_HEX]}",
    )
    yield "frozen", record.created_utc
    for name, bag in contract.bag_sets.items():
        yield (
            f"encoder of {name}",
            f"{bag.encoder}, weights {bag.weights_name}, SHA-256 {bag.weights_sha256[:_HEX]}; preprocessing {bag.preprocessing_sha256[:_HEX]}",
        )
    for slices in one.embedded.slices.phases:
        source = slices.source
        yield (
            f"scan {slices.phase}",
            f"SHA-256 {source.image_sha256[:_HEX]}, mask {source.mask_source} {source.mask_sha256[:_HEX]}",
        )
    yield "software", ", ".join(f"{name} {version}" for name, version in software_versions().items())
    yield "time", ", ".join(f"{step} {took:.1f} s" for step, took in one.seconds.items())
