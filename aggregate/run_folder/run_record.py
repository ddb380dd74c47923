"""The record of a finished run in its results folder, read by `tables`, `explain` and `report`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from aggregate.cohort.matching import BagSource
from aggregate.cohort.patient import ONLY_SET
from aggregate.config import AggregateConfig
from pipeline.errors import ResultsError
from pipeline.files import written_whole
from pipeline.provenance import sha256_of_file
from pipeline.tables import TABLES

RECORD = "run.json"
BAGS, BAGS_SHA256, SPLITS_SHA256, FITS = "bags", "bags_sha256", "splits_sha256", "fits"
MODEL_CODE = "model_code"
"""Of run.json: model -> hashes of its code and of the libraries behind it, a part of the keys of its fits."""
BAG_ARRAYS = "bag_arrays_sha256"
"""Of run.json: bag set -> patient -> SHA-256 of the arrays of the bag, as the run read them."""
RECIPES = "recipes"
"""Of run.json: bag set -> what made its features."""
CEILING = "ceiling"
"""Of run.json: what an observer reaches who knows how the cohort was drawn; null for real patients."""
SYNTHETIC = "synthetic"
"""Of run.json: whether the patients were drawn."""
FILES = "files"
"""Of run.json: the files of the run, path relative to the folder -> SHA-256."""
INCOMPLETE = "incomplete"
"""Of run.json: stands there while the files of a run are put in place, and after that was cut off."""
_SPLITS = f"{TABLES}/splits.csv"


def record_of(folder: Path) -> Mapping[str, Any] | None:
    """Return what run.json says, or None where there is none.

    Raises:
        ResultsError: run.json is not the record of a run.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise ResultsError(
            f"{folder}: expected the folder of a finished `aggregate.py run`, found a file; name the `output` of the "
            "configuration"
        ) from None
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path}: not the record of a run: {error}") from error
    if not isinstance(record, dict) or "config" not in record:
        raise ResultsError(
            f"{path}: not the record of a run of `aggregate.py run`; choose another folder, or move this file elsewhere"
        )
    return record


def require_record(folder: Path) -> Mapping[str, Any]:
    """Return what run.json says.

    Raises:
        ResultsError: there is no run.json, or it is not the record of a run.
    """
    record = record_of(folder)
    if record is None:
        raise ResultsError(
            f"{folder / RECORD}: no such file; expected the folder of a finished `aggregate.py run`"
        )
    return record


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as indented JSON, whole or not at all; tables keep the order of the configuration."""
    with written_whole(path) as sibling:
        sibling.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def results_in(folder: Path) -> Path:
    """Return the folder of the results: the one named, or `results` in it, beside a cohort table of their name."""
    inside = folder / "results"
    return inside if not (folder / RECORD).exists() and (inside / RECORD).exists() else folder


def config_of_run(folder: Path) -> AggregateConfig:
    """Return the configuration that a run recorded in run.json, with its results at where the folder lies now.

    Raises:
        ResultsError: the folder holds no run.json, or one that this version does not understand.
    """
    try:
        config = AggregateConfig.model_validate(_recorded(folder, "config"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ResultsError(
            f"{folder / RECORD}: not the record of a run of this version: {place}: {first['msg']}"
        ) from error
    if config.results_folder == config.output:
        return config.model_copy(update={"output": folder.resolve()})
    output = folder.resolve().parent
    table = config.cohort.model_copy(update={"table": output / config.cohort.table.name})
    return config.model_copy(update={"output": output, "cohort": table})


def weights_of_run(folder: Path) -> str:
    """Return how the tables of a run name the weights that they rest on.

    Raises:
        ResultsError: the folder holds no run.json, or one that this version does not understand.
    """
    return str(_recorded(folder, "weights"))


def fits_of_run(folder: Path) -> Mapping[str, Sequence[str]]:
    """Return the keys of the fits of every model of a run.

    Raises:
        ResultsError: the folder holds no run.json, or one that this version does not understand.
    """
    fits: Mapping[str, Sequence[str]] = _recorded(folder, FITS)
    return fits


def check_unchanged(folder: Path, sources: Mapping[str, BagSource]) -> None:
    """Refuse a finished run whose bags or splits are other ones now: its figures would be mixed with theirs.

    Where there are no bags, as in a folder that was sent to somebody, there are none to compare.

    Args:
        folder: the results folder.
        sources: bag set -> what its bags come from.

    Raises:
        ResultsError: the message says what has changed.
    """
    splits = folder / _SPLITS
    if splits.exists() and sha256_of_file(splits) != _recorded(folder, SPLITS_SHA256):
        raise ResultsError(
            f"{splits}: not as the run of {folder / RECORD} left it; put the file back, or run `aggregate.py run` again"
        )
    recorded = _recorded_bags(folder)
    for bag_set, source in sources.items():
        keys = recorded.get(bag_set, {})
        if not source.folder.is_dir():
            continue
        now = source.content_keys(keys)
        changed = [name for name, key in keys.items() if now.get(name) != key]
        if changed:
            raise ResultsError(
                f"{source.folder}: the bags of {len(changed)} of {len(keys)} patients, such as {changed[0]}, have changed "
                f"or gone since the run of {folder / RECORD}; run `aggregate.py run` again"
            )


def _recorded_bags(folder: Path) -> Mapping[str, Mapping[str, str]]:
    """Return bag set -> patient -> content key; a run of an earlier release had one set and did not name it."""
    return bags_of_record(record_of(folder) or {})


def bags_of_record(record: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    """Return bag set -> patient -> content key; a run of an earlier release had one set and did not name it."""
    recorded = record.get(BAGS, {})
    if all(isinstance(key, str) for key in recorded.values()):
        return {ONLY_SET: recorded}
    return {str(name): keys for name, keys in recorded.items()}


def check_same_bags(folder: Path, bags: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse to explain a run with other patients or bags than it had.

    Args:
        folder: the results folder.
        bags: bag set -> patient -> content key.

    Raises:
        ResultsError: the message says what has changed.
    """
    _recorded(folder, BAGS_SHA256)  # a run of this version, completely put in place
    recorded = _recorded_bags(folder)
    if recorded == bags:
        return
    now, known = ({name for keys in sets.values() for name in keys} for sets in (bags, recorded))
    new, gone = sorted(now - known), sorted(known - now)
    what = (
        f"; new are {', '.join(new[:3])}"
        if known and new
        else f"; gone are {', '.join(gone[:3])}"
        if gone
        else ""
    )
    raise ResultsError(
        f"{folder}: the patients and bags are not those of the run in {folder / RECORD} any more ({len(now)} now"
        f"{what}); run `aggregate.py run` again"
    )


def _recorded(folder: Path, key: str) -> Any:  # noqa: ANN401 - as JSON has it
    record = require_record(folder)
    if record.get(INCOMPLETE):
        raise ResultsError(
            f"{folder}: a run was cut off while its tables were put in place; run `aggregate.py run` again"
        )
    if key not in record:
        raise ResultsError(f"{folder / RECORD}: not the record of a run of this version: {key!r} is missing")
    return record[key]
