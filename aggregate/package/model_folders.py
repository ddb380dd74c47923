"""The fitted models of a package: copied from the cache of a run, with the code of networks that somebody brought."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aggregate.models.registry import MODELS, model_class
from aggregate.planning.fit_tasks import FitTask
from aggregate.store.fit_cache import FitCache
from pipeline.errors import ConfigError, PackageError, ResultsError
from pipeline.provenance import sha256_of_file

MODELS_FOLDER, CODE_FOLDER = "models", "code"
_CONFIG = "config.json"
_MODULE = "module"
"""Parameter of a model that names a Python file and a class in it."""


def check_freezable(kind: str, parameters: Mapping[str, Any], *, with_code: bool) -> None:
    """Refuse a model that cannot be in a package, before any work.

    Raises:
        PackageError: the kind is named, with the reason.
        ConfigError: it needs code of the user, and nobody said that this may go with it.
    """
    model = model_class(kind)
    every_kind = [(model, parameters), *model.models_inside(parameters)]
    keeping = [one.kind for one, _ in every_kind if one.keeps_patients]
    if keeping:
        raise PackageError(
            f"a model of kind {keeping[0]!r} cannot be frozen: it holds the features of every training patient, and no patient's "
            "data goes into a package; choose another model"
        )
    unsavable = [one.kind for one, _ in every_kind if getattr(one, "is_savable", None) is False]
    if unsavable and kind != "halving":
        raise PackageError(
            f"a model of kind {unsavable[0]!r} cannot be frozen: its library saves it as a pickle only, and no pickle is ever "
            "read; for trees choose 'xgboost'"
        )
    code = [file for _, given in every_kind for file in _python_files(given)]
    if code and not with_code:
        raise ConfigError(
            f"the model is a network of {code[0].name}, a file of your own that runs whenever the package is loaded; say "
            "--with-code to put it into the package, where everybody can read it"
        )


def copy_models(tasks: Sequence[FitTask], cache: FitCache, package: Path) -> list[str]:
    """Copy the fitted models of some tasks into a package, and return their folders, in the order of the tasks.

    Raises:
        ResultsError: a fit of the cache lacks its model.
        PackageError: a model holds data of patients.
    """
    names = []
    for number, task in enumerate(tasks):
        source = cache.model_folder(task.key)
        if cache.read(task.key) is None or not source.is_dir():
            raise ResultsError(
                f"{source}: no model in the cache for repeat {task.fold.repeat}, fold {task.fold.fold} of {task.spec.name}; it is of "
                "a kind that cannot be saved, or was removed: run `aggregate.py run` again"
            )
        name = f"{MODELS_FOLDER}/{number:03d}"
        shutil.copytree(source, package / name)
        names.append(name)
    for config in sorted((package / MODELS_FOLDER).rglob(_CONFIG)):
        _settle(config, package)
    return names


def has_code(package: Path) -> bool:
    """Return whether a package holds Python files."""
    return (package / CODE_FOLDER).is_dir()


def _settle(config: Path, package: Path) -> None:
    """Let a saved model name its Python file inside the package, and copy that there."""
    content = json.loads(config.read_text(encoding="utf-8"))
    if MODELS[content["kind"]].keeps_patients:
        raise PackageError(
            f"a model of kind {content['kind']!r} cannot be frozen: it holds data of training patients"
        )
    settled = _with_code_inside(content["parameters"], config.parent, package)
    if settled != content["parameters"]:
        content["parameters"] = settled
        config.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _with_code_inside(value: Any, folder: Path, package: Path, key: str = "") -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {name: _with_code_inside(inside, folder, package, name) for name, inside in value.items()}
    if isinstance(value, list):
        return [_with_code_inside(inside, folder, package, key) for inside in value]
    file, colon, name = str(value).rpartition(":")
    if key != _MODULE or not file.endswith(".py"):
        return value
    copied = _copied(Path(file), package)
    return f"{Path(os.path.relpath(copied, folder)).as_posix()}{colon}{name}"


def _copied(file: Path, package: Path) -> Path:
    """Copy a Python file into the package, once, and return where it lies there."""
    sha256 = sha256_of_file(file)
    target = package / CODE_FOLDER / f"{file.stem}_{sha256[:8]}.py"
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, target)
    return target


def _python_files(parameters: Mapping[str, Any]) -> Iterator[Path]:
    file, _, _ = str(parameters.get(_MODULE, "")).rpartition(":")
    if file.endswith(".py"):
        yield Path(file)
