"""The command `aggregate.py init`: a commented configuration for bags that lie there already."""

import re
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from aggregate.cohort.matching import BagSource
from aggregate.cohort.slide_bags import slide_headers
from aggregate.cohort.slide_table import read_slide_table
from pipeline.bags import CT, ONLY_PHASE, BagHeader, list_bags, read_header
from pipeline.cohort_facts import CohortFacts, read_facts
from pipeline.errors import BagError
from pipeline.first_config import (
    Instances,
    aggregate_lines,
    cohort_lines,
    counted,
    head_lines,
    noted,
    quoted,
    relative,
    write_config,
)
from pipeline.names import number_of
from pipeline.run_log import say
from pipeline.spellings import read_spellings

_LESION = "lesion"


def write_first_config(source: BagSource, table: Path, out: Path, console: Console) -> None:
    """Write a configuration for a folder of bags and a cohort table, and say what comes next.

    Raises:
        BagError: the folder holds no bag, one of phases that the table does not name, or files that cannot be read.
        CohortError: the table cannot be read.
        ConfigError: the file exists.
    """
    n_bags, header = _first_header(source)
    facts = read_facts(table, read_spellings(), phases=header.phase_names)
    phases = set(header.phase_names)
    if header.modality == CT and not phases & set(facts.section.phases):
        raise BagError(
            f"{source.folder}: the bags have the phases {', '.join(header.phase_names)}, {table} has "
            f"{', '.join(facts.section.phases)}; expected the same names"
        )
    write_config(out, _lines(source, facts, header, out))
    say(
        console,
        f"{out} written: {number_of(n_bags, 'bag')}, {number_of(facts.n_patients, 'patient')}; classes {counted(facts.classes)}",
    )
    say(console, f"Read it, then: python aggregate.py plan {out}")


def _first_header(source: BagSource) -> tuple[int, BagHeader]:
    """Return how many bags there are, and the header of the first."""
    if source.format is not None:
        files = read_slide_table(source.folder, source.format, source.slides).files
        patient_id = next(iter(files))
        headers = slide_headers({patient_id: files[patient_id]}, source.format)
        return len(files), headers[patient_id]
    found = list_bags(source.folder)
    if not found:
        raise BagError(
            f"{source.folder}: expected a folder of bags (.h5), found none; `extract.py run` writes them; files of CLAM, "
            "TRIDENT and STAMP are read with --format"
        )
    return len(found), read_header(next(iter(found.values())))


def _lines(source: BagSource, facts: CohortFacts, header: BagHeader, out: Path) -> Iterator[str]:
    folder, name = (
        out.resolve().parent,
        re.sub(r"[^A-Za-z0-9._-]+", "_", source.folder.resolve().name).lstrip("._-") or "bags",
    )
    yield from head_lines(
        out, f"aggregate.py init {source.folder.name}", f"python aggregate.py plan {out.name}"
    )
    yield from cohort_lines(facts, folder)
    yield from aggregate_lines(facts, instances_of(header))
    yield ""
    yield f"[aggregate.bags.{quoted(name) if '.' in name else name}]"
    recipe = header.recipe
    yield noted(
        f"folder = {quoted(relative(source.folder, folder))}",
        f"encoder {recipe.encoder}, layer {recipe.layer}",
    )
    if source.format is not None:
        yield f"format = {quoted(source.format)}"
    if source.slides is not None:
        yield f"slides = {quoted(relative(source.slides, folder))}"


def instances_of(header: BagHeader) -> Instances:
    """Return what models can read: the block of the lesion where there is one, the latest layer of several."""
    of_lesion = [block.name for block in header.feature_blocks if block.name.partition("@")[0] == _LESION]
    return Instances(
        of_lesion[-1] if of_lesion else "",
        bool(header.measure_names),
        has_phases=header.phase_names != (ONLY_PHASE,),
    )
