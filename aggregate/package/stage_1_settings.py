"""stage1.toml: the settings by which the bags of the training patients were made, so that new scans are embedded alike."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aggregate.config import AggregateConfig
from aggregate.package.bag_contract import PackageContract

STAGE_1, CARD = "stage1.toml", "stage1_card.toml"
_OF_MACHINE = frozenset({"device", "compile", "workers", "batch_size", "store", "shared_images"})
"""Keys of [extract] on which no feature hangs."""
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def write_stage_1(config: AggregateConfig, contract: PackageContract, package: Path) -> str:
    """Write stage1.toml, and beside it the card of the encoder if there is one; return why not, or nothing.

    Only names of files are kept, no folders. The number format is that of the bags, where the configuration left it open.

    Args:
        config: of the run.
        contract: what the package asks of bags.
        package: the folder.
    """
    if not contract.bag_sets:
        return "the model reads no bags"
    if config.aggregate.bags:
        return "the configuration names folders of bags ([aggregate.bags]) and not how they were made"
    given = dict(config.extract) if isinstance(config.extract, Mapping) else {}
    variants = given.pop("variant", {})
    extract = _settled(given, package)
    of_variants = {
        name: {**_settled(inside, package, name), "precision": contract.bag_sets[name].precision}
        for name, inside in variants.items()
        if name in contract.bag_sets
    }
    if of_variants:
        extract["variant"] = of_variants
    else:
        (only,) = contract.bag_sets.values()
        extract["precision"] = only.precision
    (package / STAGE_1).write_text("\n".join(_lines(config, extract)) + "\n", encoding="utf-8")
    return ""


def _settled(values: Mapping[str, Any], package: Path, variant: str = "") -> dict[str, Any]:
    """Return [extract], or a variant, without what is of one machine; the card of its encoder goes into the package."""
    found = {key: value for key, value in values.items() if key not in _OF_MACHINE}
    if isinstance(found.get("slices"), Mapping):
        # A table of places in the training patients' scans is of no use for others, who need one of their own.
        slices = {key: value for key, value in found["slices"].items() if key != "z_ranges"}
        found["slices"] = slices
    if isinstance(found.get("weights"), str):
        found["weights"] = Path(found["weights"]).name
    if isinstance(found.get("card"), str):
        name = f"{variant}_{CARD}" if variant else CARD
        source = Path(found["card"])
        found["card"] = name
        if source.is_file():
            shutil.copyfile(source, package / name)
    return found


def _lines(config: AggregateConfig, extract: Mapping[str, Any]) -> Iterator[str]:
    cohort = config.cohort
    yield "# Stage 1 as it made the bags of the training patients. Copy this file out of the package (a card beside it, too),"
    yield "# put in your cohort table and the folder for the results, and run: python extract.py run FILE"
    yield "# Weights and cards are named without their folder; contract.json of the package has the SHA-256 of the weights."
    tables = {
        "name": config.name,
        "output": f"../results/{config.name}_new",
        "cohort": {
            "table": "../cohort.csv",
            "phases": list(cohort.phases),
            "classes": list(cohort.classes),
            "organ_mask": cohort.organ_mask,
            # "" says that no phase has the role; without the key it would be found from the names.
            "phase_roles": {role: name or "" for role, name in cohort.phase_roles.model_dump().items()},
            "phase_aliases": dict(cohort.phase_aliases),
            "label_aliases": dict(cohort.label_aliases),
        },
        "extract": extract,
    }
    yield from toml_lines(tables)


def toml_lines(table: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """Yield tables as TOML: texts, numbers, booleans and lists of them are written as in JSON; None is left out."""
    for key, value in table.items():
        if value is not None and not isinstance(value, Mapping):
            yield f"{_key(key)} = {json.dumps(value, ensure_ascii=False)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            inside = f"{place}.{_key(key)}".removeprefix(".")
            yield ""
            yield f"[{inside}]"
            yield from toml_lines(value, inside)


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)
