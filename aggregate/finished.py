"""A finished run, found again from its results folder: `tables`, `explain` and `report` start here."""

import json
from pathlib import Path

from pydantic import ValidationError

from aggregate.config import AggregateConfig
from pipeline.errors import ResultsError


def config_of_run(folder: Path) -> AggregateConfig:
    """Return the configuration that a run recorded in run.json, with its output at where the folder lies now.

    Raises:
        ResultsError: the folder holds no run.json, or one that this version does not understand.
    """
    path = folder / "run.json"
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))["config"]
        config = AggregateConfig.model_validate(recorded)
    except FileNotFoundError:
        raise ResultsError(
            f"{path}: no such file; expected the folder of a finished `aggregate.py run`"
        ) from None
    except (json.JSONDecodeError, KeyError, ValidationError) as error:
        raise ResultsError(f"{path}: not the record of a run of this version: {error}") from error
    return config.model_copy(update={"output": folder.resolve()})
