"""The page: every section in order, in one file that needs no network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from aggregate.config import FiguresSection
from aggregate.drawing import STYLE, save_png
from aggregate.outcomes.report import sections as outcomes
from aggregate.report import explanation_sections as explanations
from aggregate.report import overview_sections as overview
from aggregate.report import performance_sections as performance
from aggregate.report import study_sections as study
from aggregate.report.answers import beats_chance
from aggregate.report.cautions import cautions
from aggregate.report.checklist import CHECKLIST, checklist_rows, checklist_section
from aggregate.report.elements import Figure, Note, Section
from aggregate.report.folder import ResultsFolder
from aggregate.report.fusion_sections import fusion_section
from aggregate.report.glossary import Glossary, anchor
from aggregate.report.training_sections import training_section
from aggregate.report.workbook import write_workbook
from aggregate.tables.fusion import FUSION
from pipeline.files import written_whole


def folded_at_chance(section: Callable[[ResultsFolder], Section]) -> Callable[[ResultsFolder], Section]:
    """Return the section with its elements folded away where the explained model is not better than chance."""

    def folded(folder: ResultsFolder) -> Section:
        made = section(folder)
        model = folder.explained_model or (folder.shown.name if folder.shown else None)
        if model is None or beats_chance(folder, model) is not False:
            return made
        why = f"{model} is not better than chance: what follows describes noise. Show it all the same"
        return replace(made, folded=why)

    return folded


REPORT = "report.html"
_SUBJECT = "Classification from multiphasic CT: out-of-fold performance and what the classes mean."
FIGURES = "figures"
_SECTIONS = (
    *overview.SECTIONS,
    *performance.SECTIONS,
    *(folded_at_chance(section) for section in explanations.SECTIONS),
    training_section,
    overview.run_section,
)
"""Every report of a run has all of these, and that of a study all of its own; an empty section states the reason. The section on
biopsies is there only where they were asked about."""


def write_report(results: Path) -> Path:
    """Write report.html, results.xlsx, checklist.csv and figures/ from the tables of a results folder.

    Needs only the folder: no bags, models or images.

    Raises:
        ResultsError: the folder has no run.json, or a table does not fit.
    """
    folder = ResultsFolder(results)
    path = write_page(folder, _sections, subject=outcomes.SUBTITLES.get(folder.task, _SUBJECT))
    write_workbook(folder)
    return path


def write_page(
    folder: ResultsFolder, sections_of: Callable[[ResultsFolder], Sequence[Section]], *, subject: str
) -> Path:
    """Write report.html and figures/ with the sections of a folder; return where the page lies.

    Args:
        folder: with the tables.
        sections_of: makes the sections.
        subject: what the page is about, below its title.
    """
    with mpl.rc_context(STYLE):
        sections = sections_of(folder)
        for figure in (e for s in sections for e in s.elements if isinstance(e, Figure) and e.is_drawn):
            write_figure(figure, folder.path / FIGURES, folder.figures)
    environment = Environment(
        loader=PackageLoader("aggregate"),
        autoescape=select_autoescape(default_for_string=True, default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    glossary = Glossary()
    environment.filters["linked"] = glossary.linked
    html = environment.get_template("report.html.j2").render(
        name=str(folder.run.get("name", folder.path.name)),
        subject=subject,
        written=overview.moment(folder.run),
        warnings=cautions(folder),
        synthetic=overview.synthetic(folder),
        sections=sections,
        glossary=glossary,
        anchor=anchor,
        formats=folder.figures.formats,
    )
    path = folder.path / REPORT
    with written_whole(path) as sibling:
        sibling.write_text(html, encoding="utf-8")
    return path


def write_figure(figure: Figure, folder: Path, settings: FiguresSection) -> None:
    """Write a figure as files of the formats that are set, drawn once."""
    svg = figure.svg
    if "svg" in settings.formats:
        with written_whole(folder / f"{figure.name}.svg") as sibling:
            sibling.write_text(_standalone(svg), encoding="utf-8")
    if settings.png_dpi is not None and not isinstance(figure.drawing, str):
        save_png(figure.drawing, folder / f"{figure.name}.png", dpi=settings.png_dpi)


def _sections(folder: ResultsFolder) -> list[Section]:
    sections = [section(folder) for section in _which(folder)]
    filled = {s.id: s.title for s in sections if any(not isinstance(e, Note) for e in s.elements)}
    rows = checklist_rows(filled)
    folder.tables.write(CHECKLIST, rows)
    return [*sections, checklist_section(rows, filled), overview.tables_section(folder)]


def _which(folder: ResultsFolder) -> Sequence[Callable[[ResultsFolder], Section]]:
    """Return the sections of a study, of an outcome, or of classes."""
    return study.sections_of(folder) or outcomes.sections_of(folder) or _sections_of_run(folder)


def _sections_of_run(folder: ResultsFolder) -> list[Callable[[ResultsFolder], Section]]:
    """Return the sections of a run; the one on biopsies stands after those on performance."""
    if not folder.tables.holds(FUSION):
        return list(_SECTIONS)
    place = _SECTIONS.index(performance.SECTIONS[-1]) + 1
    return [*_SECTIONS[:place], fusion_section, *_SECTIONS[place:]]


def _standalone(svg: str) -> str:
    """Return the drawing as a file of its own."""
    needed: Mapping[str, str] = {
        "xmlns=": ' xmlns="http://www.w3.org/2000/svg"',
        "xmlns:xlink=": ' xmlns:xlink="http://www.w3.org/1999/xlink"',
    }
    head, rest = svg[: svg.index(">")], svg[svg.index(">") :]
    extra = "".join(text for name, text in needed.items() if name not in head)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}{extra}{rest}'
