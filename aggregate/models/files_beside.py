"""Files that a saved model names relative to its own folder."""

from pathlib import Path
from typing import Any


def with_files_beside(value: Any, folder: Path, key: str = "") -> Any:  # noqa: ANN401 - JSON
    """Return a saved configuration in which a Python file named as ../ is taken relative to the folder of the model.

    So a model that was copied together with its code finds it wherever both lie.
    """
    if isinstance(value, dict):
        return {name: with_files_beside(inside, folder, name) for name, inside in value.items()}
    if isinstance(value, list):
        return [with_files_beside(inside, folder, key) for inside in value]
    if key == "module" and isinstance(value, str) and value.startswith("../"):
        return str((folder / value).resolve())
    return value
