"""Building and loading models by kind; errors suggest the nearest valid name."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from aggregate.models.base import PatientEstimator, read_model_config
from aggregate.models.parameters import checked_parameters
from pipeline.errors import ConfigError, Mistakes

Kinds = Mapping[str, type[PatientEstimator]]


def build(kinds: Kinds, kind: str, parameters: Mapping[str, object], random_state: int) -> PatientEstimator:
    """Return the unfitted model of a kind with the given parameters.

    Raises:
        ConfigError: the kind or a parameter is unknown (the message gives the nearest valid name), or a value is
            not allowed.
    """
    model = find(kinds, kind)
    own = _settable(model)
    of_settings = model.settings_names(parameters)
    mistakes = Mistakes()
    for name in parameters:
        if name not in {*own, *of_settings}:
            mistakes.add(
                ConfigError(
                    f"model {kind!r}: unknown parameter {name!r}; {_nearest(name, [*own, *of_settings])}"
                )
            )
    given = {name: value for name, value in parameters.items() if name in own}
    settings = {name: value for name, value in parameters.items() if name in of_settings and name not in own}
    if settings:
        given["settings"] = {**dict(given.get("settings", {})), **settings}  # type: ignore[call-overload]
    checked: Mapping[str, Any] = {}
    with mistakes.gathered():
        checked = checked_parameters(model, kind, given)
    mistakes.raise_all()
    return model(random_state=random_state, **checked)


def find(kinds: Kinds, kind: str) -> type[PatientEstimator]:
    """Return the class of a kind.

    Raises:
        ConfigError: the kind is unknown (the message gives the nearest valid kind), or cannot be inside another model.
    """
    if kind in kinds:
        return kinds[kind]
    if kind in _declared(PatientEstimator):
        raise ConfigError(
            f"a model of kind {kind!r} cannot be inside this one; kinds that can: {', '.join(sorted(kinds))}"
        )
    raise ConfigError(f"unknown model {kind!r}; {_nearest(kind, kinds)}")


def load(kinds: Kinds, folder: Path) -> PatientEstimator:
    """Read a fitted model of any kind that `save` wrote.

    Raises:
        ResultsError: the folder holds no model, or one of another format or version.
    """
    return find(kinds, read_model_config(folder)["kind"]).load(folder)


def _declared(base: type[object]) -> set[str]:
    """Return the kinds of all classes that derive from a class."""
    found = {str(vars(base)["kind"])} if "kind" in vars(base) else set()
    return found.union(*map(_declared, base.__subclasses__()))


def _settable(model: type[PatientEstimator]) -> list[str]:
    return [field.name for field in fields(model) if field.name not in {"random_state", *model.not_read}]


def _nearest(name: str, valid: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.4)
    return f"nearest valid name: {near[0]!r}" if near else f"valid names: {', '.join(sorted(valid))}"
