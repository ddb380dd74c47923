"""The command `aggregate.py init`: a commented configuration for bags that lie there already."""

import re
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from pipeline.bags import BagHeader, list_bags, read_header
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


def write_first_config(bags: Path, table: Path, out: Path, console: Console) -> None:
    """Write a configuration for a folder of bags and a cohort table, and say what comes next.

    Raises:
        BagError: the folder holds no bag, or one of phases that the table does not name.
        CohortError: the table cannot be read.
        ConfigError: the file exists.
    """
    found = list_bags(bags)
    if not found:
        raise BagError(f"{bags}: expected a folder of bags (.h5), found none; `extract.py run` writes them")
    facts, header = read_facts(table, read_spellings()), read_header(next(iter(found.values())))
    unknown = [phase for phase in header.phase_names if phase not in facts.section.phases]
    if len(unknown) == len(header.phase_names):
        raise BagError(
            f"{bags}: the bags have the phases {', '.join(header.phase_names)}, {table} has {', '.join(facts.section.phases)}; "
            "expected the same names"
        )
    write_config(out, _lines(bags, facts, header, out))
    say(
        console,
        f"{out} written: {number_of(len(found), 'bag')}, {number_of(facts.n_patients, 'patient')}; classes {counted(facts.classes)}",
    )
    say(console, f"Read it, then: python aggregate.py plan {out}")


def _lines(bags: Path, facts: CohortFacts, header: BagHeader, out: Path) -> Iterator[str]:
    folder, name = (
        out.resolve().parent,
        re.sub(r"[^A-Za-z0-9._-]+", "_", bags.resolve().name).lstrip("._-") or "bags",
    )
    yield from head_lines(out, f"aggregate.py init {bags.name}", f"python aggregate.py plan {out.name}")
    yield from cohort_lines(facts, folder)
    yield from aggregate_lines(facts, instances_of(header))
    yield ""
    yield f"[aggregate.bags.{name}]"
    recipe = header.recipe
    yield noted(
        f"folder = {quoted(relative(bags, folder))}", f"encoder {recipe.encoder}, layer {recipe.layer}"
    )


def instances_of(header: BagHeader) -> Instances:
    """Return what models can read: the block of the lesion where there is one, the latest layer of several."""
    of_lesion = [block.name for block in header.feature_blocks if block.name.partition("@")[0] == _LESION]
    return Instances(of_lesion[-1] if of_lesion else "", bool(header.measure_names))
