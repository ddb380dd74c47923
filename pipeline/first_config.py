"""The text of a first configuration: the tables that both stages read, and that of stage 2, commented for the cohort at hand."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.bag_format import ONLY_PHASE
from pipeline.cohort_facts import CohortFacts
from pipeline.errors import ConfigError
from pipeline.files import written_whole
from pipeline.names import PHASE_ROLES, count_of_rows, number_of

_COLUMN = 44
"""Where comments begin."""
_FOLDS = 5


@dataclass(frozen=True)
class Instances:
    """What models can read of the bags.

    Attributes:
        block: the block of the features that they read; empty for all of them.
        has_measures: whether the bags hold measures in HU and mm.
        has_phases: whether they are of phases.
    """

    block: str = "lesion"
    has_measures: bool = True
    has_phases: bool = True


def write_config(path: Path, lines: Iterator[str]) -> None:
    """Write a configuration where there is none.

    Raises:
        ConfigError: there is a file already, or the name cannot be that of an experiment.
    """
    if path.suffix != ".toml":
        raise ConfigError(f"--out {path}: expected a file that ends in .toml")
    if path.exists():
        raise ConfigError(f"{path}: exists already; remove it, or give another --out")
    with written_whole(path) as sibling:
        sibling.write_text("\n".join(lines) + "\n", encoding="utf-8")


def head_lines(path: Path, command: str, following: str) -> Iterator[str]:
    """Yield the comment at the top, the name and the output."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", path.stem).lstrip("._-") or "experiment"
    yield f"# Written by `{command}`; docs/configuration.md has every key. Paths are relative to this file."
    yield f"# Next: {following}"
    yield ""
    yield f"name = {quoted(name)}"
    yield f"output = {quoted(f'results/{name}')}"
    yield ""


def cohort_lines(facts: CohortFacts, folder: Path) -> Iterator[str]:
    """Yield [cohort], with what was found in the table."""
    section = facts.section
    yield "[cohort]"
    scans = f", {number_of(facts.n_scans, 'scan')}" if facts.n_scans else ""
    yield noted(
        f"table = {quoted(relative(section.table, folder))}",
        f"{number_of(facts.n_patients, 'patient')}{scans}",
    )
    if section.phases != (ONLY_PHASE,):
        note = f"patients: {counted(facts.phases)}" if facts.n_scans else "of the bags; the table has none"
        yield noted(f"phases = {listed(section.phases)}", note)
    labels = {name: n for name, n in facts.classes.items() if n} | (
        {"without a label": facts.n_unlabelled} if facts.n_unlabelled else {}
    )
    yield noted(f"classes = {listed(section.classes)}", f"patients: {counted(labels)}")
    if facts.unmasked:
        yield f"# left out of the classes, as no patient of them has a mask of a tumour: {counted(facts.unmasked)}"
    if facts.centres:
        yield f"# centres: {counted(facts.centres)}"
    for line in facts.spellings:
        yield f"# {line}"
    if facts.n_proposed:
        yield f"# {count_of_rows(facts.n_proposed)} with a proposed phase, such as AP?: confirm each in the table, or delete it"
    if facts.n_unusable:
        yield f"# {count_of_rows(facts.n_unusable)} that cannot be used; `extract.py check` names them"
    yield ""
    for table, aliases in (
        ("phase_aliases", section.phase_aliases),
        ("label_aliases", section.label_aliases),
    ):
        if aliases:
            yield f"[cohort.{table}]"
            yield from (f"{quoted(text)} = {quoted(name)}" for text, name in aliases.items())
            yield ""
    yield from _role_lines([phase for phase in section.phases if phase != ONLY_PHASE])


def _role_lines(phases: Sequence[str]) -> Iterator[str]:
    """Yield [cohort.phase_roles] as a question where a phase has a name that tells no role."""
    own = [phase for phase in phases if phase not in PHASE_ROLES]
    if own:
        yield f"# [cohort.phase_roles]                     # which of {', '.join(own)} is non_contrast, arterial, portal, delayed?"
        yield f"# arterial = {quoted(own[0])}"
        yield ""


def aggregate_lines(facts: CohortFacts, instances: Instances) -> Iterator[str]:
    """Yield [aggregate]: covariates, folds that the smallest class allows, and models to begin with."""
    yield "[aggregate]"
    left_out = "; ".join(f"{name}: {why}" for name, why in facts.left_out.items())
    if facts.covariates or left_out:
        note = f"read by the baseline `covariates`{f'; left out: {left_out}' if left_out else ''}"
        yield noted(f"covariates = {listed(facts.covariates)}", note)
    yield noted('explained_model = "image"', "whose votes and pictures are shown; chosen before the results")
    yield ""
    yield from _split_lines(facts)
    yield noted(
        "[aggregate.statistics.primary]",
        "the one comparison that is not exploration; declared before the results",
    )
    yield 'model_a = "image"'
    yield 'model_b = "mean_pooling"'
    yield ""
    yield from _model_lines(instances)


def _split_lines(facts: CohortFacts) -> Iterator[str]:
    sizes = {name: n for name, n in facts.classes.items() if n}
    if not sizes:
        return
    smallest = min(sizes, key=lambda name: sizes[name])
    yield "[aggregate.splits]"
    folds = max(2, min(_FOLDS, sizes[smallest]))
    yield noted(
        f"folds = {folds}", f"the smallest class, {smallest}, has {number_of(sizes[smallest], 'patient')}"
    )
    yield "repeats = 5"
    if len(facts.centres) > 1:
        yield noted(
            '# scheme = "leave-one-centre-out"', f"tests on each of {len(facts.centres)} centres in turn"
        )
    yield ""


def _model_lines(instances: Instances) -> Iterator[str]:
    block = listed([instances.block]) if instances.block else ""
    of_phases = "phases side by side, with their differences; five fits on different shares"
    of_tiles = "attention over the instances; five fits on different shares"
    yield noted("[aggregate.model.image]", of_phases if instances.has_phases else of_tiles)
    yield 'kind = "ensemble"'
    yield f"model = {quoted('phase_concat' if instances.has_phases else 'attention_mil')}"
    if block:
        yield f"parameters = {{ features = {block} }}"
    yield ""
    yield noted("[aggregate.model.mean_pooling]", "the plain comparator: the mean over all slices")
    yield 'kind = "mean_pooling"'
    if block:
        yield f"features = {block}"
    if instances.has_measures:
        yield ""
        yield noted("[aggregate.model.measures]", "what was measured on the slices in HU and mm")
        yield 'kind = "phase_pooling"'
        yield 'features = ["measures"]'


def noted(line: str, note: str) -> str:
    """Return a line with a comment behind it."""
    return f"{line:<{_COLUMN - 1}} # {note}"


def quoted(text: str) -> str:
    """Return a text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False)


def listed(texts: Sequence[str]) -> str:
    """Return a list of texts as TOML writes it."""
    return f"[{', '.join(map(quoted, texts))}]"


def counted(numbers: Mapping[str, int]) -> str:
    """Return `HCC 12, iCCA 9`."""
    return ", ".join(f"{name} {n}" for name, n in numbers.items()) or "none"


def relative(path: Path, folder: Path) -> str:
    """Return a path relative to the folder of a configuration, or whole where it lies neither in it nor beside it."""
    path, folder = path.resolve(), folder.resolve()
    near = path.is_relative_to(folder) or path.is_relative_to(folder.parent)
    return Path(os.path.relpath(path, folder)).as_posix() if near else path.as_posix()
