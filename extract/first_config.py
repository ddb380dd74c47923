"""The command `extract.py init`: a commented configuration of both stages for a cohort table."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from extract.importers.found import Decision
from extract.importers.importing import REPORT
from extract.importers.written import is_report_of
from pipeline.cohort_facts import CohortFacts, read_facts
from pipeline.first_config import (
    Instances,
    aggregate_lines,
    cohort_lines,
    counted,
    head_lines,
    listed,
    noted,
    write_config,
)
from pipeline.names import number_of
from pipeline.run_log import say
from pipeline.spellings import Spellings
from pipeline.tables import read_table

_TUMOUR, _ORGAN = "tumour", "organ"


def write_first_config(table: Path, out: Path, spellings: Spellings, console: Console) -> None:
    """Write a configuration for a cohort table, and say what was found and what comes next.

    Raises:
        CohortError: the table cannot be read, or a spelling is ambiguous.
        ConfigError: the file exists.
    """
    facts = read_facts(table, spellings)
    settings = {**_settings(facts), **_to_set(table)}
    following = f"python extract.py check {out}"
    write_config(out, _lines(facts, settings, table, out))
    who = number_of(facts.n_patients, "patient")
    say(console, f"{out} written: {who}; phases {counted(facts.phases)}; classes {counted(facts.classes)}")
    if facts.unmasked:
        say(console, f"  left out of the classes, no mask of a tumour: {counted(facts.unmasked)}")
    for line in (*facts.spellings, *(f"{key}={value}: {note}" for key, (value, note) in settings.items())):
        say(console, f"  {line}")
    say(console, f"Read it, then: {following}")


def _to_set(table: Path) -> Mapping[str, tuple[str, str]]:
    """Return what the report of the import says that the configuration needs: key -> (value, source)."""
    if not is_report_of(table):
        return {}
    rows = (row for row in read_table(table.with_name(REPORT)) if row["decision"] == Decision.TO_SET)
    pairs = ((*row["what"].partition("="), row["from"]) for row in rows)
    return {key: (value, f"{REPORT}: {source}") for key, _, value, source in pairs}


def _lines(
    facts: CohortFacts, settings: Mapping[str, tuple[str, str]], table: Path, out: Path
) -> Iterator[str]:
    yield from head_lines(out, f"extract.py init {table.name}", f"python extract.py check {out.name}")
    yield from cohort_lines(facts, out.resolve().parent)
    has_lesions = settings.get("extract.slices.which", ("", ""))[0] in ("", f'"{_TUMOUR}"')
    yield from _extract_lines(settings, facts, has_lesions=has_lesions)
    yield from aggregate_lines(facts, Instances("lesion" if has_lesions else "whole", has_lesions))


def _settings(facts: CohortFacts) -> dict[str, tuple[str, str]]:
    """Return what follows from the masks of the table: key -> (value, note)."""
    with_mask = {phase: n for phase, n in facts.masks.items() if n}
    if not with_mask:
        return {"extract.slices.which": (f'"{_ORGAN}"', "no mask of a tumour")} if facts.n_organs else {}
    lacking = {phase: n for phase, n in facts.unmasked_scans.items() if n}
    if not lacking or facts.n_misplaced:
        return {}
    order = sorted(with_mask, key=lambda phase: -with_mask[phase])
    note = f"in patient coordinates; patients with a mask: {counted(with_mask)}; scans without: {counted(lacking)}"
    return {"extract.masks.propagate_from": (listed(order), note)}


def _extract_lines(
    settings: Mapping[str, tuple[str, str]], facts: CohortFacts, *, has_lesions: bool
) -> Iterator[str]:
    yield "[extract]"
    regions: Sequence[str] = ("whole", "lesion", "rim") if has_lesions else ("whole",)
    yield noted(
        f"regions = {listed(regions)}",
        "of the feature map: the crop, the lesion, the ring of 10 mm around it",
    )
    yield from _of_table(settings, "extract")
    if "extract.slices.which" not in settings and not any(facts.masks.values()):
        yield "# No mask at all: [extract.slices] which = 'z_ranges' with a table of ranges needs none (docs/how_to/own_cohort.md)."
    yield ""
    if facts.n_misplaced and any(facts.unmasked_scans.values()):
        yield (
            f"# The table corrects the headers of {number_of(facts.n_misplaced, 'scan')}, which do not say where these lie: no mask is"
        )
        yield "# taken to another phase ([extract.masks] propagate_from), and scans without one are left out."
        yield ""
    yield "[extract.input]"
    note = f"windows about the liver's HU in each phase; its mask is there for {facts.n_organs} of {facts.n_scans} scans"
    yield noted('reference = "liver"', note)
    if has_lesions:
        yield noted("scales_mm = { tight = 70.0 }", "side of the square around the tumour")
    yield from _of_table(settings, "extract.input")
    yield ""
    for name in ("slices", "masks"):
        lines = list(_of_table(settings, f"extract.{name}"))
        if lines:
            yield f"[extract.{name}]"
            yield from lines
            yield ""


def _of_table(settings: Mapping[str, tuple[str, str]], table: str) -> Iterator[str]:
    """Yield the keys of a table, such as extract.masks; a key below it is written with its dots."""
    for key, (value, note) in settings.items():
        parts = key.split(".")
        owner = ".".join(parts[: 2 if len(parts) > 2 else 1])
        if owner == table:
            yield noted(f"{key.removeprefix(f'{table}.')} = {value}", note)
