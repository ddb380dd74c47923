"""A finished run, found again from its results folder: `tables`, `explain` and `report` start here."""

import json
from pathlib import Path

from pydantic import ValidationError

from aggregate.config import AggregateConfig
from pipeline.errors import ResultsError

RECORD = "run.json"


def config_of_run(folder: Path) -> AggregateConfig:
    """Return the configuration that a run recorded in run.json, with its output at where the folder lies now.

    Raises:
        ResultsError: the folder holds no run.json, or one that this version does not understand.
    """
    try:
        config = AggregateConfig.model_validate(_recorded(folder, "config"))
    except ValidationError as error:
        raise ResultsError(f"{folder / RECORD}: not the record of a run of this version: {error}") from error
    return config.model_copy(update={"output": folder.resolve()})


def weights_of_run(folder: Path) -> str:
    """Return how the tables of a run name the weights that they rest on.

    Raises:
        ResultsError: the folder holds no run.json, or one that this version does not understand.
    """
    return str(_recorded(folder, "weights"))


def _recorded(folder: Path, key: str) -> object:
    path = folder / RECORD
    try:
        return json.loads(path.read_text(encoding="utf-8"))[key]
    except FileNotFoundError:
        raise ResultsError(
            f"{path}: no such file; expected the folder of a finished `aggregate.py run`"
        ) from None
    except NotADirectoryError:
        raise ResultsError(
            f"{folder}: expected the folder of a finished `aggregate.py run`, found a file; name the `output` of the "
            "configuration"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{path}: not the record of a run of this version: {error}") from error
