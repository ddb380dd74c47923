"""The command `extract.py inspect`: what a bag holds, or every bag of a folder."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from pipeline.bags import (
    RANDOM_BANNER,
    Bag,
    BagHeader,
    check_one_recipe,
    list_bags,
    read_bag,
    version_of_file,
)
from pipeline.errors import BagError
from pipeline.run_log import say, shown


@dataclass(frozen=True)
class Contents:
    """Summary of one bag of a folder, without the features, which need not fit in memory together.

    Attributes:
        header: everything in the bag besides its arrays.
        per_phase: phase -> instances, of the phases that have some.
        shared: what the bags of one folder are expected to have in common, by name.
    """

    header: BagHeader
    per_phase: Mapping[str, int]
    shared: Mapping[str, str]

    @classmethod
    def of(cls, bag: Bag, version: int) -> "Contents":
        """Describe a bag that was read from a file of some version of the format."""
        per_phase = {phase: n for phase, n in bag.slices_per_phase().items() if n}
        return cls(bag.header, per_phase, _shared(bag.header, bag.features.shape[1], version))

    @property
    def instances(self) -> str:
        """Number of instances in all and per phase, such as `21: AP 12, PVP 9`."""
        by_phase = ", ".join(f"{phase} {n}" for phase, n in self.per_phase.items())
        return f"{sum(self.per_phase.values())}: {by_phase}"


def print_bag(path: Path, console: Console) -> None:
    """Print what one bag holds, one line per property.

    Raises:
        BagError: the file is no bag.
    """
    bag = read_bag(path)
    header = bag.header
    contents = Contents.of(bag, version_of_file(path))
    lines = {"patient": bag.patient_id, "instances": contents.instances, **contents.shared}
    for phase, reason in header.phases_missing.items():
        lines[f"{phase} is missing"] = reason
    for phase, source in header.sources.items():
        lines[f"source of {phase}"] = (
            f"{source.file}, mask {source.mask_source}, {_spacing(source.spacing_mm)}"
        )
    lines["extent_mm"] = _range(bag.extent_mm)
    lines["reference_hu"] = ", ".join(f"{p} {hu:g}" for p, hu in header.reference_hu.items()) or "none"
    lines["tile"] = f"{header.tile_size_um:g} um, {header.tile_size_px} px"
    lines["content_key"] = header.content_key
    _print(lines, console)


def print_folders(folder: Path, console: Console, errors: Console) -> bool:
    """Print the bags of a folder, or those of each folder in it, as variants have them; return whether all are bags.

    Raises:
        BagError: no file is named as a bag, or bags of one folder differ in their recipe.
    """
    variants = [] if list_bags(folder) else [path for path in sorted(folder.iterdir()) if path.is_dir()]
    variants = [path for path in variants if list_bags(path)]
    if not variants:
        return print_folder(folder, console, errors)
    are_good = []
    for variant in variants:
        say(console, f"{variant}:")
        are_good.append(print_folder(variant, console, errors))
    return all(are_good)


def print_folder(folder: Path, console: Console, errors: Console) -> bool:
    """Print a line for each bag of a folder, then a summary; return whether every file named as a bag is one.

    Raises:
        BagError: no file of the folder is named as a bag, or bags differ in their recipe.
    """
    paths = list_bags(folder)
    if not paths:
        raise BagError(
            f"{folder}: expected bags named <patient_id>.h5, found none; name the folder `bags` of a run"
        )
    found, is_good = [], True
    for path in paths.values():
        try:
            contents = Contents.of(read_bag(path), version_of_file(path))
        except BagError as error:
            errors.print(f"error: {shown(' '.join(str(error).split()))}")
            is_good = False
            continue
        found.append(contents)
        say(console, f"{contents.header.patient_id}: instances {contents.instances}")
    if found:
        _print(_summary(found), console)
        # Also says of folders with two recipes which two bags differ, and in what.
        check_one_recipe(contents.header for contents in found)
    return is_good


def _shared(header: BagHeader, n_features: int, version: int) -> Mapping[str, str]:
    recipe = header.recipe
    measures = zip(header.measure_names, header.measure_units, strict=True)
    random = f", {RANDOM_BANNER}" if recipe.has_random_weights else ""
    return {
        "version": str(version),
        "modality": header.modality,
        "encoder": f"{recipe.encoder}, layer {recipe.layer}, {recipe.precision}",
        "weights": f"{recipe.weights_name}, sha256 {recipe.weights_sha256[:12]}{random}",
        "preprocessing": f"sha256 {recipe.preprocessing_sha256[:12]}",
        "phases": ", ".join(header.phase_names),
        "scales": ", ".join(header.scale_names),
        "d": str(n_features),
        "blocks": ", ".join(map(str, header.feature_blocks)),
        "measures": ", ".join(f"{name} ({unit})" if unit else name for name, unit in measures) or "none",
        "radiomics": _radiomics(header),
    }


def _radiomics(header: BagHeader) -> str:
    if not header.radiomics_names:
        return "none"
    regions = Counter(name.partition(".")[0] for name in header.radiomics_names)
    listed = ", ".join(f"{n} of {region}" for region, n in regions.items())
    settings = header.radiomics_settings
    return f"{listed}; {settings.get('software', 'unknown software')} {settings.get('version', '')}".rstrip()


def _summary(found: Sequence[Contents]) -> Mapping[str, str]:
    instances, patients = Counter[str](), Counter[str]()
    values: dict[str, Counter[str]] = {}
    for contents in found:
        instances.update(contents.per_phase)
        patients.update(contents.per_phase.keys())
        for name, value in contents.shared.items():
            values.setdefault(name, Counter())[value] += 1
    names = dict.fromkeys(phase for contents in found for phase in contents.header.phase_names)
    by_phase = ", ".join(f"{p} {instances[p]} (patients: {patients[p]})" for p in names if p in instances)
    return {
        "patients": str(len(found)),
        "instances": f"{instances.total()}: {by_phase}",
        **{name: _distinct(counter) for name, counter in values.items()},
    }


def _distinct(counter: Counter[str]) -> str:
    """Return the one value, or each with how many bags have it."""
    if len(counter) == 1:
        return next(iter(counter))
    return "; ".join(f"{value} [{n} bags]" for value, n in counter.most_common())


def _spacing(spacing_mm: tuple[float, float, float]) -> str:
    if np.isnan(spacing_mm).any():
        return "no spacing"
    return " x ".join(f"{mm:g}" for mm in spacing_mm) + " mm"


def _range(values: NDArray[np.float32]) -> str:
    known = values[~np.isnan(values)]
    return f"{known.min():g} to {known.max():g}" if len(known) else "not known"


def _print(lines: Mapping[str, str], console: Console) -> None:
    width = max(map(len, lines))
    for name, value in lines.items():
        say(console, f"{name:<{width}}  {value}")
