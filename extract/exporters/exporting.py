"""One export: bags become the folder of another program, with what that program cannot hold beside it."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from extract.exporters.csv_tables import INSTANCES, write_instances
from extract.exporters.exported import Contents, Item, Made, Target
from extract.exporters.selection import (
    Items,
    Labels,
    NotExported,
    Wish,
    cases_of,
    check_labels,
    check_wish,
    missing_phases,
    read_bags,
    read_labels,
    take,
)
from pipeline.bags import RANDOM_BANNER, BagHeader
from pipeline.errors import BagError, ConfigError
from pipeline.files import naming, partial_of
from pipeline.names import number_of
from pipeline.provenance import version_of
from pipeline.tables import write_table

CSV = "csv"
LEFT_OUT, README, RECORD = "not_exported.csv", "README.txt", "export.json"


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        contents: the files and what holds for all of them.
        left_out: patients and phases that no file holds.
        lines: what is to be known, for the console and README.txt.
        n_faults: files of the folder that are no bags.
    """

    contents: Contents
    left_out: tuple[NotExported, ...]
    lines: tuple[str, ...]
    n_faults: int


def export_bags(folder: Path, target: Target, out: Path, wish: Wish) -> Exported:
    """Write the bags of a folder as a target reads them, whole or not at all.

    Raises:
        BagError: there is no bag that can be exported, or two differ in their recipe.
        CohortError: the cohort table cannot be used.
        ConfigError: `out` exists, or a phase or block is unknown.
    """
    if out.exists():
        raise ConfigError(
            f"--out {out}: exists already; nothing is overwritten: give another folder, or remove it"
        )
    headers, left = read_bags(folder)
    n_faults = len(left)
    header = next(iter(headers.values()))
    check_wish(wish, header)
    labels = read_labels(wish, header.phase_names)
    check_labels(labels.classes, target)
    patient_ids, others = take(headers, labels, folder)
    others = [one for one in others if one.patient_id not in {fault.patient_id for fault in left}]
    is_per_phase = target.by_phase or wish.is_per_phase
    cases = cases_of(patient_ids, target)
    items = Items(folder, patient_ids, wish, labels, is_per_phase, cases, in_folders=target.by_phase)
    partial = partial_of(out)
    with naming(out, instead_of=partial):
        try:
            partial.mkdir(parents=True)
            done = _write(items, target, partial, labels, header)
            patients = {case: patient_id for patient_id, case in cases.items()}
            absent = missing_phases(headers, done.contents.made, wish, patients.__getitem__)
            left_out = sorted(
                (*left, *others, *done.left_out, *absent),
                key=lambda one: (one.patient_id, one.phase, one.reason),
            )
            lines = tuple(_told(done.contents, target, header, left_out, items))
            exported = Exported(done.contents, tuple(left_out), lines, n_faults)
            _describe(exported, target, header, partial)
            partial.rename(out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return exported


@dataclass(frozen=True)
class _Written:
    contents: Contents
    left_out: tuple[NotExported, ...]


def _write(items: Items, target: Target, folder: Path, labels: Labels, header: BagHeader) -> _Written:
    """Write the files and tables of the target, and the table of instances."""
    made, left = list[Made](), list[NotExported]()
    skipped: set[tuple[str, str]] = set()
    names: dict[tuple[str, str], str] = {}
    contents: Contents | None = None
    for item in items:
        patient_id = item.bag.patient_id
        if problem := target.problem(item):
            left.append(NotExported(patient_id, item.phase, problem))
            skipped.add((patient_id, item.phase))
            continue
        _check_name(item, names, in_folders=items.in_folders)
        if contents is None:
            contents = Contents(
                made=made,
                classes=labels.classes,
                recipe=header.recipe,
                n_features=item.bag.features.shape[1],
                tile_size_um=item.bag.header.tile_size_um,
                tile_size_px=item.bag.header.tile_size_px,
                items=lambda: items.without(skipped),
            )
        target.write(item, folder, contents)
        made.append(Made(item.name, item.case, item.phase, item.label, len(item.bag)))
    if contents is None:
        first = (
            f"; the first: {left[0].patient_id}: {left[0].reason}" if left else "; no bag has one of --phases"
        )
        raise BagError(f"{items.folder}: no bag can be exported to {target.name}{first}")
    exported = {one.case for one in made} | {items.cases[patient_id] for patient_id, _ in skipped}
    left += [
        NotExported(name, "", "no phase among --phases")
        for name, case in items.cases.items()
        if case not in exported
    ]
    target.finish(contents, folder)
    write_instances(folder / INSTANCES, contents.items(), has_features=target.name == CSV)
    return _Written(contents, tuple(left))


def _check_name(item: Item, names: dict[tuple[str, str], str], *, in_folders: bool) -> None:
    """Refuse two items of one file name."""
    key = (item.phase if in_folders else "", item.name.casefold())
    mine = f"{item.bag.patient_id} {item.phase}".strip()
    other = names.setdefault(key, mine)
    if other != mine:
        raise BagError(f"{mine} and {other} would both be the file {item.name}; rename a phase or a patient")


def _told(
    contents: Contents, target: Target, header: BagHeader, left_out: Sequence[NotExported], items: Items
) -> Iterator[str]:
    """Yield what is to be known of an export."""
    n_patients = len({one.case for one in contents.made})
    what = "patients.csv with {n} rows" if target.name == CSV else "{n} files"
    made = what.format(n=len(contents.made))
    yield f"{made} of {number_of(n_patients, 'patient')} for {target.name}: {target.about}"
    yield from _told_of_files(contents, header, items)
    renamed = [(patient_id, case) for patient_id, case in items.cases.items() if patient_id != case]
    if renamed:
        patient_id, case = renamed[0]
        yield (
            f"{target.name} would not read identifiers such as {patient_id} as they stand; they are {case} and so on in its files"
        )
    yield from _told_of_losses(target, header, items)
    yield from target.advice(contents)
    if left_out:
        n = len({one.patient_id for one in left_out if not one.phase})
        n_phases = sum(bool(one.phase) for one in left_out)
        yield f"not exported: {number_of(n, 'patient')}, and {number_of(n_phases, 'phase')} of others; {LEFT_OUT} says why"


def _told_of_files(contents: Contents, header: BagHeader, items: Items) -> Iterator[str]:
    recipe, classes = header.recipe, contents.classes
    yield f"features: {contents.n_features} columns, float32, encoder {recipe.encoder}, layer {recipe.layer}"
    if recipe.has_random_weights:
        yield f"{RANDOM_BANNER}: the features are of an untrained encoder"
    if items.is_per_phase:
        yield "one phase is one file"
    elif len(header.phase_names) > 1:
        yield (
            f"one patient is one file: the instances of all phases, in the order {', '.join(_phases(header, items))}, are one bag; "
            "--per-phase makes one of each phase"
        )
    yield (
        f"classes: {', '.join(f'{name} {_n(contents, name)}' for name in classes)}"
        if classes
        else "no labels: --cohort gives them"
    )
    yield from items.labels.notices


def _told_of_losses(target: Target, header: BagHeader, items: Items) -> Iterator[str]:
    for text in target.lacks:
        yield f"not as in the bags: {text}"
    if target.name != CSV:
        yield (
            f"not held by {target.name}: phase, slice, scale and lesion of each instance, heights, areas and measures; they are in "
            f"{INSTANCES}, by file and row"
        )
    if len(header.feature_blocks) > 1 and not items.wish.blocks:
        named = ", ".join(map(str, header.feature_blocks))
        yield f"the columns of the features are blocks, side by side: {named}; --features takes some of them"
    if header.radiomics_names and target.name != CSV:
        yield "radiomics are of a phase and not of an instance; only --to csv takes them"


def _phases(header: BagHeader, items: Items) -> Sequence[str]:
    return [name for name in header.phase_names if not items.wish.phases or name in items.wish.phases]


def _n(contents: Contents, label: str) -> int:
    return sum(one == label for one in contents.label_of.values())


def _describe(exported: Exported, target: Target, header: BagHeader, folder: Path) -> None:
    """Write what is to be known, for people and for programs."""
    contents, recipe = exported.contents, header.recipe
    write_table(folder / LEFT_OUT, ("patient_id", "phase", "reason"), map(vars, exported.left_out))
    head = "Written by `extract.py export` of phasemil, from bags of features."
    (folder / README).write_text("\n".join([head, "", *exported.lines]) + "\n", encoding="utf-8")
    record = {
        "to": target.name,
        "phasemil": version_of("phasemil"),
        "encoder": recipe.encoder,
        "layer": recipe.layer,
        "weights_name": recipe.weights_name,
        "weights_sha256": recipe.weights_sha256,
        "preprocessing_sha256": recipe.preprocessing_sha256,
        "phases": list(header.phase_names),
        "scales": list(header.scale_names),
        "measures": dict(zip(header.measure_names, header.measure_units, strict=True)),
        "classes": {name: number for number, name in enumerate(contents.classes)},
        "n_files": len(contents.made),
        "n_features": contents.n_features,
        "told": list(exported.lines),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
